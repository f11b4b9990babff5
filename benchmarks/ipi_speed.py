"""CPU time of i-PI drivers: hesspot-ipi beside i-PI's own Python driver with ASE, for the same models, in one run.

    OMP_NUM_THREADS=1 python benchmarks/ipi_speed.py

Real i-PI runs of a molecule of 9 atoms, one bead and 32 in one batch. The time of a driver is what the operating system
counts for its processes between two steps of a run, so that neither its start nor its end counts; the least of several
runs. The time in the model is what hesspot-ipi tells at its end, of the same run. `ipi_floor.c`, which answers zeros,
shows what sockets and the operating system cost by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from itertools import product
from pathlib import Path

import ase
import numpy as np
import torch
from ase.build import molecule

from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.units import BOHR
from ipi_driver.evaluation.evaluator import Evaluator
from ipi_driver.wire.protocol import padded

PES = """from ipi.pes._ase import ASEDriver
from hesspot.calculators import HesspotCalculator
__DRIVER_NAME__, __DRIVER_CLASS__ = "custom", "Driver"
class Driver(ASEDriver):
    def __init__(self, template, model):
        self.file = model
        super().__init__(template)
    def check_parameters(self):
        super().check_parameters()
        self.ase_calculator = HesspotCalculator(self.file)
"""
SCRIPTS = Path(sysconfig.get_path("scripts"))
FLOOR = Path(__file__).with_name("ipi_floor.c")


def write_models(folder: Path) -> dict[str, tuple[Path, ase.Atoms]]:
    """A model that costs little and the house model, each with 9 atoms."""
    ethanol = molecule("CH3CH2OH")
    cluster = ase.Atoms("Ar9", positions=3.8 * np.array([*np.ndindex(3, 3, 1)], dtype=float))
    one = torch.ones(1, 1, dtype=torch.float64)
    torch.manual_seed(0)
    house = HouseModel(HouseConfig(elements=["H", "C", "O"])).requires_grad_(False)
    house.scale.fill_(0.01)
    models = {"Lennard-Jones": (LennardJones(["Ar"], 12.0, 0.01 * one, 3.4 * one), cluster), "house": (house, ethanol)}
    files = {}
    for name, (model, atoms) in models.items():
        files[name] = (folder / f"{name}.pt", atoms)
        write_model(folder / f"{name}.pt", model, [fingerprint_entry(model, name, atoms)])
    return files


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, its threads and its children so far."""
    total = 0.0
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += 1e-9 * int((task / "schedstat").read_text().split()[0])
            total += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


def at_step(step: int, folder: Path, server: subprocess.Popen[bytes], driver: int) -> tuple[int, float]:
    """The step that i-PI is at, from `step` on, and the CPU time of the driver."""
    table = folder / "simulation.out"
    while server.poll() is None:
        cpu = cpu_seconds(driver)
        lines = table.read_text().splitlines() if table.exists() else []
        done = sum(not line.startswith("#") for line in lines)
        if done >= step:
            return done, cpu
        time.sleep(0.01)
    sys.exit(f"i-PI ended with status {server.returncode} before step {step}; see the logs in {folder}")


def time_of_run(command: list[str], folder: Path, xml: str, steps: int) -> tuple[float, float]:
    """CPU seconds of the driver for a step, and of them in the model (NaN: not told), in an i-PI run of `steps`."""
    (folder / "simulation.out").unlink(missing_ok=True)
    (folder / "input.xml").write_text(xml)
    with (folder / "i-pi.log").open("wb") as log:
        server = subprocess.Popen([SCRIPTS / "i-pi", "-S", f"{folder}/", "input.xml"], cwd=folder, stdout=log)
    while not (folder / "x").exists() and server.poll() is None:
        time.sleep(0.02)
    with (folder / "driver.log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    first, before = at_step(steps // 20, folder, server, driver.pid)
    last, after = at_step(steps * 19 // 20, folder, server, driver.pid)
    if driver.wait() or server.wait():
        sys.exit(f"{' '.join(map(str, command))} ended with status {driver.returncode}, i-PI with {server.returncode}")
    told = re.search(r"(\d+) evaluations.* ([\d.]+) s of CPU time in the model", (folder / "driver.log").read_text())
    return (after - before) / (last - first), float(told[2]) / int(told[1]) if told else np.nan


def batch(atoms: ase.Atoms, beads: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions and cells of beads near the structure."""
    positions = atoms.positions + 0.01 * np.random.default_rng(seed).standard_normal((beads, len(atoms), 3))
    return positions, np.tile(np.eye(3), (beads, 1, 1))


def in_process(file: Path, atoms: ase.Atoms, beads: int) -> tuple[float, float]:
    """The least CPU seconds of an evaluation without any i-PI, and of it in the model, caches warm."""
    evaluate = Evaluator(read_model(file), atoms.get_chemical_symbols(), [False] * 3)
    positions, cells = batch(atoms, beads)
    times = []
    for _ in range(2000 // beads):
        start, in_model = time.thread_time(), evaluate.model_seconds
        evaluate(positions, cells)
        times.append((time.thread_time() - start, evaluate.model_seconds - in_model))
    return min(whole for whole, _ in times), min(model for _, model in times)


def round_trip(command: list[str], folder: Path, atoms: ase.Atoms, beads: int) -> float:
    """Wall seconds from new positions to forces, the median; the messages are those that i-PI sends."""
    n_atoms = len(atoms)
    lattice = struct.pack("=9d", *np.eye(3).ravel()) * 2
    messages = []
    for seed in range(16):
        positions = batch(atoms, beads, seed)[0] / BOHR
        count, flat = struct.pack("=i", n_atoms), positions.ravel()
        head = lattice + count if beads == 1 else count + lattice * beads
        messages.append(padded("POSDATA") + head + struct.pack(f"={len(flat)}d", *flat) + padded("GETFORCE"))
    answer = 12 + 8 * beads + 4 + (24 * n_atoms + 72) * beads
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "x"))
        server.listen(1)
        with (folder / "driver.log").open("wb") as log:
            driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        connection, _ = server.accept()
        reader = connection.makefile("rb")
        text = b"batch_size:%d" % beads if beads > 1 else b""
        connection.sendall(padded("STATUS"))
        reader.read(12)
        connection.sendall(padded("INIT") + struct.pack("=ii", 0, len(text)) + text + padded("STATUS"))
        reader.read(12)
        times = []
        for step in range(1000):
            start = time.perf_counter()
            connection.sendall(messages[step % len(messages)])
            reader.read(answer)
            for _ in range(beads):
                reader.read(struct.unpack("=i", reader.read(4))[0])
            times.append(time.perf_counter() - start)
        connection.sendall(padded("EXIT"))
        reader.close()
        connection.close()
    driver.wait()
    (folder / "x").unlink()
    return float(np.median(times[len(times) // 10 :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="steps of a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    arguments = parser.parse_args()
    steps, rounds = arguments.steps, arguments.rounds
    print(
        "| model | beads | driver | µs per step | model alone, µs | above it, µs per structure |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory(prefix="ipi") as name:
        folder = Path(name)
        (folder / "pes.py").write_text(PES)
        subprocess.run(["cc", "-O2", "-o", folder / "floor", FLOOR], check=True)
        models = write_models(folder)
        for label, (file, atoms) in models.items():
            write_start(folder / "start.xyz", atoms)
            for beads in (1, 32):
                whole, in_model = (1e6 * value for value in in_process(file, atoms, beads))
                row = f"{whole:.0f} | {in_model:.0f} | {(whole - in_model) / beads:.1f}"
                print(f"| {label} | {beads} | no i-PI, caches warm | {row} |", flush=True)
                ours = [sys.executable, "-m", "ipi_driver.cli", str(file), "--template", "start.xyz"]
                ours += ["--prefix", f"{folder}/"]
                theirs = [str(SCRIPTS / "i-pi-py_driver"), "-u", "-a", "x", "-S", f"{folder}/", "-m", "custom"]
                drivers = {
                    "hesspot-ipi": [*ours, "--unix", "x"],
                    "hesspot-ipi, shared memory": [*ours, "--shm", "x"],
                    "hesspot-ipi --restarts 0": [*ours, "--unix", "x", "--restarts", "0"],
                    "hesspot-ipi --dtype float32": [*ours, "--unix", "x", "--dtype", "float32"],
                    "i-PI's, with ASE": [*theirs, "-P", "pes.py", "-o", f"template=start.xyz,model={file}"],
                    "zeros, from C": [str(folder / "floor"), str(folder / "x"), str(len(atoms)), str(beads)],
                }
                for driver, command in drivers.items():
                    xml = dynamics_input(
                        "start.xyz", address="x", n_beads=beads, batch_size=beads, timestep=0.1, steps=steps,
                        temperature=30.0, stride=1,
                    )  # fmt: skip
                    if "--shm" in command:
                        xml = xml.replace("mode='unix'", "mode='shm'")
                    runs = [time_of_run(command, folder, xml, steps) for _ in range(rounds)]
                    whole, in_model = 1e6 * np.array(min(runs, key=lambda run: run[0] - np.nan_to_num(run[1])))
                    rest = "" if np.isnan(in_model) else f"{in_model:.0f} | {(whole - in_model) / beads:.1f}"
                    print(f"| {label} | {beads} | {driver} | {whole:.0f} | {rest or ' | '} |", flush=True)

        print("\n| model | beads | precision | threads | µs of wall time from positions to forces |")
        print("| --- | --- | --- | --- | --- |")
        for label, (file, atoms) in models.items():
            write_start(folder / "start.xyz", atoms)
            for dtype, beads, threads in product(("float64", "float32"), (1, 32), (1, 2, 4)):
                if threads > (os.cpu_count() or 1) or (beads == 1 and threads > 1):
                    continue
                command = [sys.executable, "-m", "ipi_driver.cli", str(file), "--template", "start.xyz"]
                command += ["--dtype", dtype]
                command += ["--prefix", f"{folder}/", "--unix", "x", "--threads", str(threads)]
                wall = 1e6 * min(round_trip(command, folder, atoms, beads) for _ in range(rounds))
                print(f"| {label} | {beads} | {dtype} | {threads} | {wall:.0f} |", flush=True)


if __name__ == "__main__":
    main()
