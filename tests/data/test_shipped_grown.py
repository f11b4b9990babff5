"""Risk: a set for training that holds what is to be tested on."""

import networkx
import numpy as np
from ase.data import covalent_radii

from hesspot.data import Dataset, shipped

#: Bonds are shorter than so many times the sum of the covalent radii.
BONDED = 1.3


def bond_graph(atoms):
    radii = covalent_radii[atoms.numbers]
    bonds = np.triu(atoms.get_all_distances() < BONDED * (radii[:, None] + radii), 1)
    graph = networkx.from_numpy_array(bonds)
    networkx.set_node_attributes(graph, dict(enumerate(atoms.numbers.tolist())), "element")
    return graph


def same(one, other):
    return networkx.is_isomorphic(one, other, node_match=lambda a, b: a["element"] == b["element"])


def test_no_grown_molecule_is_a_held_out_one():
    reactive, grown = (Dataset.read(shipped.path(name)) for name in ("reactive_chno", "grown_chno"))
    held_out = [bond_graph(r.atoms_only()) for r in reactive if r.kind == "minimum" and r.part != "train"]
    assert len(held_out) == 7 and len(grown) == 189
    for record in grown:
        assert record.hessian is not None and len(record) > 2
        graph = bond_graph(record.atoms_only())
        assert networkx.is_connected(graph), record.name
        assert not any(same(graph, other) for other in held_out), record.name
    # the comparison tells a molecule from another, and finds it again
    conformer = next(r.atoms_only() for r in reactive if r.name == "Z-HCOOH_minimum")
    conformer.rattle(0.02, seed=1)
    assert sum(same(bond_graph(conformer), other) for other in held_out) == 2
