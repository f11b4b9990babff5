"""Atoms by number, element and place, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

#: Atoms that a sentence names, and Å from a face of the cell that is worth a word.
NAMED, NEAR = 3, 0.5


def places(atoms: Atoms, chosen: Sequence[int] | np.ndarray, sizes: np.ndarray | None = None) -> str:
    """Some of the chosen atoms, the worst first where `sizes` (n,) tell, and how many more there are."""
    order = [int(k) for k in (chosen if sizes is None else sorted(chosen, key=lambda k: -sizes[k]))]
    named = ", ".join(f"atom {k} ({atoms.symbols[k]}{_at_face(atoms, k)})" for k in order[:NAMED])
    more = len(order) - NAMED
    return named + (f" and {more} more" if more > 0 else "")


def _at_face(atoms: Atoms, k: int) -> str:
    if not atoms.pbc.all():
        return ""
    heights = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[[1, 2, 0]], atoms.cell[[2, 0, 1]]), axis=1)
    scaled = atoms.cell.scaled_positions(atoms.positions[k : k + 1])[0]
    distance = np.abs(scaled - np.round(scaled)) * heights
    return f", {distance.min():.2f} Å from a face of the cell" if distance.min() < NEAR else ""
