"""The state machine of a socket."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import numpy as np

from ipi_driver.evaluation.results import QuickEvaluate
from ipi_driver.serving.fast_lane import FastLane, fast_lane
from ipi_driver.serving.responder import Responder
from ipi_driver.wire import protocol
from ipi_driver.wire.protocol import Answer, Connection, Header, ProtocolError, ServerClosed, Structures


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


class Payload(Protocol):
    """How numbers travel: what follows POSDATA, and the answer to GETFORCE.

    segments: i-PI's shared memory, if numbers travel there.
    """

    @property
    def segments(self) -> Mapping[str, np.ndarray] | None: ...

    def receive(self, connection: Connection, n_atoms: int, batch_size: int) -> Structures: ...

    def message(self, answer: Answer) -> bytes: ...

    def close(self) -> None: ...


class InStream:
    """All numbers go through the socket."""

    segments = None

    def receive(self, connection: Connection, n_atoms: int, batch_size: int) -> Structures:
        return protocol.read_structures(connection, n_atoms, batch_size)

    def message(self, answer: Answer) -> bytes:
        return protocol.encode_forces(answer.energies, answer.forces, answer.virials, answer.extras)

    def close(self) -> None:
        """Nothing is held."""


class Driver:
    """Serves one connection with `responder`, for structures of `n_atoms` atoms.

    quick: what `responder` evaluates with, if that has shortcuts.
    """

    def __init__(
        self,
        connection: Connection,
        responder: Responder,
        n_atoms: int,
        payload: Payload,
        quick: QuickEvaluate | None = None,
    ):
        self.state = State.NEEDINIT
        self._connection = connection
        self._responder = responder
        self._n_atoms = n_atoms
        self._payload = payload
        self._batch_size = 1
        self._is_ase = False
        self._message = b""
        self._quick = quick
        self._lane: FastLane | None = None

    def run(self) -> str:
        """Answer messages until EXIT, or until ASE closes its end with every question answered; how it ended.

        ServerGone at any other end of the stream: i-PI says EXIT at every end that is in order. UserError for what
        cannot be answered.
        """
        while True:
            try:
                header = self._connection.read_header()
            except ServerClosed:
                answered = self._responder.calls and self.state is State.READY and self._connection.between_messages
                if self._is_ase and answered:
                    return "ASE closed the connection after its last answer, without EXIT"
                raise
            if self.state not in ALLOWED[header]:
                raise ProtocolError(
                    f"the server sent {header.name} while the driver was {self.state.value}, which i-PI never does; "
                    "check what listens at this address"
                )
            match header:
                case Header.STATUS:
                    self._connection.send(protocol.padded(self.state.value))
                case Header.INIT:
                    told = protocol.read_init(self._connection)
                    self._batch_size, self._is_ase = told.batch_size, told.text == protocol.ASES_INIT
                    self.state = State.READY
                case Header.POSDATA:
                    structures = self._payload.receive(self._connection, self._n_atoms, self._batch_size)
                    self._message = self._payload.message(self._responder(structures))
                    self.state = State.HAVEDATA
                case Header.GETFORCE:
                    self._connection.send(self._message)
                    self.state = State.READY
                    self._drive()
                case Header.EXIT:
                    return "i-PI said EXIT"

    def _drive(self) -> None:
        """Answer ordinary steps, which are like the last one, in the fast lane."""
        if self._quick is None or (shortcut := self._quick.shortcut(self._batch_size)) is None:
            return
        if self._lane is None or not self._lane.leads_to(shortcut, self._batch_size):
            self._lane = fast_lane(self._connection, shortcut, self._batch_size, self._n_atoms, self._payload.segments)
        if self._lane is None:
            return
        try:
            self._lane.drive()
        finally:
            counts = self._lane.counts()
            self._responder.calls += counts[0]
            self._quick.add_counts(*counts)
