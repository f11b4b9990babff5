"""Makes the shipped dataset reactive_chno from nothing but rough guesses of geometries.

    python examples/reference_data/make_reactive_set.py reactive_chno.h5 --jobs 2
    mpirun -n 9 python -m mpi4py.futures examples/reference_data/make_reactive_set.py reactive_chno.h5 --mpi

RKS B3LYP/6-31G(d), in three parts: RTP, the minima and saddle points, split into train, valid and test by reaction;
IRC, points on the paths of all reactions; NMS, normal-mode samples of the held-out reactions (both for testing only).
Every saddle point has one imaginary mode, and its path is followed, optimised at both ends, and compared with the
minima that the reaction names; a reaction that fails is left out with a word. Finished structures are kept in
OUT.parts/: a stopped run continues where it was, and OUT is written again after every stage.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule

from hesspot.analysis.descent import steepest_descent
from hesspot.analysis.harmonic_samples import sample_modes
from hesspot.data import Record
from hesspot.files import held
from hesspot.pool import executor
from hesspot.reference import search
from hesspot.reference.partial_results import PartStore, assemble
from hesspot.reference.pyscf_labels import Labels, Method, NotConverged, compute

METHOD = Method()
#: K; samples are spread evenly over this range.
TEMPERATURES = (300.0, 1500.0)
#: Samples of each stationary point of a held-out reaction; every second one has a Hessian.
SAMPLES = 5
#: Points on each side of a path; every third one of a held-out reaction has a Hessian.
PATH_POINTS, HESSIAN_EVERY = 6, 3


@dataclass(frozen=True)
class Minimum:
    """A molecule to find."""

    system: str
    guess: Atoms


@dataclass(frozen=True)
class Reaction:
    """A saddle point to find, the minima that its path must lead to, and the part of the data it belongs to.

    The minima belong to the part of the reaction that names them, train where several do. `step` is the length of a
    step along the path in Å amu^½; of a symmetric reaction one side is followed.
    """

    name: str
    guess: Atoms
    ends: tuple[frozenset[str], frozenset[str]]
    part: str = "train"
    step: float = 0.2

    @property
    def symmetric(self) -> bool:
        return self.ends[0] == self.ends[1]


def planar(symbols: str, *coordinates: tuple[float, float]) -> Atoms:
    return Atoms(symbols, [(x, y, 0.0) for x, y in coordinates])


def turned(atoms: Atoms, dihedral: tuple[int, int, int, int], angle: float, group: Sequence[int]) -> Atoms:
    """The structure with one dihedral angle set to `angle` degrees, the atoms of `group` turning with it."""
    atoms = atoms.copy()
    atoms.set_dihedral(*dihedral, angle, indices=list(group))
    return atoms


def hcoh(torsion: float) -> Atoms:
    """H-C-O-H with the given torsion in degrees; 180 is trans."""
    return turned(planar("COHH", (0, 0), (1.32, 0), (-0.22, 1.09), (1.60, 0.92)), (2, 0, 1, 3), torsion, [3])


def hono(torsion: float) -> Atoms:
    """O=N-O-H with the given torsion in degrees; 180 is trans."""
    return turned(planar("NOOH", (0, 0), (-0.62, 1.0), (1.40, 0), (1.70, 0.92)), (1, 0, 2, 3), torsion, [3])


def hydroxylamine(torsion: float) -> Atoms:
    """NH2OH turned about its N-O bond; 180 has O-H anti to the lone pair's opposite side, between the N-H bonds."""
    atoms = Atoms("NOHHH", [(0, 0, 0), (1.45, 0, 0), (-0.35, 0.55, 0.80), (-0.35, 0.55, -0.80), (1.70, 0.92, 0)])
    return turned(atoms, (2, 0, 1, 4), torsion, [4])


def formic_acid(torsion: float) -> Atoms:
    """O=C-O-H with the given torsion in degrees; 0 is Z, the more stable one."""
    atoms = planar("COOHH", (0, 0), (-0.62, 1.03), (1.34, 0), (-0.62, -0.90), (1.60, 0.92))
    return turned(atoms, (1, 0, 2, 4), torsion, [4])


def methylamine(planar_nitrogen: bool) -> Atoms:
    atoms = molecule("H3CNH2")
    if planar_nitrogen:
        axis = atoms.positions[1] - atoms.positions[0]
        axis /= np.linalg.norm(axis)
        across = atoms.positions[3] - atoms.positions[4]
        across /= np.linalg.norm(across)
        for i, sign in ((3, 1), (4, -1)):
            atoms.positions[i] = atoms.positions[1] + 1.0 * (0.5 * axis + sign * 0.866 * across)
    return atoms


def end(*systems: str) -> frozenset[str]:
    return frozenset(systems)


ETHANE, METHANOL, PEROXIDE = molecule("C2H6"), molecule("CH3OH"), molecule("H2O2")

REACTIONS = [
    Reaction("HCN=HNC", planar("CNH", (0, 0), (1.19, 0), (0.356, 1.125)), (end("HCN"), end("HNC"))),
    Reaction(
        "NH3-inversion",
        planar("NHHH", (0, 0), (1.01, 0), (-0.505, 0.8747), (-0.505, -0.8747)),
        (end("NH3"), end("NH3")),
        step=0.12,
    ),
    Reaction(
        "H2CO=H2+CO",
        planar("COHH", (0, 0), (1.17, 0), (-1.052, 0.322), (-0.599, 1.483)),
        (end("H2CO"), end("H2", "CO")),
    ),
    Reaction(
        "H2CO=trans-HCOH",
        planar("COHH", (0, 0), (1.30, 0), (0.745, 1.041), (-0.487, -0.998)),
        (end("H2CO"), end("trans-HCOH")),
    ),
    Reaction("HCOH-torsion", hcoh(90.0), (end("trans-HCOH"), end("cis-HCOH"))),
    Reaction(
        "N2H2-inversion",
        planar("NNHH", (0, 0), (1.22, 0), (-0.33, 1.00), (2.21, -0.05)),
        (end("trans-N2H2"), end("cis-N2H2")),
    ),
    Reaction("CH3OH-torsion", turned(METHANOL, (3, 1, 0, 2), 120.0, [3]), (end("CH3OH"), end("CH3OH"))),
    Reaction("C2H6-rotation", turned(ETHANE, (2, 0, 1, 5), 120.0, [5, 6, 7]), (end("C2H6"), end("C2H6"))),
    Reaction("H2O2-torsion", turned(PEROXIDE, (2, 0, 1, 3), 180.0, [3]), (end("H2O2"), end("H2O2"))),
    Reaction("HONO-torsion", hono(90.0), (end("trans-HONO"), end("cis-HONO"))),
    Reaction("NH2OH-torsion", hydroxylamine(10.0), (end("trans-NH2OH"), end("cis-NH2OH"))),
    Reaction(
        "CH3OH=H2+H2CO",
        Atoms(
            "COHHHH",
            [(0, 0, 0), (1.37, 0, 0), (0.30, 1.45, 0), (1.15, 1.22, 0), (-0.55, -0.45, 0.93), (-0.55, -0.45, -0.93)],
        ),
        (end("CH3OH"), end("H2", "H2CO")),
    ),
    Reaction("HNCO=HOCN", planar("CNOH", (0, 0), (-1.05, 0.62), (1.08, 0.64), (0, 1.45)), (end("HNCO"), end("HOCN"))),
    Reaction(
        "CH3NC=CH3CN",
        Atoms(
            "NCCHHH",
            [(0, 0, 0), (1.18, 0, 0), (0.45, 1.80, 0), (-0.55, 2.20, 0), (0.95, 2.15, 0.90), (0.95, 2.15, -0.90)],
        ),
        (end("CH3NC"), end("CH3CN")),
    ),
    Reaction(
        "formamide=formimidic-acid",
        planar("CONHHH", (0, 0), (1.08, 0.62), (-1.10, 0.68), (0, -1.09), (0.05, 1.36), (-2.05, 0.40)),
        (end("formamide"), end("formimidic-acid")),
    ),
    Reaction(
        "CH2NH-inversion",
        planar("CNHHH", (0, 0), (1.22, 0), (2.21, 0), (-0.55, 0.94), (-0.55, -0.94)),
        (end("CH2NH"), end("CH2NH")),
        part="valid",
    ),
    Reaction(
        "CH2NH=HCNH2",
        Atoms("CNHHH", [(0, 0, 0), (1.30, 0, 0), (0.60, 1.10, 0.0), (-0.60, -0.90, 0.0), (1.85, -0.80, 0.25)]),
        (end("CH2NH"), end("HCNH2")),
        part="valid",
    ),
    Reaction("HCOOH-torsion", formic_acid(90.0), (end("Z-HCOOH"), end("E-HCOOH")), part="test"),
    Reaction("CH3NH2-inversion", methylamine(True), (end("CH3NH2"), end("CH3NH2")), part="test", step=0.15),
    Reaction(
        "vinyl-alcohol=acetaldehyde",
        Atoms(
            "CCOHHHH",
            [
                (0, 0, 0),
                (-1.20, 0.70, 0),
                (1.08, 0.63, 0),
                (0, -1.09, 0),
                (0.15, 1.42, 0),
                (-1.75, 0.40, 0.90),
                (-1.75, 0.40, -0.90),
            ],
        ),
        (end("vinyl-alcohol"), end("acetaldehyde")),
        part="test",
    ),
]

MINIMA = [
    Minimum("H2", molecule("H2")),
    Minimum("N2", molecule("N2")),
    Minimum("CO", molecule("CO")),
    Minimum("H2O", molecule("H2O")),
    Minimum("NH3", molecule("NH3")),
    Minimum("CH4", molecule("CH4")),
    Minimum("HCN", molecule("HCN")),
    Minimum("HNC", Atoms("NCH", [(0, 0, 0), (0, 0, 1.17), (0, 0, -1.0)])),
    Minimum("H2CO", molecule("H2CO")),
    Minimum("trans-HCOH", hcoh(180.0)),
    Minimum("cis-HCOH", hcoh(0.0)),
    Minimum("HNO", planar("NOH", (0, 0), (1.20, 0), (-0.33, 1.01))),
    Minimum("trans-N2H2", planar("NNHH", (0, 0), (1.24, 0), (-0.30, 0.99), (1.54, -0.99))),
    Minimum("cis-N2H2", planar("NNHH", (0, 0), (1.24, 0), (-0.37, 0.97), (1.61, 0.97))),
    Minimum("C2H2", molecule("C2H2")),
    Minimum("CO2", molecule("CO2")),
    Minimum("H2O2", PEROXIDE),
    Minimum("CH3OH", METHANOL),
    Minimum("CH2NH", planar("CNHHH", (0, 0), (1.27, 0), (1.65, 0.95), (-0.62, 0.90), (-0.50, -0.96))),
    Minimum("HCNH2", planar("CNHHH", (0, 0), (1.31, 0), (-0.25, 1.07), (1.85, 0.87), (1.85, -0.87))),
    Minimum("C2H4", molecule("C2H4")),
    Minimum("C2H6", ETHANE),
    Minimum("CH3NH2", methylamine(False)),
    Minimum("trans-NH2OH", hydroxylamine(125.0)),
    Minimum("cis-NH2OH", hydroxylamine(-55.0)),
    Minimum("N2H4", molecule("N2H4")),
    Minimum("trans-HONO", hono(180.0)),
    Minimum("cis-HONO", hono(0.0)),
    Minimum("HNCO", planar("CNOH", (0, 0), (-1.21, 0), (1.17, 0.05), (-1.75, 0.83))),
    Minimum("HOCN", planar("CNOH", (0, 0), (-1.16, 0), (1.30, 0), (1.63, 0.91))),
    Minimum("Z-HCOOH", formic_acid(0.0)),
    Minimum("E-HCOOH", formic_acid(180.0)),
    Minimum("ketene", molecule("H2CCO")),
    Minimum("CH3CN", molecule("CH3CN")),
    Minimum(
        "CH3NC",
        Atoms(
            "NCCHHH",
            [(0, 0, 0), (1.17, 0, 0), (-1.42, 0, 0), (-1.79, 1.03, 0), (-1.79, -0.51, 0.89), (-1.79, -0.51, -0.89)],
        ),
    ),
    Minimum(
        "formamide",
        planar("CONHHH", (0, 0), (-0.62, 1.05), (1.36, 0), (-0.62, -0.91), (1.87, -0.87), (1.87, 0.87)),
    ),
    Minimum(
        "formimidic-acid",
        planar("CONHHH", (0, 0), (1.18, 0.64), (-1.10, 0.62), (0.05, -1.09), (0.95, 1.58), (-1.92, 0.02)),
    ),
    Minimum("acetaldehyde", molecule("CH3CHO")),
    Minimum(
        "vinyl-alcohol",
        planar(
            "CCOHHHH",
            (0, 0),
            (-1.15, 0.67),
            (1.18, 0.66),
            (0.05, -1.08),
            (0.98, 1.60),
            (-1.25, 1.75),
            (-2.05, 0.07),
        ),
    ),
    Minimum("ethanol", molecule("CH3CH2OH")),
    Minimum("dimethyl-ether", molecule("CH3OCH3")),
    Minimum("propene", molecule("C3H6_Cs")),
    Minimum("propyne", molecule("C3H4_C3v")),
    Minimum("glyoxal", molecule("OCHCHO")),
]
PART_OF = {name: "train" for name in (minimum.system for minimum in MINIMA)} | {
    name: reaction.part
    for part in ("test", "valid", "train")
    for reaction in REACTIONS
    if reaction.part == part
    for name in reaction.ends[0] | reaction.ends[1]
}


def with_labels(record: Record, labels: Labels) -> Record:
    return replace(
        record,
        energy=labels.energy,
        forces=labels.forces,
        hessian=labels.hessian,
        properties=record.properties | labels.properties,
    )


def make_stationary(folder: Path, name: str, system: str, guess: Atoms, order: int) -> Record | str:
    """The labelled stationary point, from the store or found now; or the reason why there is none."""
    store = PartStore(folder, METHOD)
    record = store.get(name)
    if record is None:
        try:
            atoms, labels = search.find_stationary(guess, order, METHOD)
        except NotConverged as error:
            return str(error)
        record = with_labels(Record.from_atoms(atoms, name, kind=("minimum", "saddle")[order], system=system), labels)
        store.put(record)
    return record


def make_path(folder: Path, reaction: Reaction, saddle: Record, minima: list[Record]) -> list[Record] | str:
    """The labelled path, if it leads to the minima that the reaction names; or what is wrong with it."""
    store = PartStore(folder, METHOD)
    found, path = [], []
    for side, sign in (("a", 1),) if reaction.symmetric else (("a", 1), ("b", -1)):
        last = store.get(f"{reaction.name}_end_{side}", hessian=False)
        try:
            points = _side(store, reaction, saddle, side, sign)
            if not points:
                return "the path does not go down"
            path += points
            if last is None:
                atoms = search.relax_end(points[-1].atoms_only(), METHOD)
                last = Record.from_atoms(atoms, f"{reaction.name}_end_{side}")
                store.put(last)
        except NotConverged as error:
            return str(error)
        found.append(search.identify(last.atoms_only(), minima))
    if set(found) != set(reaction.ends):
        return f"the path leads to {[sorted(names) for names in found]}"
    return path


def _side(store: PartStore, reaction: Reaction, saddle: Record, side: str, sign: int) -> list[Record]:
    """The points on one side; those that an earlier run has left are taken from the store."""
    points: list[Record] = []

    def label(number: int, atoms: Atoms, before: Labels | None) -> Labels:
        name = f"{reaction.name}_irc_{side}{number:02d}"
        record = Record.from_atoms(atoms, name, part="test", kind="irc", system=reaction.name)
        hessian = reaction.part == "test" and number % HESSIAN_EVERY == 0
        done = store.get(name, record, hessian=hessian)
        if done is None:
            labels = compute(atoms, METHOD, hessian=hessian, guess=before and before.density)
            done = with_labels(record, labels)
            store.put(done)
        else:
            assert done.energy is not None and done.forces is not None
            labels = Labels(energy=done.energy, forces=done.forces, hessian=done.hessian)
        points.append(done)
        return labels

    steps = list(steepest_descent(saddle.atoms_only(), saddle, sign, reaction.step, PATH_POINTS, label))
    return points[: len(steps)]


def make_sample(folder: Path, record: Record, hessian: bool) -> Record | str:
    store = PartStore(folder, METHOD)
    done = store.get(record.name, record, hessian=hessian)
    if done is None:
        try:
            done = with_labels(record, compute(record.atoms_only(), METHOD, hessian=hessian))
        except NotConverged as error:
            return str(error)
        store.put(done)
    return done


class Maker:
    """Hands tasks to the workers and keeps what comes back."""

    def __init__(self, out: Path, pool: Executor, seed: int) -> None:
        self.out, self.pool, self.seed = out, pool, seed
        self.folder = out.with_name(out.name + ".parts")
        PartStore(self.folder, METHOD)
        self.records: dict[str, Record] = {}
        self.proved: dict[str, Reaction] = {}
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{(time.monotonic() - self.started) / 60:6.1f} min  {text}", flush=True)

    def run(self, tasks: dict[str, tuple[Any, ...]], done: Callable[[str, Any], None]) -> None:
        """Run tasks of (function, arguments…), most important first; `done` takes each result that is no reason."""
        futures = {self.pool.submit(*task): name for name, task in tasks.items()}
        for number, future in enumerate(as_completed(futures), 1):
            name, result = futures[future], future.result()
            if isinstance(result, str):
                self.say(f"[{number}/{len(tasks)}] {name}: left out, {result}")
            else:
                done(name, result)
                self.say(f"[{number}/{len(tasks)}] {name}")

    def stationary_points(self) -> None:
        tasks = {
            f"{m.system}_minimum": (make_stationary, self.folder, f"{m.system}_minimum", m.system, m.guess, 0)
            for m in MINIMA
        } | {
            f"{r.name}_saddle": (make_stationary, self.folder, f"{r.name}_saddle", r.name, r.guess, 1)
            for r in REACTIONS
        }
        parts = PART_OF | {reaction.name: reaction.part for reaction in REACTIONS}

        def keep(name: str, record: Record) -> None:
            held_out = "yes" if parts[record.system] == "test" else "no"
            properties = record.properties | {"held_out": held_out}
            self.records[name] = replace(record, part=parts[record.system], properties=properties)

        self.run(dict(sorted(tasks.items(), key=lambda task: len(task[1][4]))), keep)

    def paths(self) -> None:
        minima = [record for record in self.records.values() if record.kind == "minimum"]
        tasks = {
            reaction.name: (make_path, self.folder, reaction, saddle, minima)
            for reaction in REACTIONS
            if (saddle := self.records.get(f"{reaction.name}_saddle")) is not None
        }

        def keep(name: str, path: list[Record]) -> None:
            reaction = next(reaction for reaction in REACTIONS if reaction.name == name)
            self.proved[name] = reaction
            held_out = {"held_out": "yes" if reaction.part == "test" else "no"}
            self.records |= {r.name: replace(r, part="test", properties=r.properties | held_out) for r in path}

        self.run(tasks, keep)

    def samples(self) -> None:
        tasks = {}
        centres = [r for r in self.records.values() if r.part == "test" and r.kind in ("minimum", "saddle")]
        for centre in centres:
            assert centre.hessian is not None
            for i, temperature in enumerate(np.linspace(*TEMPERATURES, SAMPLES)):
                name = f"{centre.system}_nms_{i:02d}"
                rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
                atoms = sample_modes(centre.atoms_only(), centre.hessian, temperature, rng)
                properties = {"temperature": float(temperature), "held_out": "yes"}
                record = Record.from_atoms(
                    atoms, name, part="test", kind="nms", system=centre.system, properties=properties
                )
                tasks[name] = (make_sample, self.folder, record, i % 2 == 1)
        self.run(tasks, lambda name, record: self.records.update({name: record}))

    def write(self) -> None:
        """The set so far; saddle points whose path was followed and is wrong are not in it."""
        failed = {f"{r.name}_saddle" for r in REACTIONS if r.name not in self.proved}
        order = {"minimum": 0, "saddle": 1, "irc": 2, "nms": 3}
        records = sorted(
            (record for record in self.records.values() if record.name not in failed),
            key=lambda record: (order[record.kind], record.name),
        )
        reactions = {
            name: {
                "saddle": f"{name}_saddle",
                "ends": [sorted(f"{s}_minimum" for s in e) for e in r.ends],
                "part": r.part,
            }
            for name, r in sorted(self.proved.items())
        }
        assemble(
            records,
            METHOD,
            self.out,
            script="examples/reference_data/make_reactive_set.py",
            seed=self.seed,
            reactions=reactions,
            temperatures=TEMPERATURES,
        )
        self.say(f"{self.out}: {len(records)} structures, {len(reactions)} reactions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--mpi", action="store_true", help="the ranks of mpirun … python -m mpi4py.futures instead")
    arguments = parser.parse_args()
    with held(f"{arguments.out}.parts", "the labels"), executor(arguments.jobs, mpi=arguments.mpi) as pool:
        maker = Maker(arguments.out, pool, arguments.seed)
        maker.stationary_points()
        maker.paths()
        maker.write()
        maker.samples()
        maker.write()


if __name__ == "__main__":
    main()
