"""Results of PySCF: from a calculation in memory, or from its chkfile with a gradient and a Hessian added to it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, numbers_of, without_ghosts
from hesspot.data.record import Record
from hesspot.errors import UserError

#: Where ``pyscf.lib.chkfile.save`` is told to put the derivatives; older habits included.
_GRADIENT = ("gradient", "scf/gradient", "grad", "scf/grad")
_HESSIAN = ("hessian", "scf/hessian", "hess", "scf/hess")


def record_from_pyscf(
    mf: Any, gradient: np.ndarray | None = None, hessian: np.ndarray | None = None, name: str = "", **fields: Any
) -> Record:
    """A record of a converged PySCF calculation.

    `mf` has ``e_tot`` and ``mol``; `gradient` (n, 3) is what ``mf.Gradients().kernel()`` gives, in Hartree/bohr;
    `hessian` (n, n, 3, 3) what ``mf.Hessian().kernel()`` gives, in Hartree/bohr². `fields` are those of `Record`.
    UserError for bad arrays and for a calculation that did not converge.
    """
    if not getattr(mf, "converged", True):
        raise UserError(f"the PySCF calculation of {name or 'this molecule'} did not converge: converge it first")
    mol = mf.mol
    name = name or "".join(mol.elements)
    place = f"the PySCF calculation of {name}"
    ghosts, numbers = _ghosts_and_numbers([mol.atom_symbol(i) for i in range(mol.natm)], place)
    raw = Raw(place, numbers, mol.atom_coords(), name, ATOMIC, energy=mf.e_tot, gradient=gradient, hessian=hessian)
    raw = without_ghosts(raw, ghosts)
    raw.charge, raw.multiplicity = int(mol.charge), int(mol.spin) + 1
    raw.properties = fields.pop("properties", {})
    for key, value in fields.items():
        setattr(raw, key, value)
    return raw.record()


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The one structure of a chkfile; the molecule is read from its JSON, nothing is evaluated."""
    try:
        with h5py.File(path, "r") as file:
            molecule = json.loads(_text(file["mol"][()]))
            energy = file["scf/e_tot"][()] if "scf/e_tot" in file else None
            gradient, hessian = (
                next((file[key][()] for key in keys if key in file), None) for keys in (_GRADIENT, _HESSIAN)
            )
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a chkfile of PySCF ({error}): write it again") from error
    if "a" in molecule:
        raise UserError(f"{path} is of a periodic PySCF calculation: only molecules are read from chkfiles")
    place = f"structure {path.stem} of {path}"
    atoms = molecule["_atom"]
    ghosts, numbers = _ghosts_and_numbers([str(label) for label, _ in atoms], place)
    positions = np.array([position for _, position in atoms])
    raw = Raw(place, numbers, positions, path.stem, ATOMIC, energy=energy, gradient=gradient, hessian=hessian)
    raw = without_ghosts(raw, ghosts)
    raw.charge = int(molecule["charge"]) if "charge" in molecule else None
    raw.multiplicity = int(molecule["spin"]) + 1 if molecule.get("spin") is not None else None
    yield raw


def _ghosts_and_numbers(labels: Sequence[str], place: str) -> tuple[np.ndarray, np.ndarray]:
    """Which atoms are ghosts (n,), as PySCF names them (GHOST-H, X-H), and atomic numbers (n,), 0 of ghosts."""
    symbols = [label.strip("0123456789_-. :@") for label in labels]
    ghosts = np.array(["GHOST" in s.upper() or (s[:1].upper() == "X" and s[:2].upper() != "XE") for s in symbols])
    numbers = np.zeros(len(labels), dtype=np.int64)
    numbers[~ghosts] = numbers_of([symbol for symbol, ghost in zip(symbols, ghosts, strict=True) if not ghost], place)
    return ghosts, numbers


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
