"""The clusters that a watch keeps, one file each, and all of them in one for a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from hesspot.console import warn
from hesspot.data.record import TAG
from hesspot.files import replacing
from hesspot.monitor.clusters import Cut, Uncut, cluster
from hesspot.monitor.limits import Flag
from hesspot.monitor.look import Look

FOLDER, TOGETHER = "clusters", "clusters.xyz"

#: The tag of clusters around atoms that were drawn, whatever is there.
DRAWN = "drawn"

#: Key of `info`: the model's force on atom 0 in the run, eV/Å.
FORCE_IN_RUN = "force_in_run"


@dataclass(frozen=True)
class Keeping:
    """cut: how; flagged: clusters of flagged atoms at most; drawn: atoms drawn from each frame."""

    cut: Cut = field(default_factory=Cut)
    flagged: int = 20
    drawn: int = 0


def keep_clusters(folder: Path, look: Look, flags: Sequence[Flag], keeping: Keeping) -> None:
    """Write the clusters of a frame: one around the worst atom of each flag, and those around drawn atoms.

    Atoms are drawn with the step as seed. What cannot be cut is left out with a word.
    """
    ids = look.frame.ids
    wanted: dict[int, str] = {}
    room = keeping.flagged - sum(1 for _ in (folder / FOLDER).glob("*-flag.xyz"))
    for flag in flags:
        if flag.atom is not None and len(wanted) < room:
            wanted.setdefault(int(np.searchsorted(ids, flag.atom)), flag.what)
    if keeping.drawn:
        random = np.random.default_rng(look.frame.step)
        for atom in random.choice(len(ids), min(keeping.drawn, len(ids)), replace=False).tolist():
            wanted.setdefault(atom, DRAWN)
    for atom, what in wanted.items():
        name = f"step{look.frame.step}-atom{ids[atom]}"
        path = folder / FOLDER / f"{name}-{DRAWN if what == DRAWN else 'flag'}.xyz"
        if path.exists():
            continue
        try:
            atoms = cluster(look.frame, atom, keeping.cut)
        except Uncut as error:
            warn(str(error))
            continue
        assert look.forces is not None
        about: Mapping[str, object] = {
            "name": name,
            "step": look.frame.step,
            "system": f"step{look.frame.step}",
            TAG: what,
            FORCE_IN_RUN: look.forces[atom],
        }
        atoms.info |= about
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as part:
            ase.io.write(part, atoms, format="extxyz")


def all_clusters(folder: Path) -> list[ase.Atoms]:
    """All that are kept, by step and atom."""
    found: list[Any] = [ase.io.read(path, format="extxyz") for path in (folder / FOLDER).glob("*.xyz")]
    return sorted(found, key=lambda atoms: (atoms.info["step"], atoms.info["name"]))


def write_together(folder: Path) -> Path:
    """All clusters in one file, for `hesspot label`."""
    path = folder / TOGETHER
    with replacing(path) as part:
        ase.io.write(part, all_clusters(folder), format="extxyz")
    return path
