"""Energy, forces, stress and curvature with any calculator of ASE.

Hessians and products are exact where the calculator has a `get_hessian` that agrees with its forces, and otherwise
central differences of forces, with a step and error estimates from the calculator's own noise (`force_lines`). Energies
are free energies where a calculator tells both: forces are the gradient of these.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.calculators.calculator import FileIOCalculator, PropertyNotImplementedError
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from pydantic import BaseModel, ConfigDict, ValidationError

from hesspot.data import Record
from hesspot.data.sum_rules import acoustic_defect, rotational_defect
from hesspot.electrons import lowest_multiplicity, stated_electrons
from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.reference.calculator_factory import CalculatorFactory
from hesspot.reference.force_lines import (
    STEPS,
    Differences,
    Evaluate,
    Measured,
    along,
    measure,
    mismatch_along,
    one_after_another,
    random_directions,
)
from hesspot.reference.method import Labels, NotConverged, impose_acoustic_sum_rule

#: eV/Å, and of the root-mean-square force: what smooth potentials leave between forces and the slope of the energy.
#: Forces that are no gradient leave 0.005 and more.
GRADIENT = 2e-3, 2e-3
#: Times the noise of that comparison.
BEYOND_NOISE = 5.0
#: Å, the line on which energies and forces are compared where no curvature is asked for.
REACH = 0.02
#: Part of H·v by which a calculator's own Hessian may differ from differences of its forces.
OWN_HESSIAN = 0.02
#: Times the noise of a difference of forces.
SURE = 5.0
#: eV: answers with and without a stated charge that differ by less are those of a calculator that does not read it.
DEAF = 1e-6

#: What was measured before the first structure, in the folder of finished ones.
KEPT = "differences.json"


class Prepared(BaseModel):
    """What is known of a calculator before structures are labelled; calculations: that were made for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    differences: Differences | None = None
    exact: bool = False
    measured_on: str = ""
    calculations: int = 0


class AseMethod(BaseModel):
    """A calculator with its level of theory.

    level: as a dataset is to name it; None: the calculator with its arguments. step: Å, in the place of the measured
    one. differences: of forces, also where the calculator has Hessians of its own. allow_nonconservative: label also
    with forces that are no gradient of the energy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calculator: CalculatorFactory
    level: str | None = None
    step: float | None = None
    differences: bool = False
    allow_nonconservative: bool = False
    prepared: Prepared | None = None

    #: Whether an odd number of electrons needs a statement: a potential looks at positions alone.
    counts_electrons: bool = False

    @property
    def level_of_theory(self) -> str:
        return self.level or f"{self.calculator} (ASE calculator)"

    def provenance(self) -> dict[str, Any]:
        content = self._identity()
        if self.prepared is not None:
            content["differences"] = self.prepared.model_dump(mode="json")
        return content

    def _identity(self) -> dict[str, Any]:
        return {
            "program": f"ase {version('ase')}",
            **self.calculator.provenance(),
            "level": self.level,
            "step": self.step,
            "own_hessians": not self.differences,
            "allow_nonconservative": self.allow_nonconservative,
        }

    def check_input(self, atoms: Atoms, name: str, *, hessian: bool) -> None:
        charge, multiplicity = stated_electrons(atoms, f"structure {name!r}")
        self.calculator.electron_arguments(charge, multiplicity)

    def prepare(self, records: Sequence[Record], *, curvature: bool, folder: Path, say: Callable[[str], None]) -> Self:
        """This method with what it must know before the first structure, from the folder of a run that was stopped.

        One that knows it stays as it is.

        UserError if the calculator cannot be made, forces are no gradient, or statements of charge are not read.
        """
        if self.step is not None and not STEPS[0] / 10 <= self.step <= 10 * STEPS[1]:
            raise UserError(f"--step {self.step:g} is not possible: use some 0.001 to 0.05 Å, or leave it out")
        if self.prepared is not None:
            return self
        identity = self._identity() | {"curvature": curvature}
        kept = folder / KEPT
        known = _read(kept, identity)
        if known is not None:
            return self.model_copy(update={"prepared": known})
        self._require_ears(records)
        known = self._measured(records, curvature, say)
        write_atomically(kept, _Kept(identity=identity, prepared=known).model_dump_json(indent=1).encode())
        return self.model_copy(update={"prepared": known})

    def _measured(self, records: Sequence[Record], curvature: bool, say: Callable[[str], None]) -> Prepared:
        """From the structure of most elements that can be computed."""
        reasons: list[str] = []
        spent = 0

        def counted(evaluate: Evaluate) -> Evaluate:
            def evaluated(positions: np.ndarray) -> tuple[float, np.ndarray]:
                nonlocal spent
                spent += 1
                return evaluate(positions)

            return evaluated

        for record in sorted(records, key=lambda record: -len(set(record.numbers.tolist())) if len(record) > 1 else 0):
            atoms = record.atoms_only()
            (direction,) = random_directions(record.name, len(atoms), 1)
            try:
                calculator = self._fresh(atoms)
                if any(each.pbc.all() for each in records) and not _has_stress(calculator):
                    say(f"{self.calculator.name} has no stress: periodic structures are labelled without")
                evaluate = counted(_evaluator(calculator, atoms))
                if not curvature:
                    mismatch, forces = mismatch_along(evaluate, atoms.positions, direction, REACH)
                    self._judge(record.name, forces, mismatch, 0.0, say)
                    return Prepared(measured_on=record.name, calculations=spent)
                found = measure(one_after_another(evaluate), atoms.positions, direction)
                own = None if self.differences else self._own_hessian(calculator, atoms, say)
            except UserError:
                raise
            except Exception as error:
                reasons.append(f"{record.name}: {type(error).__name__}: {' '.join(str(error).split())}")
                continue
            self._judge(record.name, found.forces, found.mismatch, found.mismatch_noise, say)
            return Prepared(
                differences=self._stepped(found, record.name, own is None, say),
                exact=own is not None and _agrees(own, direction, found, self.calculator.name, say),
                measured_on=record.name,
                calculations=spent,
            )
        raise UserError(f"--calculator {self.calculator.name} computes none of the structures ({reasons[0]})")

    def _own_hessian(self, calculator: Any, atoms: Atoms, say: Callable[[str], None]) -> np.ndarray | None:
        try:
            return _own_hessian(calculator, atoms)
        except Exception as error:  # some calculators have it for some of their models
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            say(f"get_hessian of {self.calculator.name} raises {told}; differences are taken")
            return None

    def _stepped(self, found: Measured, name: str, used: bool, say: Callable[[str], None]) -> Differences:
        differences = found.differences
        if self.step is not None:
            differences = differences.model_copy(update={"step": self.step})
        if used:
            say(
                f"forces have a noise of {differences.force_noise:.1g} eV/Å (measured on {name}): they are "
                f"differentiated with a step of {differences.step:.2g} Å"
            )
        return differences

    def _judge(self, name: str, forces: np.ndarray, mismatch: float, noise: float, say: Callable[[str], None]) -> None:
        """UserError for forces that are no gradient of the energy."""
        size = float(np.sqrt(np.mean(forces**2)))
        if mismatch <= max(GRADIENT[0] + GRADIENT[1] * size, BEYOND_NOISE * noise):
            return
        told = (
            f"the forces of {self.calculator.name} are not the gradient of its energy: on a line through {name} they "
            f"differ by {mismatch:.2g} eV/Å"
        )
        if not self.allow_nonconservative:
            raise UserError(
                f"{told}, so that no potential has them, and curvature made of them is that of none; take a calculator "
                "whose forces are derivatives, or label all the same with --allow-nonconservative"
            )
        say(f"warning: {told}")

    def _require_ears(self, records: Sequence[Record]) -> None:
        """UserError where structures state a charge or multiplicity that the calculator does not look at."""
        seen = set()
        for record in records:
            atoms = record.atoms_only()
            charge, multiplicity = stated_electrons(atoms, f"structure {record.name!r}")
            lowest = lowest_multiplicity(int(record.numbers.sum()) - (charge or 0))
            unusual = bool(charge), multiplicity not in (None, lowest)
            if not any(unusual) or unusual in seen:
                continue
            seen.add(unusual)
            if self.calculator.electron_arguments(charge, multiplicity):
                continue
            silent = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            try:
                energies = [_evaluator(self._fresh(each), each)(atoms.positions)[0] for each in (atoms, silent)]
            except UserError:
                raise
            except Exception:  # it is told where the structure is labelled
                continue
            if abs(energies[1] - energies[0]) <= DEAF:
                told = f"the charge {charge:+d}" if charge else f"the multiplicity {multiplicity}"
                raise UserError(
                    f"structure {record.name!r} states {told}, which --calculator {self.calculator.name} does not "
                    "look at: its energy is the same without; take a calculator that does, or a function in a file "
                    "with the parameters charge and multiplicity, or leave such structures out"
                )

    def labels(self, atoms: Atoms, *, hessian: bool) -> Labels:
        """Labels of one structure; the stress if it is periodic in all directions and the calculator has one."""
        calculator = self._fresh(atoms)
        stress = _stress(calculator, atoms) if atoms.pbc.all() else None
        evaluate = _evaluator(calculator, atoms)
        energy, forces = evaluate(atoms.positions)
        labels = Labels(energy=energy, forces=forces, stress=stress)
        if hessian:
            raw = self._hessian(calculator, atoms, labels)
            labels.properties["asymmetry"] = float(np.abs(raw - raw.T).max())
            labels.properties["acoustic_defect"] = acoustic_defect(raw)
            labels.hessian = impose_acoustic_sum_rule(0.5 * (raw + raw.T))
            if not atoms.pbc.any():
                defect = rotational_defect(atoms.positions, forces, labels.hessian)
                labels.properties["rotational_defect"] = defect
        return labels

    def products(
        self, atoms: Atoms, labels: Labels, directions: np.ndarray
    ) -> tuple[np.ndarray, dict[str, float | str]]:
        """H·v (k, n, 3) in eV/Å², and what is known of their error."""
        if self._known.exact:
            if (hessian := labels.hessian) is None:
                raw = self._hessian(self._fresh(atoms), atoms, labels)
                hessian = 0.5 * (raw + raw.T)
            return (directions.reshape(len(directions), -1) @ hessian).reshape(directions.shape), {}
        evaluate = _evaluator(self._fresh(atoms), atoms)
        return self._along(evaluate, atoms, labels, directions, "product")

    def _hessian(self, calculator: Any, atoms: Atoms, labels: Labels) -> np.ndarray:
        """(3n, 3n) in eV/Å², not symmetrised."""
        if self._known.exact:
            own = _own_hessian(calculator, atoms)
            if own is None or not np.isfinite(own).all():
                raise NotConverged("get_hessian gives no finite (3n, 3n) matrix")
            return own
        units = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
        rows, properties = self._along(_evaluator(calculator, atoms), atoms, labels, units, "hessian")
        labels.properties.update(properties)
        return rows.reshape(len(units), -1)

    def _along(
        self, evaluate: Any, atoms: Atoms, labels: Labels, directions: np.ndarray, what: str
    ) -> tuple[np.ndarray, dict[str, float | str]]:
        assert self._known.differences is not None
        centre = labels.energy, labels.forces
        lines = [along(evaluate, atoms.positions, v, centre, self._known.differences) for v in directions]
        properties: dict[str, float | str] = {
            f"{what}_error": _rms([line.error for line in lines]),
            "difference_step": self._known.differences.step,
            "gradient_mismatch": max(
                _rms([line.mismatch for line in lines]), float(labels.properties.get("gradient_mismatch", 0.0))
            ),
        }
        return np.array([line.product for line in lines]), properties

    @property
    def _known(self) -> Prepared:
        if self.prepared is None:
            raise RuntimeError("curvature was asked of a method that was not prepared")
        return self.prepared

    def _fresh(self, atoms: Atoms) -> Any:
        """A calculator that has seen no other structure, for the charge and multiplicity of this one."""
        charge, multiplicity = stated_electrons(atoms, f"the structure {atoms.get_chemical_formula()}")
        more = self.calculator.electron_arguments(charge, multiplicity)
        calculator = _made(self.calculator.model_dump_json(), tuple(sorted(more.items())))
        if hasattr(calculator, "reset"):
            calculator.reset()
        return calculator


class _Kept(BaseModel):
    identity: dict[str, Any]
    prepared: Prepared


def _read(kept: Path, identity: dict[str, Any]) -> Prepared | None:
    """What an earlier run with the same calculator has measured, if it has."""
    try:
        content = _Kept.model_validate_json(kept.read_text())
    except (OSError, ValidationError):
        return None
    return content.prepared if content.identity == identity else None


@lru_cache(maxsize=8)
def _made(factory: str, more: tuple[tuple[str, Any], ...]) -> Any:
    """One calculator in each process for each way of calling the factory: models take long to load."""
    own = CalculatorFactory.model_validate_json(factory)
    calculator = own.make(dict(more))
    if isinstance(calculator, FileIOCalculator | GenericFileIOCalculator) and "directory" not in own.arguments:
        calculator.directory = tempfile.mkdtemp(prefix="hesspot-label-")
    return calculator


def _dressed(atoms: Atoms) -> Atoms:
    """With charge and multiplicity wherever calculators of ASE look for them."""
    dressed = atoms.copy()
    charge, multiplicity = atoms.info.get("charge"), atoms.info.get("multiplicity")
    if multiplicity is not None:
        dressed.info["spin"] = multiplicity
    if charge:
        dressed.set_initial_charges(np.full(len(atoms), charge / len(atoms)))
    if multiplicity is not None and multiplicity > 1:
        dressed.set_initial_magnetic_moments(np.full(len(atoms), (multiplicity - 1) / len(atoms)))
    return dressed


def _evaluator(calculator: GetPropertiesMixin, atoms: Atoms) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    moved = _dressed(atoms)

    def evaluate(positions: np.ndarray) -> tuple[float, np.ndarray]:
        moved.positions = positions
        forces = np.array(calculator.get_forces(moved), dtype=np.float64)
        try:
            energy = float(calculator.get_potential_energy(moved, force_consistent=True))
        except PropertyNotImplementedError:
            energy = float(calculator.get_potential_energy(moved))
        if forces.shape != (len(moved), 3):
            raise NotConverged(f"the calculator gives forces of shape {forces.shape} for {len(moved)} atoms")
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise NotConverged("the calculator gives an energy or forces that are not finite numbers")
        return energy, forces

    return evaluate


def _has_stress(calculator: Any) -> bool:
    return "stress" in (getattr(calculator, "implemented_properties", None) or ())


def _stress(calculator: GetPropertiesMixin, atoms: Atoms) -> np.ndarray | None:
    """(3, 3) in eV/Å³; None where the calculator has none."""
    if not _has_stress(calculator):
        return None
    try:
        stress = np.array(calculator.get_stress(_dressed(atoms)), dtype=np.float64)
    except PropertyNotImplementedError:
        return None
    return stress if stress.shape == (3, 3) else np.asarray(voigt_6_to_full_3x3_stress(stress))


def _own_hessian(calculator: Any, atoms: Atoms) -> np.ndarray | None:
    """(3n, 3n) of the calculator's `get_hessian`; None where it has none."""
    if not hasattr(calculator, "get_hessian"):
        return None
    matrix = np.array(calculator.get_hessian(_dressed(atoms)), dtype=np.float64)
    return matrix.reshape(3 * len(atoms), 3 * len(atoms))


def _agrees(own: np.ndarray, direction: np.ndarray, found: Measured, name: str, say: Callable[[str], None]) -> bool:
    """Whether the calculator's own Hessian is the derivative of its forces; it is told if not."""
    differences = found.differences
    product = (own @ direction.ravel()).reshape(direction.shape)
    difference, size = _rms(product - found.product), _rms(found.product)
    if difference <= OWN_HESSIAN * size + SURE * differences.force_noise / differences.step:
        say(f"curvature is that of {name}'s get_hessian, {difference:.1g} eV/Å² from differences of its forces")
        return True
    say(
        f"get_hessian of {name} differs from differences of its forces by {difference:.2g} eV/Å² where these are "
        f"{size:.2g}: differences are taken"
    )
    return False


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
