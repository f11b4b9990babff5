"""The data of a run: one dataset file or several, as one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from hesspot.console import warn
from hesspot.data import PART_NAMES, Dataset, Record
from hesspot.data.levels import different_levels
from hesspot.data.shipped import find_dataset
from hesspot.data.stored_records import Entry, StoredRecords
from hesspot.errors import UserError


def read_data(data: str | list[str], allow_mixed_levels: bool = False) -> Dataset:
    """Open one dataset, or several as one whose names begin with their file's; see `Dataset.open`.

    UserError if they are of different levels of theory and this is not allowed: their energies do not compare.
    """
    names = [data] if isinstance(data, str) else data
    sets = [Dataset.open(find_dataset(name)) for name in names]
    if len(sets) == 1:
        return sets[0]
    require_one_level({n: each.level_of_theory for n, each in zip(names, sets, strict=True)}, allow_mixed_levels)
    entries = [
        replace(entry, name=f"{Path(name).stem}/{entry.name}")
        for name, each in zip(names, sets, strict=True)
        for entry in each.heads
        if isinstance(entry, Entry)
    ]
    provenance = {name: each.provenance for name, each in zip(names, sets, strict=True)}
    return Dataset(
        StoredRecords(entries), " and ".join(different_levels(each.level_of_theory for each in sets)), provenance
    )


def require_one_level(
    levels: Mapping[str, str],
    allow_mixed_levels: bool,
    remedy: str = "give data of one level, or set allow_mixed_levels: true",
) -> None:
    """UserError if levels of theory, each under what it is of, differ and this is not allowed.

    Data that were joined on purpose are of `A and B`, and fit to data of A.
    """
    (first, level), *others = levels.items()
    for what, other in others:
        joined = max(len(each.split(" and ")) for each in (level, other))
        different = different_levels([*level.split(" and "), *other.split(" and ")])
        if len(different) > joined and not allow_mixed_levels:
            raise UserError(
                f"{first} and {what} are of different levels of theory, {level or 'not given'} and "
                f"{other or 'not given'}, whose energies do not compare; {remedy}"
            )


def require_known_level(levels: Mapping[str, str], allow_mixed_levels: bool, remedy: str) -> None:
    """`require_one_level` of what a file states, which may be nothing: a warning then."""
    unknown = [what for what, each in levels.items() if each in ("", "unknown")]
    if unknown:
        warn(f"the level of theory of {' and of '.join(unknown)} is not known, so that it may be another")
    known = {what: each for what, each in levels.items() if what not in unknown}
    if known:
        require_one_level(known, allow_mixed_levels, remedy)


def require_one_charge(records: Sequence[Record | Entry], allow_mixed_charges: bool) -> None:
    """UserError for structures that differ in what a model of positions and elements alone cannot tell apart.

    These are total charges, unless `allow_mixed_charges`, and multiplicities of one composition.
    """
    charges: dict[int, str] = {}
    spins: dict[tuple[bytes, int | None], tuple[int, str]] = {}
    for record in records:
        if record.charge is not None:
            charges.setdefault(record.charge, record.name)
        if record.multiplicity is not None:
            composition = np.sort(record.numbers).tobytes(), record.charge
            other, name = spins.setdefault(composition, (record.multiplicity, record.name))
            if other != record.multiplicity:
                raise UserError(
                    f"{name} has the multiplicity {other}, {record.name} of the same composition "
                    f"{record.multiplicity}, and a model cannot tell them apart; leave one spin state out"
                )
    if len(charges) > 1 and not allow_mixed_charges:
        told = " and ".join(f"{charge:+d} ({name})" for charge, name in charges.items())
        raise UserError(
            f"the data hold structures of the charges {told}, which a model cannot tell apart; train on one charge, or "
            "set allow_mixed_charges: true where the elements around each atom tell which it is"
        )


def require_known_elements(heads: Sequence[Record | Entry], elements: Sequence[str], place: str, whose: str) -> None:
    """UserError for the first structure of `place` with an element that is not among `elements`, in words `whose`."""
    for head in heads:
        new = [chemical_symbols[z] for z in sorted(set(head.numbers.tolist())) if chemical_symbols[z] not in elements]
        if new:
            raise UserError(
                f"structure {head.name} ({PART_NAMES[head.part]}) of {place} has {' and '.join(new)}, which {whose} "
                f"({', '.join(elements)}); leave such structures out, or train a new model with them among its "
                "training structures: `hesspot data convert IN.h5 --split 0.8,0.1,0.1 --out OUT.h5` draws parts so"
            )
