"""Damaged and hostile streams, and what a driver must answer to them by the description of the protocol alone.

    python tests/ipi/fuzz.py 1000000

feeds that many messages. Every byte that the driver sends is compared with an interpreter of its own. What the driver
takes for ordinary steps it answers in C++, with the numbers of a thread that stands for a worker.
"""

import random
import socket
import struct
import sys
import threading

import ase
import numpy as np
from ipi_server import batched_posdata, init, posdata, word

from hesspot.errors import UserError
from ipi_driver.evaluation.results import Shortcut
from ipi_driver.serving import fast_lane
from ipi_driver.serving.driver import Driver, InStream
from ipi_driver.wire.protocol import Answer, Connection

N_ATOMS = 2
ATOMS = ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])
#: At most; fewer steps in the lane would test it too little.
MESSAGES_PER_STEP_IN_LANE = 20
COMMANDS = {b"STATUS", b"INIT", b"POSDATA", b"GETFORCE", b"EXIT"}


class Ended(Exception):
    """The driver must end here."""


class Sums:
    """Numbers that tell which bytes they come from: sums of positions, the positions, the cell; in the server's units.

    A thread gives the same to the fast lane, and an error for numbers that are not finite.
    """

    def __init__(self):
        self.calls = self.in_lane = 0
        ours, theirs = socket.socketpair()
        self._shortcut = Shortcut(pipe=ours.detach())
        threading.Thread(target=self.work, args=(theirs,), daemon=True).start()

    def __call__(self, structures):
        self.calls += 1
        positions = structures.positions
        return Answer(positions.sum((1, 2)), positions, structures.cells.transpose(0, 2, 1))

    def shortcut(self, n_structures):
        return self._shortcut

    def add_counts(self, calls, n_structures, seconds):
        self.in_lane += calls

    def work(self, pipe):
        stream = pipe.makefile("rb")
        while head := stream.read(8):
            (n,) = struct.unpack("=q", head)
            numbers = np.frombuffer(stream.read(8 * n * (9 + 3 * N_ATOMS)))
            cells, positions = numbers[: 9 * n].reshape(n, 3, 3), numbers[9 * n :].reshape(n, N_ATOMS, 3)
            wrong = b"" if np.isfinite(numbers).all() else b"not finite"
            columns = np.ascontiguousarray(cells.transpose(0, 2, 1))
            answer = positions.sum((1, 2)).tobytes() + positions.tobytes() + columns.tobytes()
            pipe.sendall(struct.pack("=qq", bool(wrong), len(wrong)) + answer + wrong)


class Interpreter:
    """What must be sent for a stream: `sent`, and `kind`, how it ends."""

    def __init__(self, stream):
        self.stream, self.at, self.sent, self.messages = stream, 0, b"", 0
        self.kind = None
        state, batch, held = b"NEEDINIT", 1, b""
        try:
            while True:
                if state == b"READY" and b"FORCEREADY" in self.sent and self.at == len(self.stream):
                    self.kind = "exit"
                    return
                header = self.take(12).rstrip(b" ")
                self.messages += 1
                if header not in COMMANDS:
                    raise Ended
                if header == b"EXIT":
                    self.kind = "exit"
                    return
                if header == b"STATUS":
                    self.sent += state.ljust(12)
                elif header == b"INIT" and state != b"HAVEDATA":
                    _, length = struct.unpack("=ii", self.take(8))
                    if not 0 <= length <= 1 << 20:
                        raise Ended
                    batch = self.batch_of(self.take(length).decode(errors="replace"))
                    state = b"READY"
                elif header == b"POSDATA" and state == b"READY":
                    held = self.evaluate(batch)
                    state = b"HAVEDATA"
                elif header == b"GETFORCE" and state == b"HAVEDATA":
                    self.sent += held
                    state = b"READY"
                else:
                    raise Ended
        except Ended:
            self.kind = "error"

    def take(self, count):
        if self.at + count > len(self.stream):
            raise Ended
        self.at += count
        return self.stream[self.at - count : self.at]

    def batch_of(self, text):
        for token in text.split(","):
            key, _, value = token.partition(":")
            if key.strip() == "batch_size":
                value = value.strip()
                if not (value.isascii() and value.isdigit() and 0 < int(value) < 2**31):
                    raise Ended
                return int(value)
        return 1

    def evaluate(self, batch):
        if 8 * batch * (18 + 3 * N_ATOMS) > 1 << 31:
            raise Ended
        cells = [self.take(144)] if batch == 1 else None
        if struct.unpack("=i", self.take(4))[0] != N_ATOMS:
            raise Ended
        if cells is None:
            raw = self.take(144 * batch)
            cells = [raw[144 * k : 144 * (k + 1)] for k in range(batch)]
        raw = self.take(24 * N_ATOMS * batch)
        positions = [np.frombuffer(raw[24 * N_ATOMS * k : 24 * N_ATOMS * (k + 1)]) for k in range(batch)]
        message = b"FORCEREADY  " + np.array([p.reshape(-1, 3).sum() for p in positions]).tobytes()
        message += struct.pack("=i", N_ATOMS) + raw + b"".join(cell[:72] for cell in cells)
        return message + bytes(4 * batch)


def stream_of(rng):
    """A legal conversation, mostly damaged somewhere."""
    batch = rng.choice([1, 1, 2, 3])
    text = rng.choice(["", "key : 1 ,", "é,"]) + (f" batch_size:{batch}" if batch > 1 else "")
    parts = [init(rng.randrange(100), text)]
    for _ in range(rng.randrange(8)):
        parts += [word("STATUS")] * rng.randrange(2)
        positions = [[[rng.uniform(-9, 9) for _ in range(3)] for _ in range(N_ATOMS)] for _ in range(batch)]
        cell = np.eye(3) * rng.uniform(5, 9)
        parts.append(posdata(cell, positions[0]) if batch == 1 else batched_posdata([cell] * batch, positions))
        parts += [word("STATUS")] * rng.randrange(2)
        parts.append(word("GETFORCE"))
    parts.append(word("EXIT"))
    damage = rng.randrange(10)
    if damage < 3:
        at = rng.randrange(len(parts))
        parts[at:at] = rng.choice(
            [[], [rng.choice(parts)], [rng.randbytes(rng.randrange(40))], [word("GETFORCE")], [init(0, "batch_size:7")]]
        )
    if damage == 3:
        rng.shuffle(parts)
    if damage == 4:
        size = rng.choice([0, -1, 5, 10**6, 10**9, 10**40])
        parts[0] = init(0, f"batch_size:{size}")
    if damage == 5:
        parts[0] = word("INIT") + struct.pack("=ii", 0, rng.choice([-1, 1, 100, 2**31 - 1, -(2**31)]))
    stream = bytearray(b"".join(parts))
    if damage in (6, 7):
        for _ in range(rng.randrange(1, 4)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
    if damage == 8:
        at = rng.randrange(len(stream))
        del stream[at : at + rng.randrange(1, 20)]
    if rng.randrange(8) == 0:
        del stream[rng.randrange(len(stream) + 1) :]
    return bytes(stream)


def check(stream, sums):
    """Feed a stream to a driver with `Sums`, and count the messages it understood.

    AssertionError if it does what it must not.
    """
    server, client = socket.socketpair()
    with server:
        server.sendall(stream)
        server.shutdown(socket.SHUT_WR)
        connection = Connection(client)
        kind, sums.calls = "exit", 0
        try:
            Driver(connection, sums, N_ATOMS, InStream(), sums).run()
        except UserError as error:
            kind = "error"
            assert "\n" not in str(error)
        finally:
            connection.close()
        sent = b""
        while piece := server.recv(1 << 16):
            sent += piece
    wanted = Interpreter(stream)
    assert kind == wanted.kind, (stream, kind)
    assert sent == wanted.sent, stream
    return wanted.messages


def main(messages):
    fast_lane.BOHR = fast_lane.HARTREE = fast_lane.HARTREE_PER_BOHR = 1.0
    done, streams, rng, sums = 0, 0, random.Random(1), Sums()
    while done < messages:
        done += max(check(stream_of(rng), sums), 1)
        streams += 1
    assert sums.in_lane > done / MESSAGES_PER_STEP_IN_LANE
    print(
        f"{done} messages in {streams} streams, {sums.in_lane} steps in the fast lane: no crash, no hang, "
        "every byte as it must be"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
