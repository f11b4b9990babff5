"""The contract that carries everything: energies of atoms as centres, from edge vectors.

A model is a `torch.nn.Module` (or its scripted form) with the attributes `elements` (chemical symbols) and
`cutoff` (Å), called as `energies = model(species, centers, neighbors, vectors)`:

=========== ========================= =================================================================
argument    shape, dtype              meaning
=========== ========================= =================================================================
species     (n_atoms,) int64          index into `model.elements`
centers     (n_edges,) int64          edge e runs from `centers[e]` …
neighbors   (n_edges,) int64          … to `neighbors[e]`
vectors     (n_edges, 3) float        neighbour − centre, periodic image included, Å
returns     (n_atoms,) float64        energy of each atom as a centre, eV
=========== ========================= =================================================================

The energy of an atom depends on its own edges alone, and on a neighbour only through its species and its
vector. Engines rely on this: they evaluate any subset of centres, with one stand-in atom per element in the
place of the neighbours (see `Batch.chunks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import ase
import numpy as np
import torch
from torch import Tensor

from hesspot.electrons import require_trained
from hesspot.graph import Graph, build_graph


class Model(Protocol):
    """What every model and every loaded model file offers."""

    @property
    def elements(self) -> list[str]: ...

    @property
    def cutoff(self) -> float: ...

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor: ...


class Committee(Model, Protocol):
    """A model that is the mean of members which can be asked one by one."""

    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of each member, (n_members, n_atoms) float64 eV; arguments as of the model."""


@dataclass(frozen=True)
class Chunk:
    """The edges of the centres `first` … `last - 1`, ready to be given to a model.

    The model's answer holds the energies of these centres in its first `last - first` rows.
    """

    first: int
    last: int
    edges: slice
    species: Tensor
    centers: Tensor
    neighbors: Tensor


@dataclass(frozen=True)
class Batch:
    """Structures joined into one graph; edges are sorted by centre.

    species (n_atoms,), centers (n_edges,), neighbors (n_edges,) int64; vectors (n_edges, 3) Å;
    structure (n_atoms,) int64, the structure that each atom belongs to; n_elements of the model.
    """

    species: Tensor
    centers: Tensor
    neighbors: Tensor
    vectors: Tensor
    structure: Tensor
    n_structures: int
    n_elements: int

    @property
    def n_atoms(self) -> int:
        return self.species.shape[0]

    @property
    def n_edges(self) -> int:
        return self.centers.shape[0]

    def atoms_per_structure(self) -> Tensor:
        """Number of atoms of each structure, (n_structures,) int64."""
        return torch.bincount(self.structure, minlength=self.n_structures)

    def edges_per_atom(self) -> Tensor:
        """Number of edges of each atom as a centre, (n_atoms,) int64."""
        return torch.bincount(self.centers, minlength=self.n_atoms)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Batch:
        """The same batch with vectors of another dtype, or all of it on another device."""
        return replace(
            self,
            species=self.species.to(device=device),
            centers=self.centers.to(device=device),
            neighbors=self.neighbors.to(device=device),
            vectors=self.vectors.to(dtype=dtype, device=device),
            structure=self.structure.to(device=device),
        )

    def chunks(self, max_edges: int) -> Iterator[Chunk]:
        """Split the centres so that no chunk has more than `max_edges` edges (one centre at least)."""
        if self.n_edges <= max_edges:
            yield Chunk(0, self.n_atoms, slice(0, self.n_edges), self.species, self.centers, self.neighbors)
            return
        ends = torch.cumsum(self.edges_per_atom(), 0).cpu()
        stand_ins = torch.arange(self.n_elements, device=self.species.device)
        first, first_edge = 0, 0
        while first < self.n_atoms:
            fitting = int(torch.searchsorted(ends, first_edge + max_edges, right=True))
            last = max(first + 1, fitting)
            last_edge = int(ends[last - 1])
            edges = slice(first_edge, last_edge)
            yield Chunk(
                first,
                last,
                edges,
                torch.cat([self.species[first:last], stand_ins]),
                self.centers[edges] - first,
                (last - first) + self.species[self.neighbors[edges]],
            )
            first, first_edge = last, last_edge


def build_batch(
    structures: Sequence[ase.Atoms],
    elements: Sequence[str],
    cutoff: float,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Batch:
    """Join structures into a `Batch` for a model with these elements and this cutoff (Å).

    UserError for what `hesspot.structures` refuses, and for an element that the model lacks.
    """
    graphs = []
    for number, atoms in enumerate(structures):
        place = f"structure {number}" if len(structures) > 1 else "the structure"
        graphs.append(batch_of(build_graph(atoms, elements, cutoff, place), len(elements)))
    return join_batches(graphs, len(elements)).to(dtype=dtype, device=device)


def batch_of(graph: Graph, n_elements: int) -> Batch:
    """A graph of one structure in torch; the numbers are shared."""
    return Batch(
        species=torch.from_numpy(graph.species),
        centers=torch.from_numpy(graph.centers),
        neighbors=torch.from_numpy(graph.neighbors),
        vectors=torch.from_numpy(graph.vectors),
        structure=torch.zeros(graph.n_atoms, dtype=torch.int64),
        n_structures=1,
        n_elements=n_elements,
    )


def graphs_of(batch: Batch) -> Iterator[Graph]:
    """The structures of a batch on the CPU, whose atoms stand one structure behind the other."""
    ends = np.cumsum([0, *batch.atoms_per_structure().tolist()])
    species, centers, neighbors = batch.species.numpy(), batch.centers.numpy(), batch.neighbors.numpy()
    vectors = batch.vectors.detach().to(torch.float64).numpy()
    for first, last in pairwise(ends):
        own = slice(*np.searchsorted(centers, [first, last]))
        yield Graph(species[first:last], centers[own] - first, neighbors[own] - first, vectors[own])


def batch_for(
    model: Model,
    structures: Sequence[ase.Atoms],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    place: str = "",
) -> Batch:
    """`build_batch` for a model, which has to know what the structures state of their electrons.

    A model may say in `electrons` what it was trained on (`hesspot.electrons.States`). UserError as of `build_batch`
    and `require_trained`.
    """
    for number, atoms in enumerate(structures):
        where = place or (f"structure {number}" if len(structures) > 1 else "the structure")
        require_trained(atoms, where, getattr(model, "electrons", None))
    return build_batch(structures, model.elements, model.cutoff, dtype, device)


def join_batches(batches: Sequence[Batch], n_elements: int) -> Batch:
    """Several batches as one, in their order; an empty sequence gives an empty batch."""
    if len(batches) == 1:
        return batches[0]
    if not batches:
        none = torch.zeros(0, dtype=torch.int64)
        return Batch(none, none, none, torch.zeros(0, 3, dtype=torch.float64), none, 0, n_elements)
    n_atoms, n_edges, n_structures = (
        [getattr(batch, name) for batch in batches] for name in ("n_atoms", "n_edges", "n_structures")
    )
    device = batches[0].vectors.device
    first_atoms = _before(n_atoms, n_edges).to(device)
    return Batch(
        species=torch.cat([batch.species for batch in batches]),
        centers=torch.cat([batch.centers for batch in batches]) + first_atoms,
        neighbors=torch.cat([batch.neighbors for batch in batches]) + first_atoms,
        vectors=torch.cat([batch.vectors for batch in batches]),
        structure=torch.cat([batch.structure for batch in batches]) + _before(n_structures, n_atoms).to(device),
        n_structures=sum(n_structures),
        n_elements=n_elements,
    )


def _before(counts: list[int], repeats: list[int]) -> Tensor:
    """For each batch the sum of what those before it count, as many times as `repeats` says."""
    return torch.from_numpy(np.repeat(np.cumsum([0, *counts[:-1]]), repeats))
