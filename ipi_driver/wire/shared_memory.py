"""Numbers in shared memory, as i-PI's `mode='shm'` has them; the socket carries the messages.

POSDATA is followed by int32 n_atoms and, the first time, by six names (int32 length, text) of segments that i-PI owns:
positions, h, h⁻¹, energies, forces, virials of a whole batch. FORCEREADY is followed by the extras alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from ipi_driver.wire import protocol
from ipi_driver.wire.protocol import Answer, Connection, ProtocolError, Structures

KINDS = ("positions", "h", "inverse h", "energies", "forces", "virials")

#: Bytes of the name of a segment; longer ones come from a stream that is out of step.
MAX_NAME = 255


class InSharedMemory:
    """Reads structures from i-PI's segments and writes the answers there; `close` gives the segments back."""

    def __init__(self) -> None:
        self._segments: list[SharedMemory] = []
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def segments(self) -> Mapping[str, np.ndarray]:
        """i-PI's arrays; empty before the first POSDATA."""
        return self._arrays

    def receive(self, connection: Connection, n_atoms: int, batch_size: int) -> Structures:
        """What follows the header POSDATA; ProtocolError for other atoms, or segments that do not fit."""
        protocol.check_payload(n_atoms, batch_size)
        protocol.check_atoms(connection.read_int(), n_atoms)
        if not self._arrays:
            self._attach(connection, n_atoms, batch_size)
        if len(self._arrays["h"]) != batch_size:
            raise ProtocolError(
                f"i-PI announced batches of {batch_size} structures after its shared memory was made for "
                f"{len(self._arrays['h'])}; check what listens at this address"
            )
        return Structures(cells=self._arrays["h"].transpose(0, 2, 1).copy(), positions=self._arrays["positions"].copy())

    def message(self, answer: Answer) -> bytes:
        """The message that tells i-PI that the numbers are in its segments, where they now are."""
        self._arrays["energies"][:] = answer.energies
        self._arrays["forces"][:] = answer.forces
        self._arrays["virials"][:] = answer.virials
        return protocol.padded("FORCEREADY") + protocol.encode_extras(answer.extras, len(answer.energies))

    def close(self) -> None:
        self._arrays.clear()
        while self._segments:
            self._segments.pop().close()

    def _attach(self, connection: Connection, n_atoms: int, batch_size: int) -> None:
        atoms, cells = (batch_size, n_atoms, 3), (batch_size, 3, 3)
        for kind, shape in zip(KINDS, (atoms, cells, cells, (batch_size,), atoms, cells), strict=True):
            length = connection.read_int()
            if not 0 < length <= MAX_NAME:
                raise ProtocolError(
                    f"the server announced a name of {length} bytes for its {kind} in shared memory; check that the "
                    "ffsocket of i-PI's input has mode='shm'"
                )
            name = connection.read(length).decode("utf-8", errors="replace")
            segment = _open(name, kind)
            self._segments.append(segment)
            if segment.size < 8 * int(np.prod(shape)):
                raise ProtocolError(
                    f"the shared memory {name!r} for i-PI's {kind} has {segment.size} bytes, too few for {batch_size} "
                    f"structures of {n_atoms} atoms; give --template the structure of i-PI's input"
                )
            self._arrays[kind] = np.ndarray(shape, dtype=np.float64, buffer=segment.buf)


def _open(name: str, kind: str) -> SharedMemory:
    """A segment that stays i-PI's: this process's resource tracker must not remove it."""
    try:
        if sys.version_info >= (3, 13):
            return SharedMemory(name=name, track=False)
        segment = SharedMemory(name=name)
        resource_tracker.unregister(segment._name, "shared_memory")  # type: ignore[attr-defined]
        return segment
    except (OSError, ValueError) as error:
        raise ProtocolError(
            f"the shared memory {name!r} for i-PI's {kind} cannot be opened ({error}); run the driver on the machine "
            "of i-PI and as the same user, or use a unix or inet socket"
        ) from error
