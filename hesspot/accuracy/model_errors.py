"""Model error: the trained model in float64 against the quantum-chemical reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hesspot.accuracy.cases import Case
from hesspot.accuracy.results import EngineResult, modes_of_model
from hesspot.analysis.normal_modes import IMAGINARY, mode_overlap, normal_modes, zero_point_energy
from hesspot.errors import UserError
from hesspot.settings import Strict
from hesspot.units import KCAL_PER_MOL

#: Groups of the table and the kinds of structure in each; frequencies are compared at stationary points only.
GROUPS: dict[str, Callable[[str], bool]] = {
    "all": lambda kind: True,
    "minima": lambda kind: kind == "minimum",
    "saddles": lambda kind: kind == "saddle",
    "off-equilibrium": lambda kind: kind not in ("minimum", "saddle", "atom"),
}
STATIONARY = ("minimum", "saddle")

#: cm⁻¹; softer modes are torsions and bends of another accuracy, and are listed apart.
SOFT = 400.0


class Errors(Strict):
    """Mean absolute and root-mean-square error, and the largest, over `count` values."""

    mae: float
    rmse: float
    max: float
    count: int


class ModelErrors(Strict):
    """Model error on one group of structures: the trained model against the reference, physics.

    None where the reference does not give the quantity or where it has no meaning (frequencies away from
    stationary points). Hessian errors are over all elements of all matrices.
    """

    group: str
    n_structures: int
    energy: Errors | None = None  #: eV
    energy_per_atom: Errors | None = None  #: eV per atom
    forces: Errors | None = None  #: eV/Å
    hessian: Errors | None = None  #: eV/Å²
    hessian_kcal: Errors | None = None  #: kcal/mol/Å²
    frequencies: Errors | None = None  #: cm⁻¹
    frequencies_below_400: Errors | None = None  #: cm⁻¹
    frequencies_above_400: Errors | None = None  #: cm⁻¹
    zero_point_energy: Errors | None = None  #: eV
    imaginary_right: int | None = None  #: structures with the reference's number of imaginary modes …
    imaginary_wrong: int | None = None  #: … and the others
    mode_overlap_mean: float | None = None  #: |cos v₁| of the lowest modes at saddle points
    mode_overlap_min: float | None = None


def errors_of(differences: Sequence[np.ndarray]) -> Errors | None:
    """Errors over all elements of the arrays; None without any."""
    values = (
        np.abs(np.concatenate([np.ravel(difference) for difference in differences])) if differences else np.zeros(0)
    )
    if not len(values):
        return None
    return Errors(
        mae=float(values.mean()), rmse=float(np.sqrt((values**2).mean())), max=float(values.max()), count=len(values)
    )


def model_errors(cases: Sequence[Case], results: Sequence[EngineResult]) -> list[ModelErrors]:
    """Errors of `results` (the trained model's) against what the cases know, for each group and each tag that has
    structures.

    Empty if no case has a reference.
    """
    pairs = [(case, result) for case, result in zip(cases, results, strict=True) if case.has_reference]
    groups = {name: [pair for pair in pairs if belongs(pair[0].kind)] for name, belongs in GROUPS.items()}
    groups = {name: members for name, members in groups.items() if members}
    if any(len(members) == len(pairs) for name, members in groups.items() if name != "all"):
        del groups["all"]
    for tag in dict.fromkeys(case.tag for case, _ in pairs if case.tag):
        groups[f"tag {tag}"] = [pair for pair in pairs if pair[0].tag == tag]
    return [_group(name, members) for name, members in groups.items()]


def _group(group: str, members: Sequence[tuple[Case, EngineResult]]) -> ModelErrors:
    energies, per_atom, forces, hessians = [], [], [], []
    for case, result in members:
        if case.energy is not None:
            energies.append(np.array(result.energy - case.energy))
            per_atom.append(np.array((result.energy - case.energy) / len(case.atoms)))
        if case.forces is not None:
            forces.append(result.forces - case.forces)
        if case.hessian is not None and result.hessian is not None:
            hessians.append(result.hessian - case.hessian)
    return ModelErrors(
        group=group,
        n_structures=len(members),
        energy=errors_of(energies),
        energy_per_atom=errors_of(per_atom),
        forces=errors_of(forces),
        hessian=errors_of(hessians),
        hessian_kcal=errors_of([difference / KCAL_PER_MOL for difference in hessians]),
        **_vibrations([member for member in members if member[0].kind in STATIONARY]),
    )


def _vibrations(members: Sequence[tuple[Case, EngineResult]]) -> dict[str, Any]:
    differences, expected_all, zero_point, right, overlaps = [], [], [], [], []
    for case, result in members:
        if result.hessian is None or (case.hessian is None and case.frequencies is None):
            continue
        modes = modes_of_model(result, case.atoms, case.name)
        if case.hessian is not None:
            reference = normal_modes(case.atoms, case.hessian)
            expected = reference.frequencies
            if case.kind == "saddle" and len(expected):
                overlaps.append(mode_overlap(modes, reference))
        else:
            assert case.frequencies is not None
            expected = np.sort(case.frequencies)
        if len(expected) != len(modes.frequencies):
            raise UserError(
                f"the reference of {case.name} has {len(expected)} frequencies where the structure has "
                f"{len(modes.frequencies)} vibrations; store those without translations and rotations"
            )
        differences.append(modes.frequencies - expected)
        expected_all.append(expected)
        zero_point.append(np.array(modes.zero_point_energy - zero_point_energy(expected)))
        right.append(modes.n_imaginary == int((expected < -IMAGINARY).sum()))
    if not differences:
        return {}
    difference, expected = np.concatenate(differences), np.concatenate(expected_all)
    return {
        "frequencies": errors_of([difference]),
        "frequencies_below_400": errors_of([difference[np.abs(expected) < SOFT]]),
        "frequencies_above_400": errors_of([difference[np.abs(expected) >= SOFT]]),
        "zero_point_energy": errors_of(zero_point),
        "imaginary_right": sum(right),
        "imaginary_wrong": len(right) - sum(right),
        "mode_overlap_mean": float(np.mean(overlaps)) if overlaps else None,
        "mode_overlap_min": float(np.min(overlaps)) if overlaps else None,
    }
