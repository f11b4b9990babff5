"""Is the answer the same when asked again, after other structures, and in settings that must not matter?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hesspot.audit.checks.invariance import differing
from hesspot.audit.engines.base import Answer, Engine
from hesspot.audit.findings import Finding, failed, not_run
from hesspot.audit.subject import Subject

AGAIN = "the same answer when asked again"
AFTER = "the same answer after another structure and another cell"
TWO_ANSWERS = "asked twice for one structure, the engine gives two answers"
SETTING = "the same answer with {}"

#: Of what is allowed between two calculations of the same by other ways: the same way has no rounding of its own.
REPEATED = 0.1


def check(subject: Subject) -> list[Finding]:
    """Twice in a row, and twice after others: of other positions, of another cell, of another number of atoms."""
    atoms = subject.atoms
    moved, stretched = atoms.copy(), atoms.copy()
    moved.positions += 0.3 * np.sin(1.0 + np.arange(3 * len(atoms))).reshape(-1, 3)
    others = [moved]
    if atoms.pbc.any():
        stretched.set_cell(atoms.cell.array * 1.1, scale_atoms=True)
        others.append(stretched)
    others += subject.others[:1]
    sequence = [atoms, atoms] + [each for other in others for each in (other, atoms)] * 2
    answers = subject.engine.ask(sequence)
    own = [answer for answer, asked in zip(answers, sequence, strict=True) if asked is atoms]
    mine = [answer for answer in own if isinstance(answer, Answer)]
    if len(mine) < len(own):
        return [failed(AGAIN, subject.name, next(a.reason for a in own if not isinstance(a, Answer)))]
    first, second, *rest = (replace(subject, answer=answer) for answer in mine)
    again, later = rest[: len(others)], rest[len(others) :]
    twice = [differing(AGAIN, first, second.answer, TWO_ANSWERS, REPEATED)]
    twice += [differing(AGAIN, a, b.answer, TWO_ANSWERS, REPEATED) for a, b in zip(again, later, strict=True)]
    found = [next((f for f in twice if f.verdict == "FAIL"), twice[0])]
    if found[0].verdict == "FAIL":
        return [*found, not_run(AFTER, subject.name, "the engine gives other answers each time")]
    words = "the engine remembers the structure that it was asked for before"
    after = [differing(AFTER, first, each.answer, words, REPEATED) for each in again]
    return [*found, next((f for f in after if f.verdict == "FAIL"), after[0])]


def settings(engine: Engine, subjects: Sequence[Subject], name: str) -> list[Finding]:
    """All structures before the same engine in another setting of this name."""
    found = []
    check = SETTING.format(name)
    for subject, answer in zip(subjects, engine.ask([subject.atoms for subject in subjects]), strict=True):
        if isinstance(answer, Answer):
            found.append(differing(check, subject, answer))
        else:
            found.append(not_run(check, subject.name, answer.reason))
    return found
