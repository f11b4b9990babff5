"""The data of a run: one dataset file or several, as one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hesspot.console import warn
from hesspot.data import Dataset, Record
from hesspot.data.levels import different_levels
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError


def read_data(data: str | list[str], allow_mixed_levels: bool = False) -> Dataset:
    """Read one dataset, or several as one whose names begin with their file's.

    UserError if they are of different levels of theory and this is not allowed: their energies do not compare.
    """
    names = [data] if isinstance(data, str) else data
    sets = [Dataset.read(find_dataset(name)) for name in names]
    if len(sets) == 1:
        return sets[0]
    require_one_level({n: each.level_of_theory for n, each in zip(names, sets, strict=True)}, allow_mixed_levels)
    records = [
        replace(record, name=f"{Path(name).stem}/{record.name}")
        for name, each in zip(names, sets, strict=True)
        for record in each
    ]
    provenance = {name: each.provenance for name, each in zip(names, sets, strict=True)}
    return Dataset(records, " and ".join(different_levels(each.level_of_theory for each in sets)), provenance)


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


def require_one_charge(records: Sequence[Record], allow_mixed_charges: bool) -> None:
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


def require_known_elements(dataset: Dataset, elements: Sequence[str], whose: str) -> None:
    """UserError if the data have an element that is not among `elements`, those of the model that is trained on."""
    new = [element for element in dataset.elements if element not in elements]
    if new:
        raise UserError(
            f"{whose} and the model that is trained on do not fit: the model has {', '.join(elements)}, "
            f"and not {', '.join(new)} of the data; leave such structures out, or train a new model on all data"
        )
