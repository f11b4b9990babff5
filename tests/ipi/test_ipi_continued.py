"""`run.sh` goes on with a run that was ended or killed, and leaves nothing behind; folders with a run are kept."""

import os
import signal
import subprocess
import sysconfig
import time

import numpy as np
import pytest
from ipi_folders import PATIENCE, run_folder
from test_ipi_atoms import command

from hesspot.errors import UserError

pytestmark = pytest.mark.ipi

#: Of the potential, eV: a run goes on from 16 digits.
CONTINUED = 1e-6


def prepare(water_model, folder, steps, *options):
    command(
        "ipi-input", "nvt", water_model.with_name("start.xyz"), water_model, "--out", folder, "--steps", steps, *options
    )


def script(folder, *arguments):
    """`run.sh`, started in a session of its own; its standard input is this process's, which it must leave alone."""
    environment = {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"}
    return subprocess.Popen(
        ["bash", "run.sh", *arguments], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def finish(folder, *arguments):
    with script(folder, *arguments) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def processes_of(session):
    """What runs in the session of a script."""
    found = []
    for stat in map("/proc/{}/stat".format, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(stat) as file:
                state, _, _, its_session = file.read().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            found.append(stat)
    return found


def wait_for_rows(folder, count, process):
    deadline = time.monotonic() + PATIENCE
    while not (folder / "simulation.out").exists() or (folder / "simulation.out").read_text().count("\n ") < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)


def rows(folder):
    return np.loadtxt(folder / "simulation.out", ndmin=2)


def test_a_second_call_goes_on(water_model, tmp_path):
    """A run that was interrupted and one that got more steps are that of one piece, with every row once."""
    prepare(water_model, tmp_path / "whole", 4000, "--stride", 20)
    run_folder(tmp_path / "whole")
    whole = rows(tmp_path / "whole")
    assert whole[-1, 0] == 4000
    prepare(water_model, tmp_path / "run", 3000, "--stride", 20)
    with script(tmp_path / "run") as process:
        wait_for_rows(tmp_path / "run", 10, process)
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert not processes_of(process.pid)
    assert (tmp_path / "run/RESTART").is_file()
    reached = rows(tmp_path / "run")[-1, 0]
    assert 0 < reached < 3000
    said = finish(tmp_path / "run")
    assert f"goes on at step {int(reached)} (RESTART)" in said
    assert rows(tmp_path / "run")[-1, 0] == 3000
    assert "has ended after 3000 steps" in finish(tmp_path / "run")
    assert "goes on at step 3000 (RESTART)" in finish(tmp_path / "run", "4000")
    table = rows(tmp_path / "run")
    np.testing.assert_array_equal(table[:, 0], whole[:, 0])
    np.testing.assert_allclose(table, whole, rtol=0, atol=CONTINUED)


def test_a_killed_run_goes_on_from_its_checkpoint(water_model, tmp_path):
    """Of which there is one after each hundred rows; a RESTART that was cut off is none."""
    prepare(water_model, tmp_path / "run", 1500, "--stride", 1)
    with script(tmp_path / "run") as process:
        wait_for_rows(tmp_path / "run", 150, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    (tmp_path / "run/RESTART").write_text("<simulation> <step>9999</step>")
    assert "(simulation.checkpoint)" in finish(tmp_path / "run")
    assert rows(tmp_path / "run")[-1, 0] == 1500


def test_a_folder_that_holds_a_run_is_kept(water_model, tmp_path):
    prepare(water_model, tmp_path / "run", 2, "--stride", 1)
    run_folder(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    arguments = (
        "ipi-hessian",
        water_model,
        water_model.with_name("start.xyz"),
        "--for",
        "vibrations",
        "--out",
        tmp_path / "run",
    )
    with pytest.raises(UserError, match=r"holds .* already.*--overwrite"):
        prepare(water_model, tmp_path / "run", 3)
    with pytest.raises(UserError, match=r"holds .* already.*--overwrite"):
        command(*arguments)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/start.xyz").write_text("mine")
    with pytest.raises(UserError, match=r"holds start\.xyz already"):
        prepare(water_model, tmp_path / "mine", 3)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    prepare(water_model, tmp_path / "run", 3, "--overwrite", "--stride", 1)
    run_folder(tmp_path / "run")
    np.testing.assert_array_equal(rows(tmp_path / "run")[:, 0], range(4))


def test_what_fails_leaves_no_folder(water_model, tmp_path):
    with pytest.raises(UserError, match="--gle"):
        command("ipi-input", "piglet", water_model.with_name("start.xyz"), water_model, "--out", tmp_path / "run")
    assert os.listdir(tmp_path) == []
