"""Tests that labels must pass whatever made them, and what is odd about a set.

Wrong are labels that cannot be right, or that do not belong together. Noise is what programs leave of sum rules, as an
error of frequencies. Warnings are what may be meant: outliers, copies, test structures that were trained on, labels
that are missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hesspot.data.dataset import Dataset
from hesspot.data.duplicates import Copy, find_copies
from hesspot.data.hessian_noise import vibrations
from hesspot.data.levels import LEVEL_GIVEN, level_key
from hesspot.data.outliers import outlier_scores
from hesspot.data.record import Record
from hesspot.data.stored_records import Entry, without_curvature
from hesspot.data.sum_rules import acoustic_defect, isolated_positions, rotational_defect
from hesspot.data.unit_checks import UnitCheck

#: Hartree/bohr, true residual of the coupled-perturbed equations (property `cphf_residual`).
RESIDUAL = 1e-7
#: eV, difference of energies of two copies of one structure: the noise of codes is below.
CONTRADICTION = 5e-3
#: Robust standard deviations from the middle of the set.
OUTLIER = 12.0


#: eV/Å, and part of the root-mean-square force: between forces and the slope of the energy (property
#: `gradient_mismatch`). Truncation of the differences leaves less, direct predictions of forces more.
GRADIENT = 5e-3, 2e-3
#: eV/Å², which errors of softer curvature are measured by.
SOFTEST = 1e-2

#: eV/Å²; what is broken in a Hessian is measured by its largest element, or by this where all are softer.
SOFT = 5.0

Tier = Literal["wrong", "noise", "warning"]
TIERS: tuple[Tier, ...] = ("wrong", "noise", "warning")


@dataclass(frozen=True)
class Limits:
    """Largest defects that pass. By default what no program's noise reaches, and what it may be without a word.

    Attributes:
        translation: net force on a translation of 1 Å, part of the Hessian's largest element. Programs leave up to
            0.002, frozen or missing atoms some 0.5.
        rotation: violation of the sum rule of rotations by 1 Å of the outermost atom, likewise. Programs leave up to
            0.003, Hessians of other geometries of a molecule 0.03 to 0.3.
        asymmetry: of the Hessian before it was symmetrised (property `asymmetry`), likewise. Programs leave 0.003.
        noise: cm⁻¹, root mean square error of a structure's frequencies; more is told.
        differences: estimated error of curvature from differences of forces (properties `product_error` and
            `hessian_error`), part of its root mean square; a tenth of it is told.
        stationary: eV/Å, largest force at a minimum or saddle point; the usual criterion of optimisers.
    """

    translation: float = 2e-2
    rotation: float = 1e-2
    asymmetry: float = 2e-2
    noise: float = 0.1
    differences: float = 0.1
    stationary: float = 2.5e-2


USUAL = Limits()
#: What labels of `hesspot label` keep: on-site blocks are reset by the acoustic sum rule, optimisations are tight.
STRICT = Limits(translation=2e-8, rotation=5e-5, asymmetry=2e-4, stationary=1e-3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one structure, or of the set, whose name is then what was found; only what is wrong is a failure."""

    name: str
    test: str
    value: float
    limit: float
    tier: Tier = "wrong"
    of_set: bool = False

    @property
    def passed(self) -> bool:
        return self.value <= self.limit


def check_record(record: Record, limits: Limits = USUAL) -> list[Finding]:
    """All tests that the record's labels allow by themselves; sum rules of rotations need an isolated molecule."""
    findings = []

    def add(test: str, value: float, limit: float, tier: Tier = "wrong") -> None:
        findings.append(Finding(record.name, test, value, limit, tier))

    if record.forces is not None and record.kind in ("minimum", "saddle"):
        add("force at a stationary point, eV/Å", float(np.abs(record.forces).max()), limits.stationary)
    if record.hessian is not None:
        size, first = max(float(np.abs(record.hessian).max()), SOFT), len(findings)
        add("acoustic sum rule, part of the Hessian", acoustic_defect(record.hessian) / size, limits.translation)
        positions = isolated_positions(record.positions, record.cell, record.pbc)
        if record.forces is not None and positions is not None:
            arm = max(1.0, float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).max()))
            defect = rotational_defect(positions, record.forces, record.hessian) / arm
            add("rotational sum rule, part of the Hessian", defect / size, limits.rotation)
        if isinstance(asymmetry := record.properties.get("asymmetry"), float):
            add("asymmetry as computed, part of the Hessian", asymmetry / size, limits.asymmetry)
        found = vibrations(record)
        if all(finding.passed for finding in findings[first:]):
            add("error of the Hessian's frequencies, cm⁻¹", found.frequency_error, limits.noise, "noise")
        if record.kind in ("minimum", "saddle"):
            least, most = found.n_imaginary
            wanted = int(record.kind == "saddle")
            add("imaginary modes too many or too few", max(least - wanted, wanted - most, 0), 0)
        if len(record) > 1:
            add("Hessian of zeros", float(not record.hessian.any()), 0)
    findings += _differences(record, limits)
    residual = record.properties.get("cphf_residual")
    if isinstance(residual, float):
        add("residual of the CPHF equations", residual, RESIDUAL)
    return findings


def _differences(record: Record, limits: Limits) -> Iterator[Finding]:
    """Curvature from differences of forces, by what its maker has found of its error."""
    curvatures = [("hessian", "a Hessian", record.hessian), ("product", "Hessian products", record.products)]
    for key, words, values in curvatures:
        error = record.properties.get(f"{key}_error")
        if values is None or not isinstance(error, float):
            continue
        share = error / max(float(np.sqrt(np.mean(values**2))), SOFTEST)
        yield Finding(record.name, f"error of {words} from differences, part of all", share, limits.differences)
        if share <= limits.differences:
            test = f"noise of {words} from differences, part of all"
            yield Finding(record.name, test, share, limits.differences / 10, "noise")
    mismatch = record.properties.get("gradient_mismatch")
    if isinstance(mismatch, float) and record.forces is not None:
        size = float(np.sqrt(np.mean(record.forces**2)))
        test = "forces that are not the gradient of the energy, eV/Å"
        yield Finding(record.name, test, mismatch, max(GRADIENT[0], GRADIENT[1] * size))


def check_dataset(
    dataset: Dataset, limits: Limits = USUAL, progress: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Tests of every record, and of the records against each other; `progress` is called after each record.

    The set may be larger than the memory: records are looked at one by one, and nothing of their size is kept.
    """
    findings: list[Finding] = []
    sizes: dict[str, float] = {}
    units = UnitCheck()
    for record in dataset:
        findings += check_record(record, limits)
        if record.hessian is not None:
            sizes[record.name] = float(np.abs(record.hessian).max())
        lacking = record.energy is None or (record.forces is None and len(record) > 1)
        findings.append(Finding(record.name, "no energy or no forces", float(lacking), 0, tier="warning"))
        units.add(record)
        progress()
    findings += [Finding(complaint.evidence, complaint.test, 1, 0, of_set=True) for complaint in units.refusals()]
    findings += [Finding(complaint.evidence, complaint.test, 1, 0, "warning", True) for complaint in units.doubts()]
    records = without_curvature(dataset.records)
    findings += _levels(dataset)
    copies = find_copies(records)
    findings += _contradictions(records, copies)
    findings += _copies(dataset.heads, copies)
    for test, scores in outlier_scores(records, sizes).items():
        findings += [Finding(name, test, score, OUTLIER, tier="warning") for name, score in scores.items()]
    return findings


def _levels(dataset: Dataset) -> Iterator[Finding]:
    """Records that state another level than the set's; what its maker has stated to be one level is only told."""
    # sets that were joined on purpose are of `A and B`
    known = {level_key(level) for level in dataset.level_of_theory.split(" and ")}
    tier: Tier = "warning" if LEVEL_GIVEN in dataset.provenance else "wrong"
    for head in dataset.heads:
        level = head.properties.get("level_of_theory")
        if level is not None:
            is_other = float(level_key(str(level)) not in known)
            yield Finding(head.name, "level of theory other than the set's", is_other, 0, tier)


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
        yield Finding(record.name, "copy of another structure of its part", float(i in within), 0, tier="warning")
        if record.part != "train":
            yield Finding(record.name, "copy of a training structure", float(i in leaked), 0, tier="warning")


def in_words(findings: Sequence[Finding]) -> list[str]:
    """One sentence for each test that structures do not pass: how many, and the worst."""
    sentences = []
    for test in dict.fromkeys(finding.test for finding in findings):
        own = [finding for finding in findings if finding.test == test]
        beyond = [finding for finding in own if not finding.passed]
        if not beyond:
            continue
        if beyond[0].of_set:
            sentences.append(f"{test}: {beyond[0].name}")
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
    findings = check_dataset(dataset, progress=progress)
    noise = in_words([finding for finding in findings if finding.tier == "noise"])
    return [f"noise: {each}" if each in noise else each for each in in_words(findings)]
