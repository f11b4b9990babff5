"""A driver of i-PI as an engine, spoken to as i-PI speaks to it, by ASE's server of that protocol."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sysconfig
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase.io
import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.socketio import SocketIOCalculator

from hesspot.audit.engines.base import Answer, Engine, Precision, Refusal
from hesspot.audit.engines.calculator import CalculatorEngine
from hesspot.errors import UserError
from hesspot.ipi.inputs import standard_form
from hesspot.processes import started
from hesspot.units import BOHR, HARTREE

#: ASE has Hartree and bohr of another year of CODATA: what makes of its numbers those of the protocol.
_ENERGY, _LENGTH = HARTREE / ase.units.Ha, ase.units.Bohr / BOHR

#: Seconds that a driver has to end when nobody listens to it any more.
GRACE = 5.0
#: Seconds that a driver may take to its first answer, and to each.
TIMEOUT = 120.0


class DriverEngine:
    """A command with `{address}`, the name of a unix socket, and where the driver wants one, `{template}`, a structure
    as extended XYZ. It is started anew for other atoms. UserError for a command without `{address}`."""

    def __init__(self, command: str, precision: Precision = "double") -> None:
        self.command, self.precision = command, precision
        if "{address}" not in command:
            raise UserError(
                f"the driver's command `{command}` has no {{address}}; write where the name of the unix socket goes, "
                "as in `i-pi-driver -u -a {address} -m sg`"
            )
        self.name = f"i-PI driver {shlex.split(command)[0]}"
        self._stack: contextlib.ExitStack | None = None
        self._engine: CalculatorEngine | None = None
        self._atoms: tuple[object, ...] = ()
        self._log = Path()

    def ask(self, structures: Sequence[Atoms]) -> list[Answer | Refusal]:
        return [self._answer(atoms) for atoms in structures]

    def run(self, atoms: Atoms, timestep: float, steps: int) -> np.ndarray | Refusal:
        standard, _ = standard_form(atoms)
        return self._of(standard).run(standard, timestep, steps)

    def hessian(self, atoms: Atoms) -> np.ndarray | None:
        return None

    def others(self) -> Mapping[str, Engine]:
        return {}

    def close(self) -> None:
        if self._stack is not None:
            self._stack.close()
        self._stack = self._engine = None

    def _answer(self, atoms: Atoms) -> Answer | Refusal:
        standard, turn = standard_form(atoms)
        standard.set_cell(standard.cell.array * _LENGTH, scale_atoms=False)
        standard.positions *= _LENGTH
        answer = self._of(standard).ask([standard])[0]
        if isinstance(answer, Refusal):
            reason = self._last_words() or answer.reason
            self.close()
            return Refusal(f"the driver ended or was silent: {reason}")
        virial = None if answer.virial is None or not atoms.pbc.any() else turn.T @ answer.virial @ turn
        if virial is not None:
            virial = virial * _ENERGY
        return Answer(answer.energy * _ENERGY, answer.forces @ turn * _ENERGY * _LENGTH, virial)

    def _of(self, atoms: Atoms) -> CalculatorEngine:
        """The running driver for these atoms."""
        kind = (atoms.numbers.tobytes(), atoms.pbc.tobytes())
        if self._engine is None or kind != self._atoms:
            self.close()
            self._engine, self._atoms = self._start(atoms), kind
        return self._engine

    def _start(self, atoms: Atoms) -> CalculatorEngine:
        self._stack = contextlib.ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hesspot-audit-")))
        ase.io.write(folder / "template.xyz", atoms, format="extxyz")
        name = f"hesspot-audit-{uuid.uuid4().hex[:12]}"
        words = [word.format(address=name, template=folder / "template.xyz") for word in shlex.split(self.command)]
        beside = Path(sysconfig.get_path("scripts")) / words[0]
        words[0] = str(beside) if beside.is_file() else words[0]
        calculator = SocketIOCalculator(unixsocket=name, timeout=TIMEOUT)
        self._log = folder / "driver.log"
        file = self._stack.enter_context(self._log.open("w"))
        driver = self._stack.enter_context(started(words, cwd=Path.cwd(), stdout=file, stderr=file, text=True))
        assert calculator.server is not None
        calculator.server.proc = driver  # so that the server sees it end while it waits
        self._stack.callback(_close, calculator, driver)
        return CalculatorEngine(calculator, self.name, self.precision)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return lines[-1].strip() if lines else ""


def _close(calculator: SocketIOCalculator, driver: subprocess.Popen[str]) -> None:
    """Drivers end where the other end of the socket is closed; those that do not are ended later."""
    if calculator.server is not None:
        calculator.server.proc = None  # it would wait for ever
        with contextlib.suppress(OSError):
            calculator.server.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.wait(GRACE)
