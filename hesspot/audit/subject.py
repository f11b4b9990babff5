"""One structure before one engine: its answer, how exact that is, and what may count as equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from hesspot.audit.engines.base import Answer, Engine, Refusal
from hesspot.audit.findings import Finding
from hesspot.reference.force_lines import POINTS, Differences, measure, noise_of, random_directions

#: Of the largest force: what never matters. A force wrong by a millionth moves a bond of 1 N/m less than 1e-6 Å.
ACCURACY = 1e-6
#: Times the noise, what chance does not reach in some thousand numbers.
CHANCE = 6.0
#: Å; forces of a structure at rest are those of a displacement of this size.
DISPLACED = 0.1
#: eV/Å, of forces in what is bound weakest.
LEAST = 0.01
#: Å between points of which noise is taken, besides those of `measure`.
NEAR = 1e-5
#: Of the energy, the rounding of a sum.
ROUNDING = 1e-14


class Unanswered(Exception):
    """The engine answered for a structure, and not for one beside it; str(error) is its reason."""


@dataclass(frozen=True, eq=False)
class Subject:
    """noise: `force_lines.Differences` along a random line. scale: eV/Å, of a force that matters here. others: further
    structures that the engine answers for. accuracy: as `ACCURACY`. measured: what checks leave for pictures and for
    comparisons with other engines."""

    engine: Engine
    name: str
    atoms: Atoms
    answer: Answer
    noise: Differences
    scale: float
    accuracy: float = ACCURACY
    others: Sequence[Atoms] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)

    def ask(self, structures: Sequence[Atoms]) -> list[Answer]:
        """`Unanswered` if one was refused."""
        found = self.engine.ask(structures)
        for answer in found:
            if isinstance(answer, Refusal):
                raise Unanswered(answer.reason)
        return [answer for answer in found if isinstance(answer, Answer)]

    @property
    def energy_tolerance(self) -> float:
        """eV between two calculations of the same."""
        rounding = ROUNDING * len(self.atoms) * abs(self.answer.energy)
        return CHANCE * math.sqrt(2.0) * self.noise.energy_noise + self.accuracy * self.scale + rounding

    @property
    def force_tolerance(self) -> float:
        """eV/Å between two calculations of the same component."""
        return CHANCE * math.sqrt(2.0) * self.noise.force_noise + self.accuracy * self.scale

    @property
    def virial_tolerance(self) -> float:
        """eV: a force of its tolerance on each atom, on an arm that reaches across the structure."""
        return self.force_tolerance * math.sqrt(len(self.atoms)) * self.reach

    @property
    def reach(self) -> float:
        """Å, across the structure or its cell."""
        cell = np.linalg.norm(self.atoms.cell.array[self.atoms.pbc], axis=1).max(initial=0.0)
        return max(float(np.ptp(self.atoms.positions, axis=0).max()), float(cell), 1.0)


def subject_of(
    engine: Engine, name: str, atoms: Atoms, answer: Answer, accuracy: float, others: Sequence[Atoms]
) -> Subject:
    """Measures the noise, at two distances between the points: where one has a bend of the forces among them, the
    other does not. `Unanswered` if the engine refuses a structure nearby."""

    def evaluate_all(places: Sequence[np.ndarray]) -> list[tuple[float, np.ndarray]]:
        return [(a.energy, a.forces) for a in answers_at(engine, atoms, places)]

    (direction,) = random_directions(name, len(atoms), 1)
    found = measure(evaluate_all, atoms.positions, direction)
    noise = found.differences
    near = evaluate_all([atoms.positions + point * NEAR * direction for point in range(-POINTS, POINTS + 1)])
    energies, forces = np.array([e for e, _ in near]), np.array([f for _, f in near])
    if np.ptp(forces):
        least = min(noise.force_noise, noise_of(forces, 6)), min(noise.energy_noise, noise_of(energies, 6))
        noise = noise.model_copy(update=dict(zip(("force_noise", "energy_noise"), least, strict=True)))
    stiffness = float(np.sqrt(np.mean(found.product**2)))
    scale = max(float(np.abs(answer.forces).max()), DISPLACED * stiffness, LEAST)
    return Subject(engine, name, atoms, answer, noise, scale, accuracy, others)


def answers_at(engine: Engine, atoms: Atoms, places: Sequence[np.ndarray]) -> list[Answer]:
    """The structure with its atoms at other positions."""
    structures = []
    for positions in places:
        structures.append(atoms.copy())
        structures[-1].positions = positions
    found = engine.ask(structures)
    for answer in found:
        if isinstance(answer, Refusal):
            raise Unanswered(answer.reason)
    return [answer for answer in found if isinstance(answer, Answer)]


Check = Callable[[Subject], list[Finding]]
