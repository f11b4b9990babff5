"""An i-PI server written from the protocol's description with `struct` alone, independent of the code under test."""

import socket
import struct

import numpy as np


def word(text):
    return text.encode().ljust(12, b" ")


def init(bead=0, text=""):
    return word("INIT") + struct.pack("=ii", bead, len(text.encode())) + text.encode()


def lattice(cell):
    """h and h⁻¹ as they travel: lattice vectors (rows of `cell`) are the columns of h, row by row."""
    h = np.array(cell, dtype=float).T
    return struct.pack("=9d", *h.flatten()) + struct.pack("=9d", *np.linalg.inv(h).flatten())


def posdata(cell, positions):
    flat = np.array(positions, dtype=float).flatten()
    return word("POSDATA") + lattice(cell) + struct.pack(f"=i{len(flat)}d", len(flat) // 3, *flat)


def batched_posdata(cells, positions):
    flat = np.array(positions, dtype=float)
    count = struct.pack("=i", flat.shape[1])
    everything = flat.flatten()
    return (
        word("POSDATA")
        + count
        + b"".join(lattice(cell) for cell in cells)
        + struct.pack(f"={len(everything)}d", *everything)
    )


class Reply:
    """Reads a driver's stream."""

    def __init__(self, sock):
        self.sock = sock

    def take(self, count):
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise EOFError(f"driver closed the stream after {len(data)} of {count} bytes")
            data += piece
        return data

    def header(self):
        return self.take(12).decode()

    def doubles(self, count):
        return np.array(struct.unpack(f"={count}d", self.take(8 * count)))

    def integer(self):
        return struct.unpack("=i", self.take(4))[0]

    def forces(self, n_atoms, n_structures=1):
        """(energies, forces, virials, extras) of an answer to GETFORCE."""
        assert self.header() == "FORCEREADY  "
        energies = self.doubles(n_structures)
        assert self.integer() == n_atoms
        forces = self.doubles(3 * n_atoms * n_structures).reshape(n_structures, n_atoms, 3)
        virials = self.doubles(9 * n_structures).reshape(n_structures, 3, 3)
        extras = [self.take(self.integer()) for _ in range(n_structures)]
        return energies, forces, virials, extras


def listen(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    server.settimeout(60.0)
    return server
