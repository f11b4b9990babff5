"""What moves in a normal mode: shares of stretches, bends and torsions, and of the atoms.

The mass-weighted mode is projected on the space that the gradients of all bond lengths span; what is left, which
changes no bond length, on that of the angles; what is then left, which changes no angle either, on that of the
dihedrals. The squares of the parts sum to 1 and do not depend on how many coordinates there are, nor on a choice among
them. What changes no internal coordinate is `rest`: molecules against each other, or against what is held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np

from hesspot.analysis.molecules import fragments
from hesspot.analysis.normal_modes import NormalModes
from hesspot.chemistry.internal_coordinates import Coordinate, bends, bonds, stretches, torsions
from hesspot.structures import ISOTOPES, SAME_ELEMENT, fixed_coordinates

KINDS = ("stretch", "bend", "torsion", "rest")

#: Directions whose squared length is below this part of the longest are no new ones of a space.
NEW = 1e-8

#: A kind, or a group within it, is named from this share on; words for a mode at most.
NAMED, WORDS = 0.2, 2

#: What `rest` is called in a structure of several molecules, and of one.
BETWEEN, ELSE = "between molecules", "whole body"


@dataclass(frozen=True)
class Character:
    """Of one mode: shares of `KINDS`, whose sum is 1; atoms: shares of the kinetic energy of the atoms, (n,), whose sum
    is 1; words: such as "O–H stretch 98 %"."""

    shares: dict[str, float]
    atoms: tuple[float, ...]
    words: str


def characters(atoms: ase.Atoms, modes: NormalModes) -> list[Character]:
    """Of each mode, in its order."""
    neighbors, symbols = bonds(atoms), _symbols(atoms)
    root = np.sqrt(np.repeat(modes.masses, 3))
    left = np.eye(3 * len(atoms))[~fixed_coordinates(atoms, "the structure").ravel()]
    parts: dict[str, np.ndarray] = {}
    named: dict[str, list[dict[str, float]]] = {}
    cartesian = modes.displacements()
    for kind, coordinates_of in (("stretch", stretches), ("bend", bends), ("torsion", torsions)):
        coordinates = list(coordinates_of(neighbors)) if len(left) else []
        space, left = _split(left, coordinates, root)
        parts[kind] = ((modes.vectors @ space.T) ** 2).sum(1)
        named[kind] = _groups(symbols, coordinates, cartesian)
    parts["rest"] = np.maximum(1.0 - sum(parts.values()), 0.0)
    named["rest"] = [{BETWEEN if len(fragments(atoms)) > 1 else ELSE: 1.0}] * len(cartesian)
    kinetic = (modes.vectors**2).reshape(cartesian.shape).sum(2)
    found = []
    for mode in range(len(cartesian)):
        shares = {kind: float(part[mode]) for kind, part in parts.items()}
        groups = {kind: named[kind][mode] for kind in KINDS}
        found.append(Character(shares, tuple(kinetic[mode].tolist()), _words(shares, groups)))
    return found


def _split(left: np.ndarray, coordinates: Sequence[Coordinate], root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the space with the orthonormal rows `left` (r, 3n) the part that the mass-weighted gradients of the
    coordinates reach, and the rest."""
    if not coordinates:
        return left[:0], left
    gram = np.zeros((len(root), len(root)))
    for coordinate in coordinates:
        places = (3 * np.array(coordinate.atoms)[:, None] + np.arange(3)).ravel()
        gradient = coordinate.gradient.ravel() / root[places]
        np.add.at(gram, (places[:, None], places[None, :]), np.outer(gradient, gradient))
    sizes, directions = np.linalg.eigh(left @ gram @ left.T)
    reached = sizes > NEW * np.trace(gram) / len(coordinates)
    return directions[:, reached].T @ left, directions[:, ~reached].T @ left


def _groups(symbols: Sequence[str], coordinates: Sequence[Coordinate], cartesian: np.ndarray) -> list[dict[str, float]]:
    """For each mode the shares of coordinates of the same elements in the squared changes of all of one kind."""
    squares: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(cartesian)))
    for coordinate in coordinates:
        squares[_name(symbols, coordinate)] += coordinate.change(cartesian) ** 2
    total = sum(squares.values(), np.full(len(cartesian), np.finfo(float).tiny))
    return [{name: float(square[k] / total[k]) for name, square in squares.items()} for k in range(len(cartesian))]


def _symbols(atoms: ase.Atoms) -> list[str]:
    """Of the elements, and D and T where the masses are theirs."""
    names, masses = list(atoms.symbols), atoms.get_masses()
    for symbol, mass in ISOTOPES.items():
        for atom in np.flatnonzero((atoms.numbers == 1) & (np.abs(masses - mass) < SAME_ELEMENT)):
            names[atom] = symbol
    return names


def _name(symbols: Sequence[str], coordinate: Coordinate) -> str:
    names = [symbols[atom] for atom in coordinate.atoms]
    if coordinate.out_of_plane:
        return f"{names[-1]} out of plane"
    if coordinate.kind == "torsion":
        names = names[1:3]
    ordered = min(names, names[::-1], key=lambda each: ([name in ("H", *ISOTOPES) for name in each], each))
    return "–".join(ordered) + f" {coordinate.kind}"


def _words(shares: dict[str, float], groups: dict[str, dict[str, float]]) -> str:
    each = {name: shares[kind] * part for kind in KINDS for name, part in groups[kind].items()}
    first, *others = sorted(each, key=lambda name: -each[name])[:WORDS]
    return ", ".join(f"{name} {100 * each[name]:.0f} %" for name in [first, *(o for o in others if each[o] >= NAMED)])
