"""Structures that an i-PI run with a committee has kept in doubt, as extended XYZ.

i-PI's `<active_output>` holds JSON objects one behind the other: positions and cell in Bohr, no elements, and the
standard deviation of the members' energies in Hartree. Each start of i-PI begins a file of its own, and renames the old
one to `#FILE#0#`, `#FILE#1#`, ….
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from hesspot.electrons import CHARGE_KEYS, MULTIPLICITY_KEYS, SPIN_KEYS
from hesspot.errors import UserError
from hesspot.files import replacing, require_file
from hesspot.structures import read_structure
from hesspot.units import BOHR, HARTREE

#: Keys of a frame's `info`, eV: how far the members are apart.
DEVIATION = "energy_deviation"

#: What a frame keeps of the template's statements, lower case.
_KEPT = {*CHARGE_KEYS, *MULTIPLICITY_KEYS, *SPIN_KEYS}


def write_frames(kept: str | Path, template: str | Path, out: str | Path) -> int:
    """Write what i-PI has kept, with all earlier parts of the run, to extended XYZ in Å; each structure once.

    template: the start structure, whose elements, periodic directions, masses and charge the frames have. Returns how
    many there are; none leave no file. UserError for what is no such output, or another number of atoms.
    """
    kept = Path(kept)
    start = read_structure(template, tell=lambda _: None)
    start.arrays.pop("momenta", None)
    start.info = {key: value for key, value in start.info.items() if str(key).lower() in _KEPT}
    frames: dict[bytes, ase.Atoms] = {}
    for path in _parts(kept):
        for content in _objects(path):
            atoms = _frame(content, start, f"{path} and {template}")
            frames.setdefault(atoms.positions.tobytes() + atoms.cell.array.tobytes(), atoms)
    if frames:
        with replacing(out) as part:
            ase.io.write(part, list(frames.values()), format="extxyz")
    return len(frames)


def _parts(kept: Path) -> Iterator[Path]:
    """The files of the run's earlier starts, and the last one."""
    require_file(kept, "file of doubtful structures", "give what <active_output> names, such as simulation.doubtful")
    for number in count():
        earlier = kept.with_name(f"#{kept.name}#{number}#")
        if not earlier.exists():
            break
        yield earlier
    yield kept


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file; the last may be cut off where i-PI was killed."""
    text, decoder, place = path.read_text(errors="replace"), json.JSONDecoder(), 0
    while place < len(text):
        try:
            content, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            if text.startswith("{", place):
                return
            raise UserError(
                f"{path} is no output of <active_output>: at character {place} is no JSON; give what i-PI wrote"
            ) from None
        yield content


def _frame(content: dict[str, Any], start: ase.Atoms, place: str) -> ase.Atoms:
    try:
        positions = np.array(content["position"], dtype=np.float64).reshape(-1, 3) * BOHR
        cell = np.array(content["cell"], dtype=np.float64).reshape(3, 3).T * BOHR
        deviation = float(content["uncertainty"]) * HARTREE
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{place}: this is no output of <active_output> ({error}); give the file that i-PI wrote"
        ) from error
    if len(positions) != len(start):
        raise UserError(
            f"{place} do not belong together: {len(positions)} atoms and {len(start)}; give the start structure of "
            "the run"
        )
    atoms = start.copy()
    atoms.positions = positions
    if atoms.pbc.any():
        atoms.cell = cell
    atoms.info[DEVIATION] = deviation
    return atoms
