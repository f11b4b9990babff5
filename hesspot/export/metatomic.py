"""Write a model for the engines of metatomic (https://docs.metatensor.org/metatomic), docs/metatomic.md.

A file is only written if it gives, called as these engines call it, what the fingerprint says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.data
import numpy as np
import torch

from hesspot.errors import UserError
from hesspot.export.deprecation import deprecation_is_known
from hesspot.export.loaded import LoadedModel
from hesspot.export.metadata import FingerprintEntry
from hesspot.export.replay import Answer, check_fingerprint
from hesspot.extras import install_hint
from hesspot.files import replacing
from hesspot.version import __version__

try:
    import metatomic.torch as mta
    from metatensor.torch import Labels, TensorBlock, TensorMap
    from vesin.metatomic import neighbor_lists_for_model

    from hesspot.export.metatomic_module import DIRECTION, HVP, MetatomicModel
except ImportError as error:
    raise UserError(
        f"files for metatomic's engines need metatomic-torch, which cannot be loaded ({error}); install it with "
        f"{install_hint('metatomic')}, beside a torch from 2.10 to 2.14"
    ) from error

#: Faults of the TorchScript executor have been seen to appear on the second or third call only.
REPEATED_CALLS = 5

#: Outputs of every file; that of a committee has `energy_ensemble` too.
UNITS = {"energy": "eV", HVP: "eV/A^2"}


def write_metatomic(path: str | Path, loaded: LoadedModel, *, ask_electrons: bool = True) -> None:
    """Write `as_metatomic` of a model to `path`; UserError, and no file, if it differs from the fingerprint."""
    fingerprint = loaded.metadata.fingerprint
    with replacing(path) as temporary, deprecation_is_known():
        as_metatomic(loaded, ask_electrons=ask_electrons).save(temporary)
        ask = answers_in_metatomic(temporary)
        smallest = min(fingerprint, key=lambda entry: len(entry.numbers))
        for entries in (fingerprint, *[[smallest]] * (REPEATED_CALLS - 2), fingerprint):
            check_fingerprint(entries, ask, "the file for metatomic", "no file was written")


def as_metatomic(loaded: LoadedModel, *, ask_electrons: bool = True) -> mta.AtomisticModel:
    """A model that was read with backend="torchscript" and in float64, for metatomic's engines.

    ask_electrons: it asks the engine for charge and spin multiplicity, and refuses those that it was not trained on; an
    engine that cannot say them refuses it.
    """
    said = loaded.metadata
    module = MetatomicModel(loaded.module, said.elements, said.cutoff, said.electrons, ask_electrons)
    units = UNITS | ({"energy_ensemble": "eV"} if loaded.n_members > 1 else {})
    capabilities = mta.ModelCapabilities(
        outputs={name: mta.ModelOutput(unit=unit, sample_kind="atom") for name, unit in units.items()},
        atomic_types=[ase.data.atomic_numbers[element] for element in said.elements],
        interaction_range=said.cutoff,
        length_unit="angstrom",
        supported_devices=["cpu", "cuda"],
        dtype="float64",
    )
    states = ", ".join(f"{charge:+d} and {multiplicity}" for charge, multiplicity in said.electrons or [])
    metadata = mta.ModelMetadata(
        name=loaded.path.name,
        description=f"A {said.architecture.name} model of hesspot {__version__} for {' '.join(said.elements)}, trained "
        f"on {said.level_of_theory}, on charges and multiplicities {states or 'that are not known'}.",
        extra={"weights_sha256": said.weights_sha256},
    )
    return mta.AtomisticModel(module.eval(), metadata, capabilities)


def answers_in_metatomic(path: Path) -> Callable[[FingerprintEntry], Answer]:
    """A file for metatomic as what `replay` asks, called as metatomic's engines call it."""
    model = mta.load_atomistic_model(path)
    outputs = {name: mta.ModelOutput(unit=unit, sample_kind="atom") for name, unit in UNITS.items()}
    options = mta.ModelEvaluationOptions(length_unit="angstrom", outputs=outputs)

    def ask(entry: FingerprintEntry) -> Answer:
        atoms = entry.atoms()
        positions = torch.tensor(atoms.positions, requires_grad=True)
        strain = torch.eye(3, dtype=torch.float64, requires_grad=True)
        cell = torch.tensor(atoms.cell.array * atoms.pbc[:, None]) @ strain
        system = mta.System(
            torch.tensor(atoms.numbers, dtype=torch.int32), positions @ strain, cell, torch.tensor(atoms.pbc)
        )
        for neighbors in neighbor_lists_for_model("angstrom", model):
            neighbors.add_neighbor_list(system)
        system.add_data(DIRECTION, direction_data(np.array(entry.directions)))
        found = model([system], options, check_consistency=False)
        energy = found["energy"].block().values.sum()
        gradient, of_strain = torch.autograd.grad(energy, [positions, strain])
        product = found[HVP].block().values.squeeze(-1)
        return Answer(float(energy.detach()), -gradient.numpy(), -of_strain.numpy(), product.numpy())

    return ask


def direction_data(directions: np.ndarray) -> Any:
    """Directions (n_atoms, 3) as what a system holds under `DIRECTION`."""
    n_atoms = len(directions)
    samples = torch.stack([torch.zeros(n_atoms, dtype=torch.int32), torch.arange(n_atoms, dtype=torch.int32)], dim=1)
    block = TensorBlock(
        values=torch.tensor(directions.reshape(-1, 3, 1)),
        samples=Labels(["system", "atom"], samples),
        components=[Labels(["xyz"], torch.arange(3, dtype=torch.int32).reshape(3, 1))],
        properties=Labels(["direction"], torch.zeros(1, 1, dtype=torch.int32)),
    )
    return TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32)), [block])
