"""Steps of energy, forces and curvature along a line on which neighbours come and go.

A periodic structure is stretched, of a molecule or cluster one atom is pulled away. Where a fourth difference stands
out among its neighbours, the place is cut down, until what a smooth function does there is gone and a step is left,
what a difference between two points has beyond the median of those around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from ase import Atoms

from hesspot.audit.engines.base import Answer
from hesspot.audit.findings import Finding, judged, not_run
from hesspot.audit.places import places
from hesspot.audit.subject import CHANCE, Subject

ENERGY = "energy has no steps as neighbours come and go"
FORCES = "forces have no steps as neighbours come and go"
CURVATURE = "curvature has no steps as neighbours come and go"

#: Å of an atom pulled away, factors of a cell that is stretched, and points of a line.
PULL, STRETCH, POINTS = 9.0, (0.97, 1.15), 241
#: Points that a line must have where an engine refuses some.
LEAST = 40
#: Times the median of its neighbours, a fourth difference that is looked into; at most so many of each kind.
STANDS_OUT, LOOKED_INTO, AROUND = 8.0, 3, 9
#: Parts into which a place is cut each time, and how often: steps, and bends, which need a slope on both sides.
PARTS, CUTS, CUTS_OF_BENDS = 16, 5, 3
#: Differences on each side of one, of which the median is taken: others may have steps, too.
BESIDE = 3
#: Of a bend that was found between points farther apart, what must be left: bends of the slope fall with the distance.
STAYS = 0.5
#: Of the largest curvature of the line, a step that does not matter: it is 0.01 cm⁻¹ of a stretch.
CURVED = 1e-5


@dataclass(frozen=True, eq=False)
class Line:
    """at: the structure at a parameter; length: what one of the parameter is, in Å of neighbours."""

    at: Callable[[float], Atoms]
    low: float
    high: float
    length: float
    words: Callable[[float], str]


@dataclass(frozen=True)
class Step:
    """A step of some size at a value of the parameter, most on one atom; before: as it was found one cut before."""

    size: float
    at: float
    atom: int
    before: float


@dataclass(eq=False)
class Search:
    """For steps of values (points, m) after `order` − 1 derivatives, at several places."""

    values_of: Callable[[Sequence[Answer]], np.ndarray]
    order: int
    cuts: int
    places: list[tuple[float, float]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def points(self) -> list[np.ndarray]:
        """Of each place, with some beyond its ends, so that every part has neighbours."""
        spread = np.arange(-BESIDE, PARTS + self.order + BESIDE)
        return [low + (high - low) / PARTS * spread for low, high in self.places]

    def cut(self, points: list[np.ndarray], answers: list[list[Answer]]) -> None:
        """Take of each place the part that stands out."""
        before = [step.size for step in self.steps] or [np.inf] * len(points)
        self.steps, self.places = [], []
        for part, mine, size_before in zip(points, answers, before, strict=True):
            values = self.values_of(mine)
            differences = np.diff(values.reshape(len(part), -1), self.order, axis=0)
            around = np.lib.stride_tricks.sliding_window_view(differences, 2 * BESIDE + 1, axis=0)
            beyond = np.abs(differences[BESIDE:-BESIDE] - np.median(around, axis=-1))
            k = int(beyond.max(1).argmax())
            gap = part[1] - part[0]
            atom = int(beyond[k].argmax()) // 3 if beyond.shape[1] > 1 else 0
            low = part[k + BESIDE]
            self.places.append((low, low + self.order * gap))
            size = float(beyond[k].max()) / gap ** (self.order - 1)
            self.steps.append(Step(size, low + 0.5 * self.order * gap, atom, size_before))


def check(subject: Subject) -> list[Finding]:
    atoms = subject.atoms
    names = (ENERGY, FORCES, CURVATURE)
    if len(atoms) < 2 and not atoms.pbc.any():
        return [not_run(name, subject.name, "one atom has no neighbours") for name in names]
    line = _stretched(atoms) if atoms.pbc.any() else _pulled(atoms)
    grid = np.linspace(line.low, line.high, POINTS)
    answered = subject.engine.ask([line.at(s) for s in grid])
    first, last = _longest([isinstance(answer, Answer) for answer in answered])
    if last - first < LEAST:
        return [not_run(name, subject.name, "the engine refuses most structures of the line") for name in names]
    grid = grid[first:last]
    answers = [answer for answer in answered[first:last] if isinstance(answer, Answer)]
    searches = [Search(_energies, 1, CUTS), Search(_forces, 1, CUTS), Search(_forces, 2, CUTS_OF_BENDS)]
    found_at = _standing_out(_energies(answers), grid) + _standing_out(_forces(answers), grid)
    for search in searches:
        search.places = sorted(set(found_at))
    _cut_down(subject, line, searches)
    energies, forces = _energies(answers), _forces(answers)
    slope = float(np.abs(np.gradient(forces, grid, axis=0)).max()) / line.length
    gap = 4 * (grid[1] - grid[0]) / PARTS**CUTS_OF_BENDS * line.length
    curvature = CURVED * slope + 4 * CHANCE * subject.noise.force_noise / gap
    bends = [replace(step, size=step.size / line.length) for step in searches[2].steps if _stays(step)]
    steps = _told(FORCES, subject, line, searches[1].steps, subject.force_tolerance, "eV/Å", np.ptp(forces))
    kinks = _told(CURVATURE, subject, line, bends, curvature, "eV/Å²", slope)
    if len(atoms) == 1:
        kinks = not_run(CURVATURE, subject.name, "the force on one atom in a cell is zero by symmetry")
    elif steps.verdict == "FAIL":
        kinks = not_run(CURVATURE, subject.name, "forces have steps")
    energy = _told(ENERGY, subject, line, searches[0].steps, subject.energy_tolerance, "eV", np.ptp(energies))
    return [energy, steps, kinks]


def _energies(answers: Sequence[Answer]) -> np.ndarray:
    return np.array([[answer.energy] for answer in answers])


def _forces(answers: Sequence[Answer]) -> np.ndarray:
    return np.array([answer.forces.ravel() for answer in answers])


def _stays(step: Step) -> bool:
    return step.size > STAYS * step.before


def _longest(answered: list[bool]) -> tuple[int, int]:
    best, start = (0, 0), 0
    for k, fine in enumerate([*answered, False]):
        if not fine:
            best = max(best, (start, k), key=lambda span: span[1] - span[0])
            start = k + 1
    return best


def _pulled(atoms: Atoms) -> Line:
    """The atom that is farthest from the middle, away from it."""
    arms = atoms.positions - atoms.positions.mean(0)
    atom = int(np.argmax((arms**2).sum(1)))
    direction = arms[atom] / np.linalg.norm(arms[atom])

    def at(s: float) -> Atoms:
        moved = atoms.copy()
        moved.positions[atom] += s * direction
        return moved

    return Line(at, 0.0, PULL, 1.0, lambda s: f"where {places(atoms, [atom])} is pulled {s:.4f} Å away")


def _stretched(atoms: Atoms) -> Line:
    def at(s: float) -> Atoms:
        stretched = atoms.copy()
        stretched.set_cell(atoms.cell.array * s, scale_atoms=True)
        return stretched

    return Line(at, *STRETCH, 3.0, lambda s: f"where the cell is stretched by {s:.6f}")


def _told(
    name: str, subject: Subject, line: Line, steps: list[Step], tolerance: float, unit: str, signal: float
) -> Finding:
    worst = max(steps, key=lambda step: step.size, default=Step(0.0, 0.0, 0, 0.0))
    fault = f"a step of {worst.size:.3g} {unit} {line.words(worst.at)}"
    if unit != "eV":
        fault += f", most on {places(subject.atoms, [worst.atom])}"
    return judged(name, subject.name, worst.size, tolerance, float(signal), unit, fault)


def _cut_down(subject: Subject, line: Line, searches: Sequence[Search]) -> None:
    """All searches at once: an engine is asked for many structures as fast as for one."""
    for cut in range(CUTS):
        active = [search for search in searches if search.places and cut < search.cuts]
        points = [search.points() for search in active]
        answers = iter(subject.ask([line.at(s) for parts in points for part in parts for s in part]))
        for search, parts in zip(active, points, strict=True):
            search.cut(parts, [list(islice(answers, len(part))) for part in parts])


def _standing_out(values: np.ndarray, grid: np.ndarray) -> list[tuple[float, float]]:
    """Places of a line, (points, m) values, whose fourth difference is far above those around."""
    fourth = np.abs(np.diff(values, 4, axis=0)).max(1)
    around = [np.median(fourth[max(0, k - AROUND) : k + AROUND + 1]) for k in range(len(fourth))]
    ratio = fourth / np.maximum(around, np.finfo(float).tiny)
    chosen: list[int] = []
    for k in np.argsort(-ratio):
        if ratio[k] < STANDS_OUT or len(chosen) == LOOKED_INTO:
            break
        if all(abs(k - other) > 5 for other in chosen):
            chosen.append(int(k))
    return [(float(grid[k]), float(grid[k + 4])) for k in sorted(chosen)]
