"""The fingerprint: what a trained model gave for some structures, and its replay by whatever shall be that model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.errors import UserError
from hesspot.export.metadata import FingerprintEntry
from hesspot.graph import build_graph

#: Unit, and what the same float64 operations in another order may give: rounding only. H·v for directions of length 1
#: per atom; a virial is a force on an arm of 10 Å.
TOLERANCES = {
    "energy": ("eV/atom", 1e-9),
    "forces": ("eV/Å", 1e-8),
    "virial": ("eV", 1e-7),
    "H·v": ("eV/Å²", 1e-8),
}


@dataclass(frozen=True)
class Answer:
    """What is compared: energy eV, forces (n, 3) eV/Å, virial (3, 3) eV, H·v (n, 3) eV/Å²."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    product: np.ndarray


def packed_edges(elements: Sequence[str], cutoff: float, fingerprint: Sequence[FingerprintEntry]) -> bytes:
    """The edges of all structures, for engines that have no search for neighbours (docs/export.md)."""
    parts: list[np.ndarray] = []
    for entry in fingerprint:
        graph = build_graph(entry.atoms(), elements, cutoff)
        parts.append(np.array([graph.n_atoms, graph.n_edges], dtype="<i8"))
        parts += [part.astype("<i8") for part in (graph.species, graph.centers, graph.neighbors)]
        parts.append(graph.vectors.astype("<f8"))
    return b"".join(part.tobytes() for part in parts)


#: Of each quantity: the structures' names and their deviations.
Deviations = dict[str, list[tuple[str, float]]]


def replay(fingerprint: Sequence[FingerprintEntry], ask: Callable[[FingerprintEntry], Answer]) -> Deviations:
    """How far the answers are from the stored ones, in the units of `TOLERANCES`; NaN where an answer has one."""
    found: Deviations = {quantity: [] for quantity in TOLERANCES}
    for entry in fingerprint:
        given = ask(entry)
        pairs = {
            "energy": (given.energy / max(len(entry.numbers), 1), entry.energy / max(len(entry.numbers), 1)),
            "forces": (given.forces, entry.forces),
            "virial": (given.virial, entry.virial),
            "H·v": (given.product, entry.hvp),
        }
        for quantity, (value, stored) in pairs.items():
            stored_array = np.asarray(stored, dtype=float)
            difference = np.asarray(value, dtype=float).reshape(stored_array.shape) - stored_array
            found[quantity].append((entry.name, float(np.abs(difference).max(initial=0.0))))
    return found


def check_fingerprint(
    fingerprint: Sequence[FingerprintEntry], ask: Callable[[FingerprintEntry], Answer], what: str, remedy: str
) -> Deviations:
    """The deviations of `what`; UserError, which ends with `remedy`, if it does not give the fingerprint in float64."""
    found = replay(fingerprint, ask)
    for quantity, deviations in found.items():
        unit, tolerance = TOLERANCES[quantity]
        for name, deviation in deviations:
            if not deviation <= tolerance:
                raise UserError(
                    f"{quantity} ({unit}) of {name} from {what} differs from the trained model's by {deviation:.3g}, "
                    f"more than {tolerance:g}; {remedy}"
                )
    return found
