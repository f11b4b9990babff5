"""ASE calculators as engines, in this process or in one of their own, which may die."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.md.verlet import VelocityVerlet

from hesspot.audit.engines.base import Answer, Engine, Precision, Refusal

#: Seconds that a calculator's process has to end by itself.
GRACE = 5.0


class CalculatorEngine:
    """A calculator in this process, asked for one structure after the other as ASE's users do.

    What it raises becomes a refusal. Stress and energies of atoms are asked for where it has them.
    """

    def __init__(self, calculator: Any, name: str, precision: Precision = "double") -> None:
        self.calculator, self.name, self.precision = calculator, name, precision

    def ask(self, structures: Sequence[Atoms]) -> list[Answer | Refusal]:
        return [self._answer(atoms.copy()) for atoms in structures]

    def run(self, atoms: Atoms, timestep: float, steps: int) -> np.ndarray | Refusal:
        moving = atoms.copy()
        moving.calc = self.calculator
        energies: list[float] = []
        run = VelocityVerlet(moving, timestep * ase.units.fs)
        run.attach(lambda: energies.append(moving.get_total_energy()))
        try:
            run.run(steps)
        except Exception as error:
            return Refusal(_words(error))
        return np.array(energies)

    def hessian(self, atoms: Atoms) -> np.ndarray | None:
        make = getattr(self.calculator, "get_hessian", None)
        found = None if make is None else _if_there(lambda: make(atoms.copy()))
        return None if found is None else np.array(found, dtype=float).reshape(3 * len(atoms), -1)

    def others(self) -> Mapping[str, Engine]:
        return {}

    def close(self) -> None:
        close = getattr(self.calculator, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):
                close()

    def _answer(self, atoms: Atoms) -> Answer | Refusal:
        atoms.calc = self.calculator
        try:
            energy = float(np.squeeze(atoms.get_potential_energy()))
            forces = np.array(atoms.get_forces(apply_constraint=False), dtype=float)
            stress = _if_there(lambda: atoms.get_stress(voigt=False)) if atoms.cell.rank == 3 else None
            energies = _if_there(atoms.get_potential_energies) if self._has("energies") else None
        except Exception as error:
            return Refusal(_words(error))
        if forces.shape != (len(atoms), 3):
            return Refusal(f"forces of shape {forces.shape} for {len(atoms)} atoms")
        return Answer(
            energy,
            forces,
            None if stress is None else -np.array(stress, dtype=float) * atoms.get_volume(),
            None if energies is None else np.array(energies, dtype=float),
        )

    def _has(self, name: str) -> bool:
        return name in (getattr(self.calculator, "implemented_properties", None) or ())


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _if_there(get: Callable[[], Any]) -> Any:
    try:
        return get()
    except NotImplementedError:  # ASE's PropertyNotImplementedError is one
        return None


class IsolatedEngine:
    """An engine in a process of its own: where that dies, the questions that it left are refused, and it is started
    again for the next. make: a function that can be pickled."""

    def __init__(self, make: Callable[[], Engine], name: str, precision: Precision = "double") -> None:
        self._make, self.name, self.precision = make, name, precision
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def ask(self, structures: Sequence[Atoms]) -> list[Answer | Refusal]:
        found: list[Answer | Refusal] = []
        for atoms in structures:
            answer = self._call("ask", [atoms])
            found.append(answer if isinstance(answer, Refusal) else answer[0])
        return found

    def run(self, atoms: Atoms, timestep: float, steps: int) -> np.ndarray | Refusal:
        found: np.ndarray | Refusal = self._call("run", atoms, timestep, steps)
        return found

    def hessian(self, atoms: Atoms) -> np.ndarray | None:
        found = self._call("hessian", atoms)
        return None if isinstance(found, Refusal) else found

    def _call(self, method: str, *arguments: Any) -> Any:
        if self._process is None:
            self._start()
        assert self._pipe is not None and self._process is not None
        try:
            self._pipe.send((method, arguments))
            answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(GRACE)
            ended = _how_it_ended(self._process.exitcode)
            self.close()
            return Refusal(f"its process {ended}")
        if isinstance(answer, Exception):
            self.close()
            raise answer
        return answer

    def others(self) -> Mapping[str, Engine]:
        return {}

    def close(self) -> None:
        if self._process is not None:
            assert self._pipe is not None
            self._pipe.close()
            self._process.join(GRACE)
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._make, theirs), daemon=True)
        self._process.start()
        theirs.close()


def _serve(make: Callable[[], Engine], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asker ends this process by closing the pipe
    try:
        engine = make()
    except Exception as error:
        pipe.recv()
        pipe.send(error)
        return
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            method, arguments = pipe.recv()
            pipe.send(getattr(engine, method)(*arguments))
    engine.close()


def _how_it_ended(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
