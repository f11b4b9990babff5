"""Find i-PI's socket and connect to it."""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from hesspot.errors import UserError

#: Bytes of a unix socket's path that the operating system takes (`sun_path` with its closing zero).
MAX_UNIX_PATH = 107

FIRST_WAIT, LONGEST_WAIT = 0.02, 1.0  # s between attempts; each wait is twice the one before

#: What happens while a server is not there yet.
RETRIED = (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, TimeoutError, BlockingIOError)

#: Seconds after which a socket file that nobody listens on is told to the user: i-PI listens at once after making it.
STALE_AFTER = 2.0


@dataclass(frozen=True)
class UnixAddress:
    """A unix socket by the path of its file."""

    path: str

    def __str__(self) -> str:
        return f"unix socket {self.path}"


@dataclass(frozen=True)
class InetAddress:
    """A TCP socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"inet socket {self.host}:{self.port}"


Address = UnixAddress | InetAddress


def unix_address(name: str, prefix: str) -> UnixAddress:
    """The socket that i-PI makes for `<address>name</address>` with this `sockets_prefix`."""
    path = prefix + name
    length = len(os.fsencode(path))
    if length > MAX_UNIX_PATH:
        raise UserError(
            f"the socket path {path} has {length} bytes, and the operating system takes {MAX_UNIX_PATH}; "
            "choose a shorter address or prefix, here and in i-PI's input"
        )
    return UnixAddress(path)


def inet_address(text: str) -> InetAddress:
    """HOST:PORT, or [HOST]:PORT for a host with colons."""
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+)):(\d{1,5})", text.strip())
    if not match or not 0 < int(match[3]) < 65536:
        raise UserError(
            f"--inet {text!r} is not HOST:PORT with a port from 1 to 65535; write for example localhost:31415"
        )
    return InetAddress(match[1] or match[2], int(match[3]))


def connect(address: Address, timeout: float, log: Callable[[str], None] = print) -> socket.socket:
    """Connect, trying again with growing waits for `timeout` seconds; `log` gets warnings.

    UserError if no server answers in that time, or if none can ever answer at this address.
    """
    start = time.monotonic()
    wait, warned = FIRST_WAIT, False
    while True:
        try:
            return _connect_once(address, max(FIRST_WAIT, timeout - (time.monotonic() - start)))
        except (
            FileNotFoundError,
            ConnectionRefusedError,
            TimeoutError,
            ConnectionResetError,
            BlockingIOError,
        ) as error:
            reason = error
        except socket.gaierror as error:
            raise UserError(f"the host of {address} is not known ({error.strerror}); check its name") from error
        except OSError as error:
            raise UserError(
                f"cannot connect to {address}: {error.strerror}; check the address and its rights"
            ) from error
        elapsed = time.monotonic() - start
        if elapsed >= timeout:
            raise UserError(f"{_why_not(address, reason)}, waited {elapsed:.0f} s; {_remedy(address, reason)}")
        if not warned and elapsed > STALE_AFTER and _is_stale(address, reason):
            log(f"{_why_not(address, reason)}; {_remedy(address, reason)}; still trying")
            warned = True
        time.sleep(min(wait, timeout - elapsed))
        wait = min(2 * wait, LONGEST_WAIT)


def _connect_once(address: Address, timeout: float) -> socket.socket:
    if isinstance(address, InetAddress):
        return socket.create_connection((address.host, address.port), timeout=timeout)
    mode = os.stat(address.path).st_mode
    if not stat.S_ISSOCK(mode):
        raise UserError(f"{address.path} is a file and no socket; choose another address or prefix")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(address.path)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_stale(address: Address, reason: OSError) -> bool:
    return isinstance(address, UnixAddress) and isinstance(reason, ConnectionRefusedError)


def _why_not(address: Address, reason: OSError) -> str:
    if _is_stale(address, reason):
        return f"the {address} exists but nobody listens on it: a server that was killed left it behind"
    return f"no i-PI server at {address}"


def _remedy(address: Address, reason: OSError) -> str:
    if isinstance(address, InetAddress):
        return "start i-PI, or check the address and port of its ffsocket"
    if _is_stale(address, reason):
        return f"remove it (rm {address.path}) and start i-PI again"
    return "start i-PI, or check the address of its ffsocket and the prefix (i-PI's option -S)"
