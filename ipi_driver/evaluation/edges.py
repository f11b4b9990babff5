"""Neighbour lists joined to the edges of a batch, and what a model gives for them summed to energies, forces, virials.

The loops are in `edges.cpp`: one call of C++ does a whole step of a model that is C++ too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.errors import UserError
from hesspot.structures import COINCIDENT
from ipi_driver.evaluation.neighbors import EdgeList
from ipi_driver.evaluation.results import EvaluationError
from ipi_driver.native.library import Status, library, structures


@dataclass(frozen=True)
class CFunction:
    """Addresses of a C function like `hesspot_model_evaluate` and of its model, whose `owner` keeps it alive."""

    function: int
    model: int
    owner: object


class Edges:
    """The edges of the centres `first` … `last - 1` of structures with `lists`, counting atoms through all structures.

    species (n_atoms,) of one structure; cutoff Å; allowed: Å that an atom may be away from its list's reference;
    periodic: whether cells matter; lone_refused: whether an atom without a neighbour within the cutoff is an error.
    near (n_near,) are the edges within the cutoff, as indices into centers, neighbors (n_listed,); vectors
    (n_near, 3) Å. A model with n_members gives energies (n_members, n_centers) eV and their gradient
    (n_members, n_near, 3) eV/Å: by its `function`, called in `evaluate`, or from whoever calls `find` and `sum`.
    """

    def __init__(
        self,
        lists: Sequence[EdgeList],
        species: np.ndarray,
        cutoff: float,
        allowed: float,
        periodic: bool,
        first: int,
        last: int,
        n_members: int = 1,
        function: CFunction | None = None,
        lone_refused: bool = False,
    ):
        n_structures, n_atoms = len(lists), species.size
        _need("species", species, np.int64, n_atoms)
        for edges in lists:
            n_pairs = edges.centers.size
            _need("positions of a list", edges.positions, np.float64, n_atoms, 3)
            _need("the cell of a list", edges.cell, np.float64, 3, 3)
            _need("centers of a list", edges.centers, np.int64, n_pairs)
            _need("neighbors of a list", edges.neighbors, np.int64, n_pairs)
            _need("shifts of a list", edges.shifts, np.float64, n_pairs, 3)
        centers = np.concatenate([edges.centers + k * n_atoms for k, edges in enumerate(lists)])
        if (centers[1:] < centers[:-1]).any():
            raise UserError("the pairs of a neighbour list are not sorted by centre; sort them")
        own = slice(*np.searchsorted(centers, [first, last]))
        self.lists, self.first, self.last, self.n_members = lists, first, last, n_members
        self.centers = centers[own]
        self.neighbors = np.concatenate([edges.neighbors + k * n_atoms for k, edges in enumerate(lists)])[own]
        self.species = np.tile(species, n_structures)
        shifts = np.concatenate([edges.shifts for edges in lists])[own]
        n_listed, n_own = len(self.centers), max(last - first, 0)
        self.n_near = 0
        self._arrays = {
            "positions": np.empty((n_structures, n_atoms, 3)),
            "cells": np.empty((n_structures, 3, 3)),
            "reference": np.array([edges.positions for edges in lists]),
            "reference_cells": np.array([edges.cell for edges in lists]),
            "shifts": shifts,
            "species": self.species[first:last].copy(),
            "first_listed": np.searchsorted(self.centers, np.arange(first, last + 1)),
            "neighbors": self.neighbors,
            "listed_species": self.species.take(self.neighbors, mode="clip"),
            "near": np.empty(n_listed, dtype=np.int64),
            "first_edge": np.zeros(n_own + 1, dtype=np.int64),
            "neighbor_species": np.empty(n_listed, dtype=np.int64),
            "vectors": np.empty((n_listed, 3)),
            "energies": np.empty((n_members, n_own)),
            "gradient": np.empty(3 * n_members * n_listed),
            "sums": np.empty((n_members, n_structures * (10 + 3 * n_atoms))),
        }
        addresses = {name: array.ctypes.data for name, array in self._arrays.items()}
        self._periodic = periodic
        if not periodic:
            del addresses["shifts"]
        if function is not None:
            addresses |= {"function": function.function, "model": function.model}
        self._function = function
        self._task = structures()["Task"](
            n_structures=n_structures,
            n_atoms=n_atoms,
            first_center=first,
            n_centers=last - first,
            n_members=n_members,
            lone_refused=int(lone_refused),
            cutoff_squared=cutoff**2,
            coincident_squared=COINCIDENT**2,
            allowed_squared=allowed**2,
            **addresses,
        )
        self._answer = structures()["Answer"]()
        self._pointers = (
            ctypes.c_void_p(ctypes.addressof(self._task)),
            ctypes.c_void_p(ctypes.addressof(self._answer)),
        )
        self._library = library()
        self._library.hesspot_edges_check(*self._pointers)
        self._positions, self._cells, self._sums = (self._arrays[name] for name in ("positions", "cells", "sums"))
        self._ended_well()

    @property
    def task(self) -> int:
        """The address of the `Task`."""
        return ctypes.addressof(self._task)

    @property
    def near(self) -> np.ndarray:
        return self._arrays["near"][: self.n_near]

    @property
    def vectors(self) -> np.ndarray:
        return self._arrays["vectors"][: self.n_near]

    @property
    def model_seconds(self) -> float:
        """CPU time of `function` in the last `evaluate`."""
        return self._task.model_seconds

    def find(self, positions: np.ndarray, cells: np.ndarray, anyhow: bool) -> bool:
        """Set the edges of positions (n_structures, n_atoms, 3), cells (n_structures, 3, 3) Å; False if the lists may
        miss one, unless `anyhow`. EvaluationError for atoms on one place, and for lone ones that are refused."""
        self._set(positions, cells)
        task, answer = self._pointers
        self._library.hesspot_edges_find(task, int(anyhow), answer)
        if self._answer.status == Status.DONE:
            self.n_near = self._answer.where
        return self._ended_well()

    def sum(self, energies: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """(n_members, n_structures (10 + 3 n_atoms)): for each member energies, forces, virials of the structures, of
        what the model gave for the edges. EvaluationError for a structure whose sums are not finite."""
        _need("energies", energies, np.float64, self.n_members, self.last - self.first)
        _need("gradient", gradient, np.float64, self.n_members, self.n_near, 3)
        self._arrays["energies"][:] = energies
        self._arrays["gradient"][: gradient.size] = gradient.ravel()
        task, answer = self._pointers
        self._library.hesspot_edges_sum(task, answer)
        self._ended_well()
        return self._sums.copy()

    def evaluate(self, positions: np.ndarray, cells: np.ndarray, anyhow: bool) -> np.ndarray | None:
        """`find`, the model's function, and `sum`; None if the lists may miss an edge."""
        self._set(positions, cells)
        task, answer = self._pointers
        self._library.hesspot_edges_evaluate(task, int(anyhow), answer)
        if not self._ended_well():
            return None
        self.n_near = int(self._arrays["first_edge"][-1])
        return self._sums.copy()

    def _set(self, positions: np.ndarray, cells: np.ndarray) -> None:
        self.n_near = 0
        _need("positions", positions, np.float64, *self._positions.shape)
        _need("cells", cells, np.float64, *self._cells.shape)
        self._positions[:] = positions
        if self._periodic:
            self._cells[:] = cells

    def _ended_well(self) -> bool:
        status, where = self._answer.status, self._answer.where
        if status == Status.DONE:
            return True
        if status == Status.STALE:
            return False
        n_atoms = self._positions.shape[1]
        if status == Status.COINCIDENT:
            structure, i = divmod(int(self.centers[where]), n_atoms)
            raise EvaluationError(f"atoms {i} and {int(self.neighbors[where]) % n_atoms} are on one place", structure)
        if status == Status.LONE:
            structure, atom = divmod(where, n_atoms)
            raise EvaluationError(
                f"atom {atom} has no neighbour within {self._task.cutoff_squared**0.5:g} Å, the model's cutoff: it was "
                "lost, and the model knows nothing of its energy (--lone-atoms allow takes it)",
                structure,
            )
        if status == Status.NOT_FINITE:
            raise EvaluationError("the model gave an energy, force or virial that is not finite", where)
        if status == Status.NO_MEMORY:
            raise MemoryError("the model ran out of memory")
        raise UserError(ctypes.string_at(self._answer.error).decode())


def _need(name: str, array: np.ndarray, dtype: type, *shape: int) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise UserError(
            f"{name}: {array.dtype} of shape {array.shape}, but the loops over edges "
            f"take {np.dtype(dtype)} of shape {shape}"
        )
