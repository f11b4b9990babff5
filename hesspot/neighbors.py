"""The search for neighbours: which atoms, images included, are within reach of each other."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from typing import Any

import numpy as np

from hesspot.structures import COINCIDENT, cell_heights, check_geometry, refuse_coincident

#: Atoms of a molecule whose pairs are all looked at, one after the other: sooner than a search.
FEW_ATOMS = 64


def find_edges(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, place: str = "the structure"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (n_edges,), neighbours (n_edges,) and vectors (n_edges, 3) Å within `cutoff` Å, sorted by centre.

    Cells smaller than the cutoff are covered by their images; a cell is not looked at along directions that are not
    periodic. UserError, which begins with `place`, for what `check_geometry` refuses and for coincident atoms.
    """
    positions, pbc = np.ascontiguousarray(positions, dtype=np.float64), np.asarray(pbc, dtype=bool)
    check_geometry(positions, cell, pbc, place)
    if len(positions) <= FEW_ATOMS and not pbc.any():
        return _among_all(positions, cutoff, place)
    finder = vesin_of_numpy().NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    centers, neighbors, vectors = finder.compute(
        points=positions, box=np.ascontiguousarray(cell, dtype=np.float64), periodic=pbc, quantities="ijD"
    )
    squares = np.einsum("ei,ei->e", vectors, vectors)
    if len(squares) and squares.min() < COINCIDENT**2:
        edge = int(squares.argmin())
        refuse_coincident(place, int(centers[edge]), int(neighbors[edge]), float(squares[edge] ** 0.5))
    return centers.view(np.int64), neighbors.view(np.int64), vectors  # 64 bits without a sign, as small as can be


@cache
def vesin_of_numpy() -> Any:
    """vesin for NumPy's arrays: it loads torch wherever that is installed, which takes seconds and memory.

    Where there is no torch in the process yet, a copy of it is loaded that does not find one; what others import as
    `vesin` stays as it is.
    """
    found = find_spec("vesin")
    if "torch" in sys.modules or found is None or found.origin is None:
        import vesin

        return vesin
    name = "hesspot.vesin_of_numpy"
    spec = spec_from_file_location(name, found.origin, submodule_search_locations=found.submodule_search_locations)
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = module_from_spec(spec)
    sys.modules["torch"] = None  # type: ignore[assignment]  # as where it is not installed
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["torch"]
    return module


def _among_all(positions: np.ndarray, cutoff: float, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `find_edges` without images, sorted by centre and then by neighbour."""
    centers, neighbors = _all_pairs(len(positions))
    vectors = positions[neighbors] - positions[centers]
    squares = np.einsum("ei,ei->e", vectors, vectors)
    if len(squares) and squares.min() < COINCIDENT**2:
        edge = int(squares.argmin())
        refuse_coincident(place, int(centers[edge]), int(neighbors[edge]), float(squares[edge] ** 0.5))
    near = squares < cutoff**2
    return centers[near], neighbors[near], vectors[near]


@cache
def _all_pairs(n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    centers, neighbors = np.nonzero(~np.eye(n_atoms, dtype=bool))
    return centers.astype(np.int64), neighbors.astype(np.int64)


def mean_spacing(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> float:
    """Å, the edge of a cube for each atom of (n, 3) Å: a search within far less takes the time of empty space."""
    extents = np.where(pbc, cell_heights(cell, pbc), np.ptp(positions, axis=0) + 1.0)
    return float((extents.prod() / len(positions)) ** (1 / 3))
