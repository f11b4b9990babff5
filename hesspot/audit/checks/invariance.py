"""What must not change the answer, or only turn it: permutation, translation, rotation, images, lattice, supercell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from hesspot.audit.engines.base import Answer, Refusal
from hesspot.audit.findings import Finding, judged, not_run
from hesspot.audit.places import places
from hesspot.audit.subject import Subject, Unanswered

PERMUTED = "order of atoms does not matter"
MOVED = "place does not matter"
TURNED = "orientation does not matter"
IMAGES = "which image of an atom is given does not matter"
LATTICE = "choice of lattice vectors does not matter"
SUPERCELL = "two cells have twice the energy"

#: Another right-handed choice of the vectors of the same lattice: whole numbers, determinant one.
OTHER_LATTICE = np.array([[0, 1, 0], [0, 0, 1], [1, 1, 0]])
SEED = 4711


@dataclass(frozen=True, eq=False)
class Same:
    """A structure that is the same one, and how its answer becomes that of the first."""

    atoms: Atoms
    back: Callable[[Answer], Answer]


def check(subject: Subject) -> list[Finding]:
    """A structure of one atom has the questions that mean something for it."""
    rng = np.random.default_rng(SEED)
    atoms = subject.atoms
    questions: list[tuple[str, Same | str, str]] = [
        (PERMUTED, _permuted(atoms, rng) if len(atoms) > 1 else "one atom has no order", ""),
        (MOVED, _moved(atoms, rng), "the answer depends on the place of the structure"),
        (TURNED, _turned(atoms, rng), "the answer depends on the orientation"),
        (IMAGES, _images(atoms, rng) if atoms.pbc.any() else "no images: it is not periodic", ""),
        (LATTICE, _lattice(atoms) if atoms.pbc.all() else "no lattice of three vectors", ""),
        (SUPERCELL, _supercell(atoms) if atoms.pbc.any() else "no cell", ""),
    ]
    forms = [same for _, same, _ in questions if isinstance(same, Same)]
    answers = iter(subject.engine.ask([same.atoms for same in forms]))
    found = []
    for name, same, words in questions:
        if isinstance(same, str):
            found.append(not_run(name, subject.name, same))
        else:
            found.append(_compared(subject, name, same, next(answers), words))
    return found


def _compared(subject: Subject, name: str, same: Same, raw: Answer | Refusal, words: str) -> Finding:
    if isinstance(raw, Refusal):
        return not_run(name, subject.name, f"the engine refuses the other form: {raw.reason}")
    finding = differing(name, subject, same.back(raw), words)
    if finding.verdict == "FAIL" and name in (IMAGES, LATTICE) and _holds_transposed(subject, same):
        finding = finding.model_copy(update={"note": finding.note + "; all is well where the cell is given transposed"})
    return finding


def differing(name: str, subject: Subject, other: Answer, words: str = "", share: float = 1.0) -> Finding:
    """The worst of energy, forces, virial between the subject's answer and another of the same structure.

    share: of the subject's tolerances.
    """
    mine = subject.answer
    quantities: list[tuple[str, str, float, float]] = [
        ("energy", "eV", abs(other.energy - mine.energy), share * subject.energy_tolerance),
        ("forces", "eV/Å", float(np.abs(other.forces - mine.forces).max(initial=0.0)), share * subject.force_tolerance),
    ]
    if mine.virial is not None and other.virial is not None:
        error = float(np.abs(other.virial - mine.virial).max())
        quantities.append(("virial", "eV", error, share * subject.virial_tolerance))
    ratios = [np.inf if np.isnan(error) else error / allowed for _, _, error, allowed in quantities]
    quantity, unit, error, allowed = quantities[int(np.argmax(ratios))]
    fault = "; ".join(filter(None, (words, _of_what(quantity, mine, other, subject.atoms, error, unit))))
    return judged(name, subject.name, float(error), allowed, None, unit, fault)


def _of_what(quantity: str, mine: Answer, other: Answer, atoms: Atoms, error: float, unit: str) -> str:
    if quantity == "forces":
        off = np.abs(other.forces - mine.forces).max(1)
        return f"a force differs by {error:.3g} {unit}, most on {places(atoms, [int(off.argmax())])}"
    return f"the {quantity} differs by {error:.3g} {unit}"


def _permuted(atoms: Atoms, rng: np.random.Generator) -> Same:
    order = rng.permutation(len(atoms))
    if (order == np.arange(len(atoms))).all():
        order = order[::-1]
    back = np.argsort(order)
    return Same(atoms[order], lambda a: Answer(a.energy, a.forces[back], a.virial))


def _moved(atoms: Atoms, rng: np.random.Generator) -> Same:
    moved = atoms.copy()
    moved.positions += rng.uniform(0.3, 1.7, 3)
    return Same(moved, lambda a: a)


def _turned(atoms: Atoms, rng: np.random.Generator) -> Same:
    turn = Rotation.random(random_state=np.random.RandomState(int(rng.integers(2**31)))).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T

    def back(a: Answer) -> Answer:
        return Answer(a.energy, a.forces @ turn, None if a.virial is None else turn.T @ a.virial @ turn)

    return Same(turned, back)


def _images(atoms: Atoms, rng: np.random.Generator) -> Same:
    """Atoms moved by up to two lattice vectors, and one by three."""
    steps = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    steps[0] = 3 * atoms.pbc
    moved = atoms.copy()
    moved.positions += steps @ atoms.cell.array
    return Same(moved, lambda a: a)


def _lattice(atoms: Atoms) -> Same:
    other = atoms.copy()
    other.set_cell(OTHER_LATTICE @ atoms.cell.array)
    return Same(other, lambda a: a)


def _supercell(atoms: Atoms) -> Same:
    axis = int(np.argmax(atoms.pbc))
    repeats = np.ones(3, dtype=int)
    repeats[axis] = 2
    n = len(atoms)

    def half(a: Answer) -> Answer:
        return Answer(0.5 * a.energy, a.forces[n:], None if a.virial is None else 0.5 * a.virial)

    return Same(atoms.repeat(repeats), half)


def _holds_transposed(subject: Subject, same: Same) -> bool:
    """Whether both forms agree in an engine that is given the cell transposed: it takes columns for rows."""
    pair = []
    for atoms in (subject.atoms, same.atoms):
        pair.append(atoms.copy())
        pair[-1].set_cell(atoms.cell.array.T)
    if np.allclose(pair[0].cell.array, subject.atoms.cell.array):
        return False
    try:
        first, second = subject.ask(pair)
    except Unanswered:
        return False
    return abs(first.energy - same.back(second).energy) <= subject.energy_tolerance
