"""Shared memory against segments made by hand as i-PI's SHMDriver makes them."""

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path

import ase
import numpy as np
import pytest
from ipi_server import Reply, init, word

from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR
from ipi_driver.evaluation.results import Results
from ipi_driver.serving.driver import Driver
from ipi_driver.serving.responder import Responder
from ipi_driver.wire.protocol import Connection, ProtocolError
from ipi_driver.wire.shared_memory import InSharedMemory

ATOMS = ase.Atoms("OH2", positions=[[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]])

#: Conversions of units there and back, relative.
ROUNDING = 1e-13


def well(positions, cells):
    """E = ½Σx², F = −x, and a virial equal to the cell."""
    return Results(0.5 * (positions**2).sum((1, 2)), -positions, cells, (b'{"a": 1}',) * len(positions))


@contextlib.contextmanager
def segments(batch, n_atoms=3):
    """i-PI's six, in the order of its message: names and arrays."""
    shapes = [(batch, n_atoms, 3), (batch, 3, 3), (batch, 3, 3), (batch,), (batch, n_atoms, 3), (batch, 3, 3)]
    paths = [Path(f"/dev/shm/test_{os.getpid()}_{k}") for k in range(len(shapes))]
    for path, shape in zip(paths, shapes, strict=True):
        path.write_bytes(bytes(8 * int(np.prod(shape))))
    arrays = [np.memmap(path, float, "r+", shape=shape) for path, shape in zip(paths, shapes, strict=True)]
    try:
        yield [path.name for path in paths], arrays
    finally:
        for path in paths:
            path.unlink()


def start():
    server, client = socket.socketpair()
    server.settimeout(30.0)
    outcome = []

    def serve():
        connection, payload = Connection(client), InSharedMemory()
        try:
            Driver(connection, Responder(well, ATOMS, ATOMS.pbc, None), 3, payload).run()
            outcome.append(None)
        except UserError as error:
            outcome.append(error)
        finally:
            payload.close()
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return server, thread, outcome


def named(names):
    return b"".join(struct.pack("=i", len(name)) + name.encode() for name in names)


@pytest.mark.parametrize("batch", [1, 3])
def test_numbers_travel_in_both_directions(batch, rng):
    server, thread, outcome = start()
    reply = Reply(server)
    with segments(batch) as (names, (pos, h, _, pot, force, vir)):
        server.sendall(init(0, f"batch_size:{batch}"))
        for step in range(3):
            cells = 20 * np.eye(3) + rng.uniform(-1, 1, (batch, 3, 3))
            x = rng.uniform(-5, 5, (batch, 3, 3))
            pos[:], h[:] = x, cells.transpose(0, 2, 1)
            server.sendall(word("POSDATA") + struct.pack("=i", 3) + (b"" if step else named(names)) + word("GETFORCE"))
            assert reply.header() == "FORCEREADY  "
            assert [reply.take(reply.integer()) for _ in range(batch)] == [b'{"a": 1}'] * batch
            np.testing.assert_allclose(pot, 0.5 * ((x * BOHR) ** 2).sum((1, 2)) / HARTREE, rtol=ROUNDING)
            np.testing.assert_allclose(force, -x * BOHR / HARTREE_PER_BOHR, rtol=ROUNDING)
            np.testing.assert_allclose(vir, cells * BOHR / HARTREE, rtol=ROUNDING)
        server.sendall(word("EXIT"))
        server.close()
        thread.join(30.0)
        assert outcome == [None]
        assert all(os.path.exists(f"/dev/shm/{name}") for name in names), "the segments are i-PI's to remove"


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (lambda names: struct.pack("=i", 4) + named(names), ["4 atoms", "has 3"]),
        (lambda names: struct.pack("=i", 3) + struct.pack("=i", -1), ["-1 bytes", "mode='shm'"]),
        (lambda names: struct.pack("=i", 3) + struct.pack("=i", 1 << 30), ["1073741824 bytes", "mode='shm'"]),
        (lambda names: struct.pack("=i", 3) + named(["no_such_segment"]), ["no_such_segment", "machine"]),
        (lambda names: struct.pack("=i", 3) + named(["a/../b"]), ["a/../b", "machine"]),
        (lambda names: struct.pack("=i", 3) + named(["a\0b"]), ["machine"]),
        (lambda names: struct.pack("=i", 3) + named(["é" * 20]), ["machine"]),
        (lambda names: struct.pack("=i", 3) + named(names) + word("GETFORCE") + init(0, "batch_size:900") +
         word("POSDATA") + struct.pack("=i", 3), ["900 structures"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(after, words):
    server, thread, outcome = start()
    with segments(2) as (names, (pos, h, *_)):
        pos[:], h[:] = 1.0, np.eye(3)
        server.sendall(init(0, "batch_size:2") + word("POSDATA") + after(names))
        server.shutdown(socket.SHUT_WR)
        while server.recv(1 << 16):
            pass
        server.close()
        thread.join(30.0)
    assert type(outcome[0]) is ProtocolError
    assert "\n" not in str(outcome[0])
    for part in words:
        assert part in str(outcome[0])


def test_segments_too_small_are_refused():
    server, thread, outcome = start()
    with segments(1, n_atoms=3) as (names, _):
        server.sendall(init(0, "batch_size:100") + word("POSDATA") + struct.pack("=i", 3) + named(names))
        assert server.recv(1) == b""
        server.close()
        thread.join(30.0)
    assert "too few" in str(outcome[0])
