"""Deployment error: an engine's answers against the trained model's, in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.accuracy.cases import Case
from hesspot.accuracy.directions import COUNT, is_large
from hesspot.accuracy.results import EngineResult, modes_of_model
from hesspot.analysis.normal_modes import normal_modes
from hesspot.errors import UserError
from hesspot.units import INVERSE_CM
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
        n, large = len(case.atoms), is_large(case.atoms)
        wanted: list[tuple[str, np.ndarray | None, tuple[int, ...], bool]] = [
            ("forces", result.forces, (n, 3), True),
            ("virial", result.virial, (3, 3), case.atoms.cell.rank == 3),
            ("Hessian", result.hessian, (3 * n, 3 * n), not large),
            ("H·v", result.products, (COUNT, n, 3), large),
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
    """Checks of energy, forces, virial, Hessian, frequencies, zero-point energy and modes, of large structures H·v in
    the place of the Hessian; and the number of modes too soft to compare.

    Frequencies are those of the projected Hessians, in ascending order. UserError if an engine left something out.
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
    products = over(
        lambda _, mine, theirs: None if theirs.products is None else largest(theirs.products - _known(mine.products))
    )
    if products:
        checks.append(worst("H·v", "eV/Å²", hessian_tolerance, products))
    small = [triple for triple in triples if not is_large(triple[0].atoms)]
    if not small:
        return checks, 0
    hessians = [(case.name, largest(_known(theirs.hessian) - _known(mine.hessian))) for case, mine, theirs in small]
    checks.append(worst("Hessian", "eV/Å²", hessian_tolerance, hessians))
    spectra = [(case.name, _spectrum(case, mine, theirs)) for case, mine, theirs in small]

    def of_spectra(error: Callable[[Spectrum], float]) -> list[tuple[str, float]]:
        return [(name, np.nan if spectrum is None else error(spectrum)) for name, spectrum in spectra]

    checks.append(worst("frequencies", "cm⁻¹", tolerances.FREQUENCIES, of_spectra(lambda s: largest(s.shifts))))
    zero_point = of_spectra(lambda s: abs(0.5 * INVERSE_CM * float(s.shifts[s.real].sum())))
    checks.append(worst("zero-point energy", "eV", tolerances.ZERO_POINT_ENERGY, zero_point))
    checks.append(worst("modes", "1 − overlap", tolerances.OVERLAP, of_spectra(lambda s: s.turned)))
    return checks, sum(spectrum.soft for _, spectrum in spectra if spectrum is not None)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The modes of a structure that are stiffer than `SOFT_MODE`: by how much their frequencies are off, (m,) cm⁻¹,
    which are real, (m,), and one minus the least part of a mode that lies among the engine's modes near it. soft: the
    others."""

    shifts: np.ndarray
    real: np.ndarray
    turned: float
    soft: int


def _spectrum(case: Case, mine: EngineResult, theirs: EngineResult) -> Spectrum | None:
    """None for a Hessian that is not finite."""
    matrix = _known(theirs.hessian)
    if not np.isfinite(matrix).all():
        return None
    expected, found = modes_of_model(mine, case.atoms, case.name), normal_modes(case.atoms, matrix)
    stiff = np.abs(expected.frequencies) >= tolerances.SOFT_MODE
    near = np.abs(expected.frequencies[:, None] - found.frequencies) < tolerances.NEAR
    overlaps = np.sqrt((near * (expected.vectors @ found.vectors.T) ** 2).sum(1))
    shifts = (found.frequencies - expected.frequencies)[stiff]
    turned = float(1.0 - overlaps[stiff].min(initial=1.0))
    return Spectrum(shifts, expected.frequencies[stiff] > 0, turned, int((~stiff).sum()))


def _known(value: np.ndarray | None) -> np.ndarray:
    assert value is not None
    return value
