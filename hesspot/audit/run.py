"""An audit: engines by themselves, and against the first of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ase import Atoms

from hesspot.audit.comparison import compare
from hesspot.audit.consistency import CHECKS, Trial, consistency
from hesspot.audit.engines.base import Engine
from hesspot.audit.report import AuditReport, Comparison, EngineAudit, Modes
from hesspot.audit.subject import ACCURACY
from hesspot.errors import UserError

#: Called with the engine's name and the structure that was done.
Progress = Callable[[str, str], None]


def audit(
    engines: Mapping[str, Engine],
    structures: Mapping[str, Atoms],
    *,
    accuracy: float = ACCURACY,
    checks: Sequence[str] = tuple(CHECKS),
    progress: Progress = lambda engine, structure: None,
) -> tuple[AuditReport, list[Trial]]:
    """Every engine on all structures, and all against the first; engines by the text that the user gave.

    UserError if there is no engine or structure, for unknown checks, and if an engine answers for no structure.
    """
    if not engines or not structures:
        raise UserError("an audit needs an engine and a structure; give one of each")
    if not 0 < accuracy < 1:
        raise UserError(f"an accuracy of {accuracy} is no part of the largest force; give one between 0 and 1")
    for check in checks:
        if check not in CHECKS:
            raise UserError(f"the check {check!r} is not known; use some of {', '.join(CHECKS)}")
    audits, trials = [], []
    for text, engine in engines.items():
        start = time.monotonic()

        def told(structure: str, name: str = engine.name) -> None:
            progress(name, structure)

        try:
            trial = consistency(engine, structures, accuracy=accuracy, checks=checks, progress=told)
        finally:
            engine.close()
        seconds = time.monotonic() - start
        audits.append(EngineAudit(engine=text, name=engine.name, seconds=seconds, findings=trial.findings))
        trials.append(trial)
    comparisons = []
    for one, trial in zip(audits[1:], trials[1:], strict=True):
        findings, spectra = compare(trials[0], trial)
        modes = [
            Modes(structure=s.structure, first=s.first.tolist(), second=s.second.tolist(), overlap=s.overlap.tolist())
            for s in spectra
        ]
        comparisons.append(Comparison(first=audits[0].name, second=one.name, findings=findings, modes=modes))
    described = {name: f"{atoms.get_chemical_formula()}, {len(atoms)} atoms" for name, atoms in structures.items()}
    report = AuditReport(accuracy=accuracy, structures=described, engines=audits, comparisons=comparisons)
    return report.judge(), trials
