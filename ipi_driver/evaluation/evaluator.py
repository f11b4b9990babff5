"""Positions in, energies, forces and virials out: a model applied to structures of one composition."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from hesspot.contract import Batch, Model, species_of
from hesspot.derivatives import edge_gradient
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.export.file import members_of
from hesspot.structures import FARTHEST, check_geometry
from ipi_driver.evaluation.edges import CFunction, Edges
from ipi_driver.evaluation.extras import ProductsAlongMotion, committee, hessians
from ipi_driver.evaluation.neighbors import EdgeListCache
from ipi_driver.evaluation.results import EvaluationError, Results, Shortcut, distinct
from ipi_driver.settings import ExtrasKind

#: Å that the neighbour lists reach beyond the cutoff.
SKIN = 0.5

#: Joined lists that are kept, for batches that come in fragments of several sizes.
JOINED = 8


class Evaluator:
    """Evaluates batches of structures with the same species and boundary conditions.

    lone_refused: an atom without a neighbour within the cutoff is an error.
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
        lone_refused: bool = False,
    ):
        self.model = model
        self.symbols = list(symbols)
        self.pbc = np.asarray(pbc, dtype=bool)
        self.dtype = dtype
        self.device = torch.device(device)
        self.lists = EdgeListCache(model.cutoff, skin, self.pbc)
        self.calls = self.received = self.evaluated = 0
        self._extras, self._lone_refused = extras, lone_refused
        self._products = ProductsAlongMotion()
        self.model_seconds = 0.0
        self._periodic = bool(self.pbc.any())
        self._species = species_of(self.symbols, model.elements)
        self._members = members_of(model) if extras == "committee" else []
        self._function = None
        if model.kernel is not None:
            name: Literal["evaluate", "members"] = "members" if self._members else "evaluate"
            self._function = CFunction(*model.kernel.c_function(name), model.kernel)
        self._whole: tuple[Edges, Batch] | None = None
        self._joined: dict[tuple[int, int, int], Edges] = {}

    def __call__(self, positions: np.ndarray, cells: np.ndarray) -> Results:
        """positions (n_structures, n_atoms, 3) Å, cells (n_structures, 3, 3) Å with lattice vectors as rows.

        EvaluationError for a structure with non-finite positions, atoms on one place, lone atoms where these are
        refused, or a non-finite answer.
        """
        unique, place = distinct(positions, cells)
        self.count(len(positions), len(unique))
        if len(unique) == len(positions) and self._extras == "none":
            return self.part(positions, cells, 0, positions.shape[0] * positions.shape[1])
        try:
            results = self.part(positions[unique], cells[unique], 0, len(unique) * positions.shape[1])
        except EvaluationError as error:
            raise EvaluationError(str(error), unique[error.index]) from error
        extras = results.extras or self._curvature(positions[unique], cells[unique], len(positions))
        return Results(
            results.energy[place],
            results.forces[place],
            results.virial[place],
            tuple(extras[k] for k in place) if extras else (),
        )

    def _curvature(self, positions: np.ndarray, cells: np.ndarray, batch_size: int) -> Sequence[bytes]:
        """The extras of distinct structures of a batch of `batch_size`."""
        if self._extras == "hessian":
            return hessians(self.model, self.batch(positions, cells))
        if self._extras == "hvp":
            return self._products(self.model, self.batch(positions, cells), positions, batch_size)
        return ()

    def count(self, received: int, evaluated: int) -> None:
        """Note a call for the summary."""
        self.calls += 1
        self.received += received
        self.evaluated += evaluated

    def shortcut(self, n_structures: int) -> Shortcut | None:
        """The edges of a batch of distinct structures, if the model is a C function and nothing more is asked for."""
        edges = self._joined.get((n_structures, 0, n_structures * len(self.symbols)))
        if edges is None or self._function is None or self._extras != "none":
            return None
        return Shortcut(task=edges.task, owner=edges)

    def add_counts(self, calls: int, n_structures: int, seconds: float) -> None:
        """As `QuickEvaluate`."""
        self.calls += calls
        self.received += calls * n_structures
        self.evaluated += calls * n_structures
        self.model_seconds += seconds

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
        sums = None
        edges = self._joined.get((len(positions), first, last))
        if edges is not None:
            sums = self._sums(edges, positions, cells, anyhow=False)
        if edges is None or sums is None:
            edges = self._join(positions, cells, first, last)
            sums = self._sums(edges, positions, cells, anyhow=True)
        assert sums is not None
        if not self._members:
            return Results.of(sums[0], len(positions))
        extras = committee([Results.of(one, len(positions)) for one in sums])
        return Results.of(sums.mean(0), len(positions), tuple(extras))

    def _sums(self, edges: Edges, positions: np.ndarray, cells: np.ndarray, anyhow: bool) -> np.ndarray | None:
        """As `Edges.evaluate`, whatever the model is."""
        if self._function is not None:
            sums = edges.evaluate(positions, cells, anyhow)
            self.model_seconds += edges.model_seconds
            return sums
        if not edges.find(positions, cells, anyhow):
            return None
        batch = self._batch(edges)
        start = time.thread_time()
        models: Sequence[Model] = self._members or [self.model]
        values = [edge_gradient(model, batch) for model in models]
        self.model_seconds += time.thread_time() - start
        energies, gradient = (torch.stack(part).to("cpu", torch.float64).numpy() for part in zip(*values, strict=True))
        return edges.sum(energies[:, : edges.last - edges.first], gradient)

    def batch(self, positions: np.ndarray, cells: np.ndarray) -> Batch:
        """All structures as a `Batch` for `hesspot.derivatives`; arguments and errors as for a call."""
        n_structures, n_atoms, _ = positions.shape
        edges = self._join(positions, cells, 0, n_structures * n_atoms)
        edges.find(positions, cells, anyhow=True)
        structure = torch.arange(n_structures, device=self.device).repeat_interleave(n_atoms)
        return replace(self._batch(edges), structure=structure, n_structures=n_structures)

    def _join(self, positions: np.ndarray, cells: np.ndarray, first: int, last: int) -> Edges:
        """Edges from lists that reach far enough. EvaluationError for what no search for neighbours can take."""
        if not self._periodic:
            cells = np.broadcast_to(np.eye(3), cells.shape)
        self._check_input(positions, cells)
        key = len(positions), first, last
        edges = self._joined.pop(key, None)
        if edges is None or not self.lists.fit(edges.lists, positions, cells):
            edges = Edges(
                self.lists.find(positions, cells),
                self._species,
                self.model.cutoff,
                min(FARTHEST, self.lists.allowed(len(self.symbols))),
                self._periodic,
                first,
                last,
                max(len(self._members), 1),
                self._function,
                self._lone_refused,
            )
        self._joined[key] = edges
        if len(self._joined) > JOINED:
            self._joined.pop(next(iter(self._joined)))
        return edges

    def _check_input(self, positions: np.ndarray, cells: np.ndarray) -> None:
        """EvaluationError for what no search for neighbours can take."""
        for index, (atoms, cell) in enumerate(zip(positions, cells, strict=True)):
            try:
                check_geometry(atoms, cell, self.pbc, "what i-PI sent")
            except UserError as error:
                raise EvaluationError(str(error), index) from error

    def _batch(self, edges: Edges) -> Batch:
        """The edges within the cutoff as a model takes them; while these are all edges, only vectors are new."""
        if edges.n_near < len(edges.neighbors):
            return self._new_batch(edges)
        if self._whole is None or self._whole[0] is not edges:
            self._whole = edges, self._new_batch(edges)
        return replace(self._whole[1], vectors=torch.tensor(edges.vectors).to(self.device, self.dtype))

    def _new_batch(self, edges: Edges) -> Batch:
        """The same made anew. With some centres only, stand-ins, one for each element, take the place of neighbours."""
        centers, neighbors, species = edges.centers[edges.near], edges.neighbors[edges.near], edges.species
        n_own, n_elements = edges.last - edges.first, len(self.model.elements)
        if n_own < len(species):
            neighbors = n_own + species[neighbors]
            species = np.concatenate([species[edges.first : edges.last], np.arange(n_elements)])
        return Batch(
            species=torch.from_numpy(species).to(self.device),
            centers=torch.from_numpy(centers - edges.first).to(self.device),
            neighbors=torch.from_numpy(neighbors).to(self.device),
            vectors=torch.tensor(edges.vectors).to(self.device, self.dtype),
            structure=torch.zeros(len(species), dtype=torch.int64, device=self.device),
            n_structures=1,
            n_elements=n_elements,
        )
