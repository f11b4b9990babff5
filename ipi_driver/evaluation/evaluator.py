"""Positions in, energies, forces and virials out: a model applied to structures of one composition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.export.loaded import committee_size
from hesspot.graph import Graph, species_of
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
        skin: float = SKIN,
        extras: ExtrasKind = "none",
        lone_refused: bool = False,
    ):
        self.model = model
        self.symbols = list(symbols)
        self.pbc = np.asarray(pbc, dtype=bool)
        self.lists = EdgeListCache(model.cutoff, skin, self.pbc)
        self.calls = self.received = self.evaluated = 0
        self._extras, self._lone_refused = extras, lone_refused
        self._products = ProductsAlongMotion()
        self.model_seconds = 0.0
        self._periodic = bool(self.pbc.any())
        self._species = species_of(self.symbols, model.elements)
        self._n_members = committee_size(model) if extras == "committee" else 0
        self._function = self._script = None
        if model.kernel is not None:
            name: Literal["evaluate", "members"] = "members" if self._n_members else "evaluate"
            self._function = CFunction(*model.kernel.c_function(name), model.kernel)
        else:
            from ipi_driver.evaluation.torchscript import TorchScript

            self._script = TorchScript(model, self._n_members)
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
            return hessians(self.model.potential, self.graphs(positions, cells))
        if self._extras == "hvp":
            return self._products(self.model.potential, self.graph(positions, cells), positions, batch_size)
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
        if not self._n_members:
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
        assert self._script is not None
        energies, gradient, seconds = self._script(edges)
        self.model_seconds += seconds
        return edges.sum(energies, gradient)

    def graph(self, positions: np.ndarray, cells: np.ndarray) -> Graph:
        """All structures as one, whose atoms are counted through; arguments and errors as for a call."""
        edges = self._join(positions, cells, 0, positions.shape[0] * positions.shape[1])
        edges.find(positions, cells, anyhow=True)
        near = edges.near
        return Graph(edges.species, edges.centers[near], edges.neighbors[near], edges.vectors.copy())

    def graphs(self, positions: np.ndarray, cells: np.ndarray) -> list[Graph]:
        """Each structure for itself."""
        return [self.graph(positions[k : k + 1], cells[k : k + 1]) for k in range(len(positions))]

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
                max(self._n_members, 1),
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
