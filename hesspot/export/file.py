"""Write the exported file.

A file is only written if what was scripted, saved and read back, and its kernel, give the trained model's own energies,
forces and Hessian products, and if the model keeps the contract's promises of locality and continuity.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import ase
import numpy as np
import torch

from hesspot.contract import Model, build_batch
from hesspot.data.sources import read_data
from hesspot.electrons import States
from hesspot.errors import UserError
from hesspot.export.answers import answers_of, fingerprint_entry
from hesspot.export.archive import AGAIN, EDGES, METADATA, SURROUNDINGS, WEIGHTS, records_of, script_hash, with_records
from hesspot.export.checks import check_continuity, check_contract, check_curvature, check_locality, scripted_form
from hesspot.export.deprecation import deprecation_is_known
from hesspot.export.loaded import LoadedModel, read_model
from hesspot.export.metadata import FORMAT_VERSION, Architecture, FingerprintEntry, ModelMetadata
from hesspot.export.replay import check_fingerprint, packed_edges
from hesspot.export.surroundings import Surroundings
from hesspot.files import replacing
from hesspot.graph import build_graph
from hesspot.kernel import KernelModel, NoKernel, packed, shape_of
from hesspot.models.architectures import ARCHITECTURES, build_model, name_of
from hesspot.models.core import core_within, shortest_distances
from hesspot.models.ensemble import copy_weights
from hesspot.version import __version__

#: Faults of the TorchScript executor have been seen to appear on the second or third call only.
REPEATED_CALLS = 5

#: Of the structure that these are repeated on, if all of the fingerprint are larger.
FEW_ATOMS = 12


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


def write_model(
    path: str | Path,
    model: torch.nn.Module,
    fingerprint: Sequence[FingerprintEntry],
    *,
    level_of_theory: str = "unknown",
    electrons: States = None,
    training: dict[str, Any] | None = None,
    allow_jump: bool = False,
    surroundings: Surroundings | None = None,
) -> ModelMetadata:
    """Script `model` (float64), check it and its kernel against `fingerprint`, and write it to `path` atomically.

    `fingerprint` holds the trained model's own answers (see `fingerprint_entry`); at least one structure. electrons:
    pairs of charge and multiplicity (2S + 1) of the training data, if they are known. allow_jump: write a model that
    jumps at the cutoff, which the file then says. surroundings: what distances from the training data are taken with. A
    model of one of the `ARCHITECTURES` that their kernel cannot
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
        warnings.warn(
            f"{path} has no kernel and runs by TorchScript, which torch calls deprecated from 2.14 on: {no_kernel}",
            stacklevel=2,
        )

    stream = io.BytesIO()
    with deprecation_is_known():
        torch.jit.save(scripted, stream)
    content = stream.getvalue()
    of_script = script_hash(records_of(content))
    records[EDGES] = packed_edges(checked.elements, checked.cutoff, fingerprint)
    if surroundings is not None:
        records[SURROUNDINGS] = surroundings.to_bytes()
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
        surroundings_sha256=_hash_of(records, SURROUNDINGS),
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


def rewrite_model(
    old: str | Path, new: str | Path, core_data: Sequence[str] = (), training_data: Sequence[str] = ()
) -> ModelMetadata:
    """Write a file of an older format anew: the same model and fingerprint, checked as by `write_model`.

    core_data: datasets; the model gets the repulsive core of all their structures, which it gives the same numbers for
    as before. training_data: datasets that it was trained on; the file then has what distances from them are
    taken with.
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
        surroundings=surroundings_of(model, training_data) if training_data else loaded.surroundings,
    )


def surroundings_of(model: Any, sources: Sequence[str]) -> Surroundings:
    """What distances from the training parts of datasets are taken with; UserError for a model without a kernel that
    has descriptors."""
    kernel = KernelModel.of(model)
    if not kernel.n_descriptors:
        raise UserError("the kernel of this model has no descriptors, in which distances could be taken")
    records = read_data(list(sources), allow_mixed_levels=True).select(part="train")
    return Surroundings.of(kernel, (build_graph(each.atoms_only(), kernel.elements, kernel.cutoff) for each in records))


def _give_core(model: Any, old: str | Path, sources: Sequence[str]) -> None:
    if not hasattr(model, "set_core"):
        raise UserError(f"the model of {old} is of an architecture without a core; leave --core out")
    records = read_data(list(sources), allow_mixed_levels=True).records
    batches = (build_batch([record.atoms_only()], model.elements, model.cutoff) for record in records)
    model.set_core(core_within(model.elements, shortest_distances(batches, len(model.elements)), model.cutoff))


def _hash_of(records: dict[str, bytes], name: str) -> str | None:
    return hashlib.sha256(records[name]).hexdigest() if name in records else None


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
