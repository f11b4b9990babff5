"""Frames of LAMMPS's text dumps (`dump custom` and `dump atom`)."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from ase.data import atomic_numbers

from hesspot.errors import UserError
from hesspot.monitor.frames import (
    Frame,
    elements_of_types,
    header_line,
    last_digit,
    numbers_in,
    table_of,
    usual_masses,
)
from hesspot.structures import ISOTOPES
from hesspot.units import AMU, ATOMIC_TIME, BOHR, HARTREE_PER_BOHR, JOULE, KCAL_PER_MOL, KILOGRAM, METER

#: LAMMPS's `units`: what its units of length, force, velocity and mass are in Å, eV/Å, Å/fs and amu.
UNITS = {
    "metal": (1.0, 1.0, 1e-3, 1.0),
    "real": (1.0, KCAL_PER_MOL, 1.0, 1.0),
    "electron": (BOHR, HARTREE_PER_BOHR, BOHR / (ATOMIC_TIME * AMU**0.5), 1.0),
    "si": (METER, JOULE / METER, METER / 1e15, KILOGRAM),
}

#: Columns of positions, the first that are there: absolute ones, then those that are parts of the box.
_ABSOLUTE, _SCALED = (("xu", "yu", "zu"), ("x", "y", "z")), (("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))


def read_frame(stream: BinaryIO, name: str, elements: np.ndarray | None, units: str | None) -> Frame:
    """The frame that begins where the stream is.

    elements: atomic numbers of the atom types, for dumps without a column `element`; units: LAMMPS's, which the dump
    may say itself, metal if nobody does. Incomplete where the file ends before the frame does; UserError for what is no
    such dump, and for columns that are missing.
    """
    head: dict[str, list[bytes]] = {}
    place = f"{name} at byte {stream.tell()}"
    title = header_line(stream)
    while not title.startswith(b"ITEM: ATOMS"):
        if not title.startswith(b"ITEM:"):
            raise UserError(f"{place} is no frame of a LAMMPS dump, which begins with `ITEM:`; check the file there")
        words = title[5:].split()
        is_box = words[:2] == [b"BOX", b"BOUNDS"]
        head[b" ".join(words[: 2 if is_box else None]).decode(errors="replace")] = [
            *([b" ".join(words[2:])] if is_box else []),
            *(header_line(stream) for _ in range(3 if is_box else 1)),
        ]
        title = header_line(stream)
    try:
        step, count = int(head["TIMESTEP"][0]), int(head["NUMBER OF ATOMS"][0])
        flags, *bounds = head["BOX BOUNDS"]
        cell, origin, pbc = _box(flags.split(), numbers_in(b" ".join(bounds).split(), place))
    except (KeyError, ValueError) as error:
        raise UserError(f"{place} has a head that cannot be read ({error}); check the file there") from error
    place = f"the frame of step {step} in {name}"
    columns = title.decode(errors="replace").split()[2:]
    words_ = table_of(stream, count, len(columns), place)
    length, force, velocity, mass = _units(head, units, place)

    def column(name: str) -> list[bytes]:
        return words_[columns.index(name) :: len(columns)]

    def vectors(names: tuple[str, ...]) -> np.ndarray:
        return np.stack([numbers_in(column(each), place) for each in names], axis=1)

    def has(names: tuple[str, ...]) -> bool:
        return all(each in columns for each in names)

    digit = force_digit = 0.0
    if names := next((each for each in _ABSOLUTE if has(each)), None):
        positions = vectors(names)
        digit = last_digit([column(each) for each in names])
    elif names := next((each for each in _SCALED if has(each)), None):
        positions = origin + vectors(names) @ cell
        digit = last_digit([column(each) for each in names]) * float(np.linalg.norm(cell, axis=1).max())
    else:
        raise UserError(f"{place} has no positions; dump the columns x y z, or xu yu zu")
    forces = velocities = None
    if has(("fx", "fy", "fz")):
        forces = force * vectors(("fx", "fy", "fz"))
        force_digit = force * last_digit([column(each) for each in ("fx", "fy", "fz")])
    if has(("vx", "vy", "vz")):
        velocities = velocity * vectors(("vx", "vy", "vz"))
    if "id" in columns:
        ids = numbers_in(column("id"), place).astype(np.int64)
    else:
        raise UserError(f"{place} has no column id, without which atoms have no name; dump it")
    if "element" in columns:
        symbols, inverse = np.unique(np.array(column("element")), return_inverse=True)
        numbers = np.array([_number(symbol.decode(errors="replace"), place) for symbol in symbols])[inverse]
        masses = usual_masses(numbers)
        for symbol, isotope in ISOTOPES.items():
            masses = np.where(symbols[inverse] == symbol.encode(), isotope, masses)
    elif "type" in columns:
        numbers = elements_of_types(numbers_in(column("type"), place).astype(np.int64), elements, place)
        masses = usual_masses(numbers)
    else:
        raise UserError(f"{place} has neither a column element nor type; dump one of them")
    if "mass" in columns:
        masses = mass * numbers_in(column("mass"), place)
    order = np.argsort(ids, kind="stable")
    return Frame(
        step=step,
        ids=ids[order],
        numbers=numbers[order],
        positions=length * positions[order],
        cell=length * cell,
        pbc=pbc,
        masses=masses[order],
        forces=None if forces is None else forces[order],
        velocities=None if velocities is None else velocities[order],
        digit=length * digit,
        force_digit=force_digit,
        energy_unit=force * length,
        states_units="UNITS" in head or units is not None,
    )


def _units(head: dict[str, list[bytes]], stated: str | None, place: str) -> tuple[float, float, float, float]:
    told = head["UNITS"][0].split()[0].decode(errors="replace") if "UNITS" in head else None
    if told and stated and told != stated:
        raise UserError(f"{place} says itself that it is in units {told}, not {stated}; leave --units out")
    name = told or stated or "metal"
    if name not in UNITS:
        raise UserError(f"{place} is in units {name}, which are not eV and Å; run with units {', '.join(UNITS)}")
    return UNITS[name]


def _number(symbol: str, place: str) -> int:
    number = 1 if symbol in ISOTOPES else atomic_numbers.get(symbol, 0)
    if number < 1:
        raise UserError(
            f"{place} has {symbol!r} in the place of an element; name the elements with `dump_modify ID element …`"
        )
    return number


def _box(flags: list[bytes], bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lattice vectors (3, 3), origin (3,) and periodic directions, from the flags and numbers of `BOX BOUNDS`."""
    pbc = np.array([flag == b"pp" for flag in flags[-3:]]) if len(flags) >= 3 else np.ones(3, dtype=bool)
    if b"abc" in flags:
        rows = bounds.reshape(3, 4)
        return rows[:, :3], rows[:, 3], pbc
    rows = bounds.reshape(3, -1)
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy, xz, yz = rows[:, 2] if rows.shape[1] == 3 else np.zeros(3)
    low -= [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high -= [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    x, y, z = high - low
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), low, pbc
