"""How long do runs with the shipped models stay physical?

    OMP_NUM_THREADS=1 python benchmarks/stability.py stability
    python benchmarks/stability.py stability --table

Molecules of the test parts, relaxed with the model: 1 ns in LAMMPS at constant energy and with Langevin dynamics, 300
and 1000 K; water in a box at 300 K, 1 ns at constant volume and at 1 bar; 100 ps of path integrals, 16 beads in i-PI.
The first unphysical event ends a run's time, after X. Fu et al., Forces are not Enough (arXiv 2210.07237):

- bond: the length of a bond of the start, 0.5 Å from what it was there (theirs); of path integrals, of the centroids;
- contact: two atoms nearer than 0.6 of the sum of their covalent radii;
- temperature: the mean of 5 ps is more than twice, or less than half of the stated one;
- energy: the mean of 5 ps of what is conserved has moved by 5 meV per atom (not with the Langevin thermostats of NVT
  and path integrals, through which the error of a finite step leaves and enters for ever);
- volume: it has changed by a fifth;
- what LAMMPS or i-PI say where they stop.

A finished case is a file in the folder and is not run again; one that was killed starts anew, path integrals go on.
"""

import argparse
import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ase
import numpy as np
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.optimize import LBFGS

from hesspot.analysis.run_output import column, read_ipi_properties
from hesspot.calculators import HesspotCalculator
from hesspot.console import say
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.export import read_model
from hesspot.files import write_atomically
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings
from hesspot.lammps import run_lammps
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import write_data
from hesspot.models.shipped import find_model

#: Å; of the sum of covalent radii, the longest bond and the least distance of two atoms; meV per atom; of the volume.
BOND, BONDED, CONTACT, ENERGY, VOLUME = 0.5, 1.3, 0.6, 5.0, 0.2
#: Of the temperature, and ps of a mean.
TEMPERATURE, WINDOW = 2.0, 5.0
TIMESTEP = 0.5  # fs
FRAME, FRAME_OF_BOX = 10.0, 100.0  # fs
BEADS, BEAD_STRIDE = 16, 20
FRAMES_AT_ONCE = 2000

_INPUT = """units metal
boundary {boundary}
read_data start.data
pair_style hesspot verify yes
pair_coeff * * "{model}" {elements}
neighbor 1.0 {neighbors}
neigh_modify every 1 delay 0 check yes
compute_modify thermo_temp extra/dof {held}
velocity all create {first} {seed} mom yes rot {rotation} loop geom temp thermo_temp
timestep {step}
{integrator}
variable conserved equal econserve
variable volume equal vol
fix told all ave/time 10 {samples} {window} c_thermo_temp v_conserved v_volume file means.txt format " %.12g"
dump 1 all custom {every} frames.txt xu yu zu
dump_modify 1 sort id format float %.5f
thermo_style custom step temp econserve vol
thermo {window}
run {steps}
"""


@dataclass(frozen=True)
class Case:
    """ensemble: nve, nvt, npt or pimd; length: ps, temperature: K."""

    model: str
    data: str
    system: str
    ensemble: str
    temperature: float
    length: float

    @property
    def name(self) -> str:
        return f"{self.model}-{self.system.strip('()').replace(')', '')}-{self.ensemble}-{self.temperature:g}"


@dataclass(frozen=True)
class Outcome:
    """time: ps to the first event, or all of them; drift: meV per atom of what is conserved, over the run."""

    case: Case
    atoms: int
    weights: str
    time: float
    event: str
    temperature: float
    drift: float
    seconds: float


def all_cases() -> Iterator[Case]:
    """The hottest first."""
    data = {"grown": "shipped:reactive_chno", "water": "shipped:water_gfn1"}
    molecules = {"grown": ("CH3NH2", "E-HCOOH", "acetaldehyde"), "water": ("(H2O)1", "(H2O)2")}

    def of_molecules(ensemble: str, temperature: float) -> Iterator[Case]:
        for model, systems in molecules.items():
            yield from (Case(model, data[model], system, ensemble, temperature, 1000.0) for system in systems)

    yield from of_molecules("nvt", 1000.0)
    yield from of_molecules("nve", 1000.0)
    yield Case("grown", data["grown"], "CH3NH2", "pimd", 300.0, 100.0)
    yield Case("water", data["water"], "water_32", "npt", 300.0, 1000.0)
    yield from of_molecules("nvt", 300.0)
    yield Case("water", data["water"], "(H2O)2", "pimd", 300.0, 100.0)
    yield Case("water", data["water"], "water_32", "nvt", 300.0, 1000.0)
    yield from of_molecules("nve", 300.0)


def start_of(case: Case) -> ase.Atoms:
    """The first of the system's structures in the test part, a minimum if there is one, relaxed with the model."""
    records = [r for r in Dataset.read(find_dataset(case.data)) if (r.part, r.system) == ("test", case.system)]
    atoms = min(records, key=lambda record: record.kind != "minimum").atoms_only()
    atoms.calc = HesspotCalculator(find_model(f"shipped:{case.model}"))
    LBFGS(atoms, logfile=None).run(fmax=0.5 if atoms.pbc.any() else 0.01, steps=500)
    atoms.calc = None
    return atoms


class Watch:
    """Bonds and contacts along frames, and the first that is not physical."""

    def __init__(self, start: ase.Atoms):
        first, second = np.triu_indices(len(start), 1)
        radii = covalent_radii[start.numbers]
        self.radii = radii[first] + radii[second]
        self.pairs, self.start = (first, second), start
        self.lengths = self.distances(start.positions[None], start.cell.array[None])[0]
        self.bonded = self.lengths < BONDED * self.radii

    def distances(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """(frames, pairs) Å, of the nearest images."""
        vectors = positions[:, self.pairs[1]] - positions[:, self.pairs[0]]
        if not self.start.pbc.any():
            return np.linalg.norm(vectors, axis=-1)
        return np.array([find_mic(v, cell, pbc=True)[1] for v, cell in zip(vectors, cells, strict=True)])

    def first_event(self, positions: np.ndarray, cells: np.ndarray) -> tuple[int, str] | None:
        """Number of a frame, and what is seen there."""
        distances = self.distances(positions, cells)
        stretched = self.bonded & (np.abs(distances - self.lengths) > BOND)
        found = np.argwhere(stretched | (distances < CONTACT * self.radii) | ~np.isfinite(distances))
        if not len(found):
            return None
        frame, pair = found[0]
        names = "–".join(self.start.symbols[atoms[pair]] for atoms in self.pairs)
        what = "bond" if self.bonded[pair] else "contact"
        return int(frame), f"{what} {names} of {distances[frame, pair]:.2f} Å"


def is_langevin(case: Case) -> bool:
    """Whether a run's heat goes on growing: LAMMPS keeps no exact account of it, and with PILE in i-PI the error of a
    finite step is work done at each step (D. Sivak, J. Chodera, G. Crooks, Phys. Rev. X 3, 011007, 2013)."""
    return case.ensemble in ("nvt", "pimd")


def of_means(case: Case, means: np.ndarray, n_atoms: int) -> tuple[float, str] | None:
    """The first event in rows of ps, K, eV and Å³."""
    ps, kelvin, energies, volumes = means.T
    drift = 1e3 * np.abs(energies - energies[0]) / n_atoms
    off = (kelvin > TEMPERATURE * case.temperature) | (kelvin < case.temperature / TEMPERATURE)
    faults = [(off, "{:.0f} K", kelvin)]
    if not is_langevin(case):
        faults.append((drift > ENERGY, "an energy that is off by {:.1f} meV per atom", drift))
    if case.ensemble == "npt":
        faults.append((np.abs(volumes / volumes[0] - 1) > VOLUME, "a volume of {:.0f} Å³", volumes))
    events = [(ps[bad][0], words.format(values[bad][0])) for bad, words, values in faults if bad.any()]
    return min(events, default=None)


def lammps(case: Case, start: ase.Atoms, folder: Path) -> tuple[float, str, np.ndarray]:
    """ps without an event, the event, and means: rows of ps, K, eV and Å³."""
    model = read_model(find_model(f"shipped:{case.model}"))
    write_data(folder / "start.data", start, model.elements, electrons=model.electrons)
    box, t = bool(start.pbc.any()), case.temperature
    langevin = f"fix 1 all nve\nfix 2 all langevin {t} {t} 0.1 4711"
    window, steps = round(1e3 * WINDOW / TIMESTEP), round(1e3 * case.length / TIMESTEP)
    text = _INPUT.format(
        boundary="p p p" if box else "s s s",
        model=model.location,
        elements=" ".join(model.elements),
        neighbors="bin" if box else "nsq",
        first=t if box or case.ensemble == "nvt" else 2 * t,
        seed=4710,
        rotation="no" if box else "yes",
        held=3 if box else {"nve": 6, "nvt": 0}[case.ensemble],
        step=1e-3 * TIMESTEP,
        integrator={
            "nve": "fix 1 all nve",
            "nvt": langevin,
            "npt": f"fix 1 all npt temp {t} {t} 0.1 iso 1.0 1.0 1.0",
        }[case.ensemble],
        samples=window // 10,
        window=window,
        every=round((FRAME_OF_BOX if box else FRAME) / TIMESTEP),
        steps=steps,
    )
    ended = run_lammps(text, workdir=folder)
    means = np.loadtxt(folder / "means.txt", ndmin=2)
    if len(means):
        means[:, 0] *= 1e-3 * TIMESTEP
    events = [] if not ended.returncode else [(1e-3 * TIMESTEP * last_step(ended.stdout), error_of(ended.stdout))]
    events += filter(None, [of_means(case, means, len(start))]) if len(means) else []
    watch = Watch(start)
    for steps_of, positions, cells in frames_of(folder / "frames.txt", len(start)):
        if seen := watch.first_event(positions, cells):
            events.append((1e-3 * TIMESTEP * steps_of[seen[0]], seen[1]))
            break
    reached, event = min(events, default=(case.length, ""))
    return float(reached), event, means


def last_step(output: str) -> int:
    rows = [line.split() for line in output.splitlines()]
    return max((int(row[0]) for row in rows if len(row) == 4 and row[0].isdigit()), default=0)


def frames_of(path: Path, n_atoms: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Steps, positions (frames, atoms, 3) and cells (frames, 3, 3), some thousand at once."""
    with path.open() as file:
        while True:
            steps, rows, cells = [], [], []
            while len(steps) < FRAMES_AT_ONCE:
                head = [file.readline() for _ in range(9)]
                body = [file.readline() for _ in range(n_atoms)]
                if not body[-1].endswith("\n"):
                    break
                steps.append(int(head[1]))
                bounds = [line.split() for line in head[5:8]]
                cells.append(np.diag([float(bound[1]) - float(bound[0]) for bound in bounds]))
                rows.append("".join(body))
            if not steps:
                return
            positions = np.array("".join(rows).split(), dtype=float).reshape(len(steps), n_atoms, 3)
            yield np.array(steps), positions, np.array(cells)


def ipi(case: Case, start: ase.Atoms, folder: Path) -> tuple[float, str, np.ndarray]:
    """As `lammps`."""
    run, steps = folder / "ipi", round(1e3 * case.length / TIMESTEP)
    if not (run / "run.sh").exists():
        settings = RunSettings(case.temperature, BEADS, TIMESTEP, steps, BEAD_STRIDE, velocities="thermal")
        write_case("pimd", start, [find_model(f"shipped:{case.model}").absolute()], run, settings)
        text = (run / "input.xml").read_text()
        text = text.replace("> positions </trajectory>", "> x_centroid </trajectory>")
        (run / "input.xml").write_text(text)
    programs = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    script, environ = ["bash", str(run / "run.sh")], {**os.environ, "PATH": programs}
    ended = subprocess.run(script, capture_output=True, text=True, env=environ)
    table = read_ipi_properties(run / "simulation.out")
    ps = 1e-3 * column(table, "time")
    per_window = round(1e3 * WINDOW / (TIMESTEP * BEAD_STRIDE))
    values = np.stack([ps, column(table, "temperature"), column(table, "conserved"), np.zeros_like(ps)], 1)[1:]
    whole = len(values) // per_window * per_window
    means = values[:whole].reshape(-1, per_window, 4).mean(1)
    said = ended.stderr.strip().splitlines()
    if ended.returncode and not said:
        raise SystemExit(f"{case.name} was ended from outside ({ended.returncode}); start again to go on with it")
    events = [(float(ps[-1]), said[-1])] if ended.returncode else []
    events += filter(None, [of_means(case, means, len(start))]) if len(means) else []
    frames = [frame.arrays["x_centroid"] for frame in ase.io.iread(next(run.glob("simulation.pos*")), format="extxyz")]
    if seen := Watch(start).first_event(np.array(frames), np.zeros((len(frames), 3, 3))):
        events.append((1e-2 * TIMESTEP * BEAD_STRIDE * seen[0], seen[1]))
    reached, event = min(events, default=(case.length, ""))
    return reached, event, means


def outcome(case: Case, folder: Path) -> Outcome:
    """Of a finished case from its file, of another from a run."""
    kept = folder / f"{case.name}.json"
    if kept.exists():
        told = json.loads(kept.read_text())
        return Outcome(**{**told, "case": Case(**told["case"])})
    work = folder / case.name
    work.mkdir(parents=True, exist_ok=True)
    start = start_of(case)
    run: Callable[[Case, ase.Atoms, Path], tuple[float, str, np.ndarray]] = ipi if case.ensemble == "pimd" else lammps
    wall = time.monotonic()
    reached, event, means = run(case, start, work)
    weights = read_model(find_model(f"shipped:{case.model}")).metadata.weights_sha256[:12]
    kelvin, drift = (means[:, 1].mean(), 1e3 * (means[-1, 2] - means[0, 2]) / len(start)) if len(means) else (0.0, 0.0)
    seconds = time.monotonic() - wall
    found = Outcome(case, len(start), weights, reached, event, float(kelvin), float(drift), seconds)
    write_atomically(kept, json.dumps(asdict(found), indent=1).encode())
    (work / "frames.txt").unlink(missing_ok=True)
    say(f"{case.name}: {describe(found)} ({seconds:.0f} s)")
    return found


def describe(found: Outcome) -> str:
    asked = f"{found.case.length:g} ps"
    return f"{found.event} after {found.time:g} of {asked}" if found.event else f"{asked} without an event"


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    head = "| model | start | run | K | ps without an event | event | mean K | drift, meV/atom |"
    rows = [
        f"| `{o.case.model}` | {o.case.system} | {o.case.ensemble.upper()} | {o.case.temperature:g} | "
        f"{o.time:g} of {o.case.length:g} | {o.event or 'none'} | {o.temperature:.0f} | "
        f"{'' if is_langevin(o.case) else f'{o.drift:.1g}'} |"
        for o in sorted(outcomes, key=lambda o: (o.case.model, o.case.length < 1000, o.case.system))
    ]
    return "\n".join([head, "|" + " --- |" * 8, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of the finished cases, and run nothing")
    parser.add_argument("--only", default="", help="cases whose names hold this text")
    parser.add_argument("--shorter", type=float, default=1.0, help="a fraction of the lengths, to try it out")
    arguments = parser.parse_args()
    cases = [replace(case, length=case.length * arguments.shorter) for case in all_cases()]
    cases = [case for case in cases if arguments.only in case.name]
    if arguments.table:
        cases = [case for case in cases if (arguments.folder / f"{case.name}.json").exists()]
    print(table([outcome(case, arguments.folder) for case in cases]))


if __name__ == "__main__":
    main()
