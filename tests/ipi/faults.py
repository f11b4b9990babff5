"""kill -9 of a worker or of i-PI at a random moment of a run, and what must be true afterwards.

    python tests/ipi/faults.py 100

makes that many runs and tells what became of them. A run whose worker is killed must end as if nothing had happened, to
the last bit. A run whose i-PI is killed must end its driver, and go on from i-PI's checkpoint with another one.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import ase.build
import numpy as np
import torch

from hesspot.export import fingerprint_entry, write_model
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.models.house import HouseConfig, HouseModel

#: s; whatever takes longer hangs.
PATIENCE = 120.0

STEPS, BEADS = 60, 4

#: eV: the checkpoint has 16 digits, and what follows from them is not the same to the last bit.
CONTINUED = 1e-6


def files_of(folder: Path, model: Path, atoms: ase.Atoms) -> None:
    """Model, start structure and input of the run that is disturbed, i-PI's checkpoint at each step."""
    folder.mkdir()
    shutil.copy(model, folder / "model.pt")
    write_start(folder / "start.xyz", atoms)
    xml = dynamics_input(
        "start.xyz", address="x", n_beads=BEADS, batch_size=BEADS, timestep=0.25, steps=STEPS, temperature=300.0,
        stride=1,
    )  # fmt: skip
    xml = xml.replace("<exit_on_disconnect>True</exit_on_disconnect>", "")
    xml = xml.replace("stride='100'/>", "stride='1' overwrite='False'/>")
    (folder / "input.xml").write_text(xml)


class Run:
    """i-PI and a driver, ended with the block."""

    def __init__(self, folder: Path, input_file: str = "input.xml"):
        self.folder = folder
        i_pi = shutil.which("i-pi", path=sysconfig.get_path("scripts"))
        self.server = self._start("i-pi.log", i_pi, "-S", f"{folder}/", input_file)
        command = [sys.executable, "-m", "ipi_driver.cli", "model.pt", "--template", "start.xyz", "--unix", "x"]
        self.driver = self._start("driver.log", *command, "--prefix", f"{folder}/")

    def _start(self, log: str, *command: str) -> subprocess.Popen:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in (self.server, self.driver):
            process.kill()
            process.wait()

    def worker(self) -> int | None:
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{self.driver.pid}/task/{self.driver.pid}/children").read_text().split():
                return int(child)
        return None

    def steps(self) -> int:
        """Lines of the table so far."""
        table = self.folder / "simulation.out"
        return sum(not line.startswith("#") for line in table.read_text().splitlines()) if table.is_file() else 0

    def wait_for_step(self, step: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.steps() < step and self.server.poll() is None:
            assert time.monotonic() < deadline, f"hangs at step {self.steps()}"
            time.sleep(0.002)

    def end(self) -> tuple[int, int]:
        """Exit statuses of i-PI and driver."""
        return self.server.wait(PATIENCE), self.driver.wait(PATIENCE)


def gone(pid: int | None) -> bool:
    """Whether a process has ended, or does within the time that a dying worker needs."""
    deadline = time.monotonic() + 10.0
    while pid is not None and Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def undisturbed(folder: Path) -> np.ndarray:
    with Run(folder) as run:
        assert run.end() == (0, 0), (folder / "driver.log").read_text()
    return np.loadtxt(folder / "simulation.out")


def kill_worker(folder: Path, rng: random.Random, wanted: np.ndarray) -> str:
    with Run(folder) as run:
        run.wait_for_step(rng.randrange(STEPS))
        time.sleep(rng.uniform(0.0, 0.05))
        victim = run.worker()
        if victim is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        statuses = run.end()
        assert statuses == (0, 0), f"{statuses}: {(folder / 'driver.log').read_text()}"
        assert gone(victim)
    np.testing.assert_array_equal(np.loadtxt(folder / "simulation.out"), wanted)
    return f"worker killed, {(folder / 'driver.log').read_text().count('SIGKILL')} replaced, every number as without"


def kill_server(folder: Path, rng: random.Random, wanted: np.ndarray) -> str:
    with Run(folder) as run:
        run.wait_for_step(rng.randrange(1, STEPS))
        time.sleep(rng.uniform(0.0, 0.05))
        worker = run.worker()
        run.server.send_signal(signal.SIGKILL)
        server, driver = run.end()
        assert gone(worker)
    at_kill = run.steps()
    log = (folder / "driver.log").read_text()
    if server == 0 or "i-PI said EXIT" in log:
        assert driver == 0, log
        np.testing.assert_array_equal(np.loadtxt(folder / "simulation.out"), wanted)
        return "i-PI had ended before"
    assert driver == 1, log
    (folder / "x").unlink(missing_ok=True)
    before = whole_lines(folder / "simulation.out")
    checkpoint = last_checkpoint(folder)
    if f"<step>{STEPS}</step>" in "".join((folder / checkpoint).read_text().split()):  # i-PI refuses to start there
        np.testing.assert_array_equal(before, wanted)
        return "i-PI killed after its last step, every number as without"
    (folder / "simulation.out").unlink()
    with Run(folder, checkpoint) as run:
        assert run.end() == (0, 0), (folder / "i-pi.log").read_text()
    table = np.vstack([before, np.loadtxt(folder / "simulation.out", ndmin=2)])
    missing = set(wanted[:, 0]) - set(table[:, 0])
    assert not missing, f"steps {missing} are missing"
    np.testing.assert_allclose(table, wanted[table[:, 0].astype(int)], rtol=0, atol=CONTINUED)
    return f"i-PI killed after step {at_kill - 1}, went on at step {int(table[len(before), 0])}"


def whole_lines(table: Path) -> np.ndarray:
    """A table without a last line that was cut off."""
    text = table.read_text()
    return np.loadtxt(text[: text.rindex("\n")].splitlines(), ndmin=2)


def last_checkpoint(folder: Path) -> str:
    """i-PI does not write checkpoints atomically, so the last one may be cut off."""
    whole = [path for path in folder.glob("simulation.checkpoint_*") if "</simulation>" in path.read_text()]
    return max(whole, key=lambda path: int(path.name.rpartition("_")[2])).name


def main(runs: int) -> None:
    rng = random.Random(5)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="ipi") as name:
        molecule = ase.build.molecule("H2CO")
        torch.manual_seed(3)
        model = HouseModel(HouseConfig(elements=["H", "C", "O"], n_radial=4, n_channels=3, hidden=[8]))
        model.requires_grad_(False)
        write_model(Path(name, "model.pt"), model, [fingerprint_entry(model, "H2CO", molecule)])
        files_of(Path(name, "wanted"), Path(name, "model.pt"), molecule)
        wanted = undisturbed(Path(name, "wanted"))
        for number in range(runs):
            folder = Path(name, str(number))
            files_of(folder, Path(name, "model.pt"), molecule)
            try:
                print(number, (kill_server if number % 2 else kill_worker)(folder, rng, wanted), flush=True)
            except Exception as error:
                failures += 1
                print(number, "FAILED", type(error).__name__, error, flush=True)
            shutil.rmtree(folder)
    print(f"{runs} runs, {failures} failures")


if __name__ == "__main__":
    main(int(sys.argv[1]))
