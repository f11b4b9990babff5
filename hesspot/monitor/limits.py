"""Limits, and what is beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.monitor.frames import Frame
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

#: Why there is no distance, and what there is to do.
NO_SURROUNDINGS = (
    "the model's file does not know its training data, which `hesspot export OLD.pt NEW.pt --training-data labels.h5` "
    "tells it"
)
NO_VELOCITIES = "the trajectory has no velocities; dump vx vy vz, or give i-PI's --velocities"

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


def require_values(stated: Iterable[str], frame: Frame, model: LoadedModel, *, lowest: int, energies: bool) -> None:
    """UserError for the first limit that the user has stated and that nothing can pass: what it is of is not asked, or
    not in the trajectory or in the model's file. lowest: Lanczos steps; energies: whether a file of them is given."""
    lacking = {
        "force": (frame.forces is None, "the trajectory has no forces; dump fx fy fz, or give i-PI's --forces"),
        "energy_error": (not energies and frame.energy is None, "the trajectory has no energies; give --energies"),
        "spread": (model.kernel is None or model.n_members == 1, "the model is no committee that a kernel evaluates"),
        "distance": (model.kernel is None or model.surroundings is None, NO_SURROUNDINGS),
        "lowest": (not lowest, "the lowest curvature is not asked; give --lowest 20"),
        "temperature": (frame.velocities is None, NO_VELOCITIES),
        "hottest": (frame.velocities is None, NO_VELOCITIES),
    }
    for what in stated:
        is_lacking, why = lacking[what]
        if is_lacking:
            raise UserError(f"--limit {what} cannot be passed: {why}")


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
