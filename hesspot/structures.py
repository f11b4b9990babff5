"""Structures: one door through which every one comes in, whatever file it is from and whatever engine it is for.

Reading is ASE's, with what ASE's readers lose put right. Checking refuses what no engine can answer for.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import ase
import ase.constraints
import ase.io
import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.geometry import complete_cell
from ase.io.formats import filetype, parse_filename
from scipy.spatial import cKDTree

from hesspot.errors import UserError
from hesspot.files import require_file
from hesspot.units import COINCIDENT

#: Å; a coordinate or a cell beyond this comes from a run that has blown up, and searches for neighbours overflow.
#: Along a direction that is not periodic, next to one that is, the time of a search grows with the extent.
FARTHEST, FARTHEST_MIXED = 1e6, 1e4

#: Å between opposite faces of a cell; a flatter one has more images of an atom than memory can hold.
FLATTEST = 0.5

#: Symbols of hydrogen's isotopes, which ASE does not know, and their masses in amu.
ISOTOPES = {"D": 2.014, "T": 3.016}

#: A mass beyond so many times the element's own is in another unit: electron masses, or those of QUIP (eV fs²/Å²).
HEAVIEST = 50.0

#: The remedy for a file that has atom types in the place of elements.
NAME_TYPES = "name their elements in the order of the types, as in --elements O,H"

#: amu; a mass that differs more from every element's is an isotope's, or one that was moved between atoms.
SAME_ELEMENT = 0.02

#: Lines of a file that its layout is told from.
HEAD = 200

_LAMMPS_BOX = re.compile(r"^\s*\S+\s+\S+\s+xlo\s+xhi", re.MULTILINE)
_TYPES_OF_XYZ = re.compile(r"\A\s*\d+\s*\n.*\n\s*\d+\s")
_PROPERTIES = re.compile(r'Properties\s*=\s*"?([^\s"]+)"?')


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def read_structures(path: str | Path, elements: Sequence[str] | None = None) -> list[ase.Atoms]:
    """All structures of a file in any format that ASE reads, or those that ASE's `FILE@INDEX` names.

    elements: symbols of LAMMPS's atom types 1, 2, …, for files that have types only: such files are refused without.

    Columns `mass` and `masses` (amu) and the symbols D and T become masses; constraints (a column `move_mask`), what
    the comment says (charge, spin), cell and periodic directions stay as ASE reads them. UserError for a file that
    cannot be read, and for what `check_structure` refuses but coincident atoms.
    """
    return _read(path, ":", elements)


def read_structure(
    path: str | Path, tell: Callable[[str], None] = _say, elements: Sequence[str] | None = None
) -> ase.Atoms:
    """The structure of a file, the last one of a trajectory, which is then told; else as `read_structures`."""
    structures = _read(path, "-1", elements)
    if len(structures) > 1:
        raise UserError(f"{path} names {len(structures)} structures; give the number of one, as in FILE@0")
    name, chosen = _split(path)
    if chosen is None and _has_a_second(name, elements):
        tell(f"{path} holds several structures, the last is taken ({path}@0 is the first)")
    return structures[0]


def iterate_structures(
    path: Path, ase_format: str | None = None, elements: Sequence[str] | None = None
) -> Iterator[ase.Atoms]:
    """The structures of a file one by one, else as `read_structures`; not checked, and with ASE's own errors."""
    done = 0
    types = AtomTypes.of(str(path), ase_format, elements)
    try:
        for done, atoms in enumerate(ase.io.iread(str(path), ":", types.ase_format, do_not_split_by_at_sign=True), 1):
            types.name(atoms, f"structure {done - 1} of {path}")
            take_masses(atoms, f"structure {done - 1} of {path}")
            yield atoms
        return
    except KeyError as error:
        text = _text_for_ase(str(path), error, elements)
    for number, atoms in enumerate(islice(ase.io.iread(text, ":", "extxyz"), done, None), done):
        take_masses(atoms, f"structure {number} of {path}")
        yield atoms


def check_structure(atoms: ase.Atoms, place: str) -> None:
    """UserError, with value and place, for a structure that no engine can answer for.

    That is one without atoms, with an atom of no element, positions, cell or masses that are not finite or out of
    all bounds, periodic directions without a lattice that spans them, and atoms on one place. `place` begins the
    sentence, as in "structure 3 of water.xyz".
    """
    check_atoms(atoms, place)
    check_geometry(atoms.positions, atoms.cell.array, atoms.pbc, place)
    first, second, distance = nearest_atoms(atoms)
    if distance < COINCIDENT:
        refuse_coincident(place, first, second, distance)


def check_atoms(atoms: ase.Atoms, place: str) -> None:
    """UserError for a structure without atoms, with an atom of no element, or with an impossible mass."""
    if len(atoms) == 0:
        raise UserError(f"{place} has no atoms; give one with atoms")
    numbers = atoms.numbers
    if not (numbers.min() > 0 and numbers.max() < len(chemical_symbols)):
        atom = int(np.flatnonzero((numbers < 1) | (numbers >= len(chemical_symbols)))[0])
        raise UserError(
            f"{place} has atom {atom} of atomic number {numbers[atom]}, a dummy or ghost atom and no element; remove it"
        )
    if not atoms.has("masses"):
        return
    masses, usual = atoms.get_masses(), atomic_masses[numbers]
    wrong = np.flatnonzero(~((masses > 0) & (masses <= HEAVIEST * usual)))
    if len(wrong):
        atom = int(wrong[0])
        raise UserError(
            f"{place} has the mass {masses[atom]:g} for atom {atom}, {atoms.symbols[atom]} of usually "
            f"{usual[atom]:g} amu; give masses in amu"
        )


def check_geometry(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, place: str) -> None:
    """`check_positions` and `check_cell`: all that a search for neighbours needs. (n, 3) Å, (3, 3) Å, (3,) bool."""
    check_positions(positions, pbc, place)
    check_cell(cell, pbc, place)


def check_positions(positions: np.ndarray, pbc: np.ndarray, place: str) -> None:
    """UserError for positions (n, 3) Å that are not finite, or too far away for a search for neighbours."""
    limit = FARTHEST_MIXED if pbc.any() and not pbc.all() else FARTHEST
    farthest = np.abs(positions).max(initial=0.0)
    if farthest <= limit:
        return
    if np.isfinite(farthest):
        raise UserError(
            f"{place} has a coordinate of {farthest:.3g} Å, beyond {limit:g} Å: the run has blown up, or the unit is "
            "wrong; give positions in Å"
        )
    atom = int(np.flatnonzero(~np.isfinite(positions).all(1))[0])
    where = ", ".join(f"{x:g}" for x in positions[atom])
    raise UserError(f"{place} has atom {atom} at {where}, which is not finite; correct or remove it")


def check_cell(cell: np.ndarray, pbc: np.ndarray, place: str) -> None:
    """UserError for a cell (3, 3) Å that is not finite, or does not span the periodic directions pbc (3,)."""
    largest = np.abs(cell).max()
    if not largest <= FARTHEST:
        raise UserError(
            f"{place} has a cell with {largest:g} in it, which is not a finite length below {FARTHEST:g} Å; give the "
            "lattice vectors in Å"
        )
    used = cell[pbc]
    if not len(used) or (used.any(1).all() and cell_heights(cell, pbc).min() >= FLATTEST):
        return
    for axis in np.flatnonzero(pbc):
        if not cell[axis].any():
            raise UserError(
                f"{place} is periodic along {'abc'[axis]}, but has no lattice vector there; give the cell, or set pbc "
                "to false"
            )
    if np.linalg.matrix_rank(used) < len(used):
        raise UserError(
            f"{place} has periodic lattice vectors that depend on each other ({_rows(used)} Å) and enclose nothing; "
            "correct the cell"
        )
    heights = cell_heights(cell, pbc)
    flattest = int(heights.argmin())
    raise UserError(
        f"{place} has a cell {heights[flattest]:.3g} Å high along {'abc'[flattest]}, less than {FLATTEST} Å; give "
        "the lattice vectors in Å"
    )


def refuse_coincident(place: str, first: int, second: int, distance: float) -> None:
    """Raise the UserError for two atoms `distance` Å apart, or an atom and its own image."""
    who = f"atom {first} and its own image" if first == second else f"atoms {first} and {second}"
    raise UserError(f"{place} has {who} on one place, {distance:.2g} Å apart; remove one of them")


def _rows(vectors: np.ndarray) -> str:
    return "; ".join(" ".join(f"{x:g}" for x in vector) for vector in vectors)


def full_cell(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The lattice (3, 3) Å with vectors of length 1 Å where it is not periodic, at right angles to all others.

    What the cell says along these directions is not looked at. Right-handed unless it is periodic in all directions.
    """
    return np.asarray(complete_cell(np.where(np.asarray(pbc)[:, None], cell, 0.0)))


def cell_heights(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Å between opposite faces of a cell, (3,); infinite along directions that are not periodic, 0 without a volume."""
    try:
        with np.errstate(invalid="ignore"):
            inverse = np.linalg.inv(cell if pbc.all() else full_cell(cell, pbc))
    except np.linalg.LinAlgError:
        return np.zeros(3)
    heights = 1.0 / np.sqrt((inverse**2).sum(0))
    return np.asarray(heights if pbc.all() else np.where(pbc, np.nan_to_num(heights), np.inf))


def right_handed(atoms: ase.Atoms) -> ase.Atoms:
    """A copy whose lattice vectors are right-handed: all three are negated if they were not.

    The lattice is the same one, so that positions, energy, forces and stress stay as they are.
    """
    atoms = atoms.copy()
    if np.linalg.det(atoms.cell.array) < 0:
        atoms.cell *= -1.0
    return atoms


def in_a_box(atoms: ase.Atoms, room: float) -> ase.Atoms:
    """A copy in a right-handed cell of three vectors, for engines that want one of every structure.

    Along directions that are not periodic the vector is at right angles to all others, and longer than the structure
    by `room` Å. Positions, and periodic directions with their lattice, stay as they are.
    """
    atoms = right_handed(atoms)
    cell = full_cell(atoms.cell.array, atoms.pbc)
    for axis in np.flatnonzero(~atoms.pbc):
        along = atoms.positions @ cell[axis]
        cell[axis] *= (np.ptp(along) if len(atoms) else 0.0) + room
    atoms.set_cell(cell)
    return atoms


def nearest_atoms(atoms: ase.Atoms) -> tuple[int, int, float]:
    """The two atoms that are nearest to each other, and their distance in Å; infinite for one atom alone.

    Images count, but in a periodic structure only distances below `COINCIDENT` are looked for.
    """
    if not atoms.pbc.any():
        if len(atoms) < 2:
            return 0, 0, np.inf
        distances, partners = cKDTree(atoms.positions).query(atoms.positions, k=2)
        # of two atoms on one place, either may come out as an atom's own nearest
        first = int(distances[:, 1].argmin())
        second = int(partners[first][partners[first] != first][0])
        return min(first, second), max(first, second), float(distances[first, 1])
    cell = full_cell(atoms.cell.array, atoms.pbc)
    inverse = np.linalg.inv(cell)
    scaled = atoms.positions @ inverse
    scaled[:, atoms.pbc] -= np.floor(scaled[:, atoms.pbc])
    scaled[:, atoms.pbc] %= 1.0  # −1e-17 has become 1
    reach = np.sqrt(3) * COINCIDENT * np.linalg.norm(inverse, axis=0).max()
    pairs = cKDTree(scaled, boxsize=np.where(atoms.pbc, 1.0, 0.0)).query_pairs(reach, output_type="ndarray")
    step = scaled[pairs[:, 0]] - scaled[pairs[:, 1]]
    step[:, atoms.pbc] -= np.round(step[:, atoms.pbc])
    distances = np.linalg.norm(step @ cell, axis=1)
    if not len(distances):
        return 0, 0, np.inf
    nearest = int(distances.argmin())
    first, second = sorted(pairs[nearest].tolist())
    return first, second, float(distances[nearest])


def fixed_coordinates(atoms: ase.Atoms, place: str) -> np.ndarray:
    """The coordinates that the constraints of the structure hold, (n, 3) bool.

    ASE's FixAtoms and FixCartesian are understood; UserError for any other constraint, which would be lost.
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, ase.constraints.FixAtoms):
            fixed[constraint.index] = True
        elif isinstance(constraint, ase.constraints.FixCartesian):
            fixed[constraint.index] |= constraint.mask
        else:
            raise UserError(
                f"{place} has the constraint {type(constraint).__name__}, which is not known here; use FixAtoms or "
                "FixCartesian, or remove it"
            )
    return fixed


def _read(path: str | Path, index: str, elements: Sequence[str] | None) -> list[ase.Atoms]:
    name, chosen = _split(path)
    require_file(Path(name), "structure file", "give a file that ASE reads")
    try:
        structures = _read_with_ase(name, index if chosen is None else chosen, elements)
    except UserError:
        raise
    except (IndexError, StopIteration) as error:
        raise UserError(f"structure file {name} has no structure {index if chosen is None else chosen}") from error
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"structure file {name} cannot be read by ASE ({reason}); check its format and ending, or give it as "
            "extended XYZ"
        ) from error
    if not structures:
        raise UserError(f"structure file {name} has no structures; give one with at least one")
    for number, atoms in enumerate(structures):
        place = f"structure {number} of {name}" if len(structures) > 1 else f"the structure in {name}"
        take_masses(atoms, place)
        check_atoms(atoms, place)
        check_geometry(atoms.positions, atoms.cell.array, atoms.pbc, place)
    return structures


def _split(path: str | Path) -> tuple[str, Any]:
    """The name and the index of `FILE@INDEX`, None without one."""
    if Path(path).is_file():
        return str(path), None
    return parse_filename(str(path), None)


def _has_a_second(name: str, elements: Sequence[str] | None) -> bool:
    try:
        return len(_read_with_ase(name, "1:2", elements)) > 0
    except Exception:  # readers of one structure refuse the number 1 in ways of their own
        return False


def _read_with_ase(name: str, index: str | int | slice, elements: Sequence[str] | None) -> list[ase.Atoms]:
    types = AtomTypes.of(name, None, elements)
    try:
        found = ase.io.read(name, index, types.ase_format, do_not_split_by_at_sign=True)
    except KeyError as error:
        found = ase.io.read(_text_for_ase(name, error, elements), index, format="extxyz")
    structures = found if isinstance(found, list) else [found]
    for number, atoms in enumerate(structures):
        types.name(atoms, f"structure {number} of {name}")
    return structures


@dataclass(frozen=True)
class AtomTypes:
    """What LAMMPS's atom types are in a file that has them in the place of elements: ASE takes type 1 for hydrogen.

    `ase_format` is ASE's name of the file's format, `numbers` the atomic numbers of the types, None where it has
    elements.
    """

    ase_format: str | None
    numbers: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, ase_format: str | None, elements: Sequence[str] | None) -> Self:
        """UserError for types without `elements`, and for `elements` where there are no types."""
        try:
            found = ase_format or filetype(name)
        except Exception:  # ASE tells what is wrong with the file when it reads it
            found = None
        if found == "runnerdata" and _LAMMPS_BOX.search(_head_of(name)):  # by the ending .data alone
            found = ase_format = "lammps-data"
        if not _has_types(name, found):
            if elements is not None and not (found in ("xyz", "extxyz") and _TYPES_OF_XYZ.search(_head_of(name))):
                raise UserError(f"{name} says itself what its elements are; leave --elements out")
            return cls(ase_format)
        if elements is None:
            raise UserError(f"{name} has numbers of LAMMPS's atom types and no elements; {NAME_TYPES}")
        return cls(ase_format, numbers_of_elements(elements))

    def name(self, atoms: ase.Atoms, place: str) -> None:
        """Give the atoms their elements; UserError for a type that has none."""
        if self.numbers is None:
            return
        types = atoms.arrays.get("type")
        if types is None:
            raise UserError(f"{place} has neither elements nor atom types; dump a column `element` or `type`")
        if not 1 <= types.min(initial=1) <= types.max(initial=1) <= len(self.numbers):
            raise UserError(
                f"{place} has atom types {types.min()} to {types.max()}, and --elements names {len(self.numbers)}; "
                "name the element of each type"
            )
        atoms.numbers = self.numbers[types - 1]


def numbers_of_elements(elements: Sequence[str]) -> np.ndarray:
    """Atomic numbers of the symbols of atom types; UserError for what is none."""
    numbers = [atomic_numbers.get(symbol.capitalize(), 0) for symbol in elements]
    for symbol, number in zip(elements, numbers, strict=True):
        if number < 1:
            raise UserError(f"--elements has {symbol!r}, which is no element; {NAME_TYPES}")
    return np.array(numbers)


def _has_types(name: str, ase_format: str | None) -> bool:
    """Whether a file of LAMMPS has atom types alone, or masses, from which ASE would guess."""
    if ase_format == "lammps-dump-binary":
        return True
    if ase_format == "lammps-dump-text":
        columns = re.search(r"^ITEM: ATOMS(.*)$", _head_of(name), re.MULTILINE)
        return columns is not None and "element" not in columns[1].split()
    return ase_format == "lammps-data" and not _data_tells_elements(_head_of(name))


def _data_tells_elements(head: str) -> bool:
    """Whether a data file has symbols of elements as labels of its types, or masses that are an element's each."""
    if (labels := re.search(r"^Atom Type Labels.*\n\s*\n((?:\s*\d+\s+\S+.*\n)+)", head, re.MULTILINE)) is not None:
        return all(line.split()[1] in atomic_numbers for line in labels[1].splitlines())
    if (masses := re.search(r"^Masses.*\n\s*\n((?:\s*\d+\s+[\d.]+.*\n)+)", head, re.MULTILINE)) is None:
        return False
    given = np.array([float(line.split()[1]) for line in masses[1].splitlines()])
    return bool((np.abs(atomic_masses[1:] - given[:, None]).min(axis=1) < SAME_ELEMENT).all())


def _head_of(name: str) -> str:
    """A file's text to the columns of its first frame."""
    lines: list[str] = []
    opener: Callable[..., Any] = gzip.open if name.endswith(".gz") else open
    with opener(name, "rt", errors="replace") as file:
        for line in islice(file, HEAD):
            lines.append(line)
            if line.startswith("ITEM: ATOMS"):
                break
    return "".join(lines)


def _text_for_ase(name: str, error: KeyError, elements: Sequence[str] | None) -> io.StringIO:
    """Extended XYZ without the symbol that ASE did not know; UserError if it is none of an isotope or a type."""
    symbol = str(error.args[0])
    if symbol.isdigit() and filetype(name) in ("xyz", "extxyz"):
        if elements is None:
            raise UserError(
                f"structure file {name} has the number {symbol} where a symbol of an element should be; if it is "
                f"LAMMPS's atom type, {NAME_TYPES}"
            ) from error
        numbers = numbers_of_elements(elements)
        symbols = {str(i): chemical_symbols[number] for i, number in enumerate(numbers, 1)}
        return io.StringIO(_with_masses(Path(name).read_text(), symbols))
    if not symbol.isalpha():
        raise error
    if symbol not in ISOTOPES:
        raise UserError(
            f"structure file {name} has {symbol!r} where a symbol of an element should be; use symbols such as H, "
            "C, O, and a column masses (amu) for isotopes"
        ) from error
    if filetype(name) not in ("xyz", "extxyz"):
        raise UserError(
            f"structure file {name} has the symbol {symbol}, which ASE does not read in this format; give it as "
            "extended XYZ"
        ) from error
    return io.StringIO(_with_masses(Path(name).read_text()))


def _with_masses(text: str, types: Mapping[str, str] = MappingProxyType({})) -> str:
    """Extended XYZ with H for D and T; frames that have them get a column `masses`, if they do not have one.

    Numbers of atom types become the symbols that `types` has for them.
    """
    lines = text.splitlines()
    written: list[str] = []
    while lines and lines[0].strip():
        n_atoms = int(lines[0].split()[0])
        comment, rows, rest = lines[1], [line.split() for line in lines[2 : 2 + n_atoms]], lines[2 + n_atoms :]
        stated = _PROPERTIES.search(comment)
        columns = stated[1] if stated else "species:S:1:pos:R:3"
        fields = columns.split(":")
        names, widths = fields[::3], [int(width) for width in fields[2::3]]
        where = sum(widths[: names.index("species")]) if "species" in names else 0
        symbols = [types.get(row[where], row[where]).capitalize() for row in rows]
        if types and (unknown := [symbol for symbol in symbols if symbol.isdigit()]):
            raise UserError(
                f"the atom type {unknown[0]} is in the file, and --elements names {len(types)}; "
                "name the element of each type"
            )
        has_masses = "mass" in names or "masses" in names
        if not has_masses and any(symbol in ISOTOPES for symbol in symbols):
            comment = _PROPERTIES.sub("", comment) + f" Properties={columns}:masses:R:1"
            rows = [[*row[: sum(widths)], repr(_mass_of(symbol))] for row, symbol in zip(rows, symbols, strict=True)]
        for row, symbol in zip(rows, symbols, strict=True):
            row[where] = "H" if symbol in ISOTOPES else symbol
        written += [lines[0], comment, *(" ".join(row) for row in rows)]
        lines = rest
    return "\n".join(written) + "\n"


def _mass_of(symbol: str) -> float:
    return ISOTOPES.get(symbol) or float(atomic_masses[atomic_numbers[symbol]])


def take_masses(atoms: ase.Atoms, place: str) -> None:
    """Masses from a column `mass`, where ASE leaves it lying; UserError for columns that differ."""
    if "mass" not in atoms.arrays:
        return
    values = np.asarray(atoms.arrays["mass"])
    if values.dtype.kind not in "iuf" or values.shape != (len(atoms),):
        raise UserError(f"{place} has a column mass that is no number for each atom; give masses in amu")
    if atoms.has("masses") and not np.array_equal(atoms.get_masses(), values):
        raise UserError(f"{place} has the columns mass and masses, which differ; remove one of them")
    atoms.set_masses(values.astype(float))
    del atoms.arrays["mass"]
