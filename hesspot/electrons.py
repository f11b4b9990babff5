"""What a structure says of its electrons: charge and spin multiplicity, wherever they stand; and what a model knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from hesspot.errors import UserError

#: Keys of `Atoms.info`, lower case, as ASE's users, QCSchema and OMol25 write them.
CHARGE_KEYS = ("charge", "total_charge", "molecular_charge")
MULTIPLICITY_KEYS = ("multiplicity", "spin_multiplicity", "molecular_multiplicity")
SPIN_KEYS = ("spin", "total_spin")

#: Initial charges and magnetic moments are per atom, and may be rounded: their sums are whole to this.
WHOLE = 1e-3


def stated_electrons(atoms: Atoms, place: str) -> tuple[int | None, int | None]:
    """Charge (units of e) and multiplicity 2S + 1 that `atoms` states, None where it says nothing.

    They are read from `info`, and of molecules from initial charges and magnetic moments, where these sum to whole
    numbers. `spin` is read as 2S + 1, or as 2S where only that fits the number of electrons; 0 with an odd number is
    how fairchem's sets say nothing. UserError for statements that contradict each other or the number of electrons.
    """
    info = {str(key).lower(): (key, value) for key, value in atoms.info.items()}
    charges = [(key, _whole(value, f"{key}={value}", place)) for key, value in _found(info, CHARGE_KEYS)]
    if (total := _sum_of(atoms, "initial_charges")) is not None:
        charges.append(("initial_charges", total))
    charge = _one(charges, "charge", place)
    electrons = int(atoms.numbers.sum()) - (charge or 0)
    multiplicities = [(key, _whole(value, f"{key}={value}", place)) for key, value in _found(info, MULTIPLICITY_KEYS)]
    for key, value in _found(info, SPIN_KEYS):
        spin = _whole(value, f"{key}={value}", place)
        if spin or electrons % 2 == 0:
            multiplicities.append((key, spin if (spin + electrons) % 2 else spin + 1))
    if (unpaired := _sum_of(atoms, "initial_magmoms")) is not None:
        multiplicities.append(("initial_magmoms", abs(unpaired) + 1))
    multiplicity = _one(multiplicities, "multiplicity", place)
    if multiplicity is not None and (
        multiplicity < 1 or multiplicity > electrons + 1 or not (multiplicity + electrons) % 2
    ):
        raise UserError(
            f"{place} has the multiplicity {multiplicity} with {electrons} electrons, which cannot be; "
            "give charge= and multiplicity= (2S + 1) that fit together"
        )
    return charge, multiplicity


def electrons_of(atoms: Atoms, place: str) -> tuple[int, int]:
    """Charge and multiplicity for a calculation: what is stated, else neutral, and a singlet if that can be.

    UserError also for an odd number of electrons of which nothing is said.
    """
    charge, multiplicity = stated_electrons(atoms, place)
    electrons = int(atoms.numbers.sum()) - (charge or 0)
    if electrons < 1:
        raise UserError(f"{place} has no electrons at charge {charge}; give another charge")
    for key in ("initial_charges", "initial_magmoms"):
        if _is_set(atoms, key) and _sum_of(atoms, key) is None:
            raise UserError(
                f"{place} has {key} that sum to {np.sum(atoms.arrays[key]):g}, from which no whole charge or number of "
                "unpaired electrons follows; remove them and say charge=… and multiplicity=… in its comment line"
            )
    if multiplicity is None and electrons % 2:
        raise UserError(
            f"{place} has an odd number of electrons ({electrons}): say charge=… or multiplicity=2 in the comment line "
            "of the structure, or leave it out"
        )
    return charge or 0, multiplicity or 1


#: Charges and multiplicities of the structures that a model was trained on; None where they are not known.
States = Sequence[tuple[int, int]] | None


def trained_states(stated: Iterable[tuple[int, int | None, int | None]]) -> States:
    """Charges and multiplicities of structures, each once, from their nuclear charge and what they state.

    What is not stated is neutral, and of the lowest multiplicity; None if none states anything.
    """
    known = list(stated)
    if all(charge is None and multiplicity is None for _, charge, multiplicity in known):
        return None
    return sorted({(q or 0, m or lowest_multiplicity(nuclei - (q or 0))) for nuclei, q, m in known})


def lowest_multiplicity(electrons: int) -> int:
    """1 of an even number of electrons, 2 of an odd one."""
    return 1 + electrons % 2


def require_trained(atoms: Atoms, place: str, trained: States) -> None:
    """UserError if `atoms` states a charge or multiplicity that a model was not trained on.

    A model knows elements and positions alone, so that it would ignore the statement. Where it is not known what the
    model was trained on, that is taken for neutral, with the lowest multiplicity of the electrons. A structure that
    states nothing passes.
    """
    if not atoms.info and not any(atoms.has(key) for key in ("initial_charges", "initial_magmoms")):
        return
    charge, multiplicity = stated_electrons(atoms, place)
    if charge is None and multiplicity is None:
        return
    known = trained or [(0, lowest_multiplicity(int(atoms.numbers.sum())))]
    if any(charge in (None, q) and multiplicity in (None, m) for q, m in known):
        return
    told = [f"the charge {charge:+d}"] if charge is not None else []
    told += [f"the multiplicity {multiplicity}"] if multiplicity is not None else []
    if trained is None:
        raise UserError(
            f"{place} states {' and '.join(told)}, which a model does not look at, and nothing was stated of the data "
            "of this one, so that they are taken for neutral: train a model on data that state it, or, if they were "
            "such after all, remove the statement (in info, initial charges or magnetic moments)"
        )
    pairs = ", ".join(f"{q:+d} and {m}" if q else f"0 and {m}" for q, m in trained)
    raise UserError(
        f"{place} states {' and '.join(told)}, which a model does not look at, and the model was trained on charge and "
        f"multiplicity {pairs}; take a model that was trained on such, or correct the statement (in info, initial "
        "charges or magnetic moments)"
    )


def _found(info: dict[str, tuple[Any, Any]], keys: Sequence[str]) -> list[tuple[str, Any]]:
    return [info[key] for key in keys if key in info and info[key][1] is not None]


def _is_set(atoms: Atoms, key: str) -> bool:
    return atoms.has(key) and bool(np.any(atoms.arrays[key]))


def _sum_of(atoms: Atoms, key: str) -> int | None:
    """The whole number that values per atom of a molecule sum to; those of crystals and rough guesses say nothing."""
    if not _is_set(atoms, key) or atoms.pbc.any():
        return None
    total = float(np.sum(atoms.arrays[key]))
    return round(total) if abs(total - round(total)) < WHOLE else None


def _whole(value: Any, what: str, place: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not abs(number - np.round(number)) < WHOLE:
        raise UserError(f"{place} has {what}, which is no whole number; give charge and multiplicity as whole numbers")
    return round(number)


def _one(values: list[tuple[str, int]], what: str, place: str) -> int | None:
    if len({value for _, value in values}) > 1:
        told = " and ".join(f"{value} from {key}" for key, value in values)
        raise UserError(f"{place} states two values of its {what}: {told}; remove the wrong one")
    return values[0][1] if values else None
