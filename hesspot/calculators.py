"""The ASE calculator: energy, forces, stress and analytic Hessian of an exported model."""

from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from hesspot.contract import Batch, Model, build_batch
from hesspot.derivatives import evaluate, hessian
from hesspot.errors import UserError
from hesspot.export import read_model

DTYPES = {"float64": torch.float64, "float32": torch.float32}


class HesspotCalculator(Calculator):
    """ASE calculator of a hesspot model.

    Gives energy, free_energy (the same), energies (of the centres), forces, and for a cell of three vectors
    stress and stresses (ASE's sign and order, eV/Å³; `stresses` sum to `stress`, the symmetric part of the
    centroid form), and with `get_hessian(atoms)` or `get_property("hessian", atoms)` the analytic Hessian.

    Args:
        model: path of an exported file, or a model in memory that keeps the contract and has this dtype and device.
        dtype: float64, or float32 for speed where curvature does not matter.
        device: of torch, such as cpu or cuda.

    UserError for an unknown dtype, what `read_model` refuses, an element that the model lacks, coincident atoms,
    and results that are not finite.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses", "hessian"]  # noqa: RUF012

    def __init__(
        self, model: str | Path | Model, dtype: str = "float64", device: torch.device | str = "cpu", **settings: Any
    ) -> None:
        if dtype not in DTYPES:
            raise UserError(f"dtype {dtype!r} of the calculator is not known; use {' or '.join(DTYPES)}")
        super().__init__(**settings)
        self.dtype = DTYPES[dtype]
        self.device = torch.device(device)
        self.model = read_model(model, self.dtype, self.device) if isinstance(model, str | Path) else model

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`; all properties but the Hessian cost one evaluation."""
        super().calculate(atoms, properties, system_changes)
        structure: Any = self.atoms
        wants_stresses = "stresses" in (properties or [])
        result = evaluate(self.model, self._batch(structure), virial=True, atom_virial=wants_stresses)
        energy, forces = float(result.energy[0]), _array(result.forces)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise UserError(
                f"the model gives an energy or a force of {structure.symbols} that is not a finite number; "
                "check that the geometry is one the model was trained for"
            )
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": _array(result.atom_energies),
            "forces": forces,
        }
        if structure.cell.rank == 3:
            volume = structure.get_volume()
            assert result.virial is not None
            self.results["stress"] = _voigt(-_array(result.virial)[0] / volume)
            if wants_stresses:
                assert result.atom_virial is not None
                self.results["stresses"] = np.stack([_voigt(-w / volume) for w in _array(result.atom_virial)])

    def get_property(self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True) -> Any:
        """As in ASE; the Hessian is computed anew and not kept in `results`, whose keys ASE restricts."""
        if name == "hessian":
            return self.get_hessian(atoms) if allow_calculation else None
        return super().get_property(name, atoms, allow_calculation)

    def get_hessian(self, atoms: ase.Atoms | None = None) -> np.ndarray:
        """Analytic Hessian (3n, 3n) in eV/Å², atom-major, of `atoms` or of the last structure."""
        (matrix,) = hessian(self.model, self._batch(self.atoms if atoms is None else atoms))
        return _array(matrix)

    def _batch(self, atoms: ase.Atoms | None) -> Batch:
        if atoms is None:
            raise UserError("the calculator was asked before it saw a structure; give it atoms")
        return build_batch([atoms], self.model.elements, self.model.cutoff, self.dtype, self.device)


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().to(torch.float64).numpy()


def _voigt(matrix: np.ndarray) -> np.ndarray:
    return full_3x3_to_voigt_6_stress(0.5 * (matrix + matrix.T))
