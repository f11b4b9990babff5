"""What runs on an NVIDIA GPU, whether it gives the CPU's numbers, and how fast.

    python benchmarks/gpu_check.py --out gpu-check          # writes gpu-check.json and gpu-check.md, in some minutes

Compares energies, forces, virials, H·v and Hessians with those of the CPU, training (`gpu_training.py`), the ASE
calculator, `hesspot-ipi` and `pair_style hesspot device cuda` on one rank and on two, and times steps from a thousand
to a million atoms. A part that fails is written down with its error and the others go on; the exit status is then 1.
Nothing new is started after `--minutes`. On a machine without a GPU, `--device cpu --largest 1000` tries the script.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ase
import gpu_training
import numpy as np
import torch
from ase.build import molecule

import hesspot
from hesspot.calculators import HesspotCalculator
from hesspot.contract import Batch, build_batch
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.derivatives import evaluate, hessian, hvp
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import write_data
from hesspot.models.core import core_within
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.models.shipped import find_model

MOLECULES, WATER = find_model("shipped:grown"), find_model("shipped:water")

WATER_VOLUME = 18.015 / 0.602214  # Å³ per molecule at 1 g/cm³

#: float64 sums in another order, through some thousand terms; energies per atom.
TOLERANCE = {"energy": 1e-10, "forces": 1e-9, "virial": 1e-8, "hvp": 1e-8, "hessian": 1e-8, "stress": 1e-11}
#: Relative, of what LAMMPS prints after some steps; the pressure is a small difference of large numbers.
LAMMPS_TOLERANCE = 1e-7
#: i-PI prints so many digits.
IPI_TOLERANCE = 1e-7
#: Seconds that a driver of i-PI may take.
LIMIT = 120.0

SIZES = (1_000, 10_000, 100_000)
STEPS = 10
#: Edges that are evaluated at once.
PORTIONS = (20_000, 100_000, 1_000_000, 10_000_000)

SCRIPTS = Path(sysconfig.get_path("scripts"))

START = """units metal
atom_style atomic
read_data water.data
pair_style hesspot {settings}
pair_coeff * * {model} H O
neighbor 1.0 bin
timestep 0.00025
velocity all create 300 1
"""
SCRIPT = (
    START
    + """fix nve all nve
compute curvature all hesspot/hvp v
thermo {steps}
thermo_style custom step pe press c_curvature
thermo_modify format float %.12g
run {steps}
"""
)
COMMITTEE = (
    START
    + """compute doubt all hesspot/deviation
thermo_style custom step c_doubt[1] c_doubt[2] c_doubt[3]
thermo_modify format float %.12g
run 0
"""
)


def water(n_atoms: int) -> ase.Atoms:
    """About n_atoms of water on a cubic grid, turned at random, 1 g/cm³."""
    side = max(round((n_atoms / 3) ** (1 / 3)), 2)
    random, length = np.random.default_rng(0), WATER_VOLUME ** (1 / 3)
    one = molecule("H2O")
    shape = one.positions - one.get_center_of_mass()
    turns = np.linalg.qr(random.standard_normal((side**3, 3, 3)))[0]
    turns *= np.linalg.det(turns)[:, None, None]
    sites = length * (np.indices((side,) * 3).reshape(3, -1).T + 0.5)
    positions = shape @ turns + sites[:, None]
    return ase.Atoms("OHH" * side**3, positions.reshape(-1, 3), cell=[side * length] * 3, pbc=True)


class Check:
    """The parts of the check, what each found, and what is said at the end."""

    def __init__(self, device: str, minutes: float, out: Path, only: Sequence[str] | None = None):
        self.device, self.until = device, time.monotonic() + 60 * minutes
        self.out, self.only = out, only
        kept = out.with_suffix(".json")
        self.parts: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if only and kept.exists() else {}

    def part(self, name: str, question: Callable[[], dict[str, Any]]) -> None:
        """Ask one question; whatever it raises is its answer."""
        started = time.monotonic()
        if self.only and not name.startswith(tuple(self.only)):
            return
        if started > self.until:
            self.parts[name] = {"verdict": "NOT RUN", "why": "no time was left"}
        else:
            try:
                found = question()
                self.parts[name] = {"verdict": "PASS" if found.pop("passed", True) else "FAIL", **found}
            except Exception as error:
                self.parts[name] = {"verdict": "FAIL", "why": f"{type(error).__name__}: {error}"[:2000]}
                traceback.print_exc()
        self.parts[name]["seconds"] = round(time.monotonic() - started, 1)
        print(f"{name}: {json.dumps(self.parts[name], ensure_ascii=False)}", flush=True)
        self.out.with_suffix(".json").write_text(json.dumps(self.parts, indent=2, ensure_ascii=False) + "\n")
        self.out.with_suffix(".md").write_text(markdown(self))

    def wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.cpu().double() - b.cpu().double()).abs().max())


def same_numbers(device: str, file: Path, structures: list[ase.Atoms], dtype: torch.dtype) -> dict[str, Any]:
    """Largest deviations of the device from the kernel on the CPU in float64."""
    here = read_model(file)
    there = read_model(file, dtype=dtype, device=device)
    found = dict.fromkeys(("energy", "forces", "virial", "hvp", "hessian"), 0.0)
    random = np.random.default_rng(0)
    for _ in range(3):  # scripted models have been seen to fail at the second or third call
        for atoms in structures:
            batch = build_batch([atoms], here.elements, here.cutoff)
            moved = batch.to(dtype=dtype, device=device)
            along = torch.from_numpy(random.standard_normal((len(atoms), 3)))
            ours, theirs = evaluate(here, batch, virial=True), evaluate(there, moved, virial=True)
            assert ours.virial is not None and theirs.virial is not None
            errors = {
                "energy": largest(theirs.energy, ours.energy) / len(atoms),
                "forces": largest(theirs.forces, ours.forces),
                "virial": largest(theirs.virial, ours.virial) / len(atoms),
                "hvp": largest(hvp(there, moved, along.to(moved.vectors)), hvp(here, batch, along)),
            }
            if len(atoms) < 30:
                errors["hessian"] = largest(hessian(there, moved)[0], hessian(here, batch)[0])
            found = {name: max(value, errors.get(name, 0.0)) for name, value in found.items()}
    passed = dtype == torch.float32 or all(value <= TOLERANCE[name] for name, value in found.items())
    return {"passed": passed, **{name: float(f"{value:.2e}") for name, value in found.items()}}


def cored_model(folder: Path) -> Path:
    """A model with random weights and a repulsive core that reaches to 1.3 Å."""
    elements = ["H", "C", "O"]
    core = core_within(elements, np.full((3, 3), 1.5), 5.0)
    torch.manual_seed(0)
    model = HouseModel(HouseConfig(elements=elements, core=core)).requires_grad_(False)
    write_model(folder / "core.pt", model, [fingerprint_entry(model, "ethanol", molecule("CH3CH2OH"))])
    return folder / "core.pt"


def squeezed() -> list[ase.Atoms]:
    """Ethanol, as it is and with its atoms pressed together."""
    atoms = molecule("CH3CH2OH")
    return [ase.Atoms(atoms.symbols, part * atoms.positions) for part in (1.0, 0.8, 0.5)]


def calculator(device: str) -> dict[str, Any]:
    found = {}
    for name, atoms in {"molecule": molecule("CH3CH2OH"), "cell": water(200)}.items():
        file = MOLECULES if name == "molecule" else WATER
        here, there = HesspotCalculator(file), HesspotCalculator(file, device=device)
        found[f"forces, {name}"] = float(np.abs(there.get_forces(atoms) - here.get_forces(atoms)).max())
        if name == "molecule":
            found["hessian"] = float(np.abs(there.get_hessian(atoms) - here.get_hessian(atoms)).max())
        else:
            found["stress"] = float(np.abs(there.get_stress(atoms) - here.get_stress(atoms)).max())
    passed = all(value <= TOLERANCE[name.split(",")[0]] for name, value in found.items())
    return {"passed": passed, **found}


def i_pi(device: str, folder: Path) -> dict[str, Any]:
    """Path integrals of a molecule by i-PI with `hesspot-ipi` on the device and on the CPU: the same numbers."""
    tables, found = [], {}
    for number, where in enumerate(("cpu", device)):
        run = folder / f"ipi-{number}"
        run.mkdir()
        write_start(run / "start.xyz", molecule("CH3CH2OH"))
        beads = {"n_beads": 8, "batch_size": 8}
        xml = dynamics_input("start.xyz", address="x", timestep=0.25, steps=STEPS, temperature=300.0, stride=1, **beads)
        (run / "input.xml").write_text(xml)
        driver = [sys.executable, "-m", "ipi_driver.cli", str(MOLECULES), "--template", "start.xyz", "--unix", "x"]
        with (run / "i-pi.log").open("wb") as log:
            server = subprocess.Popen([SCRIPTS / "i-pi", "-S", f"{run}/", "input.xml"], cwd=run, stdout=log)
        try:
            ended = subprocess.run(
                [*driver, "--prefix", f"{run}/", "--device", where],
                cwd=run, timeout=LIMIT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if ended.returncode or server.wait(LIMIT):
                raise RuntimeError(ended.stdout[-1500:])
        finally:
            server.kill()
        tables.append(np.loadtxt(run / "simulation.out"))
        told = re.search(r"fingerprint met within .*", ended.stdout)
        found[f"what the driver tells, {where}"] = told[0] if told else ended.stdout[-1500:]
    difference = float((np.abs(tables[1] - tables[0]) / np.maximum(np.abs(tables[0]), 1.0)).max())
    return {"passed": difference <= IPI_TOLERANCE, "largest relative difference": difference, **found}


def lammps(folder: Path, n_atoms: int, variants: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """Energy, pressure and curvature along the velocities after some steps, and the time of a step.

    variants: the settings and the ranks of each run; the first is that of the kernel, which the others are compared
    with but for those in single precision.
    """
    atoms = water(n_atoms)
    write_data(folder / "water.data", atoms, ["H", "O"])
    found: dict[str, Any] = {"atoms": len(atoms)}
    reference: np.ndarray | None = None
    for label, (settings, ranks) in variants.items():
        rows, seconds = run_water(folder, SCRIPT.format(settings=settings, model=WATER, steps=STEPS), ranks)
        found[f"µs per atom and step, {label}"] = round(1e6 * seconds / STEPS / len(atoms), 3)
        if reference is None:
            reference = rows
        else:
            found[f"largest relative difference, {label}"] = float(f"{np.abs(rows / reference - 1.0).max():.1e}")
    differences = {label: found.get(f"largest relative difference, {label}", 0.0) for label in variants}
    found["passed"] = all(value <= LAMMPS_TOLERANCE for label, value in differences.items() if "single" not in label)
    return found


def committee(device: str, folder: Path) -> dict[str, Any]:
    """How far the members of a committee are apart in LAMMPS, on the device and by the kernel."""
    write_data(folder / "water.data", water(200), ["H", "O"])
    rows = [
        run_water(folder, COMMITTEE.format(settings=settings, model=MOLECULES), 1)[0]
        for settings in ("", of_device(device) + " verify yes")
    ]
    difference = float(np.abs(rows[1] / rows[0] - 1.0).max())
    return {"passed": difference <= LAMMPS_TOLERANCE, "largest relative difference": difference}


def of_device(device: str) -> str:
    return "device cuda" if device.startswith("cuda") else "backend torchscript"


def run_water(folder: Path, script: str, ranks: int) -> tuple[np.ndarray, float]:
    """The last row of LAMMPS's thermodynamic output after the step, and the seconds of its loop."""
    ended = run_lammps(script, ranks=ranks, workdir=folder)
    rows = re.findall(r"^ *\d+((?: +[-+.e\d]+)+) *$", ended.stdout, re.MULTILINE)
    loop = re.search(r"Loop time of (\S+) on", ended.stdout)
    if ended.returncode != 0 or not rows or loop is None:
        raise RuntimeError(ended.stdout[-1500:])
    return np.array(rows[-1].split(), dtype=float), float(loop[1])


@cache
def edges_of_water(n_atoms: int) -> Batch:
    model = read_model(WATER)
    return build_batch([water(n_atoms)], model.elements, model.cutoff)


def speed(
    check: Check,
    dtype: torch.dtype,
    product: bool,
    sizes: Sequence[int] = SIZES,
    portions: Sequence[int | None] = (None,),
) -> dict[str, Any]:
    """Time of energies, forces and virial (or H·v) of water, in µs per atom, edges given; and the memory it takes.

    portions: edges that are evaluated at once, None for the default.
    """
    model = read_model(WATER, dtype=dtype, device=check.device)
    found: dict[str, Any] = {}
    for size, portion in itertools.product(sizes, portions):
        if time.monotonic() > check.until:
            found[f"{size} atoms"] = "no time was left"
            break
        try:
            batch = edges_of_water(size).to(dtype=dtype, device=check.device)
            along = torch.ones(batch.n_atoms, 3, dtype=dtype, device=check.device)
            label = f"{batch.n_atoms} atoms" + (f", {portion} edges at once" if len(portions) > 1 else "")
            if check.device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            times = []
            for _ in range(5 if size < SIZES[-1] else 3):
                check.wait()
                started = time.perf_counter()
                if product:
                    hvp(model, batch, along, max_edges=portion)
                else:
                    evaluate(model, batch, virial=True, max_edges=portion)
                check.wait()
                times.append(time.perf_counter() - started)
            found[f"{label}, µs per atom"] = round(1e6 * min(times) / batch.n_atoms, 3)
            if check.device.startswith("cuda"):
                found[f"{label}, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        except torch.OutOfMemoryError as error:
            found[f"{size} atoms, {portion} edges at once"] = str(error).splitlines()[0]
            break
    return found


def machine(device: str) -> dict[str, Any]:
    found = {
        "hesspot": hesspot.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu memory, GiB": round(properties.total_memory / 2**30, 1)}
    return found


def markdown(check: Check) -> str:
    lines = ["# The check on a GPU", "", "`python benchmarks/gpu_check.py` printed this.", ""]
    for name, found in check.parts.items():
        lines += [f"## {name}: {found['verdict']}", "", "| | |", "| --- | --- |"]
        lines += [f"| {key} | {str(value).replace('|', '/')} |" for key, value in found.items() if key != "verdict"]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="JSON and Markdown are named after it")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--largest", type=int, default=1_000_000, help="atoms of the largest system")
    parser.add_argument("--only", nargs="+", help="beginnings of names: these parts, beside those that --out has")
    options = parser.parse_args()
    check, device = Check(options.device, options.minutes, options.out, options.only), options.device
    many = min(SIZES[-1], options.largest)
    sizes = [size for size in SIZES if size <= many]
    records = Dataset.read(find_dataset("shipped:reactive_chno")).select(part="test").records
    molecules = [record.atoms_only() for record in records[:6]]
    on = of_device(device)
    settings = {
        "kernel, 1 rank": ("", 1),
        "device, 1 rank, verify yes": (f"{on} verify yes", 1),
        "device, 2 ranks": (on, 2),
        "device, 1 rank, max_edges 20000": (f"{on} max_edges 20000", 1),
        "device, single, 1 rank": (f"{on} precision single", 1),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check.part("machine", lambda: machine(device))
        check.part("molecules, float64", lambda: same_numbers(device, MOLECULES, molecules, torch.float64))
        check.part("molecules, float32", lambda: same_numbers(device, MOLECULES, molecules, torch.float32))
        check.part("water, float64", lambda: same_numbers(device, WATER, [water(200)], torch.float64))
        check.part("repulsive core", lambda: same_numbers(device, cored_model(folder), squeezed(), torch.float64))
        check.part("ASE calculator", lambda: calculator(device))
        check.part("i-PI", lambda: i_pi(device, folder))
        check.part("training, AdamW", lambda: gpu_training.losses(device, folder))
        check.part("training, change of device", lambda: gpu_training.change_of_device(device, folder))
        check.part("training, steps of SOAP", lambda: gpu_training.soap_steps(device))
        check.part("training, seconds per epoch", lambda: gpu_training.epochs(device))
        check.part("training, max_edges", lambda: gpu_training.max_edges(device))
        check.part("LAMMPS, committee", lambda: committee(device, folder))
        check.part("LAMMPS, 1536 atoms", lambda: lammps(folder, 1536, settings))
        check.part(f"LAMMPS, {many} atoms", lambda: lammps(folder, many, settings))
        check.part("speed, max_edges", lambda: speed(check, torch.float64, False, [many], PORTIONS))
        check.part("speed, float32", lambda: speed(check, torch.float32, False, sizes))
        check.part("speed of H·v, float64", lambda: speed(check, torch.float64, True, sizes))
        check.part("speed, float64", lambda: speed(check, torch.float64, False, [*sizes, options.largest]))
    return int(any(found["verdict"] == "FAIL" for found in check.parts.values()))


if __name__ == "__main__":
    sys.exit(main())
