"""How far the members of a committee are apart, in bounded memory."""

from __future__ import annotations

import ctypes

import numpy as np

from hesspot.graph import Graph
from hesspot.kernel import KernelModel
from hesspot.kernel.library import CEdges, call, library

#: Numbers of the members' gradients that are held at once.
HELD = 8_000_000


def force_spread(kernel: KernelModel, graph: Graph) -> np.ndarray:
    """For each atom the deviation of the members' forces, (n,) eV/Å: √(1/M Σ_m |F_m − mean F|²), as that of LAMMPS's
    `compute hesspot/deviation`."""
    n, members = graph.n_atoms, kernel.n_members
    first = graph.first_edge
    forces = np.zeros((members, 3, n))
    species = np.ascontiguousarray(graph.species, dtype=np.int64)
    at_once = max(1, HELD // (3 * members))
    begin = 0
    while begin < n:
        end = max(begin + 1, int(np.searchsorted(first, first[begin] + at_once, side="right")) - 1)
        edges = slice(int(first[begin]), int(first[end]))
        gradient = _gradients(kernel, species[begin:end], first[begin : end + 1] - first[begin], graph, edges)
        for member, axis in np.ndindex(members, 3):
            values = gradient[member, :, axis]
            forces[member, axis] += np.bincount(graph.centers[edges], values, n)
            forces[member, axis] -= np.bincount(graph.neighbors[edges], values, n)
        begin = end
    return np.asarray(np.sqrt(((forces - forces.mean(0)) ** 2).sum(1).mean(0)))


def _gradients(
    kernel: KernelModel, species: np.ndarray, first_edge: np.ndarray, graph: Graph, edges: slice
) -> np.ndarray:
    """∂(energies of the members)/∂vectors of some centres, (members, edges, 3) eV/Å."""
    neighbors = np.ascontiguousarray(graph.species[graph.neighbors[edges]], dtype=np.int64)
    vectors = np.ascontiguousarray(graph.vectors[edges], dtype=np.float64)
    first_edge = np.ascontiguousarray(first_edge, dtype=np.int64)
    energies = np.empty((kernel.n_members, len(species)))
    gradient = np.empty((kernel.n_members, *vectors.shape))
    arrays = (species, first_edge, neighbors, vectors)
    told = CEdges(len(species), len(vectors), *(each.ctypes.data for each in arrays))
    call(
        library().hesspot_model_members, kernel.pointer, ctypes.byref(told), energies.ctypes.data, gradient.ctypes.data
    )
    return gradient
