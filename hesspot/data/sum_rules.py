"""Sum rules that every Hessian of an isolated molecule obeys, at any geometry; that of translations, every Hessian."""

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from hesspot.data.record import Record
from hesspot.neighbors import find_edges, mean_spacing
from hesspot.structures import full_cell

#: Å; molecules farther from their images do not act on them by more than the noise of labels.
ISOLATED = 6.0
#: Of the mean spacing of atoms; a search within less in a large box looks at empty cells alone.
SPARSE = 0.25

#: e×r = r @ _TURN for e along x, y, z.
_TURN = np.array([np.cross(axis, np.eye(3)) for axis in np.eye(3)])


def isolated_positions(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray | None:
    """Positions (n, 3) Å of a structure as if in empty space, molecules that the cell cuts made whole.

    None if atoms act on images of themselves: if a way along edges of `ISOLATED` leads from an atom to its image.
    """
    if not pbc.any():
        return positions
    reach = max(ISOLATED, SPARSE * mean_spacing(positions, cell, pbc))
    edges = find_edges(positions, cell, pbc, reach)
    close = np.linalg.norm(edges[2], axis=1) <= ISOLATED
    centers, neighbors, vectors = (part[close] for part in edges)
    lattice = full_cell(cell, pbc)
    shifts = np.rint((vectors - positions[neighbors] + positions[centers]) @ np.linalg.inv(lattice)).astype(np.int64)
    if shifts[centers == neighbors].any():
        return None
    n = len(positions)
    graph = coo_array((np.ones(len(centers), dtype=np.int8), (centers, neighbors)), shape=(n, n)).tocsr()
    table = {pair: edge for edge, pair in enumerate(zip(centers.tolist(), neighbors.tolist(), strict=True))}
    cells = np.zeros((n, 3), dtype=np.int64)
    count, labels = connected_components(graph, directed=False)
    for component in range(count):
        start = int(np.flatnonzero(labels == component)[0])
        order, before = breadth_first_order(graph, start)
        for atom in order[1:].tolist():
            last = int(before[atom])
            cells[atom] = cells[last] + shifts[table[last, atom]]
    if (cells[neighbors] - cells[centers] != shifts).any():
        return None
    return np.asarray(positions + cells @ lattice)


def isolated_atoms(record: Record) -> Atoms:
    """The structure without labels; in empty space where it acts on no images of itself."""
    atoms = record.atoms_only()
    positions = isolated_positions(record.positions, record.cell, record.pbc)
    if positions is not None:
        atoms.positions, atoms.pbc = positions, False
    return atoms


def acoustic_defect(hessian: np.ndarray) -> float:
    """Largest |Σ_b H_ab| in eV/Å²: translations cost no force."""
    return float(np.abs(hessian.reshape(len(hessian), -1, 3).sum(axis=1)).max())


def rotational_defect(positions: np.ndarray, forces: np.ndarray, hessian: np.ndarray) -> float:
    """Largest violation in eV/Å of H·(e×r) = −e×F, r from the centroid, e along x, y, z.

    Forces turn with the molecule, so that labels of two different geometries fail.
    """
    turns = turned(positions - positions.mean(axis=0))
    return float(np.abs(turns @ hessian + turned(forces)).max())


def turned(vectors: np.ndarray) -> np.ndarray:
    """e×v of (n, 3) vectors for e along x, y, z: (3, 3n)."""
    return (vectors @ _TURN).reshape(3, -1)
