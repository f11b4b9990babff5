"""The ASE calculator: energy, forces, stress and analytic Hessian of an exported model."""

from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from hesspot.contract import Batch, Model, batch_for
from hesspot.derivatives import evaluate, hessian
from hesspot.devices import torch_device
from hesspot.electrons import require_trained
from hesspot.errors import UserError
from hesspot.export import LoadedModel, read_model

DTYPES = {"float64": torch.float64, "float32": torch.float32}

#: Keywords of other calculators for machine-learning potentials, and what they are called here.
CALLED_HERE = {"default_dtype": "dtype", "precision": "dtype", "model_path": "model", "model_paths": "model"}


class HesspotCalculator(Calculator):
    """ASE calculator of a hesspot model.

    Gives energy, free_energy (the same), energies (of the centres), forces, and for a cell of three vectors
    stress and stresses (ASE's sign and order, eV/Å³; `stresses` sum to `stress`, the symmetric part of the
    centroid form), and with `get_hessian(atoms)` or `get_property("hessian", atoms)` the analytic Hessian.

    It can be pickled and copied, before and after use: a copy of one that has a model file reads the file again.
    After an error it is as it was before.

    Args:
        model: path of an exported file, or a model in memory that keeps the contract and has this dtype and device.
        dtype: float64, or float32 for speed where curvature does not matter.
        device: of torch, such as cpu or cuda.
        atoms, label, directory: as of every calculator of ASE.

    UserError for an unknown dtype or keyword, a device that is not there, what `read_model` refuses, an element that
    the model lacks, a charge or multiplicity that it was not trained on (`hesspot.electrons`), structures that
    `hesspot.structures` refuses, and results that are not finite.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress", "stresses", "hessian"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Model,
        dtype: str | torch.dtype = "float64",
        device: torch.device | str = "cpu",
        *,
        atoms: ase.Atoms | None = None,
        label: str | None = None,
        directory: str | Path = ".",
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        name = str(dtype).removeprefix("torch.")
        if name not in DTYPES:
            raise UserError(f"dtype {name!r} of the calculator is not known; use {' or '.join(DTYPES)}")
        self.dtype, self.device = DTYPES[name], torch_device(device)
        if isinstance(model, str | Path):
            self.model: Model = read_model(Path(model).absolute(), self.dtype, self.device)
        else:
            _check_in_memory(model, self.dtype, self.device)
            self.model = model
        super().__init__(atoms=atoms, label=label, directory=directory)

    def describe(self) -> str:
        """What runs, in one line: file, hash, elements, cutoff, precision, and kernel or TorchScript."""
        if isinstance(self.model, LoadedModel):
            return self.model.describe()
        return f"{type(self.model).__name__} in memory in {str(self.dtype).removeprefix('torch.')} on {self.device}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.describe()}>"

    def set(self, **settings: Any) -> dict[str, Any]:
        """As in ASE; there is nothing to set: UserError."""
        _refuse(settings)
        return {}

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self.model, LoadedModel):
            state["model"] = _ModelFile.of(self.model)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.model, _ModelFile):
            self.model = self.model.read(self.dtype, self.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if isinstance(self.model, LoadedModel):  # never written to, so that copies may share it
            memo[id(self.model)] = self.model
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`; all properties but the Hessian cost one evaluation."""
        structure: Any = self.atoms if atoms is None else atoms
        wants_stresses = "stresses" in (properties or [])
        result = evaluate(self.model, self._batch(structure), virial=True, atom_virial=wants_stresses)
        energy, forces = float(result.energy[0]), _array(result.forces)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise UserError(
                f"the model gives an energy or a force of {structure.symbols} that is not a finite number; "
                "check that the geometry is one the model was trained for"
            )
        results = {
            "energy": energy,
            "free_energy": energy,
            "energies": _array(result.atom_energies),
            "forces": forces,
        }
        if structure.cell.rank == 3:
            volume = structure.get_volume()
            assert result.virial is not None
            results["stress"] = _voigt(-_array(result.virial)[0] / volume)
            if wants_stresses:
                assert result.atom_virial is not None
                results["stresses"] = np.stack([_voigt(-w / volume) for w in _array(result.atom_virial)])
        super().calculate(atoms, properties, system_changes)
        self.results = results

    def get_property(self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True) -> Any:
        """As in ASE; the Hessian is computed anew and not kept in `results`, whose keys ASE restricts.

        A charge or spin in `atoms.info`, of which ASE does not notice that it changes, is looked at each time.
        """
        if atoms is not None:
            require_trained(atoms, "the structure", getattr(self.model, "electrons", None))
        if name == "hessian":
            return self.get_hessian(atoms) if allow_calculation else None
        before = self.atoms, self.results
        try:
            return super().get_property(name, atoms, allow_calculation)
        except UserError:
            self.atoms, self.results = before
            raise

    def get_hessian(self, atoms: ase.Atoms | None = None) -> np.ndarray:
        """Analytic Hessian (3n, 3n) in eV/Å², atom-major, of `atoms` or of the last structure.

        It is of all atoms, whatever their constraints; `hesspot.analysis.normal_modes` leaves held ones out.
        """
        (matrix,) = hessian(self.model, self._batch(self.atoms if atoms is None else atoms))
        return _array(matrix)

    def _batch(self, atoms: ase.Atoms | None) -> Batch:
        if atoms is None:
            raise UserError("the calculator was asked before it saw a structure; give it atoms")
        return batch_for(self.model, [atoms], self.dtype, self.device)


@dataclass(frozen=True)
class _ModelFile:
    """What a pickled calculator holds of a model from a file."""

    path: Path
    weights_sha256: str
    backend: Literal["kernel", "torchscript"]

    @classmethod
    def of(cls, model: LoadedModel) -> Self:
        backend: Literal["kernel", "torchscript"] = "torchscript" if model.kernel is None else "kernel"
        return cls(model.path.absolute(), model.metadata.weights_sha256, backend)

    def read(self, dtype: torch.dtype, device: torch.device) -> LoadedModel:
        model = read_model(self.path, dtype, device, self.backend)
        if model.metadata.weights_sha256 != self.weights_sha256:
            raise UserError(
                f"model file {self.path} is another one than the calculator was made with; make the calculator again"
            )
        return model


def _refuse(settings: dict[str, Any]) -> None:
    """UserError for keywords that nothing listens to, with the one that may be meant."""
    known = ("model", "dtype", "device", "atoms", "label", "directory")
    for name in settings:
        near = CALLED_HERE.get(name) or next(iter(get_close_matches(name, known, n=1)), None)
        hint = f"did you mean {near}" if near and near != name else f"give some of {', '.join(known)} to a new one"
        raise UserError(f"keyword {name!r} of HesspotCalculator is not known; {hint}")


def _check_in_memory(model: Any, dtype: torch.dtype, device: torch.device) -> None:
    """UserError for a module whose numbers are of another dtype or device than the calculator is asked for."""
    module = model.module if isinstance(model, LoadedModel) else model
    if not isinstance(module, torch.nn.Module):
        return
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point() and (tensor.dtype != dtype or tensor.device.type != device.type):
            own = f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
            raise UserError(
                f"the model in memory is in {own}, the calculator is asked for {str(dtype).removeprefix('torch.')} on "
                f"{device}; give the calculator the model's dtype and device, or a file"
            )


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().to(torch.float64).numpy()


def _voigt(matrix: np.ndarray) -> np.ndarray:
    return full_3x3_to_voigt_6_stress(0.5 * (matrix + matrix.T))
