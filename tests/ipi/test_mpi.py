"""Several ranks against one, and i-PI's ffmpi; mpirun is that of the MPI that mpi4py was installed with."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import ase
import numpy as np
import pytest
from ipi_server import Reply, init, listen, posdata, word

from hesspot.ipi.inputs import dynamics_input, write_start
from ipi_driver.serving.ranks import bounds

pytest.importorskip("mpi4py")
MPIRUN = shutil.which("mpirun", path=sysconfig.get_path("scripts")) or shutil.which("mpirun")

#: s; a job that takes longer hangs.
PATIENCE = 200.0

#: eV; sums in another order, over 4 steps.
SAME = 1e-9


@pytest.mark.parametrize(
    ("n_structures", "n_atoms", "size", "split", "expected"),
    [
        (4, 3, 2, "auto", [0, 6, 12]),
        (1, 3, 2, "auto", [0, 0, 3]),
        (1, 1000, 4, "auto", [0, 250, 500, 750, 1000]),
        (3, 1000, 2, "auto", [0, 1500, 3000]),
        (3, 1000, 2, "beads", [0, 1000, 3000]),
        (4, 1000, 2, "auto", [0, 2000, 4000]),
        (1, 3, 2, "atoms", [0, 1, 3]),
    ],
)
def test_shares(n_structures, n_atoms, size, split, expected):
    assert bounds(n_structures, n_atoms, size, split).tolist() == expected


def job(*parts, cwd):
    """A finished mpirun of the parts, each (number of ranks, command)."""
    command = [MPIRUN]
    for n, arguments in parts:
        command += [*([":"] if len(command) > 1 else []), "-n", str(n), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


def test_ranks_give_together_what_one_gives(tmp_path, house):
    """Three ranks; a structure without an answer, and a rank that fails, are told on the root."""
    done = job((3, [sys.executable, Path(__file__).with_name("ranks_script.py"), house]), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all the same" in done.stdout
    assert done.stdout.count("on one place in structure 0") == 3
    assert done.stdout.count("rank 2 failed (MemoryError: none left)") == 3


@pytest.mark.ipi
@pytest.mark.parametrize(("batch", "groups"), [(1, [1, 1]), (4, [2])])
def test_ffmpi_gives_the_numbers_of_a_socket(tmp_path, house, molecule, batch, groups):
    """Two drivers of one rank, or one of two ranks that shares atoms."""
    write_start(tmp_path / "start.xyz", molecule)
    xml = dynamics_input(
        "start.xyz", address="x", n_beads=4, batch_size=batch, timestep=0.25, steps=4, temperature=300.0, stride=1
    )
    socket = re.compile("<ffsocket.*?</ffsocket>", re.DOTALL)
    (tmp_path / "mpi.xml").write_text(
        socket.sub(f"<ffmpi name='hesspot'><batch_size>{batch}</batch_size></ffmpi>", xml)
    )
    (tmp_path / "unix.xml").write_text(xml)
    driver = [sys.executable, "-m", "ipi_driver.cli", house, "--template", "start.xyz"]
    options = ["--ffmpi", "hesspot", "--group-size", groups[0], "--split", "atoms"]
    server = shutil.which("i-pi", path=sysconfig.get_path("scripts"))
    done = job((1, [server, "mpi.xml"]), (2, [*driver, *options]), cwd=tmp_path)
    # the status of the job is left to chance: i-PI ends without MPI_Finalize
    assert "I-PI reports success" in done.stdout, done.stdout + done.stderr
    assert done.stderr.count("i-PI said EXIT") == len(groups)
    table = np.loadtxt(tmp_path / "simulation.out")
    with subprocess.Popen([server, "-S", f"{tmp_path}/", "unix.xml"], cwd=tmp_path, stdout=subprocess.DEVNULL):
        alone = subprocess.run([*driver, "--unix", "x", "--prefix", f"{tmp_path}/", "--restarts", "0"], cwd=tmp_path)
    assert alone.returncode == 0
    assert len(table) == 5
    np.testing.assert_allclose(table, np.loadtxt(tmp_path / "simulation.out"), rtol=0, atol=SAME)


@pytest.mark.ipi
def test_an_error_in_ffmpi_ends_the_whole_job(tmp_path, cliff):
    write_start(tmp_path / "start.xyz", ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.05]]))
    xml = dynamics_input("start.xyz", address="x", n_beads=1, timestep=0.25, steps=5000, temperature=300.0)
    (tmp_path / "input.xml").write_text(re.sub("(?s)<ffsocket.*?</ffsocket>", "<ffmpi name='hesspot'></ffmpi>", xml))
    driver = [sys.executable, "-m", "ipi_driver.cli", cliff, "--template", "start.xyz", "--ffmpi", "hesspot"]
    done = job(
        (1, [shutil.which("i-pi", path=sysconfig.get_path("scripts")), "input.xml"]),
        (1, [*driver, "--failed", "bad.xyz"]),
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "not finite" in done.stderr
    assert (tmp_path / "bad.xyz").is_file()


@contextlib.contextmanager
def ranks(folder, model, atoms):
    atoms.write(folder / "template.xyz", format="extxyz")
    command = [MPIRUN, "-n", "2", sys.executable, "-m", "ipi_driver.cli", str(model), "--template", "template.xyz"]
    command += ["--unix", "x", "--prefix", f"{folder}/", "--split", "atoms", "--failed", "bad.xyz"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("how", ["EXIT", "not finite", "SIGTERM"])
def test_all_ranks_end(tmp_path, cliff, how):
    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    server = listen(tmp_path / "x")
    with ranks(tmp_path, cliff, pair) as process:
        server.settimeout(PATIENCE)
        connection, _ = server.accept()
        connection.settimeout(PATIENCE)
        reply = Reply(connection)
        connection.sendall(init() + posdata(np.eye(3) * 50, pair.positions * 1.9) + word("GETFORCE"))
        assert np.isfinite(reply.forces(2)[1]).all()
        if how == "EXIT":
            connection.sendall(word("EXIT"))
        elif how == "not finite":
            connection.sendall(posdata(np.eye(3) * 50, pair.positions * 0.9) + word("GETFORCE"))
        elif how == "SIGTERM":
            process.terminate()
        assert connection.recv(1) == b""
        connection.close()
        _, said = process.communicate(timeout=PATIENCE)
    if how == "EXIT":
        assert process.returncode == 0, said
        assert "1 evaluations of 1 structures (1 distinct ones, 1 neighbour lists)" in said
        assert "on 2 ranks" in said
    else:
        assert process.returncode != 0
        assert {"not finite": "bad.xyz", "SIGTERM": ""}[how] in said
