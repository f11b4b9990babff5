"""The wire layer of i-PI's socket protocol: exact reads, exact writes, nothing else.

Headers are 12 bytes, upper case, padded with spaces; numbers are native-endian int32 and float64 in atomic units.

========== ============================================================ ==========================================
message    what follows                                                 answer
========== ============================================================ ==========================================
STATUS                                                                  NEEDINIT, READY or HAVEDATA
INIT       int32 bead, int32 length, text                               none
POSDATA    h (9), h⁻¹ (9), int32 n, positions (3n)                      none
POSDATA    batched: int32 n, N × (h, h⁻¹), N × positions                none
GETFORCE                                                                FORCEREADY, energies, n, forces, …
EXIT                                                                    none; the driver ends
========== ============================================================ ==========================================

A batch is announced by `batch_size:N` in the text of INIT. h holds the lattice vectors as columns. The server may
send POSDATA and GETFORCE in one piece, and any piece may arrive split anywhere.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hesspot.errors import UserError
from ipi_driver.native.library import structures

HEADER_LENGTH = 12

#: The text of INIT from ASE's SocketIOCalculator, the only server known that closes the connection without EXIT.
ASES_INIT = "\0"

#: A longer text in INIT comes from a stream that is out of step.
MAX_INIT_LENGTH = 1 << 20

#: Bytes of positions and cells in one message; more comes from a stream that is out of step.
MAX_PAYLOAD = 1 << 31

#: Bytes that are made room for at once, so that a length alone, without the bytes, takes no memory.
CHUNK = 1 << 22

#: Bytes that are taken from the operating system at once.
BUFFER = 1 << 16

#: Seconds that a closing driver waits for the server to close its end.
LINGER = 2.0


class Header(Enum):
    """What the server can ask."""

    STATUS = b"STATUS"
    INIT = b"INIT"
    POSDATA = b"POSDATA"
    GETFORCE = b"GETFORCE"
    EXIT = b"EXIT"


#: Headers by their bytes on the wire.
HEADERS = {header.value.ljust(HEADER_LENGTH): header for header in Header}


class ProtocolError(UserError):
    """The server sent what i-PI's protocol does not have."""


class ServerGone(UserError):
    """The connection ended without EXIT."""


class ServerClosed(ServerGone):
    """The server closed its end in order: it is done, or it was killed between two messages."""


class Connection:
    """One connected stream socket, read in exact amounts however the bytes arrive."""

    def __init__(self, sock: socket.socket):
        sock.settimeout(None)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket = sock
        self._buffer = np.empty(BUFFER, dtype=np.uint8)
        #: Bytes that came and were not taken, `first` to `last` of `bytes`; `Window` of fast_lane.h.
        self.window = structures()["Window"](BUFFER, 0, 0, self._buffer.ctypes.data)

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    @property
    def between_messages(self) -> bool:
        """Whether every byte that came was taken."""
        return self.window.first == self.window.last

    def make_room(self, size: int) -> None:
        """For `size` bytes that can lie in the window at once."""
        window, waiting = self.window, self._waiting()
        if size > window.capacity:
            self._buffer = np.empty(size, dtype=np.uint8)
            self._buffer[: len(waiting)] = waiting
            window.capacity, window.bytes = size, self._buffer.ctypes.data
            window.first, window.last = 0, len(waiting)

    def read(self, length: int) -> bytes | bytearray:
        """Exactly `length` bytes; ServerGone if the stream ends before."""
        if length <= CHUNK:
            return self._exactly(length)
        data = bytearray()
        while len(data) < length:
            data += self._exactly(min(length - len(data), CHUNK))
        return data

    def _waiting(self) -> np.ndarray:
        return self._buffer[self.window.first : self.window.last]

    def _exactly(self, length: int) -> bytes | bytearray:
        window = self.window
        if window.last - window.first < length <= window.capacity:
            self._fill(length)
        end = window.first + length
        if end <= window.last:
            data = self._buffer[window.first : end].tobytes()
            window.first = end
            return data
        waiting = self._waiting().tobytes()
        window.first = window.last = 0
        return self._longer(waiting, length)

    def _fill(self, length: int) -> None:
        """At least `length` bytes into the window."""
        window, waiting = self.window, self._waiting()
        if window.first + length > window.capacity:
            self._buffer[: len(waiting)] = waiting.copy()
            window.first, window.last = 0, len(waiting)
        view = self._buffer.data
        while window.last - window.first < length:
            window.last += self._receive(view[window.last :])

    def _longer(self, waiting: bytes, length: int) -> bytearray:
        """`length` bytes, more than the window holds, of which the first are `waiting`."""
        data = bytearray(length)
        data[: len(waiting)] = waiting
        have, view = len(waiting), memoryview(data)
        while have < length:
            have += self._receive(view[have:])
        return data

    def _receive(self, place: memoryview) -> int:
        try:
            count = self._socket.recv_into(place)
        except OSError as error:
            raise ServerGone(f"the connection to i-PI broke ({error.strerror}); look at i-PI's own output") from error
        if not count:
            raise ServerClosed(
                "i-PI closed the connection without saying EXIT, so it was killed or it failed; look at its output"
            )
        return count

    def read_header(self) -> Header:
        """The next message's header; ProtocolError if it is none of the server's."""
        raw = self._exactly(HEADER_LENGTH)
        header = HEADERS.get(bytes(raw))
        if header is None:
            raise ProtocolError(
                f"the server sent the message {raw!r}, which i-PI's protocol does not have; "
                "check that an i-PI server listens at this address"
            )
        return header

    def read_int(self) -> int:
        """One native-endian int32."""
        return int.from_bytes(self._exactly(4), sys.byteorder, signed=True)

    def read_floats(self, count: int) -> np.ndarray:
        """(count,) native-endian float64."""
        return np.frombuffer(self.read(8 * count), dtype=np.float64)

    def send(self, message: bytes) -> None:
        """Send all of `message`; ServerGone if the connection breaks."""
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise ServerGone(f"the connection to i-PI broke ({error.strerror}); look at i-PI's own output") from error

    def close(self) -> None:
        """Say that nothing more comes, read what the server still sends until it closes too, then close.

        A socket closed with unread data resets the connection, and that kills the polling thread of i-PI 3.3,
        which then hangs for ever.
        """
        deadline = time.monotonic() + LINGER
        try:
            self._socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(1 << 16):
                    break
        except OSError:
            pass
        self._socket.close()


@dataclass(frozen=True)
class Init:
    """INIT: index of the first structure, number of structures in each POSDATA, and the whole text."""

    bead: int
    batch_size: int
    text: str


@dataclass(frozen=True, eq=False)
class Structures:
    """POSDATA: lattice vectors as rows (n_structures, 3, 3) and positions (n_structures, n_atoms, 3), Bohr."""

    cells: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True, eq=False)
class Answer:
    """Energies (N,) Hartree, forces (N, n_atoms, 3) Hartree/Bohr, virials (N, 3, 3) Hartree; N extras or none."""

    energies: np.ndarray
    forces: np.ndarray
    virials: np.ndarray
    extras: Sequence[bytes] = ()


def read_init(connection: Connection) -> Init:
    """What follows the header INIT. Tokens other than `batch_size:N` are left in the text."""
    bead, length = connection.read_int(), connection.read_int()
    if not 0 <= length <= MAX_INIT_LENGTH:
        raise ProtocolError(f"the server announced an INIT text of {length} bytes; check what listens at this address")
    text = connection.read(length).decode("utf-8", errors="replace")
    return Init(bead, parse_batch_size(text), text)


def parse_batch_size(text: str) -> int:
    """N of the token `batch_size:N` among comma-separated ones; 1 without it."""
    for token in text.split(","):
        key, _, value = token.partition(":")
        if key.strip() == "batch_size":
            number = value.strip()
            if not (number.isascii() and number.isdigit() and 1 <= int(number) < 1 << 31):
                raise ProtocolError(f"the server announced batch_size {number!r} in INIT; it must be a positive number")
            return int(number)
    return 1


def read_structures(connection: Connection, n_atoms: int, batch_size: int) -> Structures:
    """What follows the header POSDATA; ProtocolError if the server's number of atoms is not `n_atoms`."""
    check_payload(n_atoms, batch_size)
    if batch_size == 1:
        cells = connection.read_floats(18)
        check_atoms(connection.read_int(), n_atoms)
    else:
        check_atoms(connection.read_int(), n_atoms)
        cells = connection.read_floats(18 * batch_size)
    positions = connection.read_floats(3 * n_atoms * batch_size)
    return Structures(
        cells=cells.reshape(batch_size, 2, 3, 3)[:, 0].transpose(0, 2, 1),
        positions=positions.reshape(batch_size, n_atoms, 3),
    )


def check_payload(n_atoms: int, batch_size: int) -> None:
    """ProtocolError for a batch that no message can hold."""
    size = 8 * batch_size * (18 + 3 * n_atoms)
    if size > MAX_PAYLOAD:
        raise ProtocolError(
            f"a batch of {batch_size} structures of {n_atoms} atoms needs {size} bytes in one message, more than "
            f"{MAX_PAYLOAD}; choose a smaller batch_size in the forcefield of i-PI's input"
        )


def check_atoms(sent: int, expected: int) -> None:
    """ProtocolError if i-PI's number of atoms is not the template's."""
    if sent != expected:
        raise ProtocolError(
            f"i-PI sent {sent} atoms, but the template has {expected}; give --template the structure of i-PI's input"
        )


def padded(word: str) -> bytes:
    """A header as it goes over the wire."""
    return word.encode("ascii").ljust(HEADER_LENGTH)


def encode_forces(energies: np.ndarray, forces: np.ndarray, virials: np.ndarray, extras: Sequence[bytes] = ()) -> bytes:
    """The answer to GETFORCE for a batch of N structures: in i-PI's layout, N = 1 has no layout of its own.

    energies (N,) Hartree, forces (N, n_atoms, 3) Hartree/Bohr, virials (N, 3, 3) Hartree; extras N texts in UTF-8
    (none of them is the same as N empty ones), whose lengths are counted in bytes.
    """
    parts = [
        padded("FORCEREADY"),
        np.asarray(energies, dtype=np.float64).tobytes(),
        np.int32(forces.shape[1]).tobytes(),
        np.asarray(forces, dtype=np.float64).tobytes(),
        np.asarray(virials, dtype=np.float64).tobytes(),
        encode_extras(extras, len(energies)),
    ]
    return b"".join(parts)


def encode_extras(extras: Sequence[bytes], count: int) -> bytes:
    """`count` texts, each after its length in bytes as int32; no extras are `count` empty ones."""
    if not extras:
        return bytes(4 * count)
    return b"".join(np.int32(len(text)).tobytes() + text for text in extras)


def decode_extras(data: bytes, count: int) -> tuple[bytes, ...]:
    """The reverse of `encode_extras`."""
    texts, begin = [], 0
    for _ in range(count):
        end = begin + 4 + int.from_bytes(data[begin : begin + 4], sys.byteorder)
        texts.append(data[begin + 4 : end])
        begin = end
    return tuple(texts)


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether no array holds NaN or infinity; a finite sum of squares of finite numbers is the cheap proof."""
    return all(math.isfinite(float(np.vdot(a, a))) or bool(np.isfinite(a).all()) for a in arrays)
