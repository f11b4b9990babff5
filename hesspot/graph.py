"""Structures as a model sees them, in NumPy: species of the atoms, and vectors to all neighbours within the cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ase
import numpy as np

from hesspot.electrons import require_trained
from hesspot.errors import UserError
from hesspot.neighbors import find_edges
from hesspot.structures import check_atoms


@dataclass(frozen=True, eq=False)
class Graph:
    """One structure, or several whose atoms are counted through; edges are sorted by centre.

    species (n_atoms,), centers (n_edges,), neighbors (n_edges,) int64; vectors (n_edges, 3) Å, neighbour − centre.
    """

    species: np.ndarray
    centers: np.ndarray
    neighbors: np.ndarray
    vectors: np.ndarray

    @property
    def n_atoms(self) -> int:
        return len(self.species)

    @property
    def n_edges(self) -> int:
        return len(self.centers)

    @property
    def first_edge(self) -> np.ndarray:
        """Where the edges of each centre begin, and where the last ones end, (n_atoms + 1,) int64."""
        return self.centers.searchsorted(np.arange(self.n_atoms + 1))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says of a graph.

    energies (n_atoms,) eV, of the atoms as centres; forces (n_atoms, 3) eV/Å; virials (n_atoms, 3, 3) eV, the centroid
    form, attributed to the neighbour, or None where not asked for; energy eV and virial (3, 3) eV of the whole,
    −Σ r⊗∂E/∂r = −stress·volume.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    virials: np.ndarray | None


class Potential(Protocol):
    """What evaluates graphs in NumPy: a kernel, or torch behind `hesspot.derivatives`."""

    def answer(self, graph: Graph, atom_virials: bool = False) -> Answer: ...

    def products(self, graph: Graph, directions: np.ndarray) -> np.ndarray:
        """Hessian products H·v, (n_atoms, 3) in eV/Å² times the unit of `directions` (n_atoms, 3)."""

    def hessian(self, graph: Graph) -> np.ndarray:
        """Analytic Hessian (3n, 3n) eV/Å² of a graph of one structure, atom-major (x0, y0, z0, x1, …)."""


def species_of(symbols: Sequence[str], elements: Sequence[str]) -> np.ndarray:
    """Index into `elements` of each chemical symbol, (n_atoms,) int64; UserError for an unknown one."""
    index = {element: i for i, element in enumerate(elements)}
    for position, symbol in enumerate(symbols):
        if symbol not in index:
            raise UserError(
                f"element {symbol} of atom {position} is not known to the model, which has "
                f"{', '.join(elements)}; train a model with {symbol} or change the structure"
            )
    return np.array([index[symbol] for symbol in symbols], dtype=np.int64)


def build_graph(atoms: ase.Atoms, elements: Sequence[str], cutoff: float, place: str = "the structure") -> Graph:
    """The graph of one structure for a model with these elements and this cutoff (Å).

    UserError for what `hesspot.structures` refuses, said of `place`, and for an element that the model lacks.
    """
    check_atoms(atoms, place)
    species = species_of(atoms.get_chemical_symbols(), elements)
    return Graph(species, *find_edges(atoms.positions, atoms.cell.array, atoms.pbc, cutoff, place))


def graph_for(model: Any, atoms: ase.Atoms, place: str = "the structure") -> Graph:
    """`build_graph` for a model, which has to know what the structure states of its electrons.

    A model may say in `electrons` what it was trained on (`hesspot.electrons.States`). UserError as of `build_graph`
    and `require_trained`.
    """
    require_trained(atoms, place, getattr(model, "electrons", None))
    return build_graph(atoms, model.elements, model.cutoff, place)
