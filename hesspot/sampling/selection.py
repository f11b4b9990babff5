"""Of many structures the few that cover most: farthest points of their atoms' surroundings.

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


def farthest(structures: Sequence[ase.Atoms], described: Sequence[np.ndarray], count: int, first: int = 0) -> list[int]:
    """Indices of `count` structures, beginning with `first`, each the newest after those before it."""
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    stacked = np.concatenate(described)
    owner = np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])
    distance = np.full(len(stacked), np.inf)
    chosen: list[int] = []
    following = first
    while len(chosen) < min(count, len(structures)):
        chosen.append(following)
        for element in set(structures[following].numbers.tolist()):
            own, covered = numbers == element, described[following][structures[following].numbers == element]
            for place in covered:
                distance[own] = np.minimum(distance[own], np.linalg.norm(stacked[own] - place, axis=1))
        novelty = np.zeros(len(structures))
        np.maximum.at(novelty, owner, distance)
        novelty[chosen] = -1.0
        following = int(novelty.argmax())
    return chosen
