"""Makes a set of GFN2-xTB labels to pretrain on before the labels of density functional theory come.

    OMP_NUM_THREADS=1 python examples/study/make_pretraining_set.py xtb.h5 --jobs 2

Molecules of H, C, N, O with up to five heavy atoms, grown from the training molecules of the reactive set: two are
joined by a bond in the place of a hydrogen atom of each; of one, two bound atoms lose a hydrogen atom each, which makes
double and triple bonds. They are relaxed, and kept if they stay whole and their bond graph is new. The graphs of all
held-out minima, valid ones included, are never kept, whatever the conformer. Each molecule comes with normal-mode
samples, all with Hessians, and with close contacts, in which an atom is pushed towards a neighbour, with energies and
forces: 2739 molecules, 13593 structures. A stopped run continues.
"""

import argparse
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, as_completed
from itertools import chain, islice, product
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from ase.geometry import get_distances
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from hesspot.analysis.harmonic_samples import sample_modes
from hesspot.analysis.molecules import BONDED, fragments
from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record
from hesspot.data.record import TAG
from hesspot.data.shipped import find_dataset
from hesspot.files import held, replacing
from hesspot.pool import executor
from hesspot.reference.labelling import complete
from hesspot.reference.method import NotConverged
from hesspot.reference.partial_results import PartStore, assemble
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
AHEAD = 64  #: guesses that are relaxed before it is known whether those before them are new
CONTACT = (0.75, 0.95)  #: of a distance between neighbours, to which it is shortened
#: eV/Å; contacts with larger forces would be most of the loss, and there the model's repulsive core acts.
LARGEST_FORCE = 8.0
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
    """Relaxed molecules, each with a bond graph that no other one and no forbidden one has.

    The same ones are found in the same order, however many processes relax the guesses.
    """

    def __init__(self, forbidden: set[tuple[int, ...]], pool: Executor):
        self.seen, self.found, self.pool = set(forbidden), list[Atoms](), pool

    def new(self, guesses: Iterator[Atoms], conformers: bool = False) -> Iterator[Atoms]:
        """The molecules that the guesses relax to and that are new. conformers: of known graphs, too."""
        waiting = deque[tuple[tuple[int, ...], Future[Atoms | None]]]()

        def next_is_new() -> bool:
            guessed, relaxing = waiting.popleft()
            if guessed in self.seen and not conformers:
                relaxing.cancel()
                return False
            self.seen.add(guessed)
            atoms = relaxing.result()
            if atoms is None or len(fragments(atoms)) > 1 or graph(atoms) in self.seen - {guessed}:
                return False
            self.seen.add(graph(atoms))
            self.found.append(atoms)
            return True

        for guess in guesses:
            guessed = graph(guess)
            if guessed not in self.seen or conformers:
                waiting.append((guessed, self.pool.submit(relaxed, guess)))
            if len(waiting) == AHEAD and next_is_new():
                yield self.found[-1]
        while waiting:
            if next_is_new():
                yield self.found[-1]

    def joined(self, parents: list[Atoms], rng: np.random.Generator) -> Iterator[Atoms]:
        """The parents and G2 first, smaller ones before larger ones; of the largest a random choice."""
        yield from self.new(iter(parents), conformers=True)
        yield from self.new(molecule(name) for name in G2)
        small = [atoms for atoms in self.found if 0 < heavy(atoms) < HEAVY and len(atoms) > 1]
        for size in range(2, HEAVY + 1):
            pairs = [pair for pair in product(self.found, small) if heavy(pair[0]) + heavy(pair[1]) == size]
            yield from self.new(
                joined(pairs[k][0], site, pairs[k][1], other, rng)
                for k in rng.permutation(len(pairs))
                for site, other in product(*map(hydrogens, pairs[k]))
            )

    def without_hydrogen(self) -> Iterator[Atoms]:
        """All that come from what has been found, and from these in turn."""
        done = 0
        while done < len(self.found):
            ready, done = self.found[done:], len(self.found)
            yield from self.new(chain.from_iterable(map(without_hydrogen, ready)))


def grown(pool: Executor) -> Iterator[Atoms]:
    """All molecules of the set, the training molecules of the reactive set first."""
    stationary = [r for r in Dataset.read(find_dataset("shipped:reactive_chno")) if r.kind in ("minimum", "saddle")]
    growth = Growth({graph(r.atoms_only()) for r in stationary if r.part != "train"}, pool)
    parents = [r.atoms_only() for r in stationary if r.part == "train" and r.kind == "minimum"]
    joined = growth.joined(parents, np.random.default_rng(0))
    for count in JOINED:
        yield from chain(islice(joined, count), growth.without_hydrogen())


def molecules(kept: Path, pool: Executor) -> list[Atoms]:
    """All molecules, with their systems and parts; read from the file `kept` where it is there, else written to it."""
    if not kept.exists():
        found = []
        for number, atoms in enumerate(grown(pool), 1):
            atoms.info["system"] = f"{number:03d}-{atoms.get_chemical_formula()}"
            atoms.info["part"] = "train" if number % VALID_EVERY else "valid"
            found.append(atoms)
            if number % 50 == 0:
                print(f"found {number} molecules", flush=True)
        with replacing(kept) as part:
            ase.io.write(part, found, format="extxyz")
    return list(ase.io.iread(kept, format="extxyz"))


def samples(atoms: Atoms, system: str, count: int, part: str, parts: Path) -> list[Record]:
    """The structure, `count` samples of its normal modes and its contacts, as far as the method converges."""
    store = PartStore(parts, METHOD)

    def labelled(atoms: Atoms, name: str, kind: str, hessian: bool = True) -> Record:
        bare = Record.from_atoms(atoms, name, system=system, kind=kind, part=part)
        record = store.get(name, bare, hessian=hessian)
        if record is None:
            record = complete(bare, METHOD, hessian=hessian)
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
            record = labelled(pushed, name, "other", hessian=False)
            if record.forces is not None and np.abs(record.forces).max() <= LARGEST_FORCE:
                found.append(record)
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
    reactive = Dataset.read(find_dataset("shipped:reactive_chno"))
    saddles = [r for r in reactive if (r.part, r.kind) == ("train", "saddle")]
    with held(parts, "the labels"), executor(arguments.jobs) as pool:
        PartStore(parts, METHOD)  # makes the folder
        wanted = [(r.atoms_only(), r.system, 2 * SAMPLES, "train") for r in saddles]
        for number, atoms in enumerate(molecules(parts / "molecules.xyz", pool)):
            count = SAMPLES if number < JOINED[0] else SAMPLES_OF_OTHERS
            wanted.append((atoms, atoms.info["system"], count, atoms.info["part"]))
        tasks = [pool.submit(samples, *each, parts) for each in wanted]
        for done, task in enumerate(as_completed(tasks), 1):
            task.result()
            if done % 50 == 0 or done == len(tasks):
                print(f"labelled {done} of {len(tasks)} molecules", flush=True)
        records = [record for task in tasks for record in task.result()]
        assemble(records, METHOD, out)
        PartStore(parts, METHOD).remove()
    print(f"{out}: {len(records)} structures")


if __name__ == "__main__":
    main()
