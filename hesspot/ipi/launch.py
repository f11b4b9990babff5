"""Start i-PI and drivers together, wait, and leave no process behind."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.models.shipped import find_model
from hesspot.processes import Output, started

POLL = 0.02  # s between looks at the processes

#: Seconds that drivers have to end after i-PI has ended.
GRACE = 10.0


@dataclass(frozen=True)
class IpiRun:
    """A run that ended well: i-PI's own log and those of the drivers, as texts."""

    ipi_log: str
    driver_logs: list[str]


def run_ipi(
    input_xml: str | Path,
    model: str | Path,
    template: str | Path,
    workdir: str | Path,
    n_drivers: int = 1,
    *,
    driver_options: Sequence[str] = (),
    timeout: float | None = None,
) -> IpiRun:
    """Run i-PI on `input_xml` in `workdir` with `n_drivers` hesspot drivers, and wait for the end.

    Unix sockets live in a private folder, so that no other run and no left-over file is in the way. Logs go to
    `i-pi.log` and `driver-K.log` in `workdir`. UserError, with every process ended, if i-PI or a driver fails or
    `timeout` seconds (None: no limit) have passed.
    """
    input_xml = Path(input_xml)
    model = find_model(model)
    template = Path(template)
    workdir = Path(workdir)
    address = _socket_options(input_xml)
    restart = Output(workdir / "RESTART")
    with contextlib.ExitStack() as stack:
        prefix = stack.enter_context(tempfile.TemporaryDirectory(prefix="ipi")) + "/"
        command = [_program("i-pi"), "-S", prefix, str(input_xml.resolve())]
        server = stack.enter_context(_logged(command, workdir / "i-pi.log"))
        drivers = []
        for number in range(n_drivers):
            command = [sys.executable, "-m", "ipi_driver.cli", str(model.resolve())]
            command += ["--template", str(template.resolve()), "--prefix", prefix, *address, *driver_options]
            drivers.append(stack.enter_context(_logged(command, workdir / f"driver-{number}.log")))
        _wait(server, drivers, workdir, timeout)
    if not restart.is_new():
        raise UserError(f"i-PI in {workdir} ended without writing RESTART; see i-pi.log there")
    ipi_log = (workdir / "i-pi.log").read_text(errors="replace")
    return IpiRun(ipi_log, [(workdir / f"driver-{k}.log").read_text(errors="replace") for k in range(n_drivers)])


@contextlib.contextmanager
def _logged(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running program with its output in a file beside which it runs."""
    with log.open("wb") as file, started(command, cwd=log.parent, stdout=file, stderr=file) as process:
        yield process


def _wait(
    server: subprocess.Popen[bytes], drivers: Sequence[subprocess.Popen[bytes]], workdir: Path, timeout: float | None
) -> None:
    start = time.monotonic()
    server_ended = None
    while True:
        now = time.monotonic()
        for number, driver in enumerate(drivers):
            if driver.poll() not in (None, 0):
                raise UserError(
                    f"driver {number} of the i-PI run in {workdir} ended with status {driver.returncode} "
                    f"({_last_line(workdir / f'driver-{number}.log')}); see driver-{number}.log there"
                )
        if server.poll() is not None:
            server_ended = server_ended or now
            if server.returncode != 0:
                raise UserError(
                    f"i-PI in {workdir} ended with status {server.returncode} "
                    f"({_last_line(workdir / 'i-pi.log')}); see i-pi.log there"
                )
            if all(driver.poll() is not None for driver in drivers):
                return
            if now - server_ended > GRACE:
                if any(driver.poll() == 0 for driver in drivers):
                    return  # the others came when the run was over
                raise UserError(f"i-PI in {workdir} ended without telling its drivers; see i-pi.log there")
        if timeout is not None and now - start > timeout:
            raise UserError(f"the i-PI run in {workdir} took longer than {timeout:g} s; see i-pi.log there")
        time.sleep(POLL)


def _socket_options(input_xml: Path) -> list[str]:
    """The driver's options for the one ffsocket of an input file."""
    if not input_xml.is_file():
        raise UserError(f"i-PI input {input_xml} does not exist; give the path of an XML file")
    try:
        sockets = list(ElementTree.parse(input_xml).getroot().iter("ffsocket"))
    except ElementTree.ParseError as error:
        raise UserError(f"i-PI input {input_xml} is no XML ({error}); correct it") from error
    if len(sockets) != 1:
        raise UserError(f"i-PI input {input_xml} has {len(sockets)} ffsocket elements; it must have one")
    address = (sockets[0].findtext("address") or "localhost").strip()
    mode = sockets[0].get("mode", "inet").strip()
    if mode in ("unix", "shm"):
        return [f"--{mode}", address]
    if mode == "inet":
        return ["--inet", f"{address}:{(sockets[0].findtext('port') or '65535').strip()}"]
    raise UserError(f"the ffsocket of {input_xml} has mode {mode!r}; use unix, shm or inet")


def _program(name: str) -> str:
    """The full path of a program of this Python's environment, or of the search path."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if not found:
        raise UserError(f"the program {name} is not installed; install it with {install_hint('ipi')}")
    return found


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it wrote nothing"
