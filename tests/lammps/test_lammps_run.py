"""`hesspot lammps run` and its like as processes: signals, standard input, arguments of lmp."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hesspot.cli.main import app

pytestmark = pytest.mark.lammps

HESSPOT = [sys.executable, "-m", "hesspot", "lammps"]

#: Seconds for what takes less than one on an idle machine.
PATIENCE = 60.0

FOREVER = """units metal
region box block 0 10 0 10 0 10
create_box 1 box
create_atoms 1 single 5 5 5
mass 1 1
pair_style zero 3
pair_coeff * *
fix 1 all nve
thermo 1
print 'it runs' file started
run 2000000000
"""


def processes_about(folder: Path) -> list[int]:
    """The numbers of the running processes whose arguments name `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in arguments and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def prints(fifo: Path, process: subprocess.Popen[str]) -> bool:
    """Waits until something is written to `fifo`, or `process` has ended."""
    ends = [os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), os.pidfd_open(process.pid)]
    ready, _, _ = select.select(ends, [], [], PATIENCE)
    for end in ends:
        os.close(end)
    return ends[0] in ready


@contextmanager
def running_forever(folder: Path, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """`hesspot lammps …` in a run that does not end."""
    script = folder / "in.forever"
    os.mkfifo(folder / "started")
    script.write_text(FOREVER)
    process = subprocess.Popen(
        [*HESSPOT, arguments[0], str(script), *arguments[1:], "--", "-log", "none"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert prints(folder / "started", process), f"{process.args} ended with {process.poll()}"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "command, number",
    [("run", signal.SIGTERM), ("run", signal.SIGINT), ("run", signal.SIGHUP), ("modes", signal.SIGTERM)],
)
def test_a_signal_ends_all_ranks(tmp_path: Path, command: str, number: signal.Signals) -> None:
    with running_forever(tmp_path, [command, "-n", "2"]) as process:
        started = [os.pidfd_open(pid) for pid in processes_about(tmp_path)]
        assert len(started) >= 4  # hesspot, mpirun, two ranks
        process.send_signal(number)
        # typer turns the KeyboardInterrupt of SIGINT into a status
        assert process.wait(PATIENCE) == (130 if number == signal.SIGINT else -number)
        for handle in started:
            assert select.select([handle], [], [], PATIENCE)[0], processes_about(tmp_path)
            os.close(handle)


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with running_forever(tmp_path, ["run"]) as process:
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_loop_of_the_shell_keeps_its_lines(tmp_path: Path) -> None:
    """`while read …; do hesspot lammps run …; done`: lmp does not eat what the loop reads."""
    (tmp_path / "in.lmp").write_text("print 'value ${value}'\n")
    (tmp_path / "loop.sh").write_text(
        f"""for value in 1 2; do echo $value; done | while read value; do
{" ".join(HESSPOT)} run -n 2 in.lmp -- -var value $value -log none
done
"""
    )
    ended = subprocess.run(["bash", "loop.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert [line for line in ended.stdout.splitlines() if line.startswith("value")] == ["value 1", "value 2"]


def test_a_script_from_standard_input(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*HESSPOT, "run", "-n", "2", "-", "--", "-log", "none"],
        cwd=tmp_path,
        input="print 'read from standard input'\n",
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0 and ended.stdout.splitlines().count("read from standard input") == 1, ended


@pytest.mark.parametrize(
    "arguments",
    [
        ["-n", "2", "in.lmp", "-var", "value", "3", "-log", "none", "-nocite", "-screen", "none"],
        ["in.lmp", "-n", "2", "-var", "value", "3", "-log", "none"],
        ["-n2", "-in", "in.lmp", "-var", "value", "3", "-log", "none"],
        ["--ranks=2", "in.lmp", "--", "-var", "value", "3", "-log", "none"],
    ],
)
def test_arguments_of_lmp(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "in.lmp").write_text("print 'value ${value}, ranks $(extract_setting(world_size))' file told\n")
    subprocess.run([*HESSPOT, "run", *arguments], cwd=tmp_path, check=True)
    assert (tmp_path / "told").read_text() == "value 3, ranks 2\n"
    assert not (tmp_path / "log.lammps").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run", "in.lmp", "--rank", "2"], "No such option"),
        (["run", "-var", "x", "3", "in.lmp"], "follow the input script"),
        (["modes", "-n", "two", "in.lmp"], "'-n' / '--ranks'"),
        (["run"], "Missing argument"),
        (["run", "."], "is a folder"),
        (["run", "in.lmp", "--lmp", "."], "cannot be run"),
    ],
)
def test_arguments_that_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.lmp").write_text("print 'never' file told\n")
    ended = CliRunner().invoke(app, ["lammps", *arguments])
    assert ended.exit_code != 0 and words in f"{ended.output} {ended.exception}" and not Path("told").exists()
