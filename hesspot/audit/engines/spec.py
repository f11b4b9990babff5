"""Engines from one line of text, as the command line and configuration files give them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ase import Atoms

from hesspot.audit.engines.base import Engine, Precision
from hesspot.audit.engines.calculator import CalculatorEngine, IsolatedEngine
from hesspot.electrons import lowest_multiplicity, stated_electrons
from hesspot.errors import UserError
from hesspot.reference.calculator_factory import CalculatorFactory, parse_arguments

FORMS = (
    "write `lammps:FRAGMENT elements=Si,C`, `ase:module:factory key=value`, `ipi:COMMAND with {address}`, or the path "
    "of a hesspot file"
)


@dataclass(frozen=True, eq=False)
class EngineSpec:
    """What a line says. elements: those that it names, or that its file has; empty where nothing tells.
    hears_electrons: whether the engine is told a structure's charge and multiplicity; LAMMPS and i-PI have no words for
    them."""

    text: str
    engine: Engine
    elements: tuple[str, ...]
    hears_electrons: bool = True


def parse_engine(text: str, default_elements: tuple[str, ...] = ()) -> EngineSpec:
    """One engine; UserError for a line of another form, and for what cannot be loaded.

    default_elements: those that the user states for all engines.
    """
    kind, colon, rest = text.partition(":")
    if kind == "ipi" and colon:
        command, settings = _trailing(rest, ("precision", "elements"))
        from hesspot.audit.engines.driver import DriverEngine

        elements = _elements(settings, text) or default_elements
        return EngineSpec(text, DriverEngine(command, _precision(settings, text)), elements, False)
    words = shlex.split(rest if colon and kind in ("lammps", "ase") else text)
    if not words:
        raise UserError(f"the engine {text!r} is empty; {FORMS}")
    target, settings = words[0], parse_arguments(words[1:])
    precision, elements = _precision(settings, text), _elements(settings, text) or default_elements
    if kind == "lammps" and colon:
        return _lammps(text, target, settings, precision, elements)
    if kind == "ase" and colon:
        factory = CalculatorFactory(name=target, arguments=settings)
        assert factory.function  # an import that fails is told before anything starts
        name = target.rpartition(":")[2] if ".py:" not in target else Path(target).name
        make = partial(_calculator, factory, name, precision)
        return EngineSpec(text, IsolatedEngine(make, f"ase {name}", precision), elements)
    return _hesspot_file(text, target, settings, precision)


def require_heard(specs: Sequence[EngineSpec], name: str, atoms: Atoms) -> None:
    """UserError for what a structure states and an audit, or one of the engines, would not listen to."""
    if atoms.constraints:
        raise UserError(
            f"structure {name} holds atoms in place ({type(atoms.constraints[0]).__name__}), and an audit moves all of "
            "them; remove the constraint from the file"
        )
    charge, multiplicity = stated_electrons(atoms, f"structure {name}")
    usual = lowest_multiplicity(int(atoms.numbers.sum()) - (charge or 0))
    if not charge and multiplicity in (None, usual):
        return
    for spec in specs:
        if not spec.hears_electrons:
            raise UserError(
                f"structure {name} states charge {charge or 0} and multiplicity {multiplicity or usual}, and there is "
                f"no way to tell `{spec.text}`; audit an ASE calculator or a hesspot file, or remove them from the "
                "file if this engine's potential is of such molecules"
            )


def _lammps(
    text: str, target: str, settings: dict[str, Any], precision: Precision, elements: tuple[str, ...]
) -> EngineSpec:
    from hesspot.audit.engines.lammps import LammpsEngine

    ranks = settings.pop("ranks", "1,2,4")
    try:
        counts = [int(n) for n in str(ranks).split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise UserError(f"the engine `{text}` has ranks={ranks}; write numbers such as ranks=1,2,4")
    _refuse(settings, text, "elements, precision, ranks")
    if not elements:
        raise UserError(f"the engine `{text}` names no elements; write those of LAMMPS's atom types: elements=Si,C")
    return EngineSpec(text, LammpsEngine(target, elements, precision, counts), elements, False)


def _hesspot_file(text: str, target: str, settings: dict[str, Any], precision: Precision) -> EngineSpec:
    from hesspot.models.shipped import find_model

    dtype = "float32" if precision == "single" else "float64"
    _refuse(settings, text, "precision")
    if ":" in target and not target.startswith("shipped:"):
        raise UserError(f"the engine `{text}` is of no known kind; {FORMS}")
    from hesspot.export import read_model

    path = find_model(target)
    loaded = read_model(path)
    make = partial(_of_file, path, dtype, precision)
    return EngineSpec(text, IsolatedEngine(make, f"hesspot {Path(path).name}", precision), tuple(loaded.elements))


def _calculator(factory: CalculatorFactory, name: str, precision: Precision) -> Engine:
    return CalculatorEngine(factory.make({}), f"ase {name}", precision)


def _of_file(path: Path, dtype: str, precision: Precision) -> Engine:
    from hesspot.calculators import HesspotCalculator

    return CalculatorEngine(HesspotCalculator(path, dtype=dtype), f"hesspot {path.name}", precision)


def _trailing(text: str, keys: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """A command, and the settings of these keys that stand after it."""
    words = shlex.split(text)
    settings: dict[str, Any] = {}
    while words and words[-1].partition("=")[0] in keys and "=" in words[-1]:
        settings |= parse_arguments([words.pop()])
    return shlex.join(words), settings


def _precision(settings: dict[str, Any], text: str) -> Precision:
    value = settings.pop("precision", "double")
    if value not in get_args(Precision):
        raise UserError(f"the engine `{text}` has precision={value}; write double or single")
    precision: Precision = value
    return precision


def _elements(settings: dict[str, Any], text: str) -> tuple[str, ...]:
    value = settings.pop("elements", "")
    return tuple(symbol.strip() for symbol in str(value).split(",") if symbol.strip())


def _refuse(settings: dict[str, Any], text: str, known: str) -> None:
    if settings:
        raise UserError(f"the engine `{text}` has {next(iter(settings))}=…, which is not known here; known are {known}")
