"""The ways from i-PI to the driver. A new one is a class here, or a `Payload`, and its line in `TRANSPORTS`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hesspot.errors import UserError
from ipi_driver.evaluation.results import QuickEvaluate
from ipi_driver.serving.driver import Driver, InStream, Payload
from ipi_driver.serving.process import Terminated, log
from ipi_driver.serving.ranks import abort, abort_on_crash, world
from ipi_driver.serving.responder import Responder
from ipi_driver.wire.connect import Address, connect, inet_address, unix_address
from ipi_driver.wire.protocol import Connection
from ipi_driver.wire.shared_memory import InSharedMemory

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@dataclass(frozen=True)
class TransportOptions:
    """prefix: what i-PI puts before the address of a unix socket; timeout: seconds to wait for i-PI's socket;
    group_size: ranks of an ffmpi that share the work."""

    prefix: str = "/tmp/ipi_"
    timeout: float = 60.0
    group_size: int = 1


class Transport(Protocol):
    """How structures come and answers go."""

    def ranks(self) -> contextlib.AbstractContextManager[Comm | None]:
        """The MPI ranks that evaluate together, while the block lasts; None for a process of its own."""
        ...

    def serve(self, responder: Responder, quick: QuickEvaluate | None) -> str:
        """Answer until the server ends; how it did. quick: what `responder` evaluates with, if it has shortcuts."""
        ...


class Socket:
    """A socket of i-PI. Numbers travel in it, or wherever else its `payload` has them."""

    def __init__(self, address: Address, timeout: float, payload: Callable[[], Payload] = InStream):
        self._address, self._timeout, self._payload = address, timeout, payload

    @contextlib.contextmanager
    def ranks(self) -> Iterator[Comm | None]:
        comm = world()
        yield comm if comm is not None and comm.size > 1 else None

    def serve(self, responder: Responder, quick: QuickEvaluate | None) -> str:
        with contextlib.closing(Connection(connect(self._address, self._timeout, log))) as connection:
            log(f"connected to {self._address}")
            with contextlib.closing(self._payload()) as payload:
                return Driver(connection, responder, len(responder.template), payload, quick).run()


class Ffmpi:
    """The `<ffmpi>` called `name` of an i-PI in the same MPI job. An error ends i-PI too: it would wait for ever."""

    def __init__(self, name: str, group_size: int):
        self._name, self._group_size = name, group_size

    @contextlib.contextmanager
    def ranks(self) -> Iterator[Comm | None]:
        from ipi_driver.wire import ffmpi

        self._world = world()
        if self._world is None:
            raise UserError(
                "--ffmpi needs an MPI job with i-PI in it; write mpirun -n 1 i-pi input.xml : -n N hesspot-ipi …"
            )
        abort_on_crash(self._world)
        try:
            yield ffmpi.join(self._world, self._name, self._group_size)
        except UserError as error:
            log(str(error))
            abort(self._world)
        except Terminated as ended:
            log(f"ended by {ended}")
            abort(self._world, 128 + ended.number)

    def serve(self, responder: Responder, quick: QuickEvaluate | None) -> str:
        from ipi_driver.wire import ffmpi

        assert self._world is not None
        ffmpi.serve(self._world, responder, len(responder.template))
        return "i-PI said EXIT"


#: Option of `hesspot-ipi` → the transport to what the option names.
TRANSPORTS: dict[str, Callable[[str, TransportOptions], Transport]] = {
    "unix": lambda name, options: Socket(unix_address(name, options.prefix), options.timeout),
    "shm": lambda name, options: Socket(unix_address(name, options.prefix), options.timeout, InSharedMemory),
    "inet": lambda address, options: Socket(inet_address(address), options.timeout),
    "ffmpi": lambda name, options: Ffmpi(name, options.group_size),
}


def open_transport(given: dict[str, str | None], options: TransportOptions) -> Transport:
    """The one transport that is `given` (option → what it names); UserError for none or several."""
    chosen = [(option, name) for option, name in given.items() if name is not None]
    if len(chosen) != 1:
        raise UserError(
            "give one of --unix NAME, --shm NAME, --inet HOST:PORT and --ffmpi NAME, as the forcefield in i-PI's input "
            "has it"
        )
    ((option, name),) = chosen
    return TRANSPORTS[option](name, options)
