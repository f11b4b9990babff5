"""Neighbour lists that outlive a step, for structures that arrive in any order.

A list holds the pairs within cutoff + skin of a reference structure, with their lattice shifts, so that vectors are
recomputed from positions and cell alone. It serves every structure that is near enough to its reference: mostly one
list serves all beads of a ring polymer, and nobody needs to know which bead is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.neighbors import vesin_of_numpy

#: A list for many steps to come is taken only if atoms could be this many times as far from its reference.
ROOM = 1.5

#: Molecules of so many atoms have all their pairs in the list, and never need another one.
COMPLETE = 64


@dataclass(frozen=True, eq=False)
class EdgeList:
    """Pairs within cutoff + skin of a reference.

    positions (n_atoms, 3) and cell (3, 3, lattice vectors as rows) Å of the reference; centers, neighbors (n_edges,)
    int64 and shifts (n_edges, 3) in lattice vectors, sorted by centre, then by neighbour and shift, so that sums
    over edges do not depend on which list they came from.
    """

    positions: np.ndarray
    cell: np.ndarray
    centers: np.ndarray
    neighbors: np.ndarray
    shifts: np.ndarray


def build_edge_list(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float) -> EdgeList:
    """All pairs within `reach` Å, images included; `cell` is not looked at along directions that are not periodic."""
    finder = vesin_of_numpy().NeighborList(cutoff=reach, full_list=True, sorted=False, n_threads=1)
    centers, neighbors, shifts = finder.compute(points=positions, box=cell, periodic=pbc, quantities="ijS")
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], neighbors, centers))
    return EdgeList(
        positions=positions.copy(),
        cell=cell.copy(),
        centers=centers[order].astype(np.int64),
        neighbors=neighbors[order].astype(np.int64),
        shifts=shifts[order].astype(np.float64),
    )


def complete_edge_list(positions: np.ndarray, cell: np.ndarray) -> EdgeList:
    """All pairs of a few atoms without images: right for every structure."""
    centers, neighbors = np.nonzero(~np.eye(len(positions), dtype=bool))
    return EdgeList(positions.copy(), np.array(cell), centers, neighbors, np.zeros((len(centers), 3)))


class EdgeListCache:
    """The lists in use, found by geometry.

    cutoff, skin Å; pbc (3,) bool. `built` counts the lists made so far.
    """

    def __init__(self, cutoff: float, skin: float, pbc: np.ndarray):
        self.cutoff = cutoff
        self.skin = skin
        self.pbc = pbc
        self.built = 0
        self._recent: list[EdgeList] = []
        self._most = 0

    def find(self, positions: np.ndarray, cells: np.ndarray) -> list[EdgeList]:
        """A list for each structure. positions (n_structures, n_atoms, 3), cells (n_structures, 3, 3), Å."""
        chosen = [self._find_one(positions[k], cells[k]) for k in range(len(positions))]
        self._most = max(self._most, len(chosen))
        del self._recent[2 * self._most + 8 :]
        return chosen

    def fit(self, lists: Sequence[EdgeList], positions: np.ndarray, cells: np.ndarray) -> bool:
        """Whether each list still serves its structure."""
        return all(self._fits(edges, positions[k], cells[k]) for k, edges in enumerate(lists))

    def allowed(self, n_atoms: int) -> float:
        """Å that every atom may be away from a list's reference, in the same cell."""
        return np.inf if self._complete(n_atoms) else 0.5 * self.skin

    def _complete(self, n_atoms: int) -> bool:
        return n_atoms <= COMPLETE and not self.pbc.any()

    def _find_one(self, positions: np.ndarray, cell: np.ndarray) -> EdgeList:
        for place, edges in enumerate(self._recent):
            if self._fits(edges, positions, cell, ROOM):
                self._recent.insert(0, self._recent.pop(place))
                return edges
        if self._complete(len(positions)):
            edges = complete_edge_list(positions, cell)
        else:
            edges = build_edge_list(positions, cell, self.pbc, self.cutoff + self.skin)
        self.built += 1
        self._recent.insert(0, edges)
        return edges

    def _fits(self, edges: EdgeList, positions: np.ndarray, cell: np.ndarray, room: float = 1.0) -> bool:
        """Whether no pair outside the list can be within the cutoff, were atoms `room` times as far from its reference.

        Mapped back to the reference cell, an atom has moved by d at most, so a pair that is not in the list is still
        cutoff + skin − 2d apart there. The map to the present cell shrinks it by no more than its smallest singular
        value.
        """
        if self._complete(len(positions)):
            return True
        shrink = 1.0
        if not np.array_equal(cell, edges.cell):
            strain = np.linalg.solve(edges.cell, cell)
            positions = positions @ np.linalg.inv(strain)
            shrink = float(np.linalg.svd(strain, compute_uv=False)[-1])
        moved = positions - edges.positions
        largest = float(np.einsum("ai,ai->a", moved, moved).max(initial=0.0)) ** 0.5
        return shrink * (self.cutoff + self.skin - 2.0 * room * largest) >= self.cutoff
