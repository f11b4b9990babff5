"""ASE calculators by name: `module:factory` or `file.py:factory`, and what they are called with."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from hesspot.errors import UserError

#: What calculators call the total charge and the multiplicity 2S + 1 among their arguments.
CHARGE_ARGUMENTS = ("charge", "total_charge", "net_charge")
MULTIPLICITY_ARGUMENTS = ("multiplicity", "mult")

#: Packages whose name is not that of their module.
PACKAGES = {"mace": "mace-torch", "fairchem": "fairchem-core", "orb_models": "orb-models", "matgl": "matgl"}

FORM = "write module:factory, such as ase.calculators.emt:EMT, or file.py:function"


class CalculatorFactory(BaseModel):
    """What makes calculators: a class or function, by name, and the arguments that the user gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any] = {}

    @property
    def function(self) -> Any:
        """The class or function; UserError if it is not there."""
        place, _, attribute = self.name.rpartition(":")
        if not place or not attribute:
            raise UserError(f"--calculator {self.name} names no factory; {FORM}")
        module = _module_of(place, self.name)
        function = getattr(module, attribute, None)
        if not callable(function):
            near = sorted(name for name in vars(module) if name.lower() == attribute.lower() and name != attribute)
            hint = f"is it {near[0]}" if near else f"{FORM}"
            raise UserError(f"--calculator {self.name}: {place} has nothing callable named {attribute}; {hint}")
        return function

    def electron_arguments(self, charge: int | None, multiplicity: int | None) -> dict[str, int]:
        """The arguments that carry a stated charge and multiplicity; empty where the factory has none for them.

        UserError where the user has given another value.
        """
        try:
            known = set(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            known = set()
        known |= set(getattr(self.function, "default_parameters", {}))
        carried = {}
        for value, names in ((charge, CHARGE_ARGUMENTS), (multiplicity, MULTIPLICITY_ARGUMENTS)):
            name = next((name for name in names if name in known), None)
            if value is None or name is None:
                continue
            if self.arguments.get(name, value) != value:
                raise UserError(
                    f"a structure states {name}={value}, and --calculator-args {name}={self.arguments[name]}; leave "
                    "the argument out, each structure's own is handed over"
                )
            carried[name] = value
        return carried

    def make(self, more: Mapping[str, Any]) -> Any:
        """A calculator, with `more` arguments; UserError if it cannot be made, or computes no energies or forces."""
        try:
            calculator = self.function(**self.arguments | dict(more))
        except ModuleNotFoundError as error:
            raise UserError(f"--calculator {self.name} {_needs(error.name or '')}") from error
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason was given"
            raise UserError(
                f"--calculator {self.name} cannot be made with {self.described_arguments or 'no arguments'} "
                f"({type(error).__name__}: {reason}); correct --calculator-args"
            ) from error
        if not hasattr(calculator, "get_forces"):
            raise UserError(
                f"--calculator {self.name} makes a {type(calculator).__name__}, no calculator of ASE; {FORM}"
            )
        lacking = [each for each in ("energy", "forces") if each not in _properties_of(calculator)]
        if lacking:
            raise UserError(
                f"--calculator {self.name} computes no {' and no '.join(lacking)}; labels need both, take another one"
            )
        return calculator

    @property
    def described_arguments(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.arguments.items())

    def __str__(self) -> str:
        shown = self.name if ".py:" not in self.name else Path(self.name).name
        return f"{shown}({self.described_arguments})"

    def provenance(self) -> dict[str, Any]:
        """Name, arguments, and the version of the package or the hash of the file."""
        place = self.name.rpartition(":")[0]
        content: dict[str, Any] = {"calculator": self.name, "arguments": self.arguments}
        if place.endswith(".py"):
            content["file_sha256"] = hashlib.sha256(Path(place).read_bytes()).hexdigest()
            return content
        for package in packages_distributions().get(place.partition(".")[0], [])[:1]:
            try:
                content["package"] = f"{package} {version(package)}"
            except PackageNotFoundError:
                continue
        return content


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """The arguments in texts such as `model=7net-0` (values are YAML) and `{"skin": 1.0}` (JSON); each key once."""
    arguments: dict[str, Any] = {}
    for text in texts:
        for key, value in _parsed(text).items():
            if key in arguments:
                raise UserError(f"--calculator-args gives {key} twice; give it once")
            arguments[key] = value
    try:
        json.dumps(arguments)
    except TypeError as error:
        raise UserError(
            f"--calculator-args {' '.join(texts)} has a value that JSON cannot hold ({error}); quote it"
        ) from error
    return arguments


def _parsed(text: str) -> dict[str, Any]:
    form = 'write key=value, or all in JSON: {"key": value}'
    try:
        if text.lstrip().startswith("{"):
            content = yaml.safe_load(text)
            if isinstance(content, dict) and all(isinstance(key, str) for key in content):
                return content
        else:
            key, equals, value = text.partition("=")
            if equals and key.strip().isidentifier():
                return {key.strip(): yaml.safe_load(value)}
    except yaml.YAMLError as error:
        raise UserError(f"--calculator-args {text} cannot be read ({' '.join(str(error).split())}); {form}") from error
    raise UserError(f"--calculator-args {text} is no argument; {form}")


@lru_cache
def _module_of(place: str, name: str) -> ModuleType:
    if place.endswith(".py"):
        return _module_of_file(Path(place), name)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise UserError(f"--calculator {name} {_needs(error.name or place)}") from error
    except Exception as error:
        raise UserError(f"--calculator {name} cannot be imported ({type(error).__name__}: {error}); {FORM}") from error


def _module_of_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise UserError(f"--calculator {name}: there is no file {path}; {FORM}")
    own_name = f"_calculators_of_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(own_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[own_name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"--calculator {name} {_needs(error.name or '')}") from error
    except Exception as error:
        raise UserError(
            f"--calculator {name} cannot be imported ({type(error).__name__}: {error}); correct it"
        ) from error
    return module


def _needs(module: str) -> str:
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is not None:
        return f"needs the module {module}, which {top} here does not have; check the name, and the version of {top}"
    return f"needs the module {module}, which is not installed: `pip install {PACKAGES.get(top, top)}`"


def _properties_of(calculator: Any) -> Sequence[str]:
    """What it says that it computes; of a calculator that says nothing, energy and forces are tried."""
    return getattr(calculator, "implemented_properties", None) or ("energy", "forces")
