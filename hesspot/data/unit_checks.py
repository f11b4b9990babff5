"""Whether numbers can be in the units they are said to be in: magnitudes, and rules that bind labels to each other.

A mistake of units trains a model that is wrong by a factor, without a word. Four questions, each of at most
`SAMPLED` structures of a set, each answered only where the structures allow it:

1. Bond lengths: the shortest distance of a molecule of non-metals is about the sum of two covalent radii.
2. Hessians of bonded structures: their largest element is 20 to 200 eV/Å², that of a stretched bond.
3. Forces and Hessians: H·(e×r) = −e×F at any geometry, so that the quotient of both sides is 1.
4. Energies and forces: E₂ − E₁ = −½(F₁ + F₂)·(r₂ − r₁) between neighbouring geometries, but for third order.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from ase.data import covalent_radii
from scipy.spatial.distance import pdist, squareform

from hesspot.data.record import Record
from hesspot.data.sum_rules import turned
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, KCAL_PER_MOL

SAMPLED = 500

#: Shortest distance over the sum of covalent radii: bonds have 0.8 to 1.2; Å read as bohr 0.53, bohr read as Å 1.9.
BOND_RATIOS = (0.62, 1.6)
#: Below this ratio a structure is bonded.
BONDED = 1.3
#: eV/Å², median of the largest elements of bonded structures; stretches have 20 to 200.
HESSIANS = (3.0, 400.0)
#: Quotients that must be 1, with the noise of labels and of the second-order rule; units differ by more.
QUOTIENTS = (0.75, 1.33)
#: Cosine of both sides of a rule; below it they differ by more than a factor, which is no matter of units.
PROPORTIONAL = 0.9
#: Å, displacement of an atom between neighbouring geometries; eV, change of energy; how many pairs are needed.
NEIGHBOURING, CHANGE, PAIRS = 0.3, 1e-3, 5
#: eV/Å; smaller forces are the noise of stationary points.
FORCE = 1e-3

_NON_METALS = (1, 6, 7, 8, 9, 15, 16, 17)


def unit_complaints(records: Sequence[Record]) -> list[str]:
    """One sentence with a remedy for each rule that the records break; empty where nothing is wrong."""
    records = list(records)
    sample = records[:: max(1, len(records) // SAMPLED)]
    shortest = [(record, ratio) for record in sample if (ratio := _shortest_ratio(record)) is not None]
    complaints = [_bond_lengths([ratio for _, ratio in shortest])]
    if not any(complaints):  # all else follows from wrong lengths
        bonded = [record for record, ratio in shortest if ratio < BONDED]
        complaints += [_hessian_sizes(bonded), _rotations(sample), _differences(records)]
    return [complaint for complaint in complaints if complaint]


def _shortest_ratio(record: Record) -> float | None:
    """Shortest distance over the sum of its atoms' covalent radii; None without two non-metals."""
    chosen = np.isin(record.numbers, _NON_METALS)
    if chosen.sum() < 2:
        return None
    radii = covalent_radii[record.numbers[chosen]]
    sums = radii[:, None] + radii
    return float((pdist(record.positions[chosen]) / squareform(sums, checks=False)).min())


def _bond_lengths(ratios: list[float]) -> str:
    if not ratios:
        return ""
    median = float(np.median(ratios))
    if median > BOND_RATIOS[1]:
        return f"positions look like bohr (shortest distances are {median:.2f} bond lengths): pass --units length=bohr"
    if median < BOND_RATIOS[0]:
        unit = "nm" if median < 0.2 else "Å"
        return (
            f"positions look like {unit} (shortest distances are {median:.2f} bond lengths): pass --units length={unit}"
        )
    return ""


def _hessian_sizes(bonded: list[Record]) -> str:
    largest = [np.abs(record.hessian).max() for record in bonded if record.hessian is not None]
    if not largest:
        return ""
    median = float(np.median(largest))
    if HESSIANS[0] <= median <= HESSIANS[1]:
        return ""
    unit = "Hartree/bohr^2" if median < HESSIANS[0] else "kcal/mol/Å^2"
    return (
        f"Hessians look like {unit} (their largest element is {median:.3g} where bonds have 20 to 200 eV/Å²): "
        f"pass --units hessian={unit}"
    )


def _rotations(sample: list[Record]) -> str:
    quotients = []
    for record in sample:
        if record.hessian is None or record.forces is None or record.pbc.any() or np.abs(record.forces).max() < FORCE:
            continue
        found = turned(record.positions - record.positions.mean(axis=0)) @ record.hessian
        expected = -turned(record.forces)
        if _cosine(found, expected) > PROPORTIONAL or _cosine(found, -expected) > PROPORTIONAL:
            quotients.append((found * expected).sum() / (expected**2).sum())
    if len(quotients) < max(1, len(sample) // 10):
        return ""
    quotient = float(np.median(quotients))
    if QUOTIENTS[0] <= quotient <= QUOTIENTS[1]:
        return ""
    if quotient < 0:
        return (
            f"forces have the wrong sign (the Hessians' sum rule of rotations gives {quotient:.3g} times them): "
            "they are gradients, pass --keys gradient=NAME for them"
        )
    return f"forces and Hessians are in units that do not fit (H·(e×r) is {quotient:.3g} times −e×F)" + _remedy(
        "forces", quotient, {"Hartree/bohr": HARTREE_PER_BOHR, "Hartree/Å": HARTREE, "kcal/mol/Å": KCAL_PER_MOL}
    )


def _differences(records: list[Record]) -> str:
    pairs = []
    for a, b in pairwise(records):
        if any(label is None for label in (a.energy, b.energy, a.forces, b.forces)) or len(a) != len(b):
            continue
        step = b.positions - a.positions
        if (a.numbers != b.numbers).any() or np.abs(step).max() > NEIGHBOURING:
            continue
        expected = -0.5 * float(((a.forces + b.forces) * step).sum())  # type: ignore[operator]
        if abs(expected) > CHANGE:
            pairs.append((b.energy - a.energy, expected))  # type: ignore[operator]
    if len(pairs) < PAIRS:
        return ""
    found, wanted = np.array(pairs).T
    if abs(_cosine(found, wanted)) < PROPORTIONAL:
        return ""
    quotient = float((found * wanted).sum() / (wanted**2).sum())
    if QUOTIENTS[0] <= quotient <= QUOTIENTS[1]:
        return ""
    if quotient < 0:
        return (
            f"forces have the wrong sign (energies change by {quotient:.3g} of what they say): "
            "they are gradients, pass --keys gradient=NAME for them"
        )
    return (
        f"energies and forces are in units that do not fit (energies change by {quotient:.3g} of what forces say)"
        + _remedy(
            "energy", 1 / quotient, {"Hartree": HARTREE, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KCAL_PER_MOL / 4.184}
        )
    )


def _remedy(label: str, factor: float, units: dict[str, float]) -> str:
    """How to say that a label, times `factor`, is in the units of the others."""
    for unit, size in units.items():
        if QUOTIENTS[0] < factor / size < QUOTIENTS[1]:
            return f": {label} look like {unit}, pass --units {label}={unit}"
    for unit, size in {"per bohr": 1 / BOHR, "per Å where bohr was said": BOHR}.items():
        if abs(factor / size - 1) < 0.1:
            return f": lengths look like {unit}, pass the right --units"
    return f": find the units of each and pass --units {label}=UNIT"


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / size) if size else 0.0
