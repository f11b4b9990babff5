"""From a model file to an evaluator that has proved itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import torch

from hesspot.errors import UserError
from hesspot.export import LoadedModel, read_model
from hesspot.export.file import ENERGY_TOLERANCE, FORCE_TOLERANCE
from ipi_driver.evaluation.evaluator import Evaluator
from ipi_driver.settings import Dtype, EvaluatorSettings
from ipi_driver.template import Periodicity, periodic_directions, read_template

DTYPES: dict[Dtype, torch.dtype] = {"float64": torch.float64, "float32": torch.float32}


def load_evaluator(settings: EvaluatorSettings, log: Callable[[str], None]) -> Evaluator:
    """Read the model, replay its fingerprint on this machine, and say what was found.

    UserError for an unreadable model, elements that it lacks, a device that is not there, and in float64 for a
    fingerprint that is not met.
    """
    dtype = DTYPES[settings.dtype]
    model = read_model(settings.model, dtype=dtype, device=settings.device)
    if model.kernel is not None:
        model.kernel.set_threads(settings.threads)
    elif settings.threads > 1:
        torch.set_num_threads(settings.threads)
    evaluator = Evaluator(model, settings.symbols, settings.pbc, dtype, settings.device, settings.skin, settings.extras)
    energy, force = fingerprint_errors(model, dtype, settings.device, settings.skin)
    if settings.dtype == "float64" and not (energy <= ENERGY_TOLERANCE and force <= FORCE_TOLERANCE):
        raise UserError(
            f"{settings.model} on this machine differs from the model that was trained by {energy:.2g} eV per atom and "
            f"{force:.2g} eV/Å; export it again with the torch that is installed here ({torch.__version__})"
        )
    along = "".join(axis for axis, periodic in zip("abc", settings.pbc, strict=True) if periodic)
    log(
        f"{settings.model} ({', '.join(model.elements)}; cutoff {model.cutoff:g} Å) in {settings.dtype} on "
        f"{settings.device}, {len(settings.symbols)} atoms {'periodic along ' + along if along else 'not periodic'}, "
        f"fingerprint met within {energy:.1e} eV per atom and {force:.1e} eV/Å"
    )
    return evaluator


def open_evaluator(
    model: str | Path,
    template: str | Path,
    dtype: Dtype,
    device: str,
    pbc: Periodicity,
    skin: float,
    log: Callable[[str], None],
) -> tuple[Evaluator, ase.Atoms]:
    """`load_evaluator` for the atoms of a template, and these atoms."""
    model = Path(model)
    template = Path(template)
    atoms = read_template(template)
    directions = periodic_directions(atoms, template, pbc)
    return load_evaluator(EvaluatorSettings(model, tuple(atoms.symbols), directions, dtype, device, skin), log), atoms


def fingerprint_errors(
    model: LoadedModel, dtype: torch.dtype, device: torch.device | str, skin: float
) -> tuple[float, float]:
    """Largest deviations from the stored answers: energy in eV per atom, force in eV/Å."""
    energies, forces = [0.0], [0.0]
    for entry in model.metadata.fingerprint:
        atoms = entry.atoms()
        evaluator = Evaluator(model, atoms.get_chemical_symbols(), atoms.pbc, dtype, device, skin)
        results = evaluator(atoms.positions[None], atoms.cell.array[None])
        energies.append(abs(results.energy[0] - entry.energy) / len(atoms))
        forces.append(float(np.abs(results.forces[0] - np.array(entry.forces)).max()))
    return max(energies), max(forces)
