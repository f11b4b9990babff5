"""One engine by itself: every structure, every check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from hesspot.audit.checks import dynamics, gradient, history, invariance, precision, smoothness, strain
from hesspot.audit.checks.history import settings
from hesspot.audit.engines.base import Answer, Engine, Refusal
from hesspot.audit.findings import Finding, failed, not_run
from hesspot.audit.subject import Check, Subject, Unanswered, subject_of
from hesspot.errors import UserError

ANSWERS = "answers with finite numbers"

#: Å.
BESIDE, SEED = 0.05, 1147

#: By group, in the order in which they are asked.
CHECKS: dict[str, Check] = {
    "precision": precision.check,
    "gradient": gradient.check,
    "strain": strain.check,
    "invariance": invariance.check,
    "history": history.check,
    "smoothness": smoothness.check,
    "dynamics": dynamics.check,
}


@dataclass(frozen=True, eq=False)
class Trial:
    """subjects: the structures that the engine answers for, with what was measured."""

    findings: list[Finding]
    subjects: list[Subject]


#: Called with what was done: a structure's name, or a setting of the engine.
Progress = Callable[[str], None]


def consistency(
    engine: Engine,
    structures: Mapping[str, Atoms],
    *,
    accuracy: float,
    checks: Sequence[str] = tuple(CHECKS),
    progress: Progress = lambda done: None,
) -> Trial:
    """All checks on all structures. UserError if the engine answers for none of them."""
    answers = dict(zip(structures, engine.ask(list(structures.values())), strict=True))
    refusals = [answer for answer in answers.values() if isinstance(answer, Refusal)]
    if refusals and len(refusals) == len(answers):
        raise UserError(f"{engine.name} answers for none of {len(answers)} structures: {refusals[0].reason}")
    findings: list[Finding] = []
    subjects: list[Subject] = []
    good = {name: atoms for name, atoms in structures.items() if isinstance(answers[name], Answer)}
    for name, atoms in structures.items():
        answer = answers[name]
        if isinstance(answer, Refusal):
            findings.append(not_run(ANSWERS, name, f"the engine refuses it: {answer.reason}"))
            continue
        if not answer.is_finite:
            findings.append(failed(ANSWERS, name, "energy, forces or virial are not finite"))
            continue
        findings.append(Finding(check=ANSWERS, structure=name, verdict="PASS"))
        others = [other for other_name, other in good.items() if other_name != name]
        try:
            subject = subject_of(engine, name, atoms, answer, accuracy, others)
        except Unanswered as error:
            findings.append(failed(ANSWERS, name, f"refused with its atoms moved by some hundredths of Å: {error}"))
            continue
        subjects.append(subject)
        (beside,) = engine.ask([_beside(atoms)])
        subject.measured["beside"] = beside if isinstance(beside, Answer) else None
        for group in checks:
            findings += _checked(CHECKS[group], group, subject)
        progress(name)
    if "history" in checks:
        for setting, other in engine.others().items():
            findings += settings(other, subjects, setting)
            progress(f"all with {setting}")
    return Trial(findings, subjects)


def _beside(atoms: Atoms) -> Atoms:
    """A structure of the same atoms, so that energies can be compared whose constants are not known."""
    other = atoms.copy()
    other.rattle(BESIDE, seed=SEED)
    return other


def _checked(check: Check, group: str, subject: Subject) -> list[Finding]:
    try:
        return check(subject)
    except Unanswered as error:
        return [failed(f"{group}: answers for every structure nearby", subject.name, str(error))]
