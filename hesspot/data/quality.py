"""Tests that labels must pass whatever made them, and what is odd about a set.

Failures are labels that cannot be right, or that do not belong together. Warnings are what may be meant: outliers,
copies, test structures that were trained on, labels that are missing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data.dataset import Dataset
from hesspot.data.duplicates import Copy, find_copies
from hesspot.data.levels import level_key
from hesspot.data.outliers import outlier_scores
from hesspot.data.record import Record
from hesspot.data.stored_records import Entry, without_curvature
from hesspot.data.sum_rules import acoustic_defect, rotational_defect

#: Hartree/bohr, true residual of the coupled-perturbed equations (property `cphf_residual`).
RESIDUAL = 1e-7
#: eV, difference of energies of two copies of one structure: the noise of codes is below.
CONTRADICTION = 5e-3
#: Robust standard deviations from the middle of the set.
OUTLIER = 12.0


@dataclass(frozen=True)
class Limits:
    """Largest defects that pass. The defaults suit any well converged calculation on a fine grid.

    Attributes:
        acoustic: eV/Å², net force on a translation.
        rotational: eV/Å, violation of the sum rule of rotations; integration grids do not turn with the molecule.
        stationary: eV/Å, largest force at a minimum or saddle point; the usual criterion of optimisers.
        asymmetry: eV/Å², of the Hessian before it was symmetrised (property `asymmetry`).
    """

    acoustic: float = 1e-2
    rotational: float = 2e-2
    stationary: float = 2.5e-2
    asymmetry: float = 1e-2


USUAL = Limits()
#: What labels of `hesspot label` keep: on-site blocks are reset by the acoustic sum rule, optimisations are tight.
STRICT = Limits(acoustic=1e-6, rotational=5e-3, stationary=1e-3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one structure; a warning is not a failure."""

    name: str
    test: str
    value: float
    limit: float
    warning: bool = False

    @property
    def passed(self) -> bool:
        return self.value <= self.limit


def check_record(record: Record, limits: Limits = USUAL) -> list[Finding]:
    """All tests that the record's labels allow by themselves; sum rules of rotations need a molecule."""
    findings = []

    def add(test: str, value: float, limit: float) -> None:
        findings.append(Finding(record.name, test, value, limit))

    if record.forces is not None and record.kind in ("minimum", "saddle"):
        add("force at a stationary point, eV/Å", float(np.abs(record.forces).max()), limits.stationary)
    if record.hessian is not None:
        add("acoustic sum rule, eV/Å²", acoustic_defect(record.hessian), limits.acoustic)
        if record.forces is not None and not record.pbc.any():
            defect = rotational_defect(record.positions, record.forces, record.hessian)
            add("rotational sum rule, eV/Å", defect, limits.rotational)
        if record.kind in ("minimum", "saddle"):
            imaginary = normal_modes(record.atoms_only(), record.hessian).n_imaginary
            add("imaginary modes too many or too few", abs(imaginary - (record.kind == "saddle")), 0)
        if len(record) > 1:
            add("Hessian of zeros", float(not record.hessian.any()), 0)
    for key, test, limit in (
        ("asymmetry", "asymmetry as computed, eV/Å²", limits.asymmetry),
        ("cphf_residual", "residual of the CPHF equations", RESIDUAL),
    ):
        value = record.properties.get(key)
        if isinstance(value, float):
            add(test, value, limit)
    return findings


def check_dataset(
    dataset: Dataset, limits: Limits = USUAL, progress: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Tests of every record, and of the records against each other; `progress` is called after each record.

    The set may be larger than the memory: records are looked at one by one, and nothing of their size is kept.
    """
    findings: list[Finding] = []
    sizes: dict[str, float] = {}
    for record in dataset:
        findings += check_record(record, limits)
        if record.hessian is not None:
            sizes[record.name] = float(np.abs(record.hessian).max())
        progress()
    records = without_curvature(dataset.records)
    findings += _levels(dataset)
    copies = find_copies(records)
    findings += _contradictions(records, copies)
    findings += _copies(dataset.heads, copies)
    findings += _missing(records)
    for test, scores in outlier_scores(records, sizes).items():
        findings += [Finding(name, test, score, OUTLIER, warning=True) for name, score in scores.items()]
    return findings


def _levels(dataset: Dataset) -> Iterator[Finding]:
    known = {
        level_key(level) for level in dataset.level_of_theory.split(" and ")
    }  # as sets that were joined on purpose are named
    for head in dataset.heads:
        level = head.properties.get("level_of_theory")
        if level is not None:
            yield Finding(
                head.name, "level of theory other than the set's", float(level_key(str(level)) not in known), 0
            )


def _contradictions(records: Sequence[Record], copies: Sequence[Copy]) -> Iterator[Finding]:
    for copy in copies:
        one, other = records[copy.first].energy, records[copy.second].energy
        if one is not None and other is not None:
            yield Finding(
                f"{records[copy.second].name} (as {records[copy.first].name})",
                "energies of one geometry differ, eV",
                abs(one - other),
                CONTRADICTION,
            )


def _copies(records: Sequence[Record | Entry], copies: Sequence[Copy]) -> Iterator[Finding]:
    """A copy of a training structure in another part is leakage; within a part it only weighs double."""
    within: set[int] = set()
    leaked: set[int] = set()
    for copy in copies:
        parts = {index: records[index].part for index in (copy.first, copy.second)}
        if len(set(parts.values())) == 1:
            within.add(copy.second)
        elif "train" in parts.values():
            leaked |= {index for index, part in parts.items() if part != "train"}
    for i, record in enumerate(records):
        yield Finding(record.name, "copy of another structure of its part", float(i in within), 0, warning=True)
        if record.part != "train":
            yield Finding(record.name, "copy of a training structure", float(i in leaked), 0, warning=True)


def _missing(records: Iterable[Record]) -> Iterator[Finding]:
    for record in records:
        lacking = record.energy is None or (record.forces is None and len(record) > 1)
        yield Finding(record.name, "no energy or no forces", float(lacking), 0, warning=True)


def in_words(findings: Sequence[Finding]) -> list[str]:
    """One sentence for each test that structures do not pass: how many, and the worst."""
    sentences = []
    for test in dict.fromkeys(finding.test for finding in findings):
        own = [finding for finding in findings if finding.test == test]
        beyond = [finding for finding in own if not finding.passed]
        if not beyond:
            continue
        worst = max(beyond, key=lambda finding: finding.value)
        extent = f"worst is {worst.name} with {worst.value:.2g}, limit {worst.limit:.2g}"
        if worst.limit == 0:
            names = [finding.name for finding in beyond[:3]]
            extent = ", ".join(names) + (", …" if len(beyond) > len(names) else "")
        sentences.append(f"{test}: {len(beyond)} of {len(own)} structures ({extent})")
    return sentences


def label_warnings(dataset: Dataset, progress: Callable[[], None] = lambda: None) -> list[str]:
    """What `hesspot data check` would say about the labels, for those who are about to train on them."""
    return in_words(check_dataset(dataset, progress=progress))
