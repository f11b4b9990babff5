"""What a teacher and its student are compared by: phonons, elastic constants, frequencies, of one structure."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_strain
from pydantic import BaseModel, ConfigDict

from hesspot.analysis.normal_modes import normal_modes
from hesspot.console import warn
from hesspot.distill.config import TestSection
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.reference.force_lines import central_difference
from hesspot.units import PRESSURES

#: eV/Å, to which the structure is relaxed, and steps that are allowed.
RELAXED, STEPS = 1e-3, 500
#: Å, of displaced atoms: teacher and student have the same anharmonic part, forces in single precision are told apart.
DISPLACEMENT = 0.02
#: Of strained cells.
STRAIN = 5e-3
#: Å, within which atoms of a primitive cell are the same.
SAME = 1e-3
#: Points on the path through the Brillouin zone.
POINTS = 200


class Properties(BaseModel):
    """Of one calculator at one structure.

    phonons: THz (points, branches) along `path`, imaginary ones negative; elastic: (6, 6) GPa in Voigt's order, of
    relaxed atoms, None also where these do not relax; frequencies: cm⁻¹; calls: of the calculator.
    """

    model_config = ConfigDict(extra="forbid")

    phonons: list[list[float]] | None = None
    path: str = ""
    distances: list[float] = []
    ticks: list[tuple[float, str]] = []
    elastic: list[list[float]] | None = None
    frequencies: list[float] | None = None
    calls: int = 0


class Counted(Calculator):
    """Another calculator, whose calls are counted."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0
        known = getattr(inner, "implemented_properties", None) or ("energy", "forces")
        self.implemented_properties = [name for name in ("energy", "forces", "stress") if name in known]

    def calculate(
        self, atoms: ase.Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        asked = self.atoms.copy()
        self.calls += 1
        self.results = {"energy": self.inner.get_potential_energy(asked), "forces": self.inner.get_forces(asked)}
        if "stress" in self.implemented_properties and asked.pbc.all():
            self.results["stress"] = self.inner.get_stress(asked)


def require_possible(test: TestSection, start: ase.Atoms, place: str) -> None:
    """UserError for properties that the first start structure cannot have, or that need a package that is not there."""
    crystal = bool(start.pbc.all())
    for key, asked, periodic in (
        ("phonons", test.phonons is not None, True),
        ("elastic", test.elastic, True),
        ("frequencies", test.frequencies, False),
    ):
        if asked and crystal != periodic:
            kind = "a crystal" if periodic else "a molecule"
            raise UserError(f"test.{key} is for {kind}, and the first structure of {place} is none; leave it out")
    if test.phonons is not None:
        try:
            import phonopy  # noqa: F401
        except ImportError as error:
            raise UserError(f"test.phonons needs phonopy, which is not installed: {install_hint('phonons')}") from error


def reference_structure(start: ase.Atoms, calculator: Counted) -> ase.Atoms:
    """The primitive cell of a crystal, or the molecule, at the calculator's minimum.

    UserError where it is not reached.
    """
    atoms = primitive_cell(start) if start.pbc.all() else ase.Atoms(start.numbers, start.positions)
    atoms.calc = calculator
    with_cell = atoms.pbc.all() and "stress" in calculator.implemented_properties
    relaxed: Any = FrechetCellFilter(atoms) if with_cell else atoms
    if not BFGS(relaxed, logfile=None).run(fmax=RELAXED, steps=STEPS):
        raise UserError(
            f"the teacher does not relax {atoms.symbols} to {RELAXED} eV/Å in {STEPS} steps, so that test.phonons, "
            "elastic and frequencies have no structure; start from a relaxed one, or leave them out"
        )
    atoms.calc = None
    return atoms


def primitive_cell(atoms: ase.Atoms) -> ase.Atoms:
    """The smallest cell of a crystal."""
    import spglib

    found = spglib.find_primitive((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=SAME)
    if found is None:
        return ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    cell, scaled, numbers = found
    return ase.Atoms(numbers, cell=cell, scaled_positions=scaled, pbc=True)


def properties_of(calculator: Any, atoms: ase.Atoms, test: TestSection) -> Properties:
    """What `test` asks for, of a structure that `reference_structure` has made."""
    counted = calculator if isinstance(calculator, Counted) else Counted(calculator)
    before, found = counted.calls, Properties()
    if test.phonons is not None:
        found = _phonons(counted, atoms, test.phonons)
    if test.elastic:
        constants = _elastic(counted, atoms)
        found.elastic = None if constants is None else constants.tolist()
    if test.frequencies:
        found.frequencies = _frequencies(counted, atoms).tolist()
    found.calls = counted.calls - before
    return found


def _forces(calculator: Counted, atoms: ase.Atoms) -> np.ndarray:
    atoms.calc = calculator
    return np.array(atoms.get_forces())


def _phonons(calculator: Counted, atoms: ase.Atoms, cells: list[int]) -> Properties:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    primitive = PhonopyAtoms(symbols=list(atoms.symbols), cell=atoms.cell.array, positions=atoms.positions)
    phonon = Phonopy(primitive, np.diag(cells), primitive_matrix=np.eye(3), log_level=0)
    phonon.generate_displacements(distance=DISPLACEMENT)
    displaced = [
        ase.Atoms(list(each.symbols), each.positions, cell=each.cell, pbc=True)
        for each in phonon.supercells_with_displacements or ()
    ]
    phonon.forces = [_forces(calculator, each) for each in displaced]
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    path = atoms.cell.bandpath(npoints=POINTS)
    phonon.run_qpoints(path.kpts)
    assert phonon.qpoints is not None
    distances, ticks, labels = path.get_linear_kpoint_axis()
    return Properties(
        phonons=np.asarray(phonon.qpoints.frequencies).tolist(),
        path=path.path,
        distances=distances.tolist(),
        ticks=list(zip(ticks.tolist(), labels, strict=True)),
    )


def _elastic(calculator: Counted, atoms: ase.Atoms) -> np.ndarray | None:
    """From the stress of strained cells, GPa; None, and a warning, where the atoms of one do not relax."""
    if "stress" not in calculator.implemented_properties:
        raise UserError("test.elastic needs stress, which the teacher does not compute; leave it out")
    constants = np.zeros((6, 6))
    for row, one in enumerate(np.eye(6)):
        stresses = []
        for sign in (1.0, -1.0):
            strained = atoms.copy()
            deformation = voigt_6_to_full_3x3_strain(sign * STRAIN * one)
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            strained.calc = calculator
            if len(atoms) > 1 and not BFGS(strained, logfile=None).run(fmax=RELAXED, steps=STEPS):
                warn(
                    f"{atoms.symbols} strained by {sign * STRAIN:g} does not relax to {RELAXED} eV/Å in {STEPS} steps "
                    f"with {_name_of(calculator.inner)}, so that there are no elastic constants"
                )
                return None
            stresses.append(strained.get_stress())
        constants[row] = (stresses[0] - stresses[1]) / (2.0 * STRAIN)
    return 0.5 * (constants + constants.T) / PRESSURES["gpa"]


def _name_of(calculator: Any) -> str:
    return str(getattr(calculator, "describe", lambda: type(calculator).__name__)())


def _frequencies(calculator: Counted, atoms: ase.Atoms) -> np.ndarray:
    """Harmonic frequencies from central differences of the forces, cm⁻¹."""
    moved = atoms.copy()

    def forces_at(positions: np.ndarray) -> np.ndarray:
        moved.positions = positions
        return _forces(calculator, moved)

    units = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    rows = [central_difference(forces_at, atoms.positions, unit, DISPLACEMENT).ravel() for unit in units]
    hessian = np.array(rows)
    return normal_modes(atoms, 0.5 * (hessian + hessian.T)).frequencies


class Differences(BaseModel):
    """How far a student is from its teacher.

    phonons: root mean square over the path, THz; highest: the teacher's highest, THz; elastic: the largest relative
    error of the constants above a twentieth of the largest; frequencies: mean absolute error, cm⁻¹.
    None: not asked for.
    """

    model_config = ConfigDict(extra="forbid")

    phonons: float | None = None
    highest: float | None = None
    elastic: float | None = None
    frequencies: float | None = None


def differences(student: Properties, teacher: Properties) -> Differences:
    """Of two calculators at the same structure."""
    found = Differences()
    if student.phonons is not None and teacher.phonons is not None:
        ours, theirs = np.array(student.phonons), np.array(teacher.phonons)
        found.phonons, found.highest = float(np.sqrt(np.mean((ours - theirs) ** 2))), float(theirs.max())
    if student.elastic is not None and teacher.elastic is not None:
        ours, theirs = np.array(student.elastic), np.array(teacher.elastic)
        counted = np.abs(theirs) > 0.05 * np.abs(theirs).max()
        found.elastic = float(np.abs((ours - theirs)[counted] / theirs[counted]).max())
    if student.frequencies is not None and teacher.frequencies is not None:
        found.frequencies = float(np.mean(np.abs(np.array(student.frequencies) - np.array(teacher.frequencies))))
    return found
