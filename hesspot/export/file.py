"""Write and read the exported file.

A file is only written if what was scripted, saved and read back, and its kernel, give the trained model's own energies,
forces and Hessian products, and if the model keeps the contract's promises of locality and continuity.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import ase
import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from hesspot.contract import Model, build_batch
from hesspot.data.sources import read_data
from hesspot.devices import torch_device
from hesspot.electrons import States
from hesspot.errors import UserError
from hesspot.export.archive import (
    EDGES,
    METADATA,
    WEIGHTS,
    read_content,
    records_of,
    script_hash,
    with_records,
)
from hesspot.export.checks import check_continuity, check_contract, check_curvature, check_locality, scripted_form
from hesspot.export.metadata import (
    FORMAT_VERSION,
    METADATA_NAME,
    Architecture,
    FingerprintEntry,
    ModelMetadata,
)
from hesspot.export.replay import answers_of, check_fingerprint, fingerprint_entry, packed_edges
from hesspot.files import replacing
from hesspot.kernel import KernelModel, NoKernel, packed, shape_of
from hesspot.kernel.model_file import ModelFile
from hesspot.models.architectures import ARCHITECTURES, build_model, name_of
from hesspot.models.core import core_within, described, shortest_distances
from hesspot.models.ensemble import Member, copy_weights
from hesspot.version import __version__

#: Faults of the TorchScript executor have been seen to appear on the second or third call only.
REPEATED_CALLS = 5

#: Of the structure that these are repeated on, if all of the fingerprint are larger.
FEW_ATOMS = 12

AGAIN = "export it again with `hesspot export`"


@dataclass(frozen=True)
class LoadedModel:
    """A model read from a file, ready to be called; `path` as it was given, and `location`, the same from the root.

    kernel: what evaluates it; None where its TorchScript does, and `no_kernel` says why. block: the packed weights.
    """

    metadata: ModelMetadata
    path: Path
    location: Path
    dtype: torch.dtype = torch.float64
    device: torch.device | str = "cpu"
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
        return _load_script(content, self)

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        evaluator = self.kernel or self.module
        energies: Tensor = evaluator(species, centers, neighbors, vectors)
        return energies

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
            f"cutoff {self.cutoff:g} Å{jump}) in {str(self.dtype).removeprefix('torch.')} {by}"
        )


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

    backend: the model's kernel, which runs on the CPU, needs edges sorted by centre, and runs no code of the
    file; the file's TorchScript, which is a program (docs/export.md); or the kernel where the model has one.

    UserError if the file is missing, is no hesspot model, is damaged or changed, has a newer format, and for a device
    that is not there.
    """
    path, device = Path(path), torch_device(device)
    content = read_content(path)
    file = ModelFile(content, str(path))
    metadata = _parse_metadata(file.record(METADATA) or b"", path)
    block = file.record(WEIGHTS) if metadata.shape else None
    lacking = file.no_kernel
    if not lacking and torch.device(device).type != "cpu":
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
        loaded.__dict__["module"] = _load_script(content, loaded)
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


def _hash_of(records: dict[str, bytes], name: str) -> str | None:
    return hashlib.sha256(records[name]).hexdigest() if name in records else None


def _load_script(content: bytes, loaded: LoadedModel) -> Any:
    path, metadata = loaded.path, loaded.metadata
    try:
        module = torch.jit.load(io.BytesIO(content), map_location=loaded.device)
    except RuntimeError as error:
        raise UserError(
            f"model file {path} cannot be read by torch {torch.__version__}: {str(error).splitlines()[0]}; {AGAIN}"
        ) from error
    if metadata.format_version == 1 and weights_hash(module.state_dict()) != metadata.weights_sha256:
        raise UserError(
            f"the weights in model file {path} do not match what its {METADATA_NAME} says: the file was changed; "
            f"{AGAIN}"
        )
    if list(module.elements) != metadata.elements or module.cutoff != metadata.cutoff:
        raise UserError(
            f"{METADATA_NAME} in {path} has elements {' '.join(metadata.elements)} and cutoff {metadata.cutoff:g} Å, "
            f"its TorchScript {' '.join(module.elements)} and {module.cutoff:g} Å: the file was changed; {AGAIN}"
        )
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.requires_grad_(False)
    cast_floats(module, loaded.dtype)
    return module.eval()


def eager_model(loaded: LoadedModel) -> Model:
    """The trained model as Python code in float64, built anew from the file's configuration and weights.

    A model of an architecture that hesspot cannot build, or of another version of its formulas, is its own scripted
    module.
    """
    name, config = loaded.metadata.architecture.name, loaded.metadata.architecture.config
    if name not in ARCHITECTURES or (loaded.block and not _is_of_this_version(loaded.block)):
        return loaded
    model = build_model(name, config)
    try:
        if loaded.block is None:
            script = read_model(loaded.location, backend="torchscript").module
            copy_weights(script, model)
        else:
            ARCHITECTURES[name].fill(model, loaded.block)
    except (RuntimeError, UserError) as error:
        raise UserError(
            f"the weights in {loaded.path} do not fit the {name} of hesspot {__version__}: the "
            f"file was changed, or written by another version ({loaded.metadata.hesspot_version}); {AGAIN}"
        ) from error
    return cast(Model, model.requires_grad_(False).eval())


def _is_of_this_version(block: bytes) -> bool:
    try:
        shape_of(block)
    except NoKernel:
        return False
    return True


def members_of(model: LoadedModel) -> list[Member]:
    """The members of a committee, each a model of its own; UserError for a model that is none."""
    count = 1
    if model.kernel is not None:
        count = model.kernel.n_members
    elif hasattr(model.module, "members"):
        nothing = torch.zeros(0, dtype=torch.int64, device=model.device)
        vectors = torch.zeros(0, 3, dtype=torch.float64, device=model.device)
        count = len(model.module.members(nothing, nothing, nothing, vectors))
    if count == 1:
        raise UserError(
            f"--extras committee needs a committee, but {model.path} is one model; train a committee, or give several "
            "models to `hesspot ipi-input committee`"
        )
    return [Member(model.kernel or model.module, number) for number in range(count)]


def write_model(
    path: str | Path,
    model: torch.nn.Module,
    fingerprint: Sequence[FingerprintEntry],
    *,
    level_of_theory: str = "unknown",
    electrons: States = None,
    training: dict[str, Any] | None = None,
    allow_jump: bool = False,
) -> ModelMetadata:
    """Script `model` (float64), check it and its kernel against `fingerprint`, and write it to `path` atomically.

    `fingerprint` holds the trained model's own answers (see `fingerprint_entry`); at least one structure. electrons:
    pairs of charge and multiplicity (2S + 1) of the training data, if they are known. allow_jump: write a model that
    jumps at the cutoff, which the file then says. A model of one of the `ARCHITECTURES` that their kernel cannot
    evaluate gets a file without a kernel, and a warning.

    UserError, and no file, if the scripted or the re-read model or the kernel differ from the fingerprint, if the model
    has no elements or cutoff, cannot be scripted, is not strictly local, or jumps at the cutoff.
    """
    path = Path(path)
    if not fingerprint:
        raise UserError(f"no fingerprint structure was given for {path}; an exported model needs at least one")
    check_contract(model)
    checked = cast(Model, model)
    scripted = scripted_form(model)
    remedy = "no file was written, the model cannot be exported as it is"
    few = _few_atoms(checked, fingerprint)
    _check_repeatedly(fingerprint, few, scripted, "the scripted model", remedy)
    for entry in fingerprint:
        check_locality(checked, build_batch([entry.atoms()], checked.elements, checked.cutoff))
        check_curvature(checked, entry)
    jump = _jump(checked, fingerprint)
    if jump and not allow_jump:
        raise UserError(jump)

    name, records, shape = name_of(model), {}, None
    architecture = Architecture(name="torchscript")
    no_kernel = ARCHITECTURES[name].unusual(model) if name else None
    if name and no_kernel is None:
        architecture = Architecture(name=name, config=cast(Any, model).config.model_dump())
        records[WEIGHTS] = packed(model)
        shape, no_kernel = shape_of(records[WEIGHTS]), _what_kernel_lacks(records[WEIGHTS])
    if no_kernel:
        warnings.warn(f"{path} has no kernel and runs by TorchScript: {no_kernel}", stacklevel=2)

    stream = io.BytesIO()
    torch.jit.save(scripted, stream)
    content = stream.getvalue()
    of_script = script_hash(records_of(content))
    records[EDGES] = packed_edges(checked.elements, checked.cutoff, fingerprint)
    metadata = ModelMetadata(
        hesspot_version=__version__,
        torch_version=torch.__version__,
        elements=list(checked.elements),
        cutoff=checked.cutoff,
        architecture=architecture,
        level_of_theory=level_of_theory,
        electrons=None if electrons is None else list(electrons),
        training=training or {},
        weights_sha256=_hash_of(records, WEIGHTS) or of_script,
        script_sha256=of_script,
        edges_sha256=_hash_of(records, EDGES),
        shape=shape,
        no_kernel=no_kernel,
        jump_at_cutoff=jump is not None,
        fingerprint=list(fingerprint),
    )
    records[METADATA] = metadata.model_dump_json().encode()
    with replacing(path) as temporary:
        temporary.write_bytes(with_records(content, records))
        loaded = read_model(temporary)
        if loaded.kernel is not None:
            check_fingerprint(fingerprint, answers_of(loaded.kernel), "the kernel", remedy)
        check_fingerprint(fingerprint, answers_of(eager_model(loaded)), "the model built from the file", remedy)
        read_back = read_model(temporary, backend="torchscript")
        _check_repeatedly(fingerprint, few, read_back, "the file read back", remedy)
    return metadata


def _what_kernel_lacks(block: bytes) -> str | None:
    try:
        KernelModel(block)
    except NoKernel as error:
        return str(error)
    return None


def rewrite_model(old: str | Path, new: str | Path, core_data: Sequence[str] = ()) -> ModelMetadata:
    """Write a file of an older format anew: the same model and fingerprint, checked as by `write_model`.

    core_data: datasets; the model gets the repulsive core of all their structures, which it gives the same numbers for
    as before.
    """
    loaded = read_model(old)
    model, said = eager_model(loaded), loaded.metadata
    if core_data:
        _give_core(model, old, core_data)
    own = said.architecture.name not in ARCHITECTURES
    if said.format_version == FORMAT_VERSION and not isinstance(model, torch.nn.Module):
        raise UserError(f"model file {old} is of format {FORMAT_VERSION} already and stays as it is; copy it")
    return write_model(
        new,
        model if isinstance(model, torch.nn.Module) else loaded.module,
        said.fingerprint,
        level_of_theory=said.level_of_theory,
        electrons=said.electrons,
        training=said.training,
        allow_jump=own or said.jump_at_cutoff,
    )


def _give_core(model: Any, old: str | Path, sources: Sequence[str]) -> None:
    if not hasattr(model, "set_core"):
        raise UserError(f"the model of {old} is of an architecture without a core; leave --core out")
    records = read_data(list(sources), allow_mixed_levels=True).records
    batches = (build_batch([record.atoms_only()], model.elements, model.cutoff) for record in records)
    model.set_core(core_within(model.elements, shortest_distances(batches, len(model.elements)), model.cutoff))


def _check_repeatedly(
    fingerprint: Sequence[FingerprintEntry], few: FingerprintEntry, script: Any, what: str, remedy: str
) -> None:
    """The whole fingerprint at the first call of a script and at the last, and a few atoms in between."""
    for entries in (fingerprint, *[[few]] * (REPEATED_CALLS - 2), fingerprint):
        check_fingerprint(entries, answers_of(script), what, remedy)


def _few_atoms(model: Model, fingerprint: Sequence[FingerprintEntry]) -> FingerprintEntry:
    """The smallest structure, or of a large one what is nearest to its first atom."""
    smallest = min(fingerprint, key=lambda entry: len(entry.numbers))
    if len(smallest.numbers) <= FEW_ATOMS:
        return smallest
    atoms = smallest.atoms()
    vectors = atoms.get_distances(0, range(len(atoms)), mic=True, vector=True)
    nearest = np.argsort(np.linalg.norm(vectors, axis=1))[:FEW_ATOMS]
    return fingerprint_entry(model, f"a part of {smallest.name}", ase.Atoms(atoms.numbers[nearest], vectors[nearest]))


def _jump(model: Model, fingerprint: Sequence[FingerprintEntry]) -> str | None:
    """What jumps at the cutoff, in words."""
    try:
        check_continuity(model, fingerprint)
    except UserError as error:
        return str(error)
    return None
