"""ASE: the model file behind `HesspotCalculator`."""

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from hesspot.accuracy.directions import directions_of, is_large
from hesspot.accuracy.results import EngineResult
from hesspot.calculators import HesspotCalculator


def evaluate(model: str | Path, structures: Sequence[Atoms]) -> list[EngineResult]:
    """Energy, forces, virial (from the stress, so only with a cell of three vectors) and analytic Hessian, of large
    structures its products."""
    model = Path(model)
    calculator = HesspotCalculator(model)
    results = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = calculator
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume() if atoms.cell.rank == 3 else None
        hessian, products = calculator.get_hessian(atoms), None
        if is_large(atoms):
            products = (directions_of(atoms).reshape(-1, len(hessian)) @ hessian.T).reshape(-1, len(atoms), 3)
        forces = atoms.get_forces(apply_constraint=False)
        results.append(EngineResult(atoms.get_potential_energy(), forces, virial, hessian, products))
    return results
