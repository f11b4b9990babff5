"""Second derivatives of a perfect crystal's energy, exact and without a supercell.

The energy of a centre depends on the vectors to the neighbours within the cutoff alone, so that the crystal's second
derivatives are those of the centres of one cell, each with every image that it sees as an atom of its own: a *star*,
whose Hessian is analytic. They reach from one neighbour of a centre to another, twice the cutoff at most, and vanish
beyond.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from scipy.sparse import csr_array

from hesspot.chemistry.surface import Surface
from hesspot.console import Progress
from hesspot.errors import UserError
from hesspot.graph import Graph

#: Centres that are done before anyone looks.
FEW = 20


@dataclass(frozen=True, eq=False)
class CrystalDerivatives:
    """Second derivatives of the energy of the infinite crystal of `atoms`, per cell.

    Block b holds ∂²E/∂u∂u' (3, 3) eV/Å² of atom first[b] of a cell and of atom second[b] in the cell that lies
    cells[b] (3,) lattice vectors away; all blocks that are not zero are there.
    mixed (n, 3, 3, 3) eV/Å: ∂²E/∂u_i∂F_kl of each atom, where r = F r of all atoms strains the crystal;
    strain (3, 3, 3, 3) eV: ∂²E/∂F_ij∂F_kl of atoms that move with the cell.
    """

    atoms: ase.Atoms
    first: np.ndarray
    second: np.ndarray
    cells: np.ndarray
    blocks: np.ndarray
    mixed: np.ndarray
    strain: np.ndarray

    @property
    def reach(self) -> float:
        """Å, the largest distance of two atoms that have force constants."""
        offsets = self.atoms.positions[self.second] - self.atoms.positions[self.first]
        return float(np.linalg.norm(offsets + self.cells @ self.atoms.cell.array, axis=1).max())

    @property
    def net_force(self) -> float:
        """eV/Å², the largest element of what a translation of the whole crystal does to an atom: rounding."""
        return float(np.abs(self.summed().sum(axis=1)).max())

    def summed(self) -> np.ndarray:
        """Over all cells, (n, n, 3, 3) eV/Å²: the Hessian of motions that are the same in each cell."""
        total = np.zeros((len(self.atoms), len(self.atoms), 3, 3))
        np.add.at(total, (self.first, self.second), self.blocks)
        return total

    def folded(self, cells: np.ndarray, first: np.ndarray, atoms: np.ndarray, multiples: np.ndarray) -> np.ndarray:
        """Force constants of a supercell of `multiples` (3,) cells along the lattice vectors, (n, N, 3, 3) eV/Å².

        Supercell atom J is atom atoms[J] of the cell cells[J] (3,); row i is that of the supercell's atom first[i],
        which is atom i. Of the images of an atom the force constants are summed.
        """
        place = {(atom, *cell): index for index, (atom, cell) in enumerate(zip(atoms, map(tuple, cells), strict=True))}
        targets = (cells[first][self.first] + self.cells) % multiples
        columns = np.array([place[atom, *cell] for atom, cell in zip(self.second, map(tuple, targets), strict=True)])
        constants = np.zeros((len(self.atoms), len(atoms), 3, 3))
        np.add.at(constants, (self.first, columns), self.blocks)
        return constants


def crystal_derivatives(surface: Surface, atoms: ase.Atoms, progress: bool = True) -> CrystalDerivatives:
    """Of a crystal, periodic in three directions; UserError for what no model answers for, and for atoms of which
    none sees another."""
    graph = surface.graph(atoms)
    if not graph.n_edges:
        raise UserError(
            f"no atom of {atoms.symbols} has a neighbour within the model's cutoff of "
            f"{surface.calculator.model.cutoff:g} Å, so that it has no force constants; give a denser crystal"
        )
    n = len(atoms)
    shifts = _cells_of_neighbors(atoms, graph)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    mixed, strain = np.zeros((n, 3, 3, 3)), np.zeros((3, 3, 3, 3))
    with Progress("centres", n, show=progress and n > FEW) as shown:
        for center, (begin, end) in enumerate(zip(graph.first_edge[:-1], graph.first_edge[1:], strict=True)):
            own = slice(begin, end)
            hessian = surface.potential.hessian(_star(graph, center, own)).reshape(end - begin + 1, 3, -1, 3)
            who = np.append(center, graph.neighbors[own])
            cell = np.vstack([np.zeros((1, 3), int), shifts[own]])
            where = np.vstack([np.zeros((1, 3)), graph.vectors[own]])
            one, other = (index.ravel() for index in np.indices((len(who), len(who))))
            keys = np.column_stack([who[one], who[other], cell[other] - cell[one]])
            found.append(_summed(keys, hessian.transpose(0, 2, 1, 3).reshape(-1, 9)))
            strained = np.einsum("sitk,tl->sikl", hessian, where)
            np.add.at(mixed, who, strained)
            strain += np.einsum("sikl,sj->ijkl", strained, where)
            shown.advance()
    keys, blocks = _summed(np.vstack([each for each, _ in found]), np.vstack([each for _, each in found]))
    first, second = keys[:, 0], keys[:, 1]
    return CrystalDerivatives(atoms.copy(), first, second, keys[:, 2:], blocks.reshape(-1, 3, 3), mixed, strain)


def _star(graph: Graph, center: int, own: slice) -> Graph:
    """The centre as atom 0, and each edge's end as an atom that is no centre."""
    species = np.append(graph.species[center], graph.species[graph.neighbors[own]])
    n_edges = len(species) - 1
    return Graph(species, np.zeros(n_edges, np.int64), np.arange(1, n_edges + 1), graph.vectors[own])


def _cells_of_neighbors(atoms: ase.Atoms, graph: Graph) -> np.ndarray:
    """Lattice vectors from the centre's cell to that of the neighbour, (n_edges, 3)."""
    shifts = graph.vectors - atoms.positions[graph.neighbors] + atoms.positions[graph.centers]
    return np.rint(shifts @ np.linalg.inv(atoms.cell.array)).astype(np.int64)


def _summed(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of `keys`, and the sums of the rows of `values` that belong to each."""
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    rows = np.arange(len(keys))
    summing = csr_array((np.ones(len(keys)), (place.ravel(), rows)), shape=(len(distinct), len(keys)))
    return distinct, summing @ values
