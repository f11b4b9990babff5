"""The ASE calculator: energy, forces, stress and analytic Hessian of an exported model."""

from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import ase
import numpy as np
from ase.calculators.calculator import Calculator, Parameters, all_changes, register_calculator_class

from hesspot.devices import dtype_name, is_cpu, torch_device
from hesspot.electrons import require_trained
from hesspot.errors import UserError
from hesspot.export import LoadedModel, read_model
from hesspot.graph import Graph, Potential, graph_for
from hesspot.kernel import KernelModel
from hesspot.models.shipped import find_model

#: What ASE calls the calculator, in its databases and trajectories and where it asks for one by its name.
NAME = "hesspot"

#: Å, and whatever else: what ASE takes for equal where nothing is said, and so are bits here.
EQUAL = 1e-15

#: Keywords of other calculators for machine-learning potentials, and what they are called here.
CALLED_HERE = {"default_dtype": "dtype", "precision": "dtype", "model_path": "model", "model_paths": "model"}


class HesspotCalculator(Calculator):
    """ASE calculator of a hesspot model.

    Gives energy, free_energy (the same), energies (of the centres), forces, and for a cell of three vectors
    stress and stresses (ASE's sign and order, eV/Å³; `stresses` sum to `stress`, the symmetric part of the
    centroid form), and with `get_hessian(atoms)` or `get_property("hessian", atoms)` the analytic Hessian.

    On the CPU a model file with a kernel is evaluated by the kernel library, without torch; TorchScript, other models
    and other devices by torch, which is loaded then.

    It can be pickled and copied, before and after use: a copy of one that has a model file reads the file again.
    After an error it is as it was before.

    Args:
        model: path of an exported file, shipped:NAME, or a model in memory that keeps the contract and has this dtype
            and device.
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
        model: Any,
        dtype: Any = "float64",
        device: Any = "cpu",
        *,
        atoms: ase.Atoms | None = None,
        label: str | None = None,
        directory: str | Path = ".",
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        self.dtype, self.device = dtype_name(dtype), "cpu" if is_cpu(device) else torch_device(device)
        if isinstance(model, str | Path):
            self.model: Any = read_model(find_model(model).absolute(), self.dtype, self.device)
        else:
            _check_in_memory(model, self.dtype, self.device)
            self.model = model
        super().__init__(atoms=atoms, label=label, directory=directory)
        self.parameters = Parameters(self._told())

    def _get_name(self) -> str:
        return NAME

    def _told(self) -> dict[str, str]:
        """What ASE writes of it beside results: the model's file and the hash of its weights."""
        if not isinstance(self.model, LoadedModel):
            return {"model": type(self.model).__name__, "dtype": self.dtype}
        weights = self.model.metadata.weights_sha256
        return {"model": str(self.model.path), "weights_sha256": weights, "dtype": self.dtype}

    def describe(self) -> str:
        """What runs, in one line: file, hash, elements, cutoff, precision, and kernel or TorchScript."""
        if isinstance(self.model, LoadedModel):
            return self.model.describe()
        return f"{type(self.model).__name__} in memory in {self.dtype} on {self.device}"

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
        found = self.potential.answer(self._graph(structure), wants_stresses)
        if not (np.isfinite(found.energy) and np.isfinite(found.forces).all()):
            raise UserError(
                f"the model gives an energy or a force of {structure.symbols} that is not a finite number; "
                "check that the geometry is one the model was trained for"
            )
        results = {
            "energy": found.energy,
            "free_energy": found.energy,
            "energies": found.energies,
            "forces": found.forces,
        }
        if structure.cell.rank == 3:
            volume = structure.get_volume()
            results["stress"] = _voigt(-found.virial / volume)
            if wants_stresses:
                assert found.virials is not None
                results["stresses"] = _voigt(-found.virials / volume)
        super().calculate(atoms, properties, system_changes)
        self.results = results

    def check_state(self, atoms: ase.Atoms, tol: float = EQUAL) -> list[str]:
        """What has changed since the last calculation, as in ASE, whose own comparison takes ten times as long."""
        last = self.atoms
        if last is None:
            return list(all_changes)
        if tol != EQUAL:
            return super().check_state(atoms, tol)
        pairs = [(name, last.arrays.get(name), atoms.arrays.get(name)) for name in all_changes if name in _ARRAYS]
        pairs += [("cell", last.cell.array, atoms.cell.array), ("pbc", last.pbc, atoms.pbc)]
        return [name for name, old, new in pairs if not _same(old, new)]

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
        return self.potential.hessian(self._graph(self.atoms if atoms is None else atoms))

    def _graph(self, atoms: ase.Atoms | None) -> Graph:
        if atoms is None:
            raise UserError("the calculator was asked before it saw a structure; give it atoms")
        return graph_for(self.model, atoms)

    @property
    def potential(self) -> Potential:
        """What evaluates graphs of its model."""
        if isinstance(self.model, LoadedModel):
            return self.model.potential
        if isinstance(self.model, KernelModel):
            return self.model
        from hesspot.torch_potential import TorchPotential

        return TorchPotential(self.model, self.dtype, self.device)


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

    def read(self, dtype: str, device: Any) -> LoadedModel:
        model = read_model(self.path, dtype, device, self.backend)
        if model.metadata.weights_sha256 != self.weights_sha256:
            raise UserError(
                f"model file {self.path} is another one than the calculator was made with; make the calculator again"
            )
        return model


#: Of what ASE compares, that which is not in every structure's own attributes.
_ARRAYS = ("positions", "numbers", "initial_charges", "initial_magmoms")


def _same(old: np.ndarray | None, new: np.ndarray | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.shape == new.shape and bool((old == new).all())


def _refuse(settings: dict[str, Any]) -> None:
    """UserError for keywords that nothing listens to, with the one that may be meant."""
    known = ("model", "dtype", "device", "atoms", "label", "directory")
    for name in settings:
        near = CALLED_HERE.get(name) or next(iter(get_close_matches(name, known, n=1)), None)
        hint = f"did you mean {near}" if near and near != name else f"give some of {', '.join(known)} to a new one"
        raise UserError(f"keyword {name!r} of HesspotCalculator is not known; {hint}")


def _check_in_memory(model: Any, dtype: str, device: Any) -> None:
    """UserError for a model whose numbers are of another dtype or device than the calculator is asked for."""
    if isinstance(model, LoadedModel | KernelModel):
        where = model.device if isinstance(model, LoadedModel) else "cpu"
        _need_same(model.dtype, where, str(where) == str(device), dtype, device)
        return
    import torch

    if not isinstance(model, torch.nn.Module):
        return
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            here = tensor.device.type == torch.device(device).type
            _need_same(dtype_name(tensor.dtype), tensor.device, here, dtype, device)


def _need_same(own: str, where: Any, here: bool, dtype: str, device: Any) -> None:
    if own != dtype or not here:
        raise UserError(
            f"the model in memory is in {own} on {where}, the calculator is asked for {dtype} on {device}; give the "
            "calculator the model's dtype and device, or a file"
        )


def _voigt(tensors: np.ndarray) -> np.ndarray:
    """Symmetric parts of (…, 3, 3) in ASE's order xx yy zz yz xz xy, (…, 6)."""
    symmetric = 0.5 * (tensors + tensors.swapaxes(-1, -2))
    return symmetric[..., (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]


register_calculator_class(NAME, HesspotCalculator)
