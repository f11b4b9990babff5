"""Names of levels of theory: which are one, and what may not be trained on together."""

import numpy as np
import pytest

from hesspot.data import Record
from hesspot.data.levels import different_levels, level_key
from hesspot.data.sources import require_one_charge
from hesspot.errors import UserError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RB3LYP/6-31G(d)", "UB3LYP/6-31g(d)"),
        ("RB3LYP/6-31G(d)", "ROB3LYP/6-31G(d)"),
        ("RKS B3LYP/6-31G(d) (PySCF)", "KS B3LYP/6-31G(d) (PySCF)"),
        ("RKS PBE/STO-3G", "UKS PBE/STO-3G"),
        ("UHF/STO-3G", "RHF/STO-3G"),
        ("RB3LYP 6-31G(d)", "B3LYP/6-31G*"),
        ("UMP2/6-31G**", "MP2 6-31G(d,p)"),
        ("RPBEPBE/6-31G(d)", "UPBEPBE/6-31G(d)"),
    ],
)
def test_spins_and_spellings_are_no_level(one: str, other: str) -> None:
    assert level_key(one) == level_key(other)
    assert different_levels([one, other]) == [one]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RPBE/def2-SVP", "PBE/def2-SVP"),
        ("RSCAN/def2-SVP", "SCAN/def2-SVP"),
        ("B3LYP/6-31G(d), grid 75 x 434", "B3LYP/6-31G(d), grid 50 x 194"),
        ("RB3LYP/6-31G(d)", "RB3LYP/6-31G(d,p)"),
        ("KS B3LYP/6-31G(d)", "KS B3LYP-D3BJ/6-31G(d)"),
        ("GFN1-xTB (tblite)", "GFN2-xTB (tblite)"),
    ],
)
def test_functionals_and_bases_are(one: str, other: str) -> None:
    assert different_levels([one, other]) == [one, other]


def record(symbols: list[int], charge: int | None, multiplicity: int | None, name: str) -> Record:
    positions = np.arange(3.0 * len(symbols)).reshape(-1, 3)
    return Record(np.array(symbols), positions, name, charge=charge, multiplicity=multiplicity)


NEUTRAL, UNSAID = record([8, 1], 0, 2, "neutral"), record([8, 1], None, None, "unsaid")
ANION, TRIPLET = record([8, 1], -1, 1, "anion"), record([8, 8], 0, 3, "triplet")


def test_one_charge_may_be_trained_on() -> None:
    require_one_charge([NEUTRAL, UNSAID, TRIPLET], allow_mixed_charges=False)
    require_one_charge([NEUTRAL, ANION], allow_mixed_charges=True)


@pytest.mark.parametrize(
    ("records", "allowed", "words"),
    [
        ([NEUTRAL, TRIPLET, ANION], False, r"\+0 \(neutral\) and -1 \(anion\)"),
        ([TRIPLET, record([8, 8], 0, 1, "singlet")], True, "triplet has the multiplicity 3, singlet"),
    ],
)
def test_what_a_model_cannot_tell_apart_is_refused(records: list[Record], allowed: bool, words: str) -> None:
    with pytest.raises(UserError, match=words):
        require_one_charge(records, allow_mixed_charges=allowed)
