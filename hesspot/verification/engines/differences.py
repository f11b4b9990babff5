"""H·v of large structures in engines that know forces alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from ase import Atoms

from hesspot.accuracy.directions import directions_of, is_large
from hesspot.accuracy.results import EngineResult


class Evaluate(Protocol):
    """An engine's answers for structures, with a Hessian of each or without."""

    def __call__(self, structures: Sequence[Atoms], *, hessian: bool) -> list[EngineResult]: ...


def with_products(evaluate: Evaluate, structures: Sequence[Atoms], shift: float) -> list[EngineResult]:
    """Hessians of the small structures, and of the large ones H·v: central differences of forces, `shift` Å along v."""
    small = [k for k, atoms in enumerate(structures) if not is_large(atoms)]
    found = dict(zip(small, evaluate([structures[k] for k in small], hessian=True) if small else [], strict=True))
    for k, atoms in enumerate(structures):
        if k in found:
            continue
        asked = [atoms]
        for direction in directions_of(atoms):
            for sign in (1, -1):
                moved = atoms.copy()
                moved.set_constraint()
                moved.positions += sign * shift * direction
                asked.append(moved)
        here, *sides = evaluate(asked, hessian=False)
        forces = np.array([side.forces for side in sides]).reshape(-1, 2, len(atoms), 3)
        found[k] = replace(here, products=(forces[:, 1] - forces[:, 0]) / (2 * shift))
    return [found[k] for k in range(len(structures))]
