"""CPU time of i-PI drivers: hesspot-ipi beside i-PI's own Python driver with ASE, for the same models, in one run.

    OMP_NUM_THREADS=1 python benchmarks/ipi_speed.py

Real i-PI runs of a molecule of 9 atoms, one bead and 32 in one batch. The time of a driver is what the operating system
counts for its processes; two runs of different length are subtracted, so that its start does not count. The time in the
model is what hesspot-ipi tells at its end, of the very same run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import ase
import numpy as np
import torch
from ase.build import molecule

from hesspot.export import write_model
from hesspot.export.file import fingerprint_entry
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel
from ipi_driver.inputs import dynamics_input, write_start

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


def time_of_run(command: list[str], folder: Path, xml: str) -> np.ndarray:
    """CPU seconds of the driver with what it started, and of them in the model (NaN: not told), in a whole i-PI run."""
    (folder / "input.xml").write_text(xml)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([SCRIPTS / "i-pi", "-S", f"{folder}/", "input.xml"], cwd=folder, **quiet)  # type: ignore[call-overload]
    while not (folder / "x").exists() and server.poll() is None:
        time.sleep(0.02)
    with (folder / "driver.log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    _, status, usage = os.wait4(driver.pid, 0)
    driver.returncode = os.waitstatus_to_exitcode(status)
    server.wait()
    if driver.returncode or server.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with status {driver.returncode}, i-PI with {server.returncode}")
    told = re.search(r"([\d.]+) s of CPU time in the model", (folder / "driver.log").read_text())
    return np.array([usage.ru_utime + usage.ru_stime, float(told[1]) if told else np.nan])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="by how many steps the two runs differ")
    steps = parser.parse_args().steps
    print(
        "| model | beads | driver | µs per step | model alone, µs | above it, µs per structure |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory(prefix="ipi") as name:
        folder = Path(name)
        (folder / "pes.py").write_text(PES)
        for label, (file, atoms) in write_models(folder).items():
            write_start(folder / "start.xyz", atoms)
            for beads in (1, 32):
                ours = [sys.executable, "-m", "ipi_driver.cli", str(file), "--template", "start.xyz"]
                ours += ["--prefix", f"{folder}/"]
                theirs = [str(SCRIPTS / "i-pi-py_driver"), "-u", "-a", "x", "-S", f"{folder}/", "-m", "custom"]
                drivers = {
                    "hesspot-ipi": [*ours, "--unix", "x"],
                    "hesspot-ipi, shared memory": [*ours, "--shm", "x"],
                    "hesspot-ipi --restarts 0": [*ours, "--unix", "x", "--restarts", "0"],
                    "i-PI's, with ASE": [*theirs, "-P", "pes.py", "-o", f"template=start.xyz,model={file}"],
                }
                for driver, command in drivers.items():
                    cpu = []
                    for length in (20, 20 + steps):
                        xml = dynamics_input(
                            "start.xyz", address="x", n_beads=beads, batch_size=beads, timestep=0.1, steps=length,
                            temperature=30.0, stride=10**6,
                        )  # fmt: skip
                        if "--shm" in command:
                            xml = xml.replace("mode='unix'", "mode='shm'")
                        cpu.append(time_of_run(command, folder, xml))
                    whole, in_model = 1e6 * (cpu[1] - cpu[0]) / steps
                    rest = "" if np.isnan(in_model) else f"{in_model:.0f} | {(whole - in_model) / beads:.1f}"
                    print(f"| {label} | {beads} | {driver} | {whole:.0f} | {rest or ' | '} |", flush=True)


if __name__ == "__main__":
    main()
