"""Makes a set of GFN2-xTB labels to pretrain on before the labels of density functional theory come.

    OMP_NUM_THREADS=1 python examples/study/make_pretraining_set.py xtb.h5 --jobs 2

Molecules of H, C, N, O with up to five heavy atoms, grown from the training molecules of the reactive set: two are
joined by a bond in the place of a hydrogen atom of each; of one, two bound atoms lose a hydrogen atom each, which makes
double and triple bonds. They are relaxed, and kept if they stay whole and their bond graph is new. The graphs of all
held-out minima, valid ones included, are never kept, whatever the conformer. Each molecule comes with normal-mode
samples, and close contacts, in which an atom is pushed towards a neighbour, with all Hessians: 2741 molecules, 12022
structures and two contacts for each molecule, some hours of one core. A stopped run continues.
"""

import argparse
import zlib
from collections.abc import Iterator
from concurrent.futures import as_completed
from itertools import chain, islice, product
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from ase.geometry import get_distances
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from hesspot.analysis.harmonic_samples import sample_modes
from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record
from hesspot.data.record import TAG
from hesspot.data.shipped import find_dataset
from hesspot.files import held
from hesspot.pool import executor
from hesspot.reference.labelling import complete
from hesspot.reference.method import NotConverged
from hesspot.reference.partial_results import PartStore, assemble
from hesspot.reference.search import BONDED, fragments
from hesspot.reference.tblite_labels import TbliteMethod
from hesspot.sampling.ways import contact

METHOD = TbliteMethod()
#: rings and nitro compounds of ASE's G2 collection, which do not grow from the others
G2 = ["C3H4_C2v", "C3H6_D3h", "C4H4NH", "C4H4O", "C5H5N", "C6H6", "CH2NHCH2", "CH2OCH2", "CH3NO2", "CH3ONO"]
G2 += ["N2O", "bicyclobutane", "cyclobutane", "cyclobutene", "methylenecyclopropane"]
HEAVY = 5  #: atoms that are not hydrogen
JOINED = (480, 700)  #: molecules; after each of the two rounds others are made by taking hydrogen away
SAMPLES = 5  #: of each molecule joined in the first round; of saddle points twice as many
SAMPLES_OF_OTHERS = 3
TEMPERATURES = (300.0, 2000.0)  #: K
CONTACTS = 2  #: of each molecule
#: Of a distance between neighbours, to which it is shortened. Nearer ones, with forces of hundreds of eV/Å, would be
#: most of the loss; there the model's repulsive core acts.
CONTACT = (0.75, 0.95)
VALID_EVERY = 12  #: molecules


def neighbours(atoms: Atoms) -> np.ndarray:
    radii = covalent_radii[atoms.numbers]
    bonds = atoms.get_all_distances() < BONDED * (radii[:, None] + radii)
    np.fill_diagonal(bonds, False)
    return bonds


def places(atoms: Atoms) -> list[int]:
    """A number for each atom that tells its place in the bond graph (Morgan 1965); the same in equal graphs."""
    bonds, labels = neighbours(atoms), [int(number) for number in atoms.numbers]
    for _ in range(len(atoms)):
        around = [sorted(labels[j] for j in np.flatnonzero(row)) for row in bonds]
        labels = [zlib.crc32(repr((label, near)).encode()) for label, near in zip(labels, around, strict=True)]
    return labels


def graph(atoms: Atoms) -> tuple[int, ...]:
    return tuple(sorted(places(atoms)))


def heavy(atoms: Atoms) -> int:
    return int((atoms.numbers > 1).sum())


def hydrogens(atoms: Atoms) -> list[tuple[int, int]]:
    """One hydrogen atom of each place, and the atom that it is bound to."""
    bonds, labels = neighbours(atoms), places(atoms)
    found = {labels[i]: (i, int(np.flatnonzero(bonds[i])[0])) for i in range(len(atoms)) if atoms.numbers[i] == 1}
    return list(found.values())


def joined(a: Atoms, site: tuple[int, int], b: Atoms, other: tuple[int, int], rng: np.random.Generator) -> Atoms:
    """The two bound to each other in the place of a hydrogen atom of each, at the torsion of least crowding of six."""
    out, back = a.positions[site[0]] - a.positions[site[1]], b.positions[other[0]] - b.positions[other[1]]
    out /= np.linalg.norm(out)
    turn, _ = Rotation.align_vectors([-out], [back / np.linalg.norm(back)])
    length = covalent_radii[a.numbers[site[1]]] + covalent_radii[b.numbers[other[1]]]
    kept, rest = a.copy(), b.copy()
    rest.positions = turn.apply(b.positions - b.positions[other[1]])
    del kept[site[0]], rest[other[0]]
    best: tuple[float, Atoms] | None = None
    for angle in rng.uniform(0.0, 2.0 * np.pi, 6):
        turned = rest.copy()
        turned.positions = Rotation.from_rotvec(angle * out).apply(rest.positions)
        turned.positions += a.positions[site[1]] + length * out
        crowding = (get_distances(kept.positions, turned.positions)[1] ** -6).sum()
        if best is None or crowding < best[0]:
            best = (crowding, kept + turned)
    assert best is not None
    return best[1]


def relaxed(guess: Atoms) -> Atoms | None:
    atoms = guess.copy()
    atoms.calc = TBLite(method=METHOD.method, verbosity=0)
    try:
        if not BFGS(atoms, logfile=None, maxstep=0.1).run(fmax=1e-2, steps=150):
            return None
    except RuntimeError:  # of tblite
        return None
    atoms.calc = None
    return atoms


def without_hydrogen(atoms: Atoms) -> Iterator[Atoms]:
    """Two atoms that are bound to each other have lost a hydrogen atom each, in one way for each pair of places."""
    bonds, done, labels = neighbours(atoms), set(), places(atoms)
    for i, j in zip(*np.nonzero(np.triu(bonds)), strict=True):
        own = [np.flatnonzero(bonds[k] & (atoms.numbers == 1)) for k in (i, j)]
        pair = tuple(sorted((labels[i], labels[j])))
        if min(atoms.numbers[i], atoms.numbers[j]) > 1 and all(map(len, own)) and pair not in done:
            done.add(pair)
            less = atoms.copy()
            del less[[int(own[0][0]), int(own[1][0])]]
            yield less


class Growth:
    """Relaxed molecules, each with a bond graph that no other one and no forbidden one has."""

    def __init__(self, forbidden: set[tuple[int, ...]]):
        self.seen, self.found = set(forbidden), list[Atoms]()

    def adds(self, guess: Atoms, conformer: bool = False) -> bool:
        """Whether the guess relaxes to a new molecule, which is then the last one found."""
        if graph(guess) in self.seen and not conformer:
            return False
        self.seen.add(graph(guess))
        atoms = relaxed(guess)
        if atoms is None or len(fragments(atoms)) > 1 or graph(atoms) in self.seen - {graph(guess)}:
            return False
        self.seen.add(graph(atoms))
        self.found.append(atoms)
        return True

    def joined(self, parents: list[Atoms], rng: np.random.Generator) -> Iterator[Atoms]:
        """The parents and G2 first, smaller ones before larger ones; of the largest a random choice."""
        for guess in parents:
            if self.adds(guess, conformer=True):
                yield self.found[-1]
        for name in G2:
            if self.adds(molecule(name)):
                yield self.found[-1]
        small = [atoms for atoms in self.found if 0 < heavy(atoms) < HEAVY and len(atoms) > 1]
        for size in range(2, HEAVY + 1):
            pairs = [pair for pair in product(self.found, small) if heavy(pair[0]) + heavy(pair[1]) == size]
            for k in rng.permutation(len(pairs)):
                a, b = pairs[k]
                for site, other in product(hydrogens(a), hydrogens(b)):
                    if self.adds(joined(a, site, b, other, rng)):
                        yield self.found[-1]

    def without_hydrogen(self) -> Iterator[Atoms]:
        """All that come from what has been found, and from these in turn."""
        for atoms in self.found:  # grows meanwhile
            for guess in without_hydrogen(atoms):
                if self.adds(guess):
                    yield self.found[-1]


def molecules() -> Iterator[Atoms]:
    """All of the set, the training molecules of the reactive set first."""
    stationary = [r for r in Dataset.read(find_dataset("shipped:reactive_chno")) if r.kind in ("minimum", "saddle")]
    growth = Growth({graph(r.atoms_only()) for r in stationary if r.part != "train"})
    parents = [r.atoms_only() for r in stationary if r.part == "train" and r.kind == "minimum"]
    joined = growth.joined(parents, np.random.default_rng(0))
    for count in JOINED:
        yield from chain(islice(joined, count), growth.without_hydrogen())


def samples(atoms: Atoms, system: str, count: int, part: str, parts: Path) -> list[Record]:
    """The structure, `count` samples of its normal modes and its contacts, as far as the method converges."""
    store = PartStore(parts, METHOD)

    def labelled(atoms: Atoms, name: str, kind: str) -> Record:
        bare = Record.from_atoms(atoms, name, system=system, kind=kind, part=part)
        record = store.get(name, bare)
        if record is None:
            record = complete(bare, METHOD, hessian=True)
            store.put(record)
        return record

    found: list[Record] = []
    try:
        found.append(labelled(atoms, system, "other"))
        hessian = found[0].hessian
        assert hessian is not None
        if len(normal_modes(atoms, hessian).frequencies):
            for i, temperature in enumerate(np.linspace(*TEMPERATURES, count)):
                name = f"{system}_nms_{i:02d}"
                rng = np.random.default_rng([1, zlib.crc32(name.encode())])
                found.append(labelled(sample_modes(atoms, hessian, float(temperature), rng), name, "nms"))
        for i in range(CONTACTS if len(atoms) > 1 else 0):
            name = f"{system}_contact_{i:02d}"
            rng = np.random.default_rng([2, zlib.crc32(name.encode())])
            pushed = contact(atoms, rng, between=CONTACT)
            pushed.info[TAG] = "contact"
            found.append(labelled(pushed, name, "other"))
    except NotConverged as error:
        print(f"{system}: ends after {len(found)} structures, {error}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    out = arguments.out
    parts = out.with_name(out.name + ".parts")
    saddles = [
        r for r in Dataset.read(find_dataset("shipped:reactive_chno")) if (r.part, r.kind) == ("train", "saddle")
    ]
    with held(parts, "the labels"), executor(arguments.jobs) as pool:
        tasks = [pool.submit(samples, r.atoms_only(), r.system, 2 * SAMPLES, "train", parts) for r in saddles]
        for number, atoms in enumerate(molecules(), 1):
            system = f"{number:03d}-{atoms.get_chemical_formula()}"
            count = SAMPLES if number <= JOINED[0] else SAMPLES_OF_OTHERS
            tasks.append(
                pool.submit(samples, atoms, system, count, "train" if number % VALID_EVERY else "valid", parts)
            )
            print(f"found {system}", flush=True)
        for done, task in enumerate(as_completed(tasks), 1):
            task.result()
            print(f"labelled {done} of {len(tasks)} molecules", flush=True)
        records = [record for task in tasks for record in task.result()]
        assemble(records, METHOD, out)
        PartStore(parts, METHOD).remove()
    print(f"{out}: {len(records)} structures")


if __name__ == "__main__":
    main()
