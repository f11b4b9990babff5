"""Random parts of a dataset, of whole systems so that no molecule is both trained on and tested on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hesspot.data.dataset import Dataset
from hesspot.data.record import PARTS, Record
from hesspot.errors import UserError

#: What a part is made of: structures one by one, all of one `system`, all of one composition.
UNITS = ("structure", "system", "composition")


def split_into_parts(dataset: Dataset, fractions: Sequence[float], by: str = "system", seed: int = 0) -> Dataset:
    """The dataset with parts drawn anew: fractions of train, valid and test, that sum to 1.

    Groups in a random order go whole to the part that lacks most of its share; a structure without a system is a
    group of its own. UserError for fractions that are none, and where a part of a share above zero stays empty.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"the split {','.join(map(str, fractions))} is no division: give train,valid,test that sum to 1"
        )
    if by not in UNITS:
        raise UserError(f"a split by {by!r} is not known: use {', '.join(UNITS)}")
    groups: dict[object, list[int]] = {}
    for i, record in enumerate(dataset):
        groups.setdefault(_group(record, by, i), []).append(i)
    keys = list(groups)
    wanted = np.array(fractions) * len(dataset)
    counts = np.zeros(3)
    parts = [""] * len(dataset)
    for key in np.random.default_rng(seed).permutation(len(keys)):
        members = groups[keys[key]]
        part = int(np.argmax((wanted - counts) / np.maximum(wanted, 1e-12) + np.where(wanted > 0, 0, -np.inf)))
        counts[part] += len(members)
        for i in members:
            parts[i] = PARTS[part]
    for name, share, count in zip(PARTS, wanted, counts, strict=True):
        if share > 0 and count == 0:
            raise UserError(
                f"the part {name} stays empty: {len(keys)} groups by {by} do not fill three parts, "
                "use --split-by structure or give more data"
            )
    records = [replace(record, part=part) for record, part in zip(dataset, parts, strict=True)]
    return Dataset(records, dataset.level_of_theory, dataset.provenance | {"split": [*fractions, by, seed]})


def _group(record: Record, by: str, i: int) -> object:
    if by == "composition":
        return tuple(np.sort(record.numbers))
    return record.system if by == "system" and record.system else i
