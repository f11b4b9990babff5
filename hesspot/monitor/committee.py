"""How far the members of a committee are apart, in bounded memory."""

from __future__ import annotations

import numpy as np

from hesspot.graph import Graph
from hesspot.kernel import KernelModel

#: Numbers of the members' gradients that are held at once.
HELD = 8_000_000


def force_spread(kernel: KernelModel, graph: Graph) -> np.ndarray:
    """For each atom the deviation of the members' forces, (n,) eV/Å: √(1/M Σ_m |F_m − mean F|²), as that of LAMMPS's
    `compute hesspot/deviation`."""
    n = graph.n_atoms
    forces = np.zeros((kernel.n_members, 3, n))
    for edges, gradient in kernel.member_gradients(graph, HELD):
        for member, axis in np.ndindex(kernel.n_members, 3):
            forces[member, axis] += np.bincount(graph.centers[edges], gradient[member, :, axis], n)
            forces[member, axis] -= np.bincount(graph.neighbors[edges], gradient[member, :, axis], n)
    return np.asarray(np.sqrt(((forces - forces.mean(0)) ** 2).sum(1).mean(0)))
