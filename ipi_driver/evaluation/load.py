"""From a model file to an evaluator that has proved itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np

from hesspot.electrons import require_trained, stated_electrons
from hesspot.export import FingerprintEntry, LoadedModel, read_model
from hesspot.export.replay import TOLERANCES, Answer, check_fingerprint, replay
from hesspot.neighbors import find_edges
from ipi_driver.evaluation.evaluator import Evaluator
from ipi_driver.settings import Dtype, EvaluatorSettings
from ipi_driver.template import Periodicity, periodic_directions, read_template


def load_evaluator(settings: EvaluatorSettings, log: Callable[[str], None]) -> Evaluator:
    """Read the model, replay its fingerprint on this machine, and say what was found.

    UserError for an unreadable model, elements that it lacks, a charge or multiplicity that it was not trained on, a
    device that is not there, and in float64 for a fingerprint that is not met.
    """
    model = read_model(settings.model, dtype=settings.dtype, device=settings.device)
    stated = {"charge": settings.charge, "multiplicity": settings.multiplicity}
    require_trained(ase.Atoms(settings.symbols, info=stated), "the template", model.electrons)
    if model.kernel is not None:
        model.kernel.set_threads(settings.threads)
    elif settings.threads > 1:
        import torch

        torch.set_num_threads(settings.threads)
    keep = settings.start is not None and not _has_lone_atoms(settings.start, settings.pbc, model.cutoff)
    evaluator = Evaluator(model, settings.symbols, settings.pbc, settings.skin, settings.extras, keep)
    if settings.start is not None and not keep:
        log("the template has atoms without a neighbour within the cutoff: lone atoms are taken")
    ask = _answers_of(model, settings)
    if settings.dtype == "float64":
        remedy = "export it again with the hesspot and the torch that are installed here"
        found = check_fingerprint(model.metadata.fingerprint, ask, f"{settings.model} on this machine", remedy)
    else:
        found = replay(model.metadata.fingerprint, ask)
    along = "".join(axis for axis, periodic in zip("abc", settings.pbc, strict=True) if periodic)
    met = ", ".join(f"{np.max([error for _, error in found[q]]):.1e} {TOLERANCES[q][0]}" for q in found)
    log(
        f"{model.describe()}, {len(settings.symbols)} atoms {'periodic along ' + along if along else 'not periodic'}, "
        f"fingerprint met within {met}"
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
    settings = EvaluatorSettings(model, tuple(atoms.symbols), directions, dtype, device, skin, start=atoms)
    charge, multiplicity = stated_electrons(atoms, f"the template {template}")
    return load_evaluator(replace(settings, charge=charge, multiplicity=multiplicity), log), atoms


def _has_lone_atoms(start: ase.Atoms, pbc: Sequence[bool], cutoff: float) -> bool:
    directions = np.asarray(pbc) & start.cell.any(axis=1)  # a template need not say i-PI's cell
    centers, _, _ = find_edges(start.positions, start.cell.array, directions, cutoff, "the template")
    return len(np.unique(centers)) < len(start)


def _answers_of(model: LoadedModel, settings: EvaluatorSettings) -> Callable[[FingerprintEntry], Answer]:
    """What `replay` asks: energies, forces and virials as i-PI will get them, and Hessian products."""

    def ask(entry: FingerprintEntry) -> Answer:
        atoms = entry.atoms()
        evaluator = Evaluator(model, atoms.get_chemical_symbols(), atoms.pbc, settings.skin)
        positions, cells = atoms.positions[None], atoms.cell.array[None]
        results, graph = evaluator(positions, cells), evaluator.graph(positions, cells)
        product = model.potential.products(graph, np.array(entry.directions).reshape(-1, 3))
        return Answer(results.energy[0], results.forces[0], results.virial[0], product)

    return ask
