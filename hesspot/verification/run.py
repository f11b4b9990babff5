"""Verification: the same structures for every engine, judged against the trained model and the reference."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hesspot.accuracy.cases import Case, from_dataset, from_fingerprint, spread
from hesspot.accuracy.directions import directions_of
from hesspot.accuracy.model_errors import model_errors
from hesspot.accuracy.results import EngineResult
from hesspot.data.sources import require_known_level
from hesspot.electrons import require_trained
from hesspot.errors import UserError
from hesspot.export import FingerprintEntry, read_model
from hesspot.export.replay import TOLERANCES, replay
from hesspot.extras import is_torch, torch_is_missing
from hesspot.models.shipped import find_model
from hesspot.verification import tolerances
from hesspot.verification.baseline import Baseline, baseline_of
from hesspot.verification.deployment import compare, largest, worst
from hesspot.verification.dynamics import dynamic_checks
from hesspot.verification.engines import ENGINES
from hesspot.verification.report import Check, DynamicCheck, EngineReport, VerifyReport

#: Called with the name of what starts, and with its report when it is done.
Progress = Callable[[str, EngineReport | None], None]


def _silent(label: str, report: EngineReport | None) -> None:
    return None


def verify(
    model: str | Path,
    *,
    data: str | Path | None = None,
    part: str | None = "test",
    engines: str | Sequence[str] | None = None,
    ranks: int | Sequence[int] = (1,),
    max_structures: int = 8,
    allow_mixed_levels: bool = False,
    dynamic: bool = False,
    progress: Progress = _silent,
) -> VerifyReport:
    """Ask every engine for the same structures and compare.

    The engines get at most `max_structures` structures, spread evenly over those of the file's fingerprint or of
    one part of the dataset `data`; the model error is over all of them. An engine that cannot run is a failure of
    the report, not an exception. UserError for a model or dataset that cannot be read, and unknown engines.

    Args:
        model: exported file, or shipped:NAME.
        data: dataset file, or shipped:NAME, with reference values; None: the file's fingerprint.
        part: of the dataset: train, valid, test, or all.
        engines: some of torch, torchscript, ase, lammps, ipi; None: all, without torch those that need none.
        ranks: numbers of MPI ranks for LAMMPS.
        allow_mixed_levels: compare with reference values of another level of theory than the model's.
        dynamic: runs of LAMMPS and i-PI as well, see `hesspot.verification.dynamics`; minutes.
        progress: called with the name of each engine, and with None or its report.
    """
    engines = [engines] if isinstance(engines, str) else list(default_engines() if engines is None else engines)
    ranks = [ranks] if isinstance(ranks, int) else list(ranks)
    _check_names(engines, ranks, max_structures)
    if dynamic and not {"lammps", "ipi"} & set(engines):
        raise UserError(f"runs are of lammps and ipi, and the engines are {', '.join(engines)}; add one of them")
    path = find_model(model)
    loaded = read_model(path)
    trained = baseline_of(loaded)
    cases, level = from_fingerprint(loaded.metadata), loaded.metadata.level_of_theory
    if data is not None:
        cases, level = from_dataset(data, part)
        levels = {f"model {path}": loaded.metadata.level_of_theory, f"dataset {data}": level}
        remedy = "give data of the model's level, or pass --allow-mixed-levels to compare all the same"
        require_known_level(levels, allow_mixed_levels, remedy)
        for case in cases:
            require_trained(case.atoms, f"structure {case.name} of {data}", loaded.electrons)
    asked = spread(cases, max_structures)

    progress(trained.name, None)
    start = time.monotonic()
    whole = [case.hessian is not None or case.frequencies is not None for case in cases]
    answers = dict(zip(map(id, cases), trained.results([case.atoms for case in cases], whole), strict=True))
    baseline = [answers[id(case)] for case in asked]
    checks = fingerprint_checks(trained, loaded.metadata.fingerprint)
    checks += hessian_checks(cases, list(answers.values()))
    first = EngineReport(engine=trained.name, seconds=time.monotonic() - start, checks=checks)
    progress(first.label, first)

    reports = []
    for engine in engines:
        for count in ranks if ENGINES[engine].parallel else [None]:
            progress(EngineReport(engine=engine, ranks=count, seconds=0.0).label, None)
            report = ask_engine(engine, count, path, asked, baseline)
            progress(report.label, report)
            reports.append(report)

    runs: list[DynamicCheck] = []
    if dynamic:
        runs = dynamic_checks(loaded, engines, lambda what: progress(what, None))

    return VerifyReport(
        model=str(path),
        weights_sha256=loaded.metadata.weights_sha256,
        runs=loaded.describe(),
        level_of_theory=level,
        source=f"{data}, part {part or 'all'}" if data is not None else "the model file's fingerprint",
        structures=[case.name for case in asked],
        trained_model=first,
        engines=reports,
        model_errors=model_errors(cases, list(answers.values())),
        dynamics=runs,
        parts=dict(Counter(case.part for case in cases if case.has_reference)),
    ).judge()


def _check_names(engines: Sequence[str], ranks: Sequence[int], max_structures: int) -> None:
    for engine in engines:
        if engine not in ENGINES:
            nearest = get_close_matches(engine, ENGINES, n=1)
            hint = f"did you mean {nearest[0]}" if nearest else f"use some of {', '.join(ENGINES)}"
            raise UserError(f"engine {engine!r} is not known; {hint}")
    if not engines:
        raise UserError(f"no engine was given; use some of {', '.join(ENGINES)}")
    if not ranks or min(ranks) < 1:
        raise UserError(f"ranks {list(ranks)} must be one or more positive numbers, such as 1,2")
    if max_structures < 1:
        raise UserError(f"{max_structures} structures cannot be verified; give --max 1 or more")


def default_engines() -> list[str]:
    """All engines; without torch those that need none."""
    has_torch = find_spec("torch") is not None
    return [name for name, engine in ENGINES.items() if has_torch or not engine.needs_torch]


def fingerprint_checks(trained: Baseline, fingerprint: Sequence[FingerprintEntry]) -> list[Check]:
    """The trained model against what it gave when the file was written."""
    found = replay(fingerprint, trained.answers)
    return [worst(quantity, *TOLERANCES[quantity], errors) for quantity, errors in found.items()]


def hessian_checks(cases: Sequence[Case], results: Sequence[EngineResult]) -> list[Check]:
    """Acoustic sum rule and asymmetry of the trained model's analytic Hessians; of products H·v their sums over atoms,
    and the differences of w·Hv and v·Hw per component."""
    sums, asymmetries = [], []
    for case, result in zip(cases, results, strict=True):
        n = len(case.atoms)
        if result.hessian is not None:
            sums.append((case.name, largest(result.hessian.reshape(3 * n, n, 3).sum(1))))
            asymmetries.append((case.name, largest(result.hessian - result.hessian.T)))
        elif result.products is not None:
            sums.append((case.name, largest(result.products.sum(1))))
            crossed = np.einsum("kai,lai->kl", directions_of(case.atoms), result.products)
            asymmetries.append((case.name, largest(crossed - crossed.T) / (3 * n)))
    return [
        worst("acoustic sum rule", "eV/Å²", tolerances.ACOUSTIC_SUM_RULE, sums),
        worst("asymmetry", "eV/Å²", tolerances.ASYMMETRY, asymmetries),
    ]


def ask_engine(
    name: str, ranks: int | None, model: str | Path, cases: Sequence[Case], baseline: Sequence[EngineResult]
) -> EngineReport:
    """One engine's report; whatever stops the engine becomes its failure in one sentence."""
    model = Path(model)
    engine = ENGINES[name]
    start = time.monotonic()
    checks: list[Check] = []
    soft, failure = 0, None
    try:
        results = engine.ask(model, [case.atoms for case in cases], ranks or 1)
        checks, soft = compare(cases, baseline, results, engine.hessian_tolerance)
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        failure = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
        if isinstance(error, ModuleNotFoundError) and is_torch(error):
            failure = str(torch_is_missing(f"engine {name}"))
    seconds = time.monotonic() - start
    return EngineReport(engine=name, ranks=ranks, seconds=seconds, checks=checks, soft_modes=soft, failure=failure)
