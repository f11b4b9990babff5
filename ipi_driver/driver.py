"""The state machine between i-PI and a model."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

import ase
import ase.io

from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR
from ipi_driver import protocol
from ipi_driver.evaluator import EvaluationError, Evaluator
from ipi_driver.protocol import Connection, Header, ProtocolError, all_finite
from ipi_driver.template import check_order


class State(Enum):
    """What the driver answers to STATUS."""

    NEEDINIT = "NEEDINIT"
    READY = "READY"
    HAVEDATA = "HAVEDATA"


#: The states in which a message makes sense.
ALLOWED = {
    Header.STATUS: set(State),
    Header.INIT: {State.NEEDINIT, State.READY},
    Header.POSDATA: {State.READY},
    Header.GETFORCE: {State.HAVEDATA},
    Header.EXIT: set(State),
}


class Driver:
    """Serves one connection with one evaluator.

    A structure without a finite answer is written to `failed` (extended XYZ) and ends the driver; no such number is
    ever sent. `calls` counts the evaluations, batches counting once.
    """

    def __init__(self, connection: Connection, evaluator: Evaluator, template: ase.Atoms, failed: Path):
        self.connection = connection
        self.evaluator = evaluator
        self.template = template
        self.failed = failed
        self.state = State.NEEDINIT
        self.batch_size = 1
        self.calls = 0
        self._answer = b""

    def run(self) -> None:
        """Answer messages until EXIT. ServerGone at the end of the stream, UserError for what cannot be answered."""
        while True:
            header = self.connection.read_header()
            if self.state not in ALLOWED[header]:
                raise ProtocolError(
                    f"the server sent {header.name} while the driver was {self.state.value}, which i-PI never does; "
                    "check what listens at this address"
                )
            match header:
                case Header.STATUS:
                    self.connection.send(protocol.padded(self.state.value))
                case Header.INIT:
                    self.batch_size = protocol.read_init(self.connection).batch_size
                    self.state = State.READY
                case Header.POSDATA:
                    self._answer = self._evaluate()
                    self.state = State.HAVEDATA
                case Header.GETFORCE:
                    self.connection.send(self._answer)
                    self.state = State.READY
                case Header.EXIT:
                    return

    def _evaluate(self) -> bytes:
        structures = protocol.read_structures(self.connection, len(self.template), self.batch_size)
        positions, cells = structures.positions * BOHR, structures.cells * BOHR
        if self.calls == 0 and all_finite(positions):
            check_order(self.template, positions[0])
        try:
            results = self.evaluator(positions, cells)
        except EvaluationError as error:
            atoms = ase.Atoms(
                self.template.numbers,
                positions=positions[error.index],
                cell=cells[error.index],
                pbc=self.evaluator.pbc,
            )
            write_atomically(self.failed, atoms)
            raise UserError(
                f"{error} for structure {error.index} of {len(positions)} in evaluation {self.calls}; the structure is "
                f"in {self.failed}, and nothing was sent to i-PI: look at the run that led there (time step, start "
                "structure) and at the training data near it"
            ) from error
        self.calls += 1
        return protocol.encode_forces(
            results.energy / HARTREE, results.forces / HARTREE_PER_BOHR, results.virial / HARTREE
        )


def write_atomically(path: Path, atoms: ase.Atoms) -> None:
    """Write extended XYZ so that the file is whole or not there."""
    part = path.with_name(path.name + ".part")
    ase.io.write(part, atoms, format="extxyz")
    os.replace(part, path)
