"""Write and read the exported file.

A file is only written if what was scripted, saved and read back gives the trained model's own energies, forces
and Hessian products, call after call, and if the model keeps the contract's promise of locality.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from hesspot.contract import Batch, Model, build_batch
from hesspot.derivatives import evaluate, hvp
from hesspot.devices import torch_device
from hesspot.errors import UserError
from hesspot.export.metadata import (
    FORMAT_VERSION,
    METADATA_NAME,
    Architecture,
    FingerprintEntry,
    ModelMetadata,
    Reference,
)
from hesspot.files import contents_of, replacing, require_file
from hesspot.kernel import HouseKernel, what_kernel_lacks
from hesspot.models.ensemble import ARCHITECTURES, Member, build_house, houses_of, name_of
from hesspot.models.house import House
from hesspot.version import __version__

#: Scripted and eager model do the same float64 operations in an order of their own: rounding only.
ENERGY_TOLERANCE = 1e-9  # eV per atom
FORCE_TOLERANCE = 1e-8  # eV/Å
HVP_TOLERANCE = 1e-8  # eV/Å² for directions of length 1 per atom

#: Faults of the TorchScript executor have been seen to appear on the second or third call only.
REPEATED_CALLS = 5


@dataclass(frozen=True)
class LoadedModel:
    """A model read from a file, ready to be called: the scripted module, its metadata, and its kernel if it has one."""

    module: Any
    metadata: ModelMetadata
    path: Path
    kernel: HouseKernel | None = None

    @property
    def elements(self) -> list[str]:
        return self.metadata.elements

    @property
    def cutoff(self) -> float:
        return self.metadata.cutoff

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        evaluator = self.kernel or self.module
        energies: Tensor = evaluator(species, centers, neighbors, vectors)
        return energies


def weights_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names, dtypes and bytes of all parameters and buffers, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def cast_floats(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast floating-point parameters and buffers in place; integer buffers stay as they are."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def read_model(
    path: str | Path,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    backend: Literal["auto", "kernel", "torchscript"] = "auto",
) -> LoadedModel:
    """Read an exported model.

    backend: the kernel of the house model, which runs on the CPU and needs edges sorted by centre; the file's
    TorchScript; or the kernel where the model has one.

    UserError if the file is missing, is no hesspot model, is truncated or changed, or has a newer format, and for a
    device that is not there.
    """
    path, device = Path(path), torch_device(device)
    require_file(path, "model file", "give the path of a file made by `hesspot export`")
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"model file {path} is {contents_of(path)}, no TorchScript archive, or is truncated; "
            "export it again with `hesspot export`"
        )
    extra = {METADATA_NAME: ""}
    try:
        module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
    except RuntimeError as error:
        raise UserError(
            f"model file {path} cannot be read by torch {torch.__version__}: {str(error).splitlines()[0]}; "
            "export it again with `hesspot export`"
        ) from error
    if not extra[METADATA_NAME]:
        raise UserError(
            f"model file {path} is a TorchScript archive without {METADATA_NAME}, so no hesspot model; "
            "make one with `hesspot export`"
        )
    metadata = _parse_metadata(extra[METADATA_NAME], path)
    if weights_hash(module.state_dict()) != metadata.weights_sha256:
        raise UserError(
            f"the weights in {path} do not match the hash in its {METADATA_NAME}: the file was changed; "
            "export it again with `hesspot export`"
        )
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.requires_grad_(False)
    eager = eager_model(LoadedModel(module, metadata, path))
    on_cpu = device.type == "cpu"
    has_kernel = metadata.architecture.name in ARCHITECTURES and on_cpu and what_kernel_lacks(eager) is None
    if backend == "kernel" and not has_kernel:
        raise UserError(
            f"model {path} of architecture {metadata.architecture.name} has no kernel for device {device}; "
            "use the torchscript backend"
        )
    kernel = HouseKernel.of(eager, dtype) if has_kernel and backend != "torchscript" else None
    cast_floats(module, dtype)
    module.eval()
    return LoadedModel(module, metadata, path, kernel)


def _parse_metadata(text: str | bytes, path: Path) -> ModelMetadata:
    content = json.loads(text)
    version = content.get("format_version", 0)
    if version > FORMAT_VERSION:
        raise UserError(
            f"model file {path} has format version {version}, newer than {FORMAT_VERSION} which hesspot "
            f"{__version__} reads; update hesspot"
        )
    try:
        return ModelMetadata.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{METADATA_NAME} in {path} has a bad entry {where}: {first['msg']}; export the model again"
        ) from error


def eager_model(loaded: LoadedModel) -> Model:
    """The trained model as Python code in float64, built anew from the file's configuration and weights.

    A model of an architecture that hesspot cannot build is its own scripted module.
    """
    architecture = loaded.metadata.architecture
    if architecture.name not in ARCHITECTURES:
        return loaded
    model = build_house(architecture.name, architecture.config)
    try:
        model.load_state_dict(loaded.module.state_dict())
    except RuntimeError as error:
        raise UserError(
            f"the weights in {loaded.path} do not fit the {architecture.name} of hesspot {__version__}: the "
            f"file was written by hesspot {loaded.metadata.hesspot_version}; export it again"
        ) from error
    for house, read in zip(houses_of(model), houses_of(loaded.module), strict=True):
        house.shifts = list(read.shifts)
    return cast(Model, model.requires_grad_(False).eval())


def members_of(model: LoadedModel) -> list[Member]:
    """The members of a committee, each a model of its own; UserError for a model that is none."""
    if not hasattr(model.module, "members"):
        raise UserError(
            f"--extras committee needs a committee, but {model.path} is one model; train a committee, or give several "
            "models to `hesspot ipi-input committee`"
        )
    nothing = torch.zeros(0, dtype=torch.int64, device=next(model.module.buffers()).device)
    vectors = torch.zeros(0, 3, dtype=torch.float64, device=nothing.device)
    count = len(model.module.members(nothing, nothing, nothing, vectors))
    return [Member(model.module, number) for number in range(count)]


def architecture_of(model: torch.nn.Module) -> Architecture:
    """What a file says of `model`: the configuration of a house model, nothing of somebody else's."""
    name = name_of(model)
    if name is None:
        return Architecture(name="torchscript")
    return Architecture(name=name, config=cast(House, model).config.model_dump())


def fingerprint_entry(
    model: Model,
    name: str,
    atoms: Any,
    kind: str = "other",
    reference: Reference | None = None,
    seed: int = 0,
) -> FingerprintEntry:
    """What `model` (float64) gives for one structure, with a fixed random direction for H·v."""
    batch = build_batch([atoms], model.elements, model.cutoff)
    directions = np.random.default_rng(seed).standard_normal((len(atoms), 3))
    result = evaluate(model, batch, virial=True)
    product = hvp(model, batch, torch.from_numpy(directions))
    assert result.virial is not None
    return FingerprintEntry(
        name=name,
        kind=kind,
        numbers=atoms.numbers.tolist(),
        positions=atoms.positions.tolist(),
        cell=atoms.cell.array.tolist(),
        pbc=atoms.pbc.tolist(),
        masses=atoms.get_masses().tolist() if atoms.has("masses") else None,
        energy=float(result.energy[0]),
        forces=result.forces.tolist(),
        virial=result.virial[0].tolist(),
        directions=directions.tolist(),
        hvp=product.tolist(),
        reference=reference,
    )


def check_against_fingerprint(model: Model, fingerprint: Sequence[FingerprintEntry], what: str) -> None:
    """UserError if `model` in float64 does not give the fingerprint, on every one of several calls."""
    for _ in range(REPEATED_CALLS):
        for entry in fingerprint:
            batch = build_batch([entry.atoms()], model.elements, model.cutoff)
            result = evaluate(model, batch)
            product = hvp(model, batch, torch.tensor(entry.directions, dtype=torch.float64))
            _compare(
                float(result.energy[0]) / max(batch.n_atoms, 1),
                entry.energy / max(batch.n_atoms, 1),
                ENERGY_TOLERANCE,
                f"the energy per atom (eV) of {entry.name} from {what}",
            )
            _compare(result.forces, entry.forces, FORCE_TOLERANCE, f"a force (eV/Å) of {entry.name} from {what}")
            _compare(product, entry.hvp, HVP_TOLERANCE, f"H·v (eV/Å²) of {entry.name} from {what}")


def check_locality(model: Model, batch: Batch) -> None:
    """UserError if centres evaluated one by one, with stand-ins for their neighbours, give another answer."""
    whole = evaluate(model, batch, max_edges=batch.n_edges + 1)
    chunked = evaluate(model, batch, max_edges=1)
    what = "evaluated centre by centre: the model is not strictly local (message passing?), and"
    _compare(chunked.atom_energies, whole.atom_energies, ENERGY_TOLERANCE, f"an atom's energy (eV) {what}")
    _compare(chunked.forces, whole.forces, FORCE_TOLERANCE, f"a force (eV/Å) {what}")


def _compare(value: Any, expected: Any, tolerance: float, what: str) -> None:
    difference = np.abs(np.asarray(value, dtype=float) - np.asarray(expected, dtype=float))
    worst = float(difference.max(initial=0.0))
    if not worst <= tolerance:
        raise UserError(
            f"{what} differs from the trained model's by {worst:.3g}, more than {tolerance:g}; "
            "no file was written, the model cannot be exported as it is"
        )


def write_model(
    path: str | Path,
    model: torch.nn.Module,
    fingerprint: Sequence[FingerprintEntry],
    *,
    architecture: Architecture | None = None,
    level_of_theory: str = "unknown",
    training: dict[str, Any] | None = None,
) -> ModelMetadata:
    """Script `model` (float64), check it against `fingerprint`, and write it to `path` atomically.

    `fingerprint` holds the trained model's own answers (see `fingerprint_entry`); at least one structure.
    UserError, and no file, if the scripted or the re-read model differs from them.
    """
    path = Path(path)
    if not fingerprint:
        raise UserError(f"no fingerprint structure was given for {path}; an exported model needs at least one")
    elements, cutoff = cast(Model, model).elements, cast(Model, model).cutoff
    scripted = torch.jit.script(model)
    check_against_fingerprint(scripted, fingerprint, "the scripted model")
    for entry in fingerprint:
        check_locality(scripted, build_batch([entry.atoms()], elements, cutoff))
    metadata = ModelMetadata(
        hesspot_version=__version__,
        torch_version=torch.__version__,
        elements=elements,
        cutoff=cutoff,
        architecture=architecture or architecture_of(model),
        level_of_theory=level_of_theory,
        training=training or {},
        weights_sha256=weights_hash(scripted.state_dict()),
        fingerprint=list(fingerprint),
    )
    with replacing(path) as temporary:
        torch.jit.save(scripted, str(temporary), _extra_files={METADATA_NAME: metadata.model_dump_json()})
        check_against_fingerprint(read_model(temporary, backend="torchscript"), fingerprint, "the file read back")
    return metadata
