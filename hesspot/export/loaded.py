"""Read the exported file: the model's kernel, or its TorchScript where that is asked for or all there is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from hesspot.devices import dtype_name, is_cpu, torch_device
from hesspot.electrons import States
from hesspot.errors import UserError
from hesspot.export.archive import AGAIN, METADATA, SURROUNDINGS, WEIGHTS, read_content
from hesspot.export.metadata import METADATA_NAME, ModelMetadata
from hesspot.export.surroundings import Surroundings
from hesspot.extras import is_torch, torch_is_missing
from hesspot.graph import Potential
from hesspot.kernel import KernelModel, NoKernel
from hesspot.kernel.model_file import ModelFile
from hesspot.models.shipped import find_model

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class LoadedModel:
    """A model read from a file, ready to be called; `path` as it was given, and `location`, the same from the root.

    dtype: float64 or float32; device: cpu, or torch's. kernel: what evaluates it; None where its TorchScript does, and
    `no_kernel` says why. block: the packed weights.
    """

    metadata: ModelMetadata
    path: Path
    location: Path
    dtype: str = "float64"
    device: Any = "cpu"
    kernel: KernelModel | None = None
    no_kernel: str | None = None
    block: bytes | None = None

    @property
    def elements(self) -> list[str]:
        return self.metadata.elements

    @property
    def cutoff(self) -> float:
        return self.metadata.cutoff

    @property
    def electrons(self) -> States:
        """Charges and multiplicities that it was trained on; None where they are not known."""
        return self.metadata.electrons

    @cached_property
    def module(self) -> Any:
        """The file's TorchScript, which is a program: it is loaded, and run, when it is asked for.

        UserError if torch cannot read it, or if it is not what the metadata say.
        """
        content = read_content(self.location)
        told = ModelFile(content, str(self.path)).record(METADATA)
        if told is None or _parse_metadata(told, self.path) != self.metadata:
            raise UserError(f"model file {self.path} is another one by now; read it again")
        return self._script_of(content)

    @cached_property
    def surroundings(self) -> Surroundings | None:
        """What distances from its training data are taken with; None for a file without.

        UserError if it is damaged.
        """
        wanted = self.metadata.surroundings_sha256
        if wanted is None:
            return None
        found = ModelFile(read_content(self.location), str(self.path)).record(SURROUNDINGS) or b""
        if hashlib.sha256(found).hexdigest() != wanted:
            raise UserError(f"{SURROUNDINGS} in {self.path} is damaged or changed; {AGAIN}")
        return Surroundings.from_bytes(found)

    def _script_of(self, content: bytes) -> Any:
        try:
            from hesspot.export.script import load_script
        except ModuleNotFoundError as error:
            if not is_torch(error):
                raise
            raise torch_is_missing(f"the TorchScript of model file {self.path}{self._why}") from error
        return load_script(content, self.path, self.metadata, self.dtype, self.device)

    @property
    def _why(self) -> str:
        return f" ({self.no_kernel})" if self.no_kernel else ""

    @property
    def hessian_kernel(self) -> KernelModel | None:
        """What `hesspot.derivatives.hessian` asks, if there is a kernel."""
        return self.kernel

    @property
    def n_members(self) -> int:
        """1 for a model that is no committee."""
        if self.kernel is not None:
            return self.kernel.n_members
        from hesspot.export.script import count_members

        return count_members(self.module, self.device)

    @cached_property
    def potential(self) -> Potential:
        """What evaluates it in NumPy."""
        if self.kernel is not None:
            return self.kernel
        from hesspot.torch_potential import TorchPotential

        return TorchPotential(self.module, self.dtype, self.device)

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        evaluator = self.kernel or self.module
        energies: Tensor = evaluator(species, centers, neighbors, vectors)
        return energies

    def __repr__(self) -> str:
        return f"LoadedModel({self.describe()})"

    def describe(self) -> str:
        """What runs, in one line: file, hash, elements, cutoff, precision, and kernel or TorchScript."""
        if self.kernel is not None:
            by = f"by the kernel ({self.kernel.instructions})"
        else:
            by = f"by TorchScript on {self.device} ({self.no_kernel})"
        jump = "; jumps at the cutoff" if self.metadata.jump_at_cutoff else ""
        jump += "" if self.metadata.shape is None else f"; {described(self.metadata.architecture.config.get('core'))}"
        return (
            f"{self.path} (weights {self.metadata.weights_sha256[:12]}; {' '.join(self.elements)}; "
            f"cutoff {self.cutoff:g} Å{jump}) in {self.dtype} {by}"
        )


def read_model(
    path: str | Path,
    dtype: Any = "float64",
    device: Any = "cpu",
    backend: Literal["auto", "kernel", "torchscript"] = "auto",
) -> LoadedModel:
    """Read an exported model, from its path or shipped:NAME (`hesspot models` lists these).

    dtype: float64 or float32, by name or torch's; device: cpu, or torch's. backend: the model's kernel, which runs on
    the CPU, needs edges sorted by centre, and runs no code of the file; the file's TorchScript, which is a program
    (docs/export.md); or the kernel where the model has one.

    UserError if the file is missing, is no hesspot model, is damaged or changed, has a newer format, for a device that
    is not there, and for TorchScript where there is no torch.
    """
    path, dtype = find_model(path), dtype_name(dtype)
    device = "cpu" if is_cpu(device) else torch_device(device)
    content = read_content(path)
    file = ModelFile(content, str(path))
    metadata = _parse_metadata(file.record(METADATA) or b"", path)
    block = file.record(WEIGHTS) if metadata.shape else None
    lacking = file.no_kernel
    if not lacking and str(device) != "cpu":
        lacking = f"the kernel runs on the CPU, not on {device}"
    kernel = None
    if backend == "torchscript":
        lacking = "as asked for"
    elif block is not None and not lacking:
        try:
            kernel = KernelModel(block, dtype)
        except NoKernel as error:
            lacking = str(error)
        except UserError as error:
            raise UserError(f"in model file {path} {error}; {AGAIN}") from error
    if backend == "kernel" and lacking:
        raise UserError(f"model {path} cannot be evaluated by the kernel: {lacking}; use the torchscript backend")
    loaded = LoadedModel(metadata, path, path.absolute(), dtype, device, kernel, lacking, block)
    if kernel is None:
        loaded.__dict__["module"] = loaded._script_of(content)
    return loaded


def _parse_metadata(text: bytes, path: Path) -> ModelMetadata:
    try:
        return ModelMetadata.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{METADATA_NAME} in {path} has a bad entry {where}: {first['msg']}; {AGAIN}") from error
    except (ValueError, AttributeError) as error:
        raise UserError(f"{METADATA_NAME} in {path} cannot be read ({error}); {AGAIN}") from error


def committee_size(model: LoadedModel) -> int:
    """The number of members of a committee; UserError for a model that is none."""
    if model.n_members == 1:
        raise UserError(
            f"--extras committee needs a committee, but {model.path} is one model; train a committee, or give several "
            "models to `hesspot ipi-input committee`"
        )
    return model.n_members


def described(core: Mapping[str, Sequence[float]] | None) -> str:
    """A repulsive core in words."""
    if core is None:
        return "no repulsive core"
    return "repulsive core below " + ", ".join(f"{name} {radii[1]:.2f}" for name, radii in core.items()) + " Å"
