"""The engines: each answers for a model file and a list of structures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ase import Atoms

from hesspot.accuracy.results import EngineResult
from hesspot.verification import tolerances


@dataclass(frozen=True)
class Engine:
    """How an engine is asked, `ask(model file, structures, ranks)`, and how it differentiates."""

    ask: Callable[[Path, Sequence[Atoms], int], list[EngineResult]]
    hessian_tolerance: float
    parallel: bool = False
    needs_torch: bool = False


def _torch(model: Path, structures: Sequence[Atoms], ranks: int) -> list[EngineResult]:
    from hesspot.accuracy.in_torch import in_batches
    from hesspot.export import read_model
    from hesspot.export.file import eager_model

    return in_batches(eager_model(read_model(model)), structures)


def _torchscript(model: Path, structures: Sequence[Atoms], ranks: int) -> list[EngineResult]:
    from hesspot.accuracy.in_torch import one_by_one
    from hesspot.export import read_model

    return one_by_one(read_model(model, backend="torchscript"), structures)


def _ase(model: Path, structures: Sequence[Atoms], ranks: int) -> list[EngineResult]:
    from hesspot.verification.engines.ase_calculator import evaluate

    return evaluate(model, structures)


def _lammps(model: Path, structures: Sequence[Atoms], ranks: int) -> list[EngineResult]:
    from hesspot.verification.engines.differences import with_products
    from hesspot.verification.engines.lammps import SHIFT, evaluate

    return with_products(partial(evaluate, model, ranks=ranks), structures, SHIFT)


def _ipi(model: Path, structures: Sequence[Atoms], ranks: int) -> list[EngineResult]:
    from hesspot.units import BOHR
    from hesspot.verification.engines.differences import with_products
    from hesspot.verification.engines.ipi import SHIFT, evaluate

    return with_products(partial(evaluate, model), structures, SHIFT * BOHR)


ENGINES = {
    "torch": Engine(_torch, tolerances.HESSIAN_ANALYTIC, needs_torch=True),
    "torchscript": Engine(_torchscript, tolerances.HESSIAN_ANALYTIC, needs_torch=True),
    "ase": Engine(_ase, tolerances.HESSIAN_ANALYTIC),
    "lammps": Engine(_lammps, tolerances.HESSIAN_NUMERICAL, parallel=True),
    "ipi": Engine(_ipi, tolerances.HESSIAN_NUMERICAL),
}
