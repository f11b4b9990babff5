"""Parts of a frame that a reference can treat: molecules around an atom, whole or with cut bonds saturated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ase
import numpy as np
from ase.data import covalent_radii
from scipy.spatial import cKDTree

from hesspot.errors import UserError
from hesspot.monitor.frames import Frame, usual_masses
from hesspot.structures import cell_heights, full_cell

#: whole: molecules stay whole; saturated: bonds at the border are cut, and end in hydrogen; frame: all of it, periodic.
Way = Literal["whole", "saturated", "frame"]

#: Two atoms nearer than so many times the sum of their covalent radii are bonded.
BONDED = 1.25

#: Å beyond the radius within which molecules must end.
REACH = 6.0

#: Atoms that a reference is asked about at most.
LARGEST = 200


class Uncut(UserError):
    """No cluster can be made of a place."""


@dataclass(frozen=True)
class Cut:
    """radius: Å around the atom within which all atoms are taken; way: what becomes of molecules at the border."""

    radius: float = 4.0
    way: Way = "whole"


def cluster(frame: Frame, atom: int, cut: Cut) -> ase.Atoms:
    """The surroundings of an atom (index), which is atom 0 of the cluster, at the origin unless it is the whole frame.

    Added hydrogens stand last. Uncut where molecules do not end near the radius, for more than `LARGEST` atoms, and for
    an odd number of electrons, of which no neutral cluster has a closed shell.
    """
    place = f"atom {frame.ids[atom]} at step {frame.step}"
    found = _whole_frame(frame, atom) if cut.way == "frame" else _part(frame, atom, cut, place)
    if len(found) > LARGEST:
        raise Uncut(f"the cluster of {place} has {len(found)} atoms, more than {LARGEST}; take a smaller --radius")
    if found.numbers.sum() % 2:
        raise Uncut(f"the cluster of {place}, {found.symbols}, has an odd number of electrons and is left out")
    return found


def _whole_frame(frame: Frame, atom: int) -> ase.Atoms:
    order = [atom, *np.delete(np.arange(len(frame)), atom)]
    return _atoms(frame, np.array(order), frame.positions[order], frame.cell, frame.pbc)


def _part(frame: Frame, atom: int, cut: Cut, place: str) -> ase.Atoms:
    indices, positions = _around(frame, atom, cut.radius + REACH)
    radii = covalent_radii[frame.numbers[indices]]
    pairs = cKDTree(positions).query_pairs(2.0 * BONDED * radii.max(), output_type="ndarray")
    apart = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    pairs = pairs[apart < BONDED * radii[pairs].sum(axis=1)]
    bonded: list[list[int]] = [[] for _ in indices]
    for one, other in pairs.tolist():
        bonded[one].append(other)
        bonded[other].append(one)
    distance = np.linalg.norm(positions, axis=1)
    inside = set(np.flatnonzero(distance <= cut.radius).tolist())
    border = cut.radius + REACH - BONDED * 2.0 * float(radii.max())
    if cut.way == "whole":
        taken = _grown(inside, bonded)
        if max(distance[k] for k in taken) > border:
            raise Uncut(
                f"the molecule of {place} goes on beyond {cut.radius + REACH:g} Å; take --cluster saturated where its "
                "bonds are covalent, or --cluster frame for a small periodic box"
            )
        caps = np.zeros((0, 3))
    else:
        taken = _closed(inside, bonded)
        caps = _caps(taken, bonded, positions, radii)
    order = np.array([0, *sorted(taken - {0}, key=lambda k: (distance[k], k))])
    found = _atoms(frame, indices[order], positions[order], np.zeros((3, 3)), np.zeros(3, dtype=bool))
    return found + ase.Atoms(f"H{len(caps)}", caps) if len(caps) else found


def _atoms(frame: Frame, indices: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> ase.Atoms:
    numbers, masses = frame.numbers[indices], frame.masses[indices]
    unusual = np.abs(masses - usual_masses(numbers)).max() > 0.02
    return ase.Atoms(numbers, positions, cell=cell, pbc=pbc, masses=masses if unusual else None)


def _around(frame: Frame, atom: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms and images within `radius` Å of an atom, which is the first: indices (m,), and positions (m, 3) from it."""
    cell = full_cell(frame.cell, frame.pbc)
    vectors = frame.positions - frame.positions[atom]
    scaled = vectors @ np.linalg.inv(cell)
    scaled[:, frame.pbc] -= np.round(scaled[:, frame.pbc])
    vectors = scaled @ cell
    heights = cell_heights(frame.cell, frame.pbc)
    reach = [
        int(np.ceil(radius / height + 0.5)) if periodic else 0
        for height, periodic in zip(heights, frame.pbc, strict=True)
    ]
    indices, positions = [np.array([atom])], [np.zeros((1, 3))]
    for shift in np.ndindex(*(2 * n + 1 for n in reach)):
        moved = vectors + (np.array(shift) - reach) @ cell
        near = np.flatnonzero((moved**2).sum(1) < radius**2)
        if not np.any(np.array(shift) - reach):
            near = near[near != atom]
        indices.append(near)
        positions.append(moved[near])
    return np.concatenate(indices), np.concatenate(positions)


def _grown(seeds: set[int], bonded: list[list[int]]) -> set[int]:
    """All atoms that are bonded to the seeds, directly or through others."""
    taken, waiting = set(seeds), list(seeds)
    while waiting:
        for other in bonded[waiting.pop()]:
            if other not in taken:
                taken.add(other)
                waiting.append(other)
    return taken


def _closed(seeds: set[int], bonded: list[list[int]]) -> set[int]:
    """The seeds, with atoms that have one bond only, to them, and atoms that are bonded to two of them."""
    taken = set(seeds)
    while more := {
        other
        for one in taken
        for other in bonded[one]
        if other not in taken and (len(bonded[other]) == 1 or sum(each in taken for each in bonded[other]) > 1)
    }:
        taken |= more
    return taken


def _caps(taken: set[int], bonded: list[list[int]], positions: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Hydrogens in the place of bonded atoms that are not taken, at the length of a bond, (k, 3)."""
    caps = []
    for one in sorted(taken):
        for other in bonded[one]:
            if other not in taken:
                along = positions[other] - positions[one]
                caps.append(positions[one] + along * (radii[one] + covalent_radii[1]) / np.linalg.norm(along))
    return np.array(caps).reshape(-1, 3)
