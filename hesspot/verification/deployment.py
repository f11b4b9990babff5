"""Deployment error: an engine's answers against the trained model's, in float64."""

from collections.abc import Callable, Sequence

import numpy as np

from hesspot.accuracy.cases import Case
from hesspot.accuracy.results import EngineResult, modes_of_model
from hesspot.analysis.normal_modes import normal_modes
from hesspot.errors import UserError
from hesspot.verification import tolerances
from hesspot.verification.report import Check


def worst(quantity: str, unit: str, tolerance: float, errors: Sequence[tuple[str, float]]) -> Check:
    """The check of `quantity` from the (structure, error) pairs; a NaN is the worst of all."""
    values = np.array([error for _, error in errors])
    index = int(np.argmax(np.where(np.isnan(values), np.inf, values)))
    return Check(
        quantity=quantity,
        unit=unit,
        error=float(values[index]),
        tolerance=tolerance,
        structure=errors[index][0],
        n_structures=len(errors),
    )


def largest(difference: np.ndarray) -> float:
    """Largest absolute element; 0 for none, NaN if there is one."""
    return float(np.abs(difference).max(initial=0.0))


def check_shapes(cases: Sequence[Case], results: Sequence[EngineResult]) -> None:
    """UserError if an engine left something out. Only structures without a cell may lack the virial."""
    if len(results) != len(cases):
        raise UserError(f"gave {len(results)} answers for {len(cases)} structures; its log must tell why")
    for case, result in zip(cases, results, strict=True):
        n = len(case.atoms)
        wanted: list[tuple[str, np.ndarray | None, tuple[int, int], bool]] = [
            ("forces", result.forces, (n, 3), True),
            ("virial", result.virial, (3, 3), case.atoms.cell.rank == 3),
            ("Hessian", result.hessian, (3 * n, 3 * n), True),
        ]
        for name, value, shape, required in wanted:
            if value is None and not required:
                continue
            if value is None or np.shape(value) != shape:
                found = "nothing" if value is None else f"an array of shape {np.shape(value)}"
                raise UserError(f"gave {found} as {name} of {case.name}, where {shape} is due; its log must tell why")


def compare(
    cases: Sequence[Case],
    trained: Sequence[EngineResult],
    results: Sequence[EngineResult],
    hessian_tolerance: float,
) -> tuple[list[Check], int]:
    """Checks of energy, forces, virial, Hessian and frequencies, and the number of modes too soft to compare.

    Frequencies are those of the projected Hessians, in
    ascending order. UserError if an engine left something out.
    """
    check_shapes(cases, results)
    triples = list(zip(cases, trained, results, strict=True))

    def over(error: Callable[[Case, EngineResult, EngineResult], float | None]) -> list[tuple[str, float]]:
        found = [(case.name, error(case, mine, theirs)) for case, mine, theirs in triples]
        return [(name, value) for name, value in found if value is not None]

    def virial(_: Case, mine: EngineResult, theirs: EngineResult) -> float | None:
        return None if mine.virial is None or theirs.virial is None else largest(theirs.virial - mine.virial)

    checks = [
        worst(
            "energy",
            "eV/atom",
            tolerances.ENERGY,
            over(lambda case, mine, theirs: abs(theirs.energy - mine.energy) / len(case.atoms)),
        ),
        worst(
            "forces",
            "eV/Å",
            tolerances.FORCES,
            over(lambda _, mine, theirs: largest(theirs.forces - mine.forces)),
        ),
    ]
    virials = over(virial)
    if virials:
        checks.append(worst("virial", "eV", tolerances.VIRIAL, virials))
    soft = 0
    hessians, frequencies = [], []
    for case, mine, theirs in triples:
        assert mine.hessian is not None and theirs.hessian is not None
        hessians.append((case.name, largest(theirs.hessian - mine.hessian)))
        if not np.isfinite(theirs.hessian).all():
            frequencies.append((case.name, np.nan))
            continue
        expected = modes_of_model(mine, case.atoms, case.name).frequencies
        found = normal_modes(case.atoms, theirs.hessian).frequencies
        stiff = np.abs(expected) >= tolerances.SOFT_MODE
        soft += int((~stiff).sum())
        frequencies.append((case.name, largest((found - expected)[stiff])))
    checks.append(worst("Hessian", "eV/Å²", hessian_tolerance, hessians))
    checks.append(worst("frequencies", "cm⁻¹", tolerances.FREQUENCIES, frequencies))
    return checks, soft
