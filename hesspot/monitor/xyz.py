"""Frames of XYZ files: i-PI's, with its units, and extended XYZ of LAMMPS, ASE and i-PI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell

from hesspot.errors import UserError
from hesspot.monitor.dump import UNITS
from hesspot.monitor.frames import elements_of_types, header_line, last_digit, numbers_in, table_of, usual_masses
from hesspot.structures import ISOTOPES
from hesspot.units import AMU_A2_PER_FS2, ATOMIC_TIME, BOHR, HARTREE_PER_BOHR, JOULE, METER

#: i-PI's units of what it writes, in Å, eV/Å and Å/fs.
IPI_UNITS = {
    "positions": {"atomic_unit": BOHR, "angstrom": 1.0, "nanometer": 10.0, "meter": METER, "ase": 1.0},
    "forces": {"atomic_unit": HARTREE_PER_BOHR, "ev/ang": 1.0, "newton": JOULE / METER, "ase": 1.0},
    "velocities": {
        "atomic_unit": BOHR / ATOMIC_TIME,
        "m/s": METER / 1e15,
        "ase": AMU_A2_PER_FS2**-0.5,
    },
}

#: Other names of these columns. Forces of centroids are means over beads, which the model does not have there.
_NAMES = {
    "pos": "positions",
    "x_centroid": "positions",
    "force": "forces",
    "vel": "velocities",
    "velo": "velocities",
    "v_centroid": "velocities",
}

#: The energy of a frame in the comments of LAMMPS and ASE.
_ENERGY = re.compile(r"(?:\bPotential_energy|(?<!\w)energy)\s*=\s*([-+\d.eE]+)")


@dataclass(frozen=True, eq=False)
class Block:
    """What one frame of one file holds.

    step: None if the file does not say; numbers (n,); masses (n,) amu; cell (3, 3) Å; states_units: whether it, or the
    user, says its units; vectors: those of the keys of `IPI_UNITS` that are there, (n, 3) in Å, eV/Å and Å/fs; digits:
    what their last printed digits stand for; energy_unit: eV, that of the run's own energies; energy: eV, if it says
    one.
    """

    step: int | None
    numbers: np.ndarray
    masses: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    states_units: bool
    energy_unit: float
    energy: float | None
    vectors: dict[str, np.ndarray]
    digits: dict[str, float]


def read_block(stream: BinaryIO, name: str, elements: np.ndarray | None, units: str | None) -> Block:
    """What is in the frame that begins where the stream is; arguments and errors as of `dump.read_frame`.

    units: of LAMMPS's extended XYZ, `metal` if nothing is said; files of others are in Å and eV or say what they are.
    """
    place = f"{name} at byte {stream.tell()}"
    first = header_line(stream)
    try:
        count = int(first)
    except ValueError:
        raise UserError(
            f"{place} is no frame of an XYZ file, which begins with the number of atoms; check the file there"
        ) from None
    comment = header_line(stream).decode(errors="replace")
    extended = re.search(r'Properties\s*=\s*"?([^\s"]+)"?', comment)
    fields = (extended[1] if extended else "species:S:1:pos:R:3").split(":")
    widths = [int(width) for width in fields[2::3]]
    starts = dict(zip(fields[::3], np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
    total = sum(widths)
    words = table_of(stream, count, total, place)

    def columns(key: str) -> list[list[bytes]]:
        return [words[starts[key] + k :: total] for k in range(3)]

    if "species" not in starts:
        raise UserError(f"{place} has no column species; write one")
    numbers, masses = _atoms(words[starts["species"] :: total], elements, place)
    for key in ("masses", "mass"):
        if key in starts:
            masses = numbers_in(words[starts[key] :: total], place)
    quantity, unit, cell_unit = _told_by_ipi(comment, place)
    if quantity and not extended:
        found: dict[str, str] = {quantity: "pos"}
    else:
        found = {_NAMES.get(key, key): key for key in map(str, starts) if _NAMES.get(key, key) in IPI_UNITS}
        if quantity and quantity != "positions":
            found.pop("positions", None)  # i-PI fills them with zeros
        elif "positions" in starts:
            found["positions"] = "positions"
    factors = _factors(found, quantity, unit, comment, units, place)
    vectors = {
        what: factors[what] * np.stack([numbers_in(c, place) for c in columns(key)], 1) for what, key in found.items()
    }
    digits = {what: factors[what] * last_digit(columns(key)) for what, key in found.items()}
    if "momenta" in starts and "velocities" not in vectors:
        momenta = np.stack([numbers_in(c, place) for c in columns("momenta")], 1)
        vectors["velocities"] = momenta / masses[:, None] * AMU_A2_PER_FS2**-0.5
    length = factors.get("positions", 1.0) if "Timestep=" in comment else 1.0
    cell, pbc = _cell(comment, cell_unit, length, place)
    energy_unit = factors["positions"] * factors["forces"] if "Timestep=" in comment else 1.0
    energy = _ENERGY.search(comment)
    return Block(
        step=_step(comment),
        numbers=numbers,
        masses=masses,
        cell=cell,
        pbc=pbc,
        states_units=bool(quantity) or units is not None,
        energy_unit=energy_unit,
        energy=float(energy[1]) * energy_unit if energy else None,
        vectors=vectors,
        digits=digits,
    )


def _told_by_ipi(comment: str, place: str) -> tuple[str, str, float]:
    """What i-PI says that the columns are, in which unit, and the unit of the cell in Å; empty for other programs."""
    told = [(key, unit) for key, unit in re.findall(r"(\w+)\{([^}]*)\}", comment) if key != "cell"]
    if not told and "CELL" not in comment:
        return "", "", 1.0
    quantity, unit = told[0] if told else ("positions", "")
    quantity = _NAMES.get(quantity, quantity)
    if quantity not in IPI_UNITS:
        raise UserError(
            f"{place} holds i-PI's {quantity}, which is not looked at; give trajectories of {', '.join(IPI_UNITS)}"
        )
    of_cell = re.search(r"\bcell\{([^}]*)\}", comment)
    return quantity, unit or "atomic_unit", _unit("positions", of_cell[1] if of_cell else "atomic_unit", place)


def _unit(quantity: str, unit: str, place: str) -> float:
    known = IPI_UNITS[quantity]
    if (unit or "atomic_unit") not in known:
        raise UserError(f"{place} has {quantity} in {unit}, which is not known here; write them in {', '.join(known)}")
    return known[unit or "atomic_unit"]


def _factors(
    found: dict[str, str], quantity: str, unit: str, comment: str, units: str | None, place: str
) -> dict[str, float]:
    if quantity:
        return {what: _unit(what, unit, place) for what in found}
    if "Timestep=" in comment:  # LAMMPS
        length, force, velocity, _ = UNITS[units or "metal"]
        return {"positions": length, "forces": force, "velocities": velocity}
    if units not in (None, "metal"):
        raise UserError(f"--units {units} is for files of LAMMPS, and {place} is none; leave --units out")
    return {"positions": 1.0, "forces": 1.0, "velocities": AMU_A2_PER_FS2**-0.5}


def _atoms(symbols: list[bytes], elements: np.ndarray | None, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and masses of symbols, or of LAMMPS's atom types."""
    kinds, inverse = np.unique(np.array(symbols), return_inverse=True)
    numbers, masses = [], []
    for kind in kinds:
        symbol = kind.decode(errors="replace")
        if symbol.isdigit():
            number = int(elements_of_types(np.array([int(symbol)]), elements, place)[0])
        else:
            number = 1 if symbol in ISOTOPES else atomic_numbers.get(symbol, 0)
        if number < 1:
            raise UserError(f"{place} has {symbol!r} in the place of an element; write symbols such as H, C, O")
        numbers.append(number)
        masses.append(ISOTOPES.get(symbol) or float(usual_masses(np.array([number]))[0]))
    return np.array(numbers)[inverse], np.array(masses)[inverse]


def _cell(comment: str, cell_unit: float, length: float, place: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        if lattice := re.search(r'Lattice\s*=\s*"([^"]*)"', comment):
            cell = length * np.array(lattice[1].split(), dtype=float).reshape(3, 3)
        elif parameters := re.search(r"CELL[\(\[\{]abcABC[\)\]\}]:((?:\s+[-+\d.eE]+){6})", comment):
            cell = _cell_of(parameters[1], cell_unit).copy()
        elif matrix := re.search(r"CELL[\(\[\{](?:GENH|H)[\)\]\}]:((?:\s+[-+\d.eE]+){9})", comment):
            cell = cell_unit * np.array(matrix[1].split(), dtype=float).reshape(3, 3).T
        else:
            return np.zeros((3, 3)), np.zeros(3, dtype=bool)
    except ValueError as error:
        raise UserError(f"{place} has a cell that cannot be read ({error}); check its comment line") from error
    pbc = re.search(r'pbc\s*=\s*"?([TF])\s+([TF])\s+([TF])', comment)
    return cell, np.array([flag == "T" for flag in pbc.groups()]) if pbc else np.ones(3, dtype=bool)


@lru_cache(maxsize=4)
def _cell_of(parameters: str, unit: float) -> np.ndarray:
    """Lattice vectors of the text of three lengths and three angles; most runs have one cell in all frames."""
    numbers = np.array(parameters.split(), dtype=float)
    return np.asarray(cellpar_to_cell([*(unit * numbers[:3]), *numbers[3:]]))


def _step(comment: str) -> int | None:
    found = re.search(r"(?:Timestep\s*=|Step:|\bstep\s*=)\s*(\d+)", comment)
    return int(found[1]) if found else None
