"""Positions in, energies, forces and virials out: a model applied to structures of one composition."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hesspot.derivatives import edge_gradient
from hesspot.export import LoadedModel
from hesspot.models.contract import COINCIDENT, Batch, species_of
from ipi_driver.extras import ProductsAlongMotion, hessians
from ipi_driver.neighbors import EdgeList, EdgeListCache
from ipi_driver.protocol import all_finite
from ipi_driver.results import EvaluationError, Results
from ipi_driver.settings import ExtrasKind

#: Å that the neighbour lists reach beyond the cutoff.
SKIN = 0.5

#: Å; coordinates beyond this come from a run that has blown up, and a search for neighbours does not survive them.
#: Along a direction that is not periodic, next to one that is, the time of the search grows with the extent.
LARGEST, LARGEST_MIXED = 1e6, 1e4

#: Å between opposite faces of a cell; a flatter one has more images of an atom than memory can hold.
FLATTEST = 0.5


@dataclass(frozen=True, eq=False)
class _Graph:
    """The edges of some centres of some structures: what stays the same while the neighbour lists do.

    Atoms are counted through all structures. centers, neighbors (n_edges,) and shifts (n_edges, 3), in lattice vectors;
    ends: of each structure's edges; forces_of_centers, forces_of_neighbors (3 n_edges,): where the components of the
    edges' gradients go; the tensors are what the model takes, `n_own` the centres among its atoms.
    """

    lists: list[EdgeList]
    centers: np.ndarray
    neighbors: np.ndarray
    shifts: np.ndarray
    ends: list[int]
    forces_of_centers: np.ndarray
    forces_of_neighbors: np.ndarray
    n_own: int
    model_species: torch.Tensor
    model_centers: torch.Tensor
    model_neighbors: torch.Tensor


class Evaluator:
    """Evaluates batches of structures with the same species and boundary conditions.

    `evaluated` counts the structures computed, `received` those asked for: equal ones are computed once.
    `model_seconds` is the CPU time of this thread in the model and its gradient.
    """

    def __init__(
        self,
        model: LoadedModel,
        symbols: Sequence[str],
        pbc: Sequence[bool] | np.ndarray,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        skin: float = SKIN,
        extras: ExtrasKind = "none",
    ):
        self.model = model
        self.symbols = list(symbols)
        self.pbc = np.asarray(pbc, dtype=bool)
        self.dtype = dtype
        self.device = torch.device(device)
        self.lists = EdgeListCache(model.cutoff, skin, self.pbc)
        self.calls = self.received = self.evaluated = 0
        self._extras = extras
        self._products = ProductsAlongMotion()
        self.model_seconds = 0.0
        self._periodic = bool(self.pbc.any())
        self._species = species_of(self.symbols, model.elements)
        self._graph: _Graph | None = None
        self._graph_range = (0, 0)
        self._no_cells = np.zeros((0, 3, 3))
        self._offsets = np.zeros((0, 3))
        self._offset_cells = np.zeros((0, 3, 3))

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results:
        """positions (n_structures, n_atoms, 3) Å, cells (n_structures, 3, 3) Å with lattice vectors as rows.

        EvaluationError for a structure with non-finite positions, atoms on one place, or a non-finite answer.
        """
        unique, place = distinct(positions, cells)
        self.count(len(positions), len(unique))
        if len(unique) == len(positions) and self._extras == "none":
            return self.part(positions, cells, 0, positions.shape[0] * positions.shape[1])
        try:
            results = self.part(positions[unique], cells[unique], 0, len(unique) * positions.shape[1])
        except EvaluationError as error:
            raise EvaluationError(str(error), unique[error.index]) from error
        extras = self._curvature(positions[unique], cells[unique], len(positions))
        return Results(
            results.energy[place],
            results.forces[place],
            results.virial[place],
            tuple(extras[k] for k in place) if extras else (),
        )

    def _curvature(self, positions: np.ndarray, cells: np.ndarray, batch_size: int) -> list[bytes]:
        """The extras of distinct structures of a batch of `batch_size`."""
        if self._extras == "none":
            return []
        if self._extras == "hessian":
            return hessians(self.model, self.batch(positions, cells))
        return self._products(self.model, self.batch(positions, cells), positions, batch_size)

    def count(self, received: int, evaluated: int) -> None:
        """Note a call for the summary."""
        self.calls += 1
        self.received += received
        self.evaluated += evaluated

    def summary(self) -> str:
        """What was done so far, for people."""
        return (
            f"{self.calls} evaluations of {self.received} structures ({self.evaluated} distinct ones, "
            f"{self.lists.built} neighbour lists), {self.model_seconds:.3f} s of CPU time in the model"
        )

    def part(self, positions: np.ndarray, cells: np.ndarray, first: int, last: int) -> Results:
        """What the centres `first` … `last - 1` give to the results, counting atoms through all structures.

        The whole is the sum over ranges of centres.
        """
        n_structures, n_atoms, _ = positions.shape
        some = slice(first // n_atoms, -(-last // n_atoms))
        if some == slice(0, n_structures):
            return self._part(positions, cells, first, last)
        energy, forces, virial = np.zeros(n_structures), np.zeros(positions.shape), np.zeros((n_structures, 3, 3))
        if first < last:
            skipped = some.start * n_atoms
            try:
                own = self._part(positions[some], cells[some], first - skipped, last - skipped)
            except EvaluationError as error:
                raise EvaluationError(str(error), some.start + error.index) from error
            energy[some], forces[some], virial[some] = own.energy, own.forces, own.virial
        return Results(energy, forces, virial)

    def _part(self, positions: np.ndarray, cells: np.ndarray, first: int, last: int) -> Results:
        n_structures, n_atoms, _ = positions.shape
        graph, vectors, squared = self._edges(positions, cells, first, last)
        near = None if squared.max(initial=0.0) < self.model.cutoff**2 else self._near(squared)
        batch = self._batch(graph, vectors, near)
        start = time.thread_time()
        atom_energies, gradient = edge_gradient(self.model, batch)
        self.model_seconds += time.thread_time() - start
        energy = np.bincount(
            np.arange(first, last) // n_atoms,
            weights=atom_energies[: graph.n_own].to("cpu", torch.float64).numpy(),
            minlength=n_structures,
        )
        slope = gradient.to("cpu", torch.float64).numpy()
        if near is not None:
            slope, some = np.zeros_like(vectors), slope
            slope[near] = some
        size = positions.size
        forces = np.bincount(graph.forces_of_centers, weights=slope.ravel(), minlength=size)
        forces -= np.bincount(graph.forces_of_neighbors, weights=slope.ravel(), minlength=size)
        virial = np.empty((n_structures, 3, 3))
        begin = 0
        for structure, end in enumerate(graph.ends):
            np.matmul(vectors[begin:end].T, slope[begin:end], out=virial[structure])
            begin = end
        np.negative(virial, out=virial)
        forces = forces.reshape(positions.shape)
        if not all_finite(energy, forces, virial):
            bad = next(k for k in range(n_structures) if not all_finite(energy[k], forces[k], virial[k]))
            raise EvaluationError("the model gave an energy, force or virial that is not finite", bad)
        return Results(energy, forces, virial)

    def batch(self, positions: np.ndarray, cells: np.ndarray) -> Batch:
        """All structures as a `Batch` for `hesspot.derivatives`; arguments and errors as for a call."""
        n_structures, n_atoms, _ = positions.shape
        graph, vectors, squared = self._edges(positions, cells, 0, n_structures * n_atoms)
        batch = self._batch(graph, vectors, self._near(squared))
        return replace(
            batch, structure=torch.arange(n_structures).repeat_interleave(n_atoms), n_structures=n_structures
        ).to(device=self.device)

    def _edges(
        self, positions: np.ndarray, cells: np.ndarray, first: int, last: int
    ) -> tuple[_Graph, np.ndarray, np.ndarray]:
        """Graph, vectors (n_edges, 3) Å and their squared lengths, up to the reach of the neighbour lists."""
        if not self._periodic:
            if len(self._no_cells) != len(positions):
                self._no_cells = np.tile(np.eye(3), (len(positions), 1, 1))
            cells = self._no_cells
        lists = self.lists.as_before(positions, cells)
        if lists is None:
            self._check_input(positions, cells)
            lists = self.lists.find(positions, cells)
        graph = self._graph
        if graph is None or graph.lists is not lists or self._graph_range != (first, last):
            graph = self._graph = self._join(lists, first, last)
            self._graph_range = (first, last)
            self._offset_cells = self._no_cells
        flat = positions.reshape(-1, 3)
        vectors = flat.take(graph.neighbors, 0)
        vectors -= flat.take(graph.centers, 0)
        if self._periodic:
            if not np.array_equal(cells, self._offset_cells):
                self._offset_cells = cells.copy()
                owner = graph.centers // positions.shape[1]
                self._offsets = np.einsum("ei,eij->ej", graph.shifts, cells[owner])
            vectors += self._offsets
        squared = np.einsum("ei,ei->e", vectors, vectors)
        if squared.min(initial=1.0) < COINCIDENT**2:
            structure, i = divmod(int(graph.centers[squared.argmin()]), positions.shape[1])
            j = int(graph.neighbors[squared.argmin()]) % positions.shape[1]
            raise EvaluationError(f"atoms {i} and {j} are on one place", structure)
        return graph, vectors, squared

    def _check_input(self, positions: np.ndarray, cells: np.ndarray) -> None:
        """EvaluationError for what no search for neighbours can take; comparisons are such that NaN fails them."""
        limit = LARGEST_MIXED if self._periodic and not self.pbc.all() else LARGEST
        for index, atoms in enumerate(positions):
            if not np.abs(atoms).max() <= limit:
                raise EvaluationError(f"i-PI sent a position that is not finite or beyond {limit:g} Å", index)
        if not self._periodic:
            return
        for index, cell in enumerate(cells):
            if not np.abs(cell).max() <= LARGEST or np.linalg.det(cell) == 0.0:
                raise EvaluationError(f"i-PI sent a cell without a volume or beyond {LARGEST:g} Å", index)
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
            if heights[self.pbc].min() < FLATTEST:
                raise EvaluationError(f"i-PI sent a cell with opposite faces nearer than {FLATTEST} Å", index)

    def _join(self, lists: list[EdgeList], first: int, last: int) -> _Graph:
        """The lists of structures as one, for the centres `first` … `last - 1`.

        The model gets the whole structures, or stand-ins, one for each element, in the place of the neighbours.
        """
        n_atoms = len(self.symbols)
        centers = np.concatenate([edges.centers + k * n_atoms for k, edges in enumerate(lists)])
        own = slice(*np.searchsorted(centers, [first, last]))
        centers = centers[own]
        neighbors = np.concatenate([edges.neighbors + k * n_atoms for k, edges in enumerate(lists)])[own]
        species = np.tile(self._species, len(lists))
        if last - first == len(species):
            model_species, model_neighbors = species, neighbors
        else:
            model_species = np.concatenate([species[first:last], np.arange(len(self.model.elements))])
            model_neighbors = (last - first) + species[neighbors]
        xyz = np.arange(3)
        return _Graph(
            lists=lists,
            centers=centers,
            neighbors=neighbors,
            shifts=np.concatenate([edges.shifts for edges in lists])[own],
            ends=np.searchsorted(centers, n_atoms * np.arange(1, len(lists) + 1)).tolist(),
            forces_of_centers=(3 * centers[:, None] + xyz).ravel(),
            forces_of_neighbors=(3 * neighbors[:, None] + xyz).ravel(),
            n_own=last - first,
            model_species=torch.from_numpy(model_species).to(self.device),
            model_centers=torch.from_numpy(centers - first).to(self.device),
            model_neighbors=torch.from_numpy(model_neighbors).to(self.device),
        )

    def _near(self, squared: np.ndarray) -> np.ndarray:
        """Indices of the edges that the model sees."""
        return np.flatnonzero(squared < self.model.cutoff**2)

    def _batch(self, graph: _Graph, vectors: np.ndarray, near: np.ndarray | None) -> Batch:
        """What the model takes, with the edges `near`, or all."""
        centers, neighbors = graph.model_centers, graph.model_neighbors
        if near is not None:
            index = torch.from_numpy(near).to(self.device)
            vectors, centers, neighbors = vectors[near], centers[index], neighbors[index]
        return Batch(
            species=graph.model_species,
            centers=centers,
            neighbors=neighbors,
            vectors=torch.from_numpy(vectors).to(self.device, self.dtype),
            structure=graph.model_species,
            n_structures=1,
            n_elements=len(self.model.elements),
        )


def distinct(positions: np.ndarray, cells: np.ndarray) -> tuple[list[int], list[int]]:
    """Indices of the first of each set of equal structures, and for each structure its place among them."""
    if len(positions) == 1:
        return [0], [0]
    seen: dict[bytes, int] = {}
    unique: list[int] = []
    place: list[int] = []
    for index, (atoms, cell) in enumerate(zip(positions, cells, strict=True)):
        key = atoms.tobytes() + cell.tobytes()
        if key not in seen:
            seen[key] = len(unique)
            unique.append(index)
        place.append(seen[key])
    return unique, place
