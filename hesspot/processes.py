"""Programs that are started and waited for: none of them outlives the process that waits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

#: Seconds that a program has to end after a polite signal.
GRACE = 10.0

#: Signals that end a process which does not care for them.
_DEADLY = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)

#: Those that have come, and whether a program is being started just now.
_came: list[int] = []
_starting = False


class _Ended(BaseException):
    """A signal that ends this process has come."""


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _leave(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) == 1 and not _starting:  # no second one interrupts what ends the programs
        raise _Ended


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Where a signal that ends this process leaves the block first, as an exception does, and then takes its course.

    Signals that are ignored, as under nohup, or that have a handler of their own stay so.
    """
    if not _in_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _DEADLY}
    changed = [n for n, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    for number in changed:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
        if changed and _came:
            first = _came[0]
            _came.clear()
            sys.stdout.flush()
            sys.stderr.flush()
            os.kill(os.getpid(), first)


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """The running program `command`, in a session of its own; when the block is left it is ended with its children.

    options: those of subprocess.Popen; standard input is empty by default. In a thread, which signals do not reach, the
    program stays in the session of this process, whose terminal can end it.
    """
    defaults = {"stdin": subprocess.DEVNULL, "start_new_session": _in_main_thread()}
    with ended_by_signals():
        process = _start(list(map(str, command)), defaults | options)
        try:
            if _came:
                raise _Ended
            yield process
        finally:
            try:
                if process.poll() is None:
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(GRACE)
            finally:
                process.kill()
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _start(command: list[str], options: dict[str, Any]) -> subprocess.Popen[Any]:
    global _starting
    _starting = _in_main_thread()
    try:
        return subprocess.Popen(command, **options)
    finally:
        _starting = False


def run(
    command: Sequence[str | Path], *, capture: bool = False, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, as `started` does; with `capture`, all of its output is in `stdout`.

    subprocess.TimeoutExpired, with the program ended, after `timeout` seconds.
    """
    if capture:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(command, text=True, errors="replace", **options) as process:
        output, _ = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


class Output:
    """A file that a program is to write: what is there when this is made does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = self._identity()

    def is_new(self) -> bool:
        """Whether there is a file, and another or a changed one."""
        return self._identity() not in (None, self._before)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
