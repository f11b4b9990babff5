"""Levels of theory: when two of their names mean one level."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Key of a dataset's provenance: the level that its maker stated, whatever the files say.
LEVEL_GIVEN = "level_given"

#: Restricted, unrestricted and restricted open-shell forms of one method: closed and open shells of one level. The R of
#: these functionals is none of spin.
_SPIN = re.compile(r"^(?:RO|R|U)(?=[A-Z])(?!(?<=R)(?:PBE|SCAN|PA|PW86PBE)\b)")


def level_key(level: str) -> str:
    """What decides whether energies compare: the level without how its spins are treated, in any case of letters.

    RKS and UKS, B3LYP, RB3LYP, UB3LYP and ROB3LYP (as Gaussian writes them) are one, and so are `HF 6-31G(d)` and
    `HF/6-31G*`; RPBE stays another functional than PBE. Dispersion, grids and programs that a name states count.
    """
    key = _SPIN.sub("", level.strip()).replace("/", " ").replace("**", "(d,p)").replace("*", "(d)")
    return " ".join(key.split()).lower()


def different_levels(levels: Iterable[str]) -> list[str]:
    """One name of each different level, in their order."""
    return list({level_key(level): level for level in reversed(list(levels))}.values())[::-1]
