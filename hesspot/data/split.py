"""Random parts of a dataset, of whole systems so that no molecule is both trained on and tested on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from hesspot.data.dataset import Dataset
from hesspot.data.record import PART_NAMES, PARTS
from hesspot.errors import UserError

#: What a part is made of: structures one by one, all of one `system`, all of one composition.
UNITS = ("structure", "system", "composition")

#: Fractions of train, valid and test, where nothing else is asked for.
USUAL = (0.8, 0.1, 0.1)

#: Fewer systems, or structures, would leave too little to train on.
FEWEST = 5


class Groupable(Protocol):
    """What parts are drawn by: a record, or what is kept in memory of one."""

    @property
    def system(self) -> str: ...

    @property
    def numbers(self) -> np.ndarray: ...


def draw_parts(heads: Sequence[Groupable], fractions: Sequence[float], by: str = "system", seed: int = 0) -> list[str]:
    """A part for each structure: fractions of train, valid and test, that sum to 1.

    Groups in a random order go whole to the part that lacks most of its share, those that bring a new element to
    train; a structure without a system is a group of its own. UserError for fractions that are none, and where a part
    of a share above zero stays empty.
    """
    require_fractions(fractions, by)
    groups: dict[object, list[int]] = {}
    for i, head in enumerate(heads):
        groups.setdefault(_group(head, by, i), []).append(i)
    keys = list(groups)
    wanted = np.array(fractions) * len(heads)
    order = [groups[keys[key]] for key in np.random.default_rng(seed).permutation(len(keys))]
    # Elements that stand in no training structure cannot be learnt; few groups may not leave the choice.
    parts, counts = _deal(heads, order, wanted, elements_first=bool(wanted[0] > 0))
    if any((wanted > 0) & (counts == 0)):
        parts, counts = _deal(heads, order, wanted, elements_first=False)
    for name, share, count in zip(PARTS, wanted, counts, strict=True):
        if share > 0 and count == 0:
            raise UserError(f"the part {name} stays empty: {_remedy(heads, wanted, len(keys), by)}")
    return parts


def _remedy(heads: Sequence[Groupable], wanted: np.ndarray, groups: int, by: str) -> str:
    """Why a part is empty, and a way that puts nothing alike into two parts."""
    parts = int((wanted > 0).sum())
    compositions = len({_group(head, "composition", 0) for head in heads})
    if by == "system" and groups == 1 and compositions >= parts:  # a constant is no name of a system
        return f"all structures are of the system {heads[0].system!r}, use --split-by composition"
    if groups == 1:
        return f"there is one {by} only, give all of it one part with --part, and other data for the others"
    return f"{groups} groups by {by} do not fill {parts} parts, give more data, or two parts with --split 0.8,0.2,0"


def require_fractions(fractions: Sequence[float], by: str) -> None:
    """UserError for what is no division into parts."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"the split {','.join(map(str, fractions))} is no division: give train,valid,test that sum to 1"
        )
    if by not in UNITS:
        raise UserError(f"a split by {by!r} is not known: use {', '.join(UNITS)}")


def split_into_parts(dataset: Dataset, fractions: Sequence[float], by: str = "system", seed: int = 0) -> Dataset:
    """The dataset with parts drawn anew, see `draw_parts`."""
    parts = draw_parts(dataset.heads, fractions, by, seed)
    records = [replace(record, part=part) for record, part in zip(dataset, parts, strict=True)]
    return Dataset(records, dataset.level_of_theory, dataset.provenance | {"split": [*fractions, by, seed]})


def _deal(
    heads: Sequence[Groupable], order: Sequence[Sequence[int]], wanted: np.ndarray, elements_first: bool
) -> tuple[list[str], np.ndarray]:
    """Part of each structure, and structures in each part; groups go in this order to the part that lacks most."""
    counts = np.zeros(3)
    parts = [""] * len(heads)
    trained: set[int] = set()
    for members in order:
        elements = {int(number) for i in members for number in heads[i].numbers}
        part = int(np.argmax((wanted - counts) / np.maximum(wanted, 1e-12) + np.where(wanted > 0, 0, -np.inf)))
        if elements_first and not elements <= trained:
            part = 0
        if part == 0:
            trained |= elements
        counts[part] += len(members)
        for i in members:
            parts[i] = PARTS[part]
    return parts, counts


def usual_split(dataset: Dataset) -> tuple[Dataset, str]:
    """80, 10 and 10 % of the structures, whole systems where there are `FEWEST` or more, and a sentence that says so.

    The same structures always get the same parts. Fewer than `FEWEST` structures are all trained on.
    """
    systems = {record.system or i for i, record in enumerate(dataset)}
    if len(dataset) < FEWEST:
        records = [replace(record, part="train") for record in dataset]
        told = "too few structures for a split: all are training structures, nothing is left to validate and test with"
        return Dataset(records, dataset.level_of_theory, dataset.provenance), told
    by = "system" if len(systems) >= FEWEST else "structure"
    divided = split_into_parts(dataset, USUAL, by)
    counts = ", ".join(f"{len(divided.select(part=part))} {PART_NAMES[part]}" for part in PARTS)
    told = f"parts drawn by {by}: {counts}"
    if by == "structure":
        told += f"; there are {len(systems)} systems only, so that parts share them"
    return divided, told


def _group(head: Groupable, by: str, i: int) -> object:
    if by == "composition":
        return tuple(np.sort(head.numbers))
    return head.system if by == "system" and head.system else i
