"""Of many structures the few that cover most, by their atoms' surroundings: farthest points, or typical ones.

A surrounding is what a model's descriptors say of it, standardised for each element.
A structure is as new as its newest atom: the distance to the nearest surrounding of that element that is covered. The
newest one is taken, its atoms are covered, and so on (Gonzalez, Theor. Comput. Sci. 38, 293, 1985).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ase
import numpy as np
import torch
from scipy.spatial.distance import cdist

from hesspot.contract import build_batch

#: Leading components of the standardised descriptors that distances are taken in.
COMPONENTS = 32
#: Deviation, part of the typical one, below which a descriptor is taken for constant.
FLOOR = 1e-2


def surroundings(
    structures: Sequence[ase.Atoms], model: Any, progress: Callable[[], None] = lambda: None
) -> list[np.ndarray]:
    """For each structure (n, k): the leading components of its atoms' standardised descriptors, by element.

    model: has elements, a cutoff and `descriptors`, called as the contract says.
    """
    raw = []
    with torch.no_grad():
        for atoms in structures:
            batch = build_batch([atoms], model.elements, model.cutoff)
            raw.append(model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors).numpy())
            progress()
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    stacked = np.concatenate(raw)
    found = np.zeros((len(stacked), min(COMPONENTS, stacked.shape[1])))
    for element in np.unique(numbers):
        own = stacked[numbers == element]
        deviation = own.std(axis=0)
        typical = float(np.sqrt(np.mean(deviation**2))) or 1.0
        standard = (own - own.mean(axis=0)) / np.maximum(deviation, FLOOR * typical)
        _, _, axes = np.linalg.svd(standard, full_matrices=False)
        found[numbers == element, : min(len(axes), found.shape[1])] = standard @ axes[: found.shape[1]].T
    ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
    return np.split(found, ends)


def farthest(
    structures: Sequence[ase.Atoms],
    described: Sequence[np.ndarray],
    count: int,
    covered: int = 0,
    weights: np.ndarray | None = None,
) -> list[int]:
    """Indices of `count` structures, each the newest after those before it.

    covered: so many first structures are there already, and are none of the `count`; without any the first structure is
    the first one. weights: of each structure, by which its newness counts.
    """
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    stacked = np.concatenate(described)
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    distance = np.full(len(stacked), np.inf)
    taken: list[int] = []

    def take(structure: int) -> None:
        taken.append(structure)
        for element in set(structures[structure].numbers.tolist()):
            own, places = numbers == element, described[structure][structures[structure].numbers == element]
            for place in places:
                distance[own] = np.minimum(distance[own], np.linalg.norm(stacked[own] - place, axis=1))

    for structure in range(covered):
        take(structure)
    while len(taken) < min(covered + count, len(structures)):
        novelty = np.zeros(len(structures))
        np.maximum.at(novelty, owner, distance)
        if weights is not None:
            novelty *= weights
        novelty[taken] = -1.0
        take(int(novelty.argmax()) if taken else 0)
    return taken[covered:]


def typical(structures: Sequence[ase.Atoms], described: Sequence[np.ndarray], count: int) -> list[int]:
    """Indices of `count` structures whose atoms are near to as many of all atoms as possible.

    Each next one lowers most the sum, over all atoms, of the distance to the nearest surrounding of that element which
    is covered (greedy facility location: Nemhauser, Wolsey, Fisher, Math. Program. 14, 265, 1978): what is frequent
    comes before what is extreme.
    """
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    stacked = np.concatenate(described)
    reach = np.full((len(structures), len(stacked)), _far(stacked), dtype=np.float32)
    for structure, (atoms, places) in enumerate(zip(structures, described, strict=True)):
        for element in set(atoms.numbers.tolist()):
            own = numbers == element
            reach[structure, own] = cdist(places[atoms.numbers == element], stacked[own]).min(axis=0)
    nearest = np.full(len(stacked), _far(stacked), dtype=np.float32)
    chosen: list[int] = []
    while len(chosen) < min(count, len(structures)):
        gains = np.maximum(nearest - reach, 0.0).sum(axis=1)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        nearest = np.minimum(nearest, reach[chosen[-1]])
    return chosen


def _far(stacked: np.ndarray) -> float:
    """More than any distance."""
    return 1.0 + 2.0 * float(np.linalg.norm(stacked, axis=1).max())
