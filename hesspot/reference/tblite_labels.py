"""Energy, forces, stress and Hessian of molecules and periodic boxes with tblite (GFN1-xTB, GFN2-xTB).

Hessians are central differences of gradients: at an SCF accuracy of 1e-4 and a step of 1e-3 bohr they are symmetric to
about 1e-4 eV/Å². They are symmetrised, and their on-site blocks reset by the acoustic sum rule. Periodic structures
are computed at the Γ point.
"""

from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator, Result

from hesspot.data.sum_rules import acoustic_defect, rotational_defect
from hesspot.electrons import electrons_of
from hesspot.errors import UserError
from hesspot.reference.method import Labels, NotConverged, QuantumChemistry, impose_acoustic_sum_rule
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2


class TbliteMethod(QuantumChemistry, BaseModel):
    """A tight-binding method and what decides the noise of its labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GFN1-xTB", "GFN2-xTB"] = "GFN2-xTB"
    accuracy: float = Field(default=1e-4, gt=0, description="tblite's accuracy; 1 is its default, smaller is better")
    step: float = Field(default=1e-3, gt=0, description="displacement of a coordinate for Hessians, bohr")

    @property
    def level_of_theory(self) -> str:
        return f"{self.method} (tblite)"

    @property
    def product_step(self) -> float:  # type: ignore[override]
        return self.step * BOHR

    def provenance(self) -> dict[str, Any]:
        return {"program": f"tblite {version('tblite')}", "method": self.model_dump(mode="json")}

    def check_input(self, atoms: Atoms, name: str, *, hessian: bool = True) -> None:
        where = f"structure {name!r}" if name else f"the structure {atoms.get_chemical_formula()}"
        if atoms.pbc.any() and not atoms.pbc.all():
            along = " and ".join(axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if periodic)
            raise UserError(
                f"{where} is periodic along {along} only, tblite knows molecules and crystals: make it periodic in all "
                'directions with 15 Å of empty space (pbc="T T T" and the whole cell), or not at all'
            )
        electrons_of(atoms, where)
        try:
            self._calculator(atoms)
        except TBLiteRuntimeError as error:
            raise UserError(f"{where} cannot be set up with {self.method} ({error}): check its elements") from error

    def labels(self, atoms: Atoms, *, hessian: bool = True) -> Labels:
        """Labels of one structure; the stress if it is periodic in all directions."""
        calculator = self._calculator(atoms)
        result = _solve(calculator)
        labels = Labels(energy=float(result.get("energy")) * HARTREE, forces=-result.get("gradient") * HARTREE_PER_BOHR)
        if atoms.pbc.all():
            labels.stress = result.get("virial") * HARTREE / atoms.get_volume()
        if hessian:
            raw = self._differences(calculator, result, atoms.positions)
            labels.properties["asymmetry"] = float(np.abs(raw - raw.T).max())
            labels.properties["acoustic_defect"] = acoustic_defect(raw)
            labels.hessian = impose_acoustic_sum_rule(0.5 * (raw + raw.T))
            if not atoms.pbc.any():
                defect = rotational_defect(atoms.positions, labels.forces, labels.hessian)
                labels.properties["rotational_defect"] = defect
        return labels

    def _calculator(self, atoms: Atoms) -> Calculator:
        lattice = {"lattice": atoms.cell.array / BOHR, "periodic": atoms.pbc} if atoms.pbc.any() else {}
        charge, multiplicity = electrons_of(atoms, f"the structure {atoms.get_chemical_formula()}")
        place = self.method, atoms.numbers, atoms.positions / BOHR
        calculator = Calculator(*place, charge=float(charge), uhf=multiplicity - 1, **lattice)
        calculator.set("verbosity", 0)
        calculator.set("accuracy", self.accuracy)
        return calculator

    def _differences(self, calculator: Calculator, centre: Result, positions: np.ndarray) -> np.ndarray:
        """(3n, 3n) in eV/Å², row by row the change of the gradient with one coordinate; each SCF starts at `centre`."""
        origin = (positions / BOHR).ravel()
        rows = []
        for coordinate in range(len(origin)):
            gradients = []
            for sign in (1.0, -1.0):
                moved = origin.copy()
                moved[coordinate] += sign * self.step
                calculator.update(moved.reshape(-1, 3))
                gradients.append(_solve(calculator, centre).get("gradient").ravel())
            rows.append((gradients[0] - gradients[1]) / (2.0 * self.step))
        return np.array(rows) * HARTREE_PER_BOHR2


def _solve(calculator: Calculator, start: Result | None = None) -> Result:
    try:
        return calculator.singlepoint(start, copy=True) if start is not None else calculator.singlepoint()
    except TBLiteRuntimeError as error:
        raise NotConverged(f"tblite says: {' '.join(str(error).split())}") from error
