"""Model error: the trained model in float64 against the quantum-chemical reference."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hesspot.analysis.normal_modes import IMAGINARY, mode_overlap, normal_modes, zero_point_energy
from hesspot.errors import UserError
from hesspot.units import KCAL_PER_MOL
from hesspot.verify.cases import Case
from hesspot.verify.report import Errors, ModelErrors
from hesspot.verify.results import EngineResult

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
    """Errors of `results` (the trained model's) against what the cases know, for each group that has structures.

    Empty if no case has a reference.
    """
    pairs = [(case, result) for case, result in zip(cases, results, strict=True) if case.has_reference]
    groups = {name: [pair for pair in pairs if belongs(pair[0].kind)] for name, belongs in GROUPS.items()}
    groups = {name: members for name, members in groups.items() if members}
    if any(len(members) == len(pairs) for name, members in groups.items() if name != "all"):
        del groups["all"]
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
        modes = normal_modes(case.atoms, result.hessian)
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
