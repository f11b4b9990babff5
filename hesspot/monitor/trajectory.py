"""The files of a run, read frame by frame while the run writes them: never a frame that is not whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import ase
import numpy as np

from hesspot.console import warn
from hesspot.errors import UserError
from hesspot.files import require_text
from hesspot.monitor import dump, xyz
from hesspot.monitor.frames import Frame, Incomplete
from hesspot.monitor.xyz import Block
from hesspot.structures import numbers_of_elements, read_structure

#: Seconds between two looks at a file that has not grown.
POLL = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where the frames come from.

    trajectory: a LAMMPS dump, or XYZ of i-PI, LAMMPS or ASE; forces, velocities: i-PI's further files. elements: of
    LAMMPS's atom types; units: LAMMPS's, where the file does not say; template: a structure whose periodic directions
    and masses hold, for files that do not tell.
    """

    trajectory: Path
    forces: Path | None = None
    velocities: Path | None = None
    elements: Sequence[str] | None = None
    units: str | None = None
    template: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        named = {"positions": self.trajectory, "forces": self.forces, "velocities": self.velocities}
        return {what: path for what, path in named.items() if path is not None}


class Trajectory:
    """The frames of a source, one after the other.

    places: the byte in each file at which the next frame begins, count: frames before that; a reader that is given them
    goes on there. seconds: that the last frame took to be read. UserError for files that are no trajectory.
    """

    def __init__(self, source: Source, places: Sequence[int] | None = None, count: int = 0):
        self.source = source
        self._files = source.files
        for path in self._files.values():
            require_text(path, "trajectory", "give a text dump of LAMMPS, or XYZ of i-PI, LAMMPS or ASE")
        self.places = list(places or [0] * len(self._files))
        self._numbers = None if source.elements is None else numbers_of_elements(source.elements)
        self._template = None if source.template is None else read_structure(source.template)
        self._count = count
        self.seconds = 0.0

    def first_frame(self, *, whole: bool) -> Frame | None:
        """The frame that comes first, if it is there as a whole; UserError where it cannot be read, and with `whole`
        where it is not there."""
        sizes = [path.stat().st_size for path in self._files.values()]
        places = self.places
        frame, told = self._next(sizes)
        self.places = places
        if frame is None and whole:
            told = f"its first one is cut off {told}" if told else "it is empty"
            raise UserError(f"{self.source.trajectory} holds no whole frame: {told}; leave --once out to wait for one")
        return frame

    def frames(
        self, *, follow: bool, patience: float | None = None, wait: Callable[[float], None] = time.sleep
    ) -> Iterator[Frame]:
        """All frames that are whole, and with `follow` those that come, until the files have not grown for `patience`
        seconds.

        A frame that is cut off at the end of a finished file is left out with a word. UserError if there is none at
        all, for a file that has become shorter, and for what is not in its place.
        """
        waited, seen = 0.0, [0] * len(self._files)
        while True:
            sizes = [path.stat().st_size for path in self._files.values()]
            if any(size < place for size, place in zip(sizes, self.places, strict=True)):
                raise UserError(
                    f"{self.source.trajectory} has become shorter than it was: it belongs to another run by now; watch "
                    "that one into another --out"
                )
            started = time.perf_counter()
            frame, told = (None, "") if sizes == seen else self._next(sizes)
            self.seconds = time.perf_counter() - started
            if frame is not None:
                waited, self._count = 0.0, self._count + 1
                yield frame
            elif not follow:
                if told:
                    warn(f"the last frame of {self.source.trajectory} is cut off {told}, and left out")
                return
            elif patience is not None and waited >= patience:
                return
            else:
                waited = waited + POLL if sizes == seen else 0.0
                seen = sizes
                wait(POLL)

    def _next(self, sizes: Sequence[int]) -> tuple[Frame | None, str]:
        """The next frame, or how far the one goes that is not whole; nothing at the end of the file."""
        if any(size == place for size, place in zip(sizes, self.places, strict=True)):
            return None, ""
        try:
            parts, places = [], []
            for path, place in zip(self._files.values(), self.places, strict=True):
                with path.open("rb") as stream:
                    stream.seek(place)
                    parts.append(self._part(stream, str(path)))
                    places.append(stream.tell())
            frame = self._joined(parts)
        except Incomplete as error:
            return None, str(error)
        self.places = places
        return frame, ""

    def _part(self, stream: BinaryIO, name: str) -> Frame | Block:
        place = stream.tell()
        line = stream.readline()
        stream.seek(place)
        if line.startswith(b"ITEM:"):
            return dump.read_frame(stream, name, self._numbers, self.source.units)
        return xyz.read_block(stream, name, self._numbers, self.source.units)

    def _joined(self, parts: Sequence[Frame | Block]) -> Frame:
        first, *others = parts
        if isinstance(first, Frame):
            if others:
                raise UserError(
                    "--forces and --velocities are for XYZ of i-PI; a LAMMPS dump has columns fx fy fz and vx vy vz"
                )
            return first
        vectors, digits = dict(first.vectors), dict(first.digits)
        for what, path, part in zip(list(self._files)[1:], list(self._files.values())[1:], others, strict=False):
            if isinstance(part, Frame) or what not in part.vectors:
                raise UserError(f"{path} holds no {what} of i-PI; give the file that i-PI wrote them to")
            if part.step != first.step or not np.array_equal(part.numbers, first.numbers):
                raise UserError(
                    f"{path} is at step {part.step} where {self.source.trajectory} is at step {first.step}: let i-PI "
                    "write both with one stride, of the same atoms"
                )
            vectors[what], digits[what] = part.vectors[what], part.digits[what]
        if "positions" not in vectors:
            raise UserError(
                f"{self.source.trajectory} has no positions; give the file that has, and others as --forces"
            )
        pbc, masses = first.pbc, first.masses
        if self._template is not None:
            pbc, masses = self._template.pbc, _masses_of(self._template, first, self.source)
        return Frame(
            step=self._count if first.step is None else first.step,
            ids=np.arange(len(first.numbers)),
            numbers=first.numbers,
            positions=vectors["positions"],
            cell=first.cell,
            pbc=np.asarray(pbc),
            masses=masses,
            forces=vectors.get("forces"),
            velocities=vectors.get("velocities"),
            digit=digits["positions"],
            force_digit=digits.get("forces", 0.0),
            states_units=first.states_units,
            energy_unit=first.energy_unit,
            energy=first.energy,
        )


def _masses_of(template: ase.Atoms, block: Block, source: Source) -> np.ndarray:
    if not np.array_equal(template.numbers, block.numbers):
        raise UserError(
            f"{source.template} has other atoms than {source.trajectory}; give the structure that the run began with"
        )
    return np.asarray(template.get_masses())
