"""What travels as i-PI's extras: curvature, or the members of a committee; JSON for each structure, atomic units."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from hesspot.graph import Graph, Potential
from hesspot.units import HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from ipi_driver.evaluation.results import Results


def hessians(model: Potential, structures: Sequence[Graph]) -> list[bytes]:
    """`{"hessian": …}` for each structure: 3n rows of 3n numbers, atom-major."""
    matrices = [model.hessian(graph) / HARTREE_PER_BOHR2 for graph in structures]
    return [json.dumps({"hessian": matrix.tolist()}).encode() for matrix in matrices]


def committee(members: list[Results]) -> list[bytes]:
    """The members' energies (n_members), forces (n_members, 3n) and virials (n_members, 9) for each structure, under
    the names that i-PI's `<ffcommittee>` with `parse_json` reads."""
    texts = []
    for k in range(len(members[0].energy)):
        one = {
            "committee_pot": [float(member.energy[k] / HARTREE) for member in members],
            "committee_force": [(member.forces[k] / HARTREE_PER_BOHR).ravel().tolist() for member in members],
            "committee_virial": [(member.virial[k] / HARTREE).ravel().tolist() for member in members],
        }
        texts.append(json.dumps(one).encode())
    return texts


class ProductsAlongMotion:
    """`{"direction": …, "hvp": …}` for each structure: a unit vector and H·v along it, 3n numbers each.

    i-PI never sends velocities, nor which bead a structure is. So the direction is the way from the bead's last
    structure, found as the nearest one: right if a batch has room for all beads and a step is shorter than the way
    between beads; from the second step on, because the first may come in fragments. Without motion both are zero.
    """

    def __init__(self) -> None:
        self._last = np.zeros((0, 0, 3))

    def __call__(self, model: Potential, graph: Graph, positions: np.ndarray, batch_size: int) -> list[bytes]:
        """positions (n_structures, n_atoms, 3) Å of the graph, the distinct ones of a batch of `batch_size`."""
        if len(self._last) != batch_size:
            self._last = positions[np.arange(batch_size) % len(positions)]
        ways = positions[:, None] - self._last
        lengths = np.sqrt(np.einsum("klai,klai->kl", ways, ways))
        structures, beads = linear_sum_assignment(lengths)
        self._last[beads] = positions
        directions, length = ways[structures, beads], lengths[structures, beads, None, None]
        directions = np.divide(directions, length, out=np.zeros_like(directions), where=length > 0.0)
        products = model.products(graph, directions.reshape(-1, 3))
        hvp = products.reshape(positions.shape) / HARTREE_PER_BOHR2
        return [
            json.dumps({"direction": v.ravel().tolist(), "hvp": hv.ravel().tolist()}).encode()
            for v, hv in zip(directions, hvp, strict=True)
        ]
