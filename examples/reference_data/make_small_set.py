"""Makes the shipped dataset small_chno from nothing but rough guesses of geometries.

    OMP_NUM_THREADS=1 python examples/reference_data/make_small_set.py small_chno.h5

About 70 CPU minutes on one core at RKS B3LYP/6-31G(d). Stationary points are optimised with analytic Hessians and
refused unless they have the right number of imaginary modes; around each, normal modes are sampled (train: 300 to
1000 K, test: 1500 to 2500 K); three reactions get a path of steepest descent, whose ends are optimised and compared
with the named minima: every second point of it, beginning at the saddle point, is for testing, the others for training.
Finished structures are kept in OUT.parts/: a stopped run continues where it was, and OUT is
written again after every stage, so that an unfinished set can be used.
"""

import argparse
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule

from hesspot.analysis.descent import along_imaginary, descend
from hesspot.analysis.harmonic_samples import sample_modes
from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Record
from hesspot.files import held
from hesspot.reference.partial_results import PartStore, assemble
from hesspot.reference.pyscf_labels import Method, NotConverged, PySCFCalculator, compute
from hesspot.reference.sampling import optimise
from hesspot.reference.search import identify

FMAX = 2e-4  #: eV/Å, largest force at a stationary point
TEMPERATURES = {"train": (300.0, 1000.0), "valid": (500.0, 900.0), "test": (1500.0, 2500.0)}  #: K, sampled evenly


@dataclass(frozen=True)
class Point:
    """A stationary point to find, and how many structures to sample around it."""

    system: str
    guess: Atoms
    order: int = 0
    samples: tuple[int, int, int] = (8, 1, 5)


@dataclass(frozen=True)
class Descent:
    """A path of steepest descent: step in Å amu^½, points to each side, minima at its ends."""

    system: str
    step: float
    points: tuple[int, int]
    ends: tuple[frozenset[str], frozenset[str]]


def planar(symbols: str, *coordinates: tuple[float, float]) -> Atoms:
    return Atoms(symbols, [(x, y, 0.0) for x, y in coordinates])


def hcoh(torsion: float) -> Atoms:
    """H-C-O-H with the given torsion in degrees; 180 is trans."""
    atoms = planar("COHH", (0, 0), (1.32, 0), (-0.22, 1.09), (1.60, 0.92))
    atoms.set_dihedral(2, 0, 1, 3, torsion, indices=[3])
    return atoms


FEW = (4, 1, 2)
STAGES: list[list[Point]] = [
    [
        Point("HCN", molecule("HCN")),
        Point("HNC", Atoms("NCH", [(0, 0, 0), (0, 0, 1.17), (0, 0, -1.0)])),
        Point("HCN=HNC", planar("CNH", (0, 0), (1.19, 0), (0.356, 1.125)), order=1),
        Point("NH3", molecule("NH3")),
        Point("NH3-inversion", planar("NHHH", (0, 0), (1.01, 0), (-0.505, 0.8747), (-0.505, -0.8747)), order=1),
        Point("H2CO", molecule("H2CO")),
        Point("H2CO=H2+CO", planar("COHH", (0, 0), (1.17, 0), (-1.052, 0.322), (-0.599, 1.483)), order=1),
        Point("H2", molecule("H2"), samples=FEW),
        Point("CO", molecule("CO"), samples=FEW),
        Point("H2O", molecule("H2O")),
        Point("CH4", molecule("CH4")),
    ],
    [
        Point("trans-HCOH", hcoh(180.0)),
        Point("H2CO=trans-HCOH", planar("COHH", (0, 0), (1.30, 0), (0.745, 1.041), (-0.487, -0.998)), order=1),
        Point("HNO", planar("NOH", (0, 0), (1.20, 0), (-0.33, 1.01))),
        Point("trans-N2H2", planar("NNHH", (0, 0), (1.24, 0), (-0.30, 0.99), (1.54, -0.99))),
        Point("C2H2", molecule("C2H2")),
        Point("CH3OH", molecule("CH3OH"), samples=(6, 1, 3)),
    ],
    [
        Point("cis-HCOH", hcoh(0.0)),
        Point("N2H2-inversion", planar("NNHH", (0, 0), (1.22, 0), (-0.33, 1.00), (2.21, -0.05)), order=1),
        Point("HCOH-torsion", hcoh(90.0), order=1),
    ],
]
PATHS = [
    Descent("HCN=HNC", 0.25, (6, 6), (frozenset({"HCN"}), frozenset({"HNC"}))),
    Descent("H2CO=H2+CO", 0.25, (6, 7), (frozenset({"H2CO"}), frozenset({"H2", "CO"}))),
    Descent("NH3-inversion", 0.12, (7, 0), (frozenset({"NH3"}), frozenset({"NH3"}))),
]


class Maker:
    """Computes what is missing and keeps the records in the order of the final set."""

    def __init__(self, out: Path, method: Method, seed: int, minutes: float) -> None:
        self.out, self.method, self.seed = out, method, seed
        self.store = PartStore(out.with_name(out.name + ".parts"), method, self.say)
        self.calculator = PySCFCalculator(method)
        self.records: dict[str, Record] = {}
        self.ends: dict[str, str] = {}
        self.deadline = time.process_time() + 60 * minutes

    def say(self, text: str) -> None:
        print(f"{time.process_time() / 60:6.1f} min  {text}", flush=True)

    def out_of_time(self) -> bool:
        return time.process_time() > self.deadline

    def label(self, record: Record, *, stability: bool = False) -> Record | None:
        """The record with its labels, from the store or computed; None where nothing converged."""
        done = self.store.get(record.name, record)
        if done is None:
            try:
                labels = compute(record.atoms_only(), self.method, stability=stability)
            except NotConverged as error:
                self.say(f"{record.name}: skipped, {error}")
                return None
            done = replace(
                record,
                energy=labels.energy,
                forces=labels.forces,
                hessian=labels.hessian,
                properties=record.properties | labels.properties,
            )
            if record.kind in ("minimum", "saddle"):
                modes = normal_modes(record.atoms_only(), labels.hessian)
                done.properties["n_imaginary"] = float(modes.n_imaginary)
                self.say(f"{record.name}: cm⁻¹ {np.array2string(modes.frequencies, precision=1)}")
            self.store.put(done)
        done = replace(done, part=record.part)
        self.records[done.name] = done
        return done

    def stationary(self, point: Point) -> None:
        kind = ("minimum", "saddle")[point.order]
        name = f"{point.system}_{kind}"
        record = self.store.get(name)
        if record is None:
            try:
                atoms = optimise(point.guess, self.calculator, point.order, FMAX)
            except (RuntimeError, NotConverged) as error:
                self.say(f"{name}: skipped, {error}")
                return
            record = Record.from_atoms(atoms, name, part="train", kind=kind, system=point.system)
        record = self.label(record, stability=True)
        if record is not None and record.properties["n_imaginary"] != point.order:
            self.say(f"{name}: skipped, it has {record.properties['n_imaginary']:.0f} imaginary modes")
            del self.records[name]

    def samples(self, point: Point) -> Iterator[Record]:
        """Unlabelled samples around a point."""
        centre = self.records.get(f"{point.system}_{('minimum', 'saddle')[point.order]}")
        if centre is None:
            return
        for (part, (low, high)), count in zip(TEMPERATURES.items(), point.samples, strict=True):
            for i, temperature in enumerate(np.linspace(low, high, count)):
                name = f"{point.system}_nms_{part}_{i:02d}"
                rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
                atoms = sample_modes(centre.atoms_only(), centre.hessian, temperature, rng)
                yield Record.from_atoms(
                    atoms,
                    name,
                    part=part,
                    kind="nms",
                    system=point.system,
                    properties={"temperature": float(temperature)},
                )

    def path(self, path: Descent) -> None:
        saddle = self.records.get(f"{path.system}_saddle")
        if saddle is None:
            return
        found = []
        for side, count, sign in zip("ab", path.points, (1, -1), strict=True):
            here, energy = along_imaginary(saddle.atoms_only(), saddle.hessian, sign * path.step), saddle.energy
            for i in range(1, count + 1):
                name = f"{path.system}_irc_{side}{i:02d}"
                part = "test" if i % 2 else "train"
                record = self.label(Record.from_atoms(here, name, part=part, kind="irc", system=path.system))
                if record is None:
                    return
                if record.energy > energy:
                    self.say(f"{name}: the path ends here, it goes uphill")
                    del self.records[name]
                    break
                last, energy = record, record.energy
                here = descend(here, record.forces, record.hessian, path.step)
            if count:
                found.append(self.end_of(path.system, side, last))
        expected = set(path.ends)
        if not set(found) <= expected or (all(path.points) and set(found) != expected):
            self.say(f"{path.system}: left out, the path leads to {found} and not to {path.ends}")
            self.records = {
                name: record
                for name, record in self.records.items()
                if (record.system, record.kind) != (path.system, "irc")
            }

    def end_of(self, system: str, side: str, last: Record) -> frozenset[str]:
        """The named minima that the fragments of a path's optimised end are equal to."""
        name = f"end_of_{system}_irc_{side}"
        done = self.store.get(name, hessian=False)
        if done is None:
            atoms = optimise(last.atoms_only(), self.calculator, 0, fmax=0.05, strict=False)
            done = Record.from_atoms(atoms, name)
            self.store.put(done)
        atoms = done.atoms_only()
        names = identify(atoms, [record for record in self.records.values() if record.kind == "minimum"])
        self.ends[f"{system}_irc_{side}"] = " + ".join(sorted(names))
        self.say(f"{name}: {self.ends[f'{system}_irc_{side}']}")
        return names

    def write(self) -> None:
        assemble(
            list(self.records.values()),
            self.method,
            self.out,
            script="examples/reference_data/make_small_set.py",
            seed=self.seed,
            path_ends=self.ends,
            temperatures=TEMPERATURES,
        )
        self.say(f"{self.out}: {len(self.records)} structures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="start nothing after this CPU time")
    arguments = parser.parse_args()
    with held(f"{arguments.out}.parts", "the labels"):
        make(Maker(arguments.out, Method(), arguments.seed, arguments.minutes))


def make(maker: Maker) -> None:
    """All stages, as far as there is time."""
    for stage, points in enumerate(STAGES):
        for point in points:
            if not maker.out_of_time():
                maker.stationary(point)
        for point in points:
            for record in maker.samples(point):
                if not maker.out_of_time():
                    maker.label(record)
            maker.write()
        for path in PATHS if stage == 0 else []:
            if not maker.out_of_time():
                maker.path(path)
        maker.write()


if __name__ == "__main__":
    main()
