"""From a model file and a template to an evaluator that has proved itself, and the template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import torch

from hesspot.errors import UserError
from hesspot.export import LoadedModel, read_model
from hesspot.export.file import ENERGY_TOLERANCE, FORCE_TOLERANCE
from ipi_driver.evaluator import Evaluator
from ipi_driver.template import Periodicity, periodic_directions, read_template

DTYPES = {"float64": torch.float64, "float32": torch.float32}


def open_evaluator(
    model_path: Path,
    template: Path,
    dtype: str,
    device: str,
    pbc: Periodicity,
    skin: float,
    tell: Callable[[str], None],
) -> tuple[Evaluator, ase.Atoms]:
    """Read model and template, replay the model's fingerprint on this machine, and say what was found.

    UserError for unreadable input, elements that the model lacks, a device that is not there, and in float64 for
    a fingerprint that is not met.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {device} cannot be used ({reason}); use cpu or a device of this machine") from error
    atoms = read_template(template)
    directions = periodic_directions(atoms, template, pbc)
    model = read_model(model_path, dtype=DTYPES[dtype], device=device)
    evaluator = Evaluator(model, atoms.get_chemical_symbols(), directions, DTYPES[dtype], device, skin)
    energy, force = fingerprint_errors(model, DTYPES[dtype], device, skin)
    if dtype == "float64" and not (energy <= ENERGY_TOLERANCE and force <= FORCE_TOLERANCE):
        raise UserError(
            f"{model_path} on this machine differs from the model that was trained by {energy:.2g} eV per atom and "
            f"{force:.2g} eV/Å; export it again with the torch that is installed here ({torch.__version__})"
        )
    along = "".join(axis for axis, periodic in zip("abc", directions, strict=True) if periodic)
    tell(
        f"{model_path} ({', '.join(model.elements)}; cutoff {model.cutoff:g} Å) in {dtype} on {device}, "
        f"{atoms.get_chemical_formula()} {'periodic along ' + along if along else 'not periodic'}, fingerprint met "
        f"within {energy:.1e} eV per atom and {force:.1e} eV/Å"
    )
    return evaluator, atoms


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
