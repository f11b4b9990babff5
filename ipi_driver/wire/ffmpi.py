"""i-PI's `<ffmpi>`: i-PI is rank 0 of the same MPI job, and messages take the place of the socket.

Tags HELLO … EXIT as in `ipi/interfaces/mpi.py` of i-PI 3.3. A group of driver ranks answers through its first rank.

======= ============================================================= ==================================================
tag     to i-PI                                                       from i-PI
======= ============================================================= ==================================================
HELLO   int32 (rank, size, members of the group), then bytes (name)
INIT                                                                  int32 (request, length), then bytes (text)
WORK                                                                  int32 (n_atoms, N), then N × (h, h⁻¹, positions)
RESULT  N × (energy, forces, virial)
EXTRA   N × (int32 length, bytes)
EXIT                                                                  int32
======= ============================================================= ==================================================
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hesspot.errors import UserError
from ipi_driver.wire.protocol import Answer, ProtocolError, Structures, check_atoms, check_payload, encode_extras

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

SERVER = 0
#: Seconds between looks for a message: MPI's own waiting takes a core, and i-PI itself looks every 1e-4 s.
POLL = 5e-5

HELLO, INIT, WORK, RESULT, EXTRA, EXIT = 1, 2, 3, 4, 5, 6


def join(world: Comm, name: str, group_size: int) -> Comm:
    """This rank's group of `group_size` drivers (the last may be smaller) of the forcefield `name`; tell i-PI of it.

    UserError if this is the rank that must be i-PI's.
    """
    from mpi4py import MPI

    if world.rank == SERVER:
        raise UserError(
            "hesspot-ipi --ffmpi is rank 0, which must be i-PI; write mpirun -n 1 i-pi input.xml : -n N hesspot-ipi …"
        )
    drivers = world.Split(1 + zlib.crc32(name.encode()) % (1 << 30), world.rank)  # i-PI splits off with colour 0
    group = drivers.Split(drivers.rank // group_size, drivers.rank)
    members = group.allgather(world.rank)
    if group.rank == 0:
        hello = np.array([world.rank, len(members), *members], dtype=np.int32)
        world.Send([hello, MPI.INT], SERVER, HELLO)
        world.Send([np.frombuffer(name.encode(), np.uint8), MPI.BYTE], SERVER, HELLO)
    return group


def serve(world: Comm, answers: Callable[[Structures], Answer], n_atoms: int) -> None:
    """Answer i-PI until EXIT, on the first rank of a group. UserError for what cannot be answered."""
    from mpi4py import MPI

    status = MPI.Status()
    while True:
        while not world.Iprobe(SERVER, MPI.ANY_TAG, status):
            time.sleep(POLL)
        if status.tag == WORK:
            _send(world, answers(_receive(world, n_atoms)))
        elif status.tag == INIT:
            header = np.empty(2, dtype=np.int32)
            world.Recv([header, MPI.INT], SERVER, INIT)
            world.Recv([np.empty(header[1], np.uint8), MPI.BYTE], SERVER, INIT)
        elif status.tag == EXIT:
            world.Recv([np.empty(1, dtype=np.int32), MPI.INT], SERVER, EXIT)
            return
        else:
            raise ProtocolError(
                f"i-PI sent an MPI message with tag {status.tag}, which its ffmpi does not have; check i-PI's version"
            )


def _receive(world: Comm, n_atoms: int) -> Structures:
    from mpi4py import MPI

    header = np.empty(2, dtype=np.int32)
    world.Recv([header, MPI.INT], SERVER, WORK)
    count = int(header[1])
    check_atoms(int(header[0]), n_atoms)
    check_payload(n_atoms, count)
    body = np.empty((count, 18 + 3 * n_atoms))
    world.Recv([body, MPI.DOUBLE], SERVER, WORK)
    return Structures(
        cells=body[:, :9].reshape(count, 3, 3).transpose(0, 2, 1), positions=body[:, 18:].reshape(count, n_atoms, 3)
    )


def _send(world: Comm, answer: Answer) -> None:
    from mpi4py import MPI

    count = len(answer.energies)
    numbers = np.concatenate(
        [answer.energies[:, None], answer.forces.reshape(count, -1), answer.virials.reshape(count, 9)], axis=1
    )
    world.Send([numbers, MPI.DOUBLE], SERVER, RESULT)
    world.Send([np.frombuffer(encode_extras(answer.extras, count), np.uint8), MPI.BYTE], SERVER, EXTRA)
