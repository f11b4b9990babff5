"""From what i-PI asks to what it gets: units, the check of the template, and structures that have no answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np

from hesspot.errors import UserError
from hesspot.files import replacing
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR
from ipi_driver.evaluation.results import Evaluate, EvaluationError
from ipi_driver.template import check_order
from ipi_driver.wire.protocol import Answer, Structures, all_finite


class Responder:
    """Answers structures with an evaluator, in atomic units.

    template: the atoms in i-PI's order; pbc: its periodic directions. A structure without a finite answer is written to
    `failed` (extended XYZ) before the driver ends: no such number is ever sent. `calls` counts the evaluations,
    batches counting once.
    """

    def __init__(self, evaluate: Evaluate, template: ase.Atoms, pbc: Sequence[bool] | np.ndarray, failed: Path):
        self.template = template
        self.calls = 0
        self._evaluate = evaluate
        self._pbc = pbc
        self._failed = failed

    def __call__(self, structures: Structures) -> Answer:
        """The answer; UserError for what cannot be answered."""
        positions, cells = structures.positions * BOHR, structures.cells * BOHR
        if self.calls == 0 and all_finite(positions):
            check_order(self.template, positions[0])
        self._check_handedness(cells)
        try:
            results = self._evaluate(positions, cells)
        except EvaluationError as error:
            atoms = ase.Atoms(
                self.template.numbers, positions=positions[error.index], cell=cells[error.index], pbc=self._pbc
            )
            with replacing(self._failed) as part:
                ase.io.write(part, atoms, format="extxyz")
            raise UserError(
                f"{error} for structure {error.index} of {len(positions)} in evaluation {self.calls}; the structure is "
                f"in {self._failed}, and nothing was sent to i-PI: look at the run that led there (time step, start "
                "structure) and at the training data near it"
            ) from error
        self.calls += 1
        return Answer(
            results.energy / HARTREE, results.forces / HARTREE_PER_BOHR, results.virial / HARTREE, results.extras
        )

    def _check_handedness(self, cells: np.ndarray) -> None:
        """UserError for lattice vectors whose volume i-PI takes for negative, and with it the sign of the pressure."""
        with np.errstate(all="ignore"):  # what is not finite is said by the evaluator
            left_handed = any(self._pbc) and (np.linalg.det(cells) < 0.0).any()
        if left_handed:
            raise UserError(
                "i-PI sent left-handed lattice vectors, so that its volume is negative and its pressure has the wrong "
                "sign; start it from the same lattice with all three vectors negated (atoms.set_cell(-atoms.cell)), as "
                "hesspot ipi-input writes it"
            )
