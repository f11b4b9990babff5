"""The template: which atom is which, and which directions are periodic. Neither is ever on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import ase
import numpy as np
from scipy.spatial import cKDTree

from hesspot.errors import UserError
from hesspot.structures import read_structures

Periodicity = Literal["auto", "true", "false"]

#: Å within which an atom of i-PI is taken for the atom of the template at that place.
SAME_PLACE = 0.1


def read_template(path: str | Path, elements: Sequence[str] | None = None) -> ase.Atoms:
    """The first structure of a file in any format that ASE reads: where i-PI starts.

    elements: symbols of LAMMPS's atom types 1, 2, …, for a file that has types only.
    UserError for one that cannot be evaluated, and for a file whose structures are of different atoms.
    """
    structures = read_structures(path, elements)
    for number, atoms in enumerate(structures):
        if not np.array_equal(atoms.numbers, structures[0].numbers):
            raise UserError(
                f"structure {number} of the template {path} has other atoms than the first; give the start structure "
                "of i-PI's input"
            )
    return structures[0]


def periodic_directions(atoms: ase.Atoms, path: str | Path, pbc: Periodicity) -> tuple[bool, bool, bool]:
    """`auto` takes the template's word; a file that says nothing is periodic in the cell i-PI sends.

    That is the safe reading: a molecule in a cell larger than itself by the cutoff gives the same numbers either way.
    """
    if pbc != "auto":
        return (pbc == "true",) * 3
    if atoms.pbc.any() or _says_not_periodic(Path(path)):
        a, b, c = atoms.pbc.tolist()
        return a, b, c
    return True, True, True


def check_expected(template: ase.Atoms, expected: str) -> None:
    """UserError if the template's elements are not the expected ones, in their order.

    expected: symbols or a formula that is repeated as often as the template is long ("O H H", "OH2"), or a file that
    ASE reads, as i-PI's own start structure.
    """
    if Path(expected).is_file():
        symbols = read_template(Path(expected)).get_chemical_symbols()
    else:
        try:
            symbols = ase.Atoms(expected.replace(" ", "")).get_chemical_symbols()
        except Exception as error:
            raise UserError(
                f"--expect {expected!r} is neither a file nor symbols as ASE reads them; write for example 'O H H'"
            ) from error
        if len(template) % len(symbols) == 0:
            symbols = symbols * (len(template) // len(symbols))
    if len(symbols) != len(template):
        raise UserError(
            f"the template has {len(template)} atoms, which is no multiple of the {len(symbols)} of --expect "
            f"{expected!r}; give the structure of i-PI's input to both"
        )
    for atom, (is_there, wanted) in enumerate(zip(template.symbols, symbols, strict=True)):
        if is_there != wanted:
            raise UserError(
                f"atom {atom} of the template is {is_there}, but --expect {expected!r} has {wanted} there; bring "
                "the template and i-PI's start structure to the same order"
            )


def check_order(template: ase.Atoms, positions: np.ndarray) -> None:
    """UserError if i-PI's first positions (n_atoms, 3) Å are the template's with the elements in another order.

    i-PI never sends the elements, so an order can only be seen to be wrong where the geometry is the template's own.
    """
    distance, nearest = cKDTree(template.positions).query(positions, distance_upper_bound=SAME_PLACE)
    if np.isinf(distance).any():
        return
    expected = template.numbers[nearest]
    if (expected != template.numbers).any():
        atom = int(np.flatnonzero(expected != template.numbers)[0])
        raise UserError(
            f"i-PI has atom {atom} where the template has {ase.Atom(expected[atom]).symbol}, but atom {atom} of the "
            f"template is {template.symbols[atom]}: the order of the atoms differs; give --template the very file that "
            "i-PI starts from"
        )


def _says_not_periodic(path: Path) -> bool:
    """Whether the comment line of an extended XYZ file states `pbc=`."""
    with path.open(errors="replace") as file:
        first_lines = [file.readline() for _ in range(2)]
    return "pbc=" in first_lines[1]
