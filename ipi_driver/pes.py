"""A potential for i-PI's own Python driver (`i-pi-py_driver -m custom -P FILE`) and for its `<ffdirect>`.

    i-pi-py_driver -u -a ADDRESS -m custom -P FILE -o model=model.pt,template=start.xyz
    <ffdirect name='hesspot'>
      <pes>custom</pes> <pes_path>FILE</pes_path> <parameters>{model: model.pt, template: start.xyz}</parameters>
    </ffdirect>

FILE is the path of this module, which i-PI imports by that path.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.devices import DTYPES
from hesspot.errors import UserError
from ipi_driver.evaluation.evaluator import SKIN
from ipi_driver.evaluation.load import open_evaluator
from ipi_driver.serving.responder import Responder
from ipi_driver.settings import Dtype
from ipi_driver.template import Periodicity
from ipi_driver.wire.protocol import Structures

__DRIVER_NAME__ = "hesspot"
__DRIVER_CLASS__ = "HesspotPES"

PERIODICITY: dict[str, Periodicity] = {"auto": "auto", "true": "true", "false": "false"}

#: Energy Ha, forces (n, 3) Ha/Bohr, virial (3, 3) Ha, extra string.
Result = tuple[float, np.ndarray, np.ndarray, str]


class HesspotPES:
    """An exported model as i-PI's Python driver calls it.

    model: path of the exported file; template: the structure that i-PI starts from; dtype, device and pbc as the
    options of `hesspot-ipi`. i-PI adds `verbosity`, which changes nothing. UserError for what cannot be answered.
    """

    def __init__(
        self,
        model: str,
        template: str,
        dtype: Dtype = "float64",
        device: str = "cpu",
        pbc: str | bool = "auto",
        verbosity: object = None,
    ):
        directions = str(pbc).strip().lower()
        if directions not in PERIODICITY:
            raise UserError(f"pbc={pbc} of the hesspot potential is not known; use {', '.join(PERIODICITY)}")
        if dtype not in DTYPES:
            raise UserError(f"dtype={dtype} of the hesspot potential is not known; use {' or '.join(DTYPES)}")
        evaluator, self.template = open_evaluator(
            Path(model.strip()), Path(template.strip()), dtype, device, PERIODICITY[directions], SKIN, print
        )
        failed = Path(f"hesspot-ipi-failed-{os.getpid()}.xyz")
        self._answers = Responder(evaluator, self.template, evaluator.pbc, failed)

    def __call__(self, cell: Any, pos: Any) -> Result | list[Result]:
        """One structure, or lists of structures: cell (3, 3) Bohr, lattice vectors as columns; pos (n, 3) Bohr."""
        if isinstance(cell, list):
            return self._evaluate(cell, pos)
        return self._evaluate([cell], [pos])[0]

    def _evaluate(self, cells: Sequence[np.ndarray], positions: Sequence[np.ndarray]) -> list[Result]:
        where = np.array([np.asarray(structure).reshape(-1, 3) for structure in positions])
        if where.shape[1] != len(self.template):
            raise UserError(
                f"i-PI has {where.shape[1]} atoms, the template {len(self.template)}; give the file i-PI starts from"
            )
        answer = self._answers(Structures(cells=np.array([np.asarray(cell).T for cell in cells]), positions=where))
        return [
            (float(energy), forces, virial, "")
            for energy, forces, virial in zip(answer.energies, answer.forces, answer.virials, strict=True)
        ]
