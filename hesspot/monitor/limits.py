"""Limits, and what is beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.errors import UserError
from hesspot.monitor.look import Look

#: What may have a limit, and its unit. A frame passes that of `lowest` from above, all others from below.
UNITS = {
    "force": "eV/Å",
    "energy_error": "eV per atom",
    "spread": "eV/Å",
    "distance": "of the training set's own",
    "lowest": "cm⁻¹",
    "temperature": "K",
    "hottest": "K",
}

#: Those that hold where nothing is said.
USUAL = {"force": 0.01, "distance": 3.0}

#: Atoms of a flag that are named.
NAMED = 20


@dataclass(frozen=True)
class Flag:
    """A limit that a frame has passed.

    atom: the ID of the atom where it is passed most, None for a value of the whole frame; atoms: IDs of those beyond
    the limit, the worst first, `NAMED` at most of `count`.
    """

    what: str
    value: float
    limit: float
    atom: int | None = None
    atoms: Sequence[int] = ()
    count: int = 0

    def describe(self) -> str:
        """In words."""
        where = "" if self.atom is None else f" at atom {self.atom}"
        more = f" ({self.count} atoms)" if self.count > 1 else ""
        relation = "below" if self.what == "lowest" else "above"
        return f"{self.what} {self.value:.4g} {relation} {self.limit:g} {UNITS[self.what]}{where}{more}"


def parse_limits(words: Sequence[str]) -> dict[str, float]:
    """The limits in words such as `force=0.05`, beside the usual ones; `force=none` takes one away."""
    limits: dict[str, float] = dict(USUAL)
    for word in words:
        key, _, text = word.partition("=")
        if key not in UNITS:
            raise UserError(
                f"--limit {word} is of nothing that is known; write one of {', '.join(UNITS)}, as force=0.05"
            )
        if text == "none":
            limits.pop(key, None)
            continue
        try:
            limits[key] = float(text)
        except ValueError:
            raise UserError(f"--limit {word} has no number behind the =; write force=0.05, or force=none") from None
    return limits


def flags_of(look: Look, limits: Mapping[str, float]) -> list[Flag]:
    """All limits that a frame has passed."""
    found = []
    ids = look.frame.ids
    for what, limit in limits.items():
        if what not in look.values:
            continue
        value = look.values[what]
        if not (value < limit if what == "lowest" else value > limit):
            continue
        atoms = np.zeros(0, dtype=np.int64)
        if what in look.atoms:
            beyond = np.flatnonzero(look.atoms[what] > limit)
            atoms = beyond[np.argsort(-look.atoms[what][beyond], kind="stable")]
        elif what in look.at:
            atoms = np.array([look.at[what]])
        first = int(ids[atoms[0]]) if len(atoms) else None
        found.append(Flag(what, value, limit, first, ids[atoms[:NAMED]].tolist(), len(atoms)))
    return found
