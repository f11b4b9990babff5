"""Positions in, energies, forces and virials out: a model applied to structures of one composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hesspot.derivatives import evaluate
from hesspot.export import LoadedModel
from hesspot.models.contract import COINCIDENT, Batch, species_of
from ipi_driver.neighbors import EdgeList, EdgeListCache
from ipi_driver.protocol import all_finite
from ipi_driver.results import EvaluationError, Results

#: Å that the neighbour lists reach beyond the cutoff.
SKIN = 0.5

#: Å; coordinates beyond this come from a run that has blown up, and a search for neighbours does not survive them.
#: Along a direction that is not periodic, next to one that is, the time of the search grows with the extent.
LARGEST, LARGEST_MIXED = 1e6, 1e4

#: Å between opposite faces of a cell; a flatter one has more images of an atom than memory can hold.
FLATTEST = 0.5


@dataclass(frozen=True, eq=False)
class _Edges:
    """The lists of a batch joined: what stays the same while the lists and the cells do."""

    centers: np.ndarray
    neighbors: np.ndarray
    shifts: np.ndarray
    owner: np.ndarray


class Evaluator:
    """Evaluates batches of structures with the same species and boundary conditions.

    `evaluated` counts the structures computed, `received` those asked for: equal ones are computed once.
    """

    def __init__(
        self,
        model: LoadedModel,
        symbols: Sequence[str],
        pbc: Sequence[bool] | np.ndarray,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        skin: float = SKIN,
    ):
        self.model = model
        self.symbols = list(symbols)
        self.pbc = np.asarray(pbc, dtype=bool)
        self.dtype = dtype
        self.device = torch.device(device)
        self.lists = EdgeListCache(model.cutoff, skin, self.pbc)
        self.received = self.evaluated = 0
        self._species = torch.from_numpy(species_of(self.symbols, model.elements))
        self._atoms: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._joined_from: list[EdgeList] = []
        self._joined = _join([], 0)
        self._offsets: np.ndarray | None = None
        self._offset_cells = np.zeros((0, 3, 3))

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results:
        """positions (n_structures, n_atoms, 3) Å, cells (n_structures, 3, 3) Å with lattice vectors as rows.

        EvaluationError for a structure with non-finite positions, atoms on one place, or a non-finite answer.
        """
        unique, place = _distinct(positions, cells)
        self.received += len(positions)
        self.evaluated += len(unique)
        results = self._evaluate(positions[unique], cells[unique], unique)
        if len(unique) == len(positions):
            return results
        return Results(results.energy[place], results.forces[place], results.virial[place])

    def _evaluate(self, positions: np.ndarray, cells: np.ndarray, names: Sequence[int]) -> Results:
        n_structures, n_atoms, _ = positions.shape
        self._check_input(positions, cells, names)
        if not self.pbc.any():
            cells = np.broadcast_to(np.eye(3), cells.shape)
        batch = self._batch(positions, cells, names)
        answer = evaluate(self.model, batch, virial=True)
        assert answer.virial is not None
        energy = answer.energy.to("cpu", torch.float64).numpy()
        forces = answer.forces.to("cpu", torch.float64).numpy().reshape(n_structures, n_atoms, 3)
        virial = answer.virial.to("cpu", torch.float64).numpy()
        if not all_finite(energy, forces, virial):
            bad = next(k for k in range(n_structures) if not all_finite(energy[k], forces[k], virial[k]))
            raise EvaluationError("the model gave an energy, force or virial that is not finite", names[bad])
        return Results(energy, forces, virial)

    def _check_input(self, positions: np.ndarray, cells: np.ndarray, names: Sequence[int]) -> None:
        """EvaluationError for what no search for neighbours can take; comparisons are such that NaN fails them."""
        limit = LARGEST_MIXED if self.pbc.any() and not self.pbc.all() else LARGEST
        if not np.abs(positions).max() <= limit:
            bad = next(k for k, atoms in enumerate(positions) if not np.abs(atoms).max() <= limit)
            raise EvaluationError(f"i-PI sent a position that is not finite or beyond {limit:g} Å", names[bad])
        if not self.pbc.any() or np.array_equal(cells, self._offset_cells):
            return
        for index, cell in zip(names, cells, strict=True):
            if not np.abs(cell).max() <= LARGEST or np.linalg.det(cell) == 0.0:
                raise EvaluationError(f"i-PI sent a cell without a volume or beyond {LARGEST:g} Å", index)
            heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
            if heights[self.pbc].min() < FLATTEST:
                raise EvaluationError(f"i-PI sent a cell with opposite faces nearer than {FLATTEST} Å", index)

    def _batch(self, positions: np.ndarray, cells: np.ndarray, names: Sequence[int]) -> Batch:
        n_structures, n_atoms, _ = positions.shape
        edges = self._edges(positions, cells)
        flat = positions.reshape(-1, 3)
        vectors = flat[edges.neighbors] - flat[edges.centers]
        if self._offsets is not None:
            vectors += self._offsets
        squared = np.einsum("ei,ei->e", vectors, vectors)
        if squared.min(initial=1.0) < COINCIDENT**2:
            edge = int(squared.argmin())
            i, j = edges.centers[edge] % n_atoms, edges.neighbors[edge] % n_atoms
            raise EvaluationError(f"atoms {i} and {j} are on one place", names[int(edges.owner[edge])])
        near = np.flatnonzero(squared < self.model.cutoff**2)
        if n_structures not in self._atoms:
            index = torch.arange(n_structures).repeat_interleave(n_atoms)
            self._atoms[n_structures] = (self._species.repeat(n_structures), index)
        species, structure = self._atoms[n_structures]
        return Batch(
            species=species,
            centers=torch.from_numpy(edges.centers[near]),
            neighbors=torch.from_numpy(edges.neighbors[near]),
            vectors=torch.from_numpy(vectors[near]),
            structure=structure,
            n_structures=n_structures,
            n_elements=len(self.model.elements),
        ).to(dtype=self.dtype, device=self.device)

    def _edges(self, positions: np.ndarray, cells: np.ndarray) -> _Edges:
        lists = self.lists.find(positions, cells)
        changed = lists is not self._joined_from
        if changed:
            self._joined_from = lists
            self._joined = _join(lists, positions.shape[1])
        if self.pbc.any() and (changed or not np.array_equal(cells, self._offset_cells)):
            self._offset_cells = cells.copy()
            self._offsets = np.einsum("ei,eij->ej", self._joined.shifts, cells[self._joined.owner])
        return self._joined


def _join(lists: Sequence[EdgeList], n_atoms: int) -> _Edges:
    """Lists of structures with `n_atoms` atoms each as one."""
    if not lists:
        none = np.zeros(0, dtype=np.int64)
        return _Edges(none, none, np.zeros((0, 3)), none)
    return _Edges(
        centers=np.concatenate([edges.centers + k * n_atoms for k, edges in enumerate(lists)]),
        neighbors=np.concatenate([edges.neighbors + k * n_atoms for k, edges in enumerate(lists)]),
        shifts=np.concatenate([edges.shifts for edges in lists]),
        owner=np.repeat(np.arange(len(lists)), [len(edges.centers) for edges in lists]),
    )


def _distinct(positions: np.ndarray, cells: np.ndarray) -> tuple[list[int], list[int]]:
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
