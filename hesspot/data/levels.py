"""Levels of theory: when two of their names mean one level."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Restricted, unrestricted and restricted open-shell forms of one method: closed and open shells of one level.
_SPIN = re.compile(r"^(?:R|U|RO)(?=(?:KS|HF|DFT)\b)")
_GAUSSIAN_SPIN = re.compile(r"^(?:U|RO)(?=[A-Z])")


def level_key(level: str) -> str:
    """What decides whether energies compare: the level without how its spins are treated, in any case of letters.

    RKS and UKS, RB3LYP, UB3LYP and ROB3LYP (as Gaussian writes them) are one; RPBE stays another functional than PBE.
    """
    return " ".join(_GAUSSIAN_SPIN.sub("R", _SPIN.sub("", level.strip())).split()).lower()


def different_levels(levels: Iterable[str]) -> list[str]:
    """One name of each different level, in their order."""
    return list({level_key(level): level for level in reversed(list(levels))}.values())[::-1]
