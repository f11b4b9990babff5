"""Fractions of the training data, drawn by system: nested, seeded, with every element from the first."""

from __future__ import annotations

import math

import numpy as np

from hesspot.data import Dataset, Record
from hesspot.errors import UserError


def training_subset(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """The validation part and a fraction of the systems of the training part, all their structures.

    Systems are in a random order of the seed, those first that bring an element not seen before; a fraction takes
    the first of them, so that a smaller fraction of the same seed is part of a larger one. A structure without a
    system is a system of its own. UserError without training structures.
    """
    training = dataset.select(part="train").records
    if not training:
        raise UserError("the dataset has no structure in its part train; mark some as train")
    systems: dict[str, list[Record]] = {}
    for record in training:
        systems.setdefault(record.system or record.name, []).append(record)
    order = _elements_first(systems, np.random.default_rng(seed))
    chosen = set(order[: max(1, math.ceil(fraction * len(order) - 1e-9))])
    kept = [record for record in training if (record.system or record.name) in chosen]
    return Dataset(
        [*kept, *dataset.select(part="valid")],
        dataset.level_of_theory,
        {"training_systems": sorted(chosen), "fraction": fraction, "seed": seed},
    )


def _elements_first(systems: dict[str, list[Record]], random: np.random.Generator) -> list[str]:
    names = sorted(systems)
    shuffled = [names[i] for i in random.permutation(len(names))]
    seen: set[int] = set()
    first = []
    for name in shuffled:
        elements = {int(z) for record in systems[name] for z in record.numbers}
        if not elements <= seen:
            first.append(name)
            seen |= elements
    return first + [name for name in shuffled if name not in first]
