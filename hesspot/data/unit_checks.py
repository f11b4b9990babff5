"""Whether numbers can be in the units that they are said to be in: rules that bind labels to each other, magnitudes.

A mistake of units trains a model that is wrong by a factor, without a word. What no right file can show is refused:

1. Forces and Hessians of isolated molecules: H·(e×r) = −e×F at any geometry, the quotient of both sides is 1.
2. Energies and forces of close structures: E₂ − E₁ = −½(F₁ + F₂)·(r₂ − r₁), but for third order.
3. Total energies: none is lower than that of the separate atoms by more than a few per cent; and if those of several
   compositions are what their atoms have in Hartree, they are no eV.

What right files seldom show is a doubt: shortest distances unlike bonds, Hessians unlike those of bonds, energies of
one composition that look like Hartree, or far above zero, and stresses that energies of close cells contradict.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii

from hesspot.data.atomic_energies import energy_of_atoms
from hesspot.data.factor import Factor
from hesspot.data.readers.options import Units
from hesspot.data.record import Record
from hesspot.data.stress_check import StressCheck
from hesspot.data.sum_rules import SPARSE, isolated_positions, turned
from hesspot.neighbors import find_edges, mean_spacing

#: Shortest distance over the sum of covalent radii. Molecules and crystals have 0.73 (uranium) to 1.25 (F2); bohr taken
#: for Å give 1.38 and more, Å taken for bohr 0.66 and less. All but one of fifty may be stretched, or pressed.
BOND_RATIOS, STRETCHED = (0.68, 1.36), 0.02
#: Below this ratio a structure is bonded.
BONDED = 1.3
#: Å; atoms farther from each other are no matter of bonds.
FARTHEST = 16.0
#: eV/Å², median of the largest elements of bonded molecules of non-metals; stretches have 20 to 200.
HESSIANS = (3.0, 400.0)
#: Quotients that must be 1, with the noise of labels and of the second-order rule; units differ by more.
QUOTIENTS = (0.67, 1.5)
#: Quotients that a remedy must lead to.
RIGHT = (0.8, 1.25)
#: Å, displacement of an atom between close structures with bonds of usual lengths; eV, change of energy; how many pairs
#: are needed.
CLOSE, CHANGE, PAIRS = 0.3, 1e-3, 5
#: Structures of one composition, and atoms in all, that are kept to find pairs.
KEPT, KEPT_ATOMS = 8, 50_000
#: Å, largest force over largest Hessian element; smaller ones may be the noise of one Hessian, of `MANY` Hessians those
#: below the second.
FORCES, MANY = (5e-3, 5e-4), 10
#: Total energy over that of the separate atoms. All electrons: 1 and binding, correlation, relativity; core potentials,
#: tight binding, reference energies: less. Only wrong units give more than LOWEST.
LIKE_ATOMS, LOWEST = (0.98, 1.09), 1.5
#: Compositions that tell Hartree by themselves: so many, without relativity, and energies per atom that differ by a
#: factor. Those of other methods meet what atoms have in Hartree in one composition or another, never in all.
COMPOSITIONS, LIGHT_ATOMS, SPREAD = 3, (0.985, 1.03), 1.5
#: eV per atom; references are chosen to give less.
HIGHEST = 100.0
#: After so many structures, and so many pairs, two that follow each other of every twenty are looked at.
SAMPLED, THINNED = 500, 20

_NON_METALS = (1, 6, 7, 8, 9, 15, 16, 17)
_NOBLE = (2, 10, 18, 36, 54, 86)

_ENERGIES = ("eV", "Hartree", "kcal/mol", "kJ/mol", "Rydberg", "meV")
#: Units that energies of all electrons tell by their size; in Rydberg they pass for those of tight binding in eV.
_ALL_ELECTRONS = ("eV", "Hartree", "kcal/mol", "kJ/mol", "meV")
_LENGTHS = ("Å", "bohr", "nm")
#: Empty: those that follow from energy and length.
_FORCES = ("", "eV/Å", "Hartree/bohr", "Hartree/Å", "kcal/mol/Å", "kJ/mol/nm", "kJ/mol/Å", "Rydberg/bohr", "eV/bohr")
_HESSIANS = ("", "eV/Å^2", "Hartree/bohr^2", "kcal/mol/Å^2", "Hartree/Å^2", "kJ/mol/nm^2", "eV/bohr^2")


class Complaint(NamedTuple):
    """Which question has an odd answer, the answer, and what to do where the source was converted."""

    test: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.evidence}: {self.remedy}"


class UnitCheck:
    """Takes the records of one source one by one, in eV and Å by `units`; keeps numbers of a few structures alone."""

    def __init__(self, units: Units | None = None) -> None:
        self._units = units or Units()
        self._keys: Mapping[str, str] = {}
        self._count = 0
        self._bonds: list[float] = []
        self._hessians: list[float] = []
        self._rotations: list[tuple[float, float]] = []
        self._pairs, self._stresses = Factor(), StressCheck(self._units)
        self._energies: dict[bytes, tuple[float, float]] = {}
        self._per_atom: list[tuple[float, float]] = []
        self._recent: OrderedDict[tuple[bytes, int | None, int | None], deque[Record]] = OrderedDict()
        self._atoms = 0
        self._has_forces = self._has_hessians = False

    def add(self, record: Record, keys: Mapping[str, str] | None = None) -> None:
        """One record more; `keys` of the source that its labels stand under, by field."""
        self._count += 1
        self._keys = keys or self._keys
        self._has_forces |= record.forces is not None
        self._has_hessians |= record.hessian is not None
        passed = self._count > SAMPLED and self._count % THINNED > 1
        if passed and self._pairs.count > SAMPLED:
            return
        ratio = shortest_ratio(record)
        self._add_pair(record, ratio or 1.0)
        if passed:
            return
        self._add_energy(record)
        if ratio is not None:
            self._bonds.append(ratio)
        if record.hessian is not None:
            self._add_hessian(record, ratio)

    def _add_energy(self, record: Record) -> None:
        if record.energy is None or len(record) < 2:
            return
        quotient = record.energy / energy_of_atoms(record.numbers)
        self._per_atom.append((record.energy / len(record), quotient))
        if len(self._energies) < SAMPLED and record.numbers.max() > 2:  # what binds H2 is no small part of its energy
            self._energies.setdefault(np.sort(record.numbers).tobytes(), (quotient, record.energy / len(record)))

    def _add_pair(self, record: Record, ratio: float) -> None:
        """The change of energy from the closest of the structures before it, and what forces say of it."""
        if record.energy is None or record.forces is None:
            return
        key = (record.numbers.tobytes(), record.charge, record.multiplicity)
        others = self._recent.setdefault(key, deque(maxlen=KEPT))
        self._recent.move_to_end(key)
        self._stresses.add(record, others[-1] if others else None)
        steps = [(other, step) for other in others if (step := _step(other, record)) is not None]
        if steps:
            best, step = min(steps, key=lambda each: float(np.abs(each[1]).max()))
            moved = float(np.abs(step).max())
            expected = -0.5 * float(((best.forces + record.forces) * step).sum())
            if moved < CLOSE * ratio and abs(expected) > CHANGE:
                self._pairs.add(record.energy - best.energy, expected)  # type: ignore[operator]
        self._atoms += len(record) if len(others) < KEPT else 0
        others.append(_without_hessian(record))
        while self._atoms > KEPT_ATOMS and len(self._recent) > 1:
            _, dropped = self._recent.popitem(last=False)
            self._atoms -= sum(map(len, dropped))

    def _add_hessian(self, record: Record, ratio: float | None) -> None:
        assert record.hessian is not None
        chosen = np.isin(record.numbers, _NON_METALS)
        if not chosen.all():
            ratio = shortest_ratio(record, chosen) if chosen.sum() > 1 else None
        if ratio is not None and ratio < BONDED:
            self._hessians.append(float(np.abs(record.hessian).max()))
        if record.forces is not None and (quotient := rotation_quotient(record)) is not None:
            self._rotations.append((float(np.abs(record.forces).max() / np.abs(record.hessian).max()), quotient))

    def refusals(self) -> list[Complaint]:
        """Rules that are broken and that no right file breaks."""
        return [*self._rotation_rule(), *self._pair_rule(), *self._energy_rule()]

    def doubts(self) -> list[Complaint]:
        """What is odd, though right files may show it; nothing where something is refused."""
        if self.refusals():
            return []
        return [*self._bond_lengths(), *self._hessian_sizes(), *self._energy_sizes(), *self._odd_stresses()]

    def _rotation(self) -> float | None:
        """The median quotient of H·(e×r) and −e×F; None of too few structures."""
        for force, enough in zip(FORCES, (1, MANY), strict=True):
            quotients = [quotient for size, quotient in self._rotations if size > force]
            if len(quotients) >= max(enough, min(self._count, SAMPLED) // 10):
                return float(np.median(quotients))
        return None

    def _pair(self) -> float | None:
        """What energies change by over what forces say of it; None of too few pairs."""
        return self._pairs.value if self._pairs.count >= PAIRS else None

    def _rotation_rule(self) -> Iterator[Complaint]:
        if (quotient := self._rotation()) is not None:
            yield from self._contradiction(quotient, "forces and Hessians", "H·(e×r) is {:.3g} times −e×F")

    def _pair_rule(self) -> Iterator[Complaint]:
        if (quotient := self._pair()) is not None:
            yield from self._contradiction(
                quotient, "energies and forces", "energies of close structures change by {:.3g} of what forces say"
            )

    def _contradiction(self, quotient: float, labels: str, evidence: str) -> Iterator[Complaint]:
        evidence = evidence.format(quotient)
        if quotient < 0:
            remedy = f"they are gradients, pass --keys gradient={self._keys.get('forces', 'NAME')}"
            yield Complaint(f"signs of {labels}", f"forces have the wrong sign, {evidence}", remedy)
        elif not QUOTIENTS[0] <= quotient <= QUOTIENTS[1]:
            sentence = f"{labels} are in units that do not fit, {evidence}"
            yield Complaint(f"units of {labels}", sentence, self._remedy())

    def _energy_rule(self) -> Iterator[Complaint]:
        if not self._per_atom:
            return
        per_atom, quotient = (float(x) for x in np.median(self._per_atom, axis=0))
        if quotient > LOWEST:
            yield Complaint(
                "total energies",
                f"energies of {per_atom:.6g} eV/atom are {quotient:.3g} times those of the separate atoms, lower than "
                "any calculation gives",
                self._remedy(),
            )
        elif len(self._energies) >= COMPOSITIONS and self._like_hartree(LIGHT_ATOMS):
            sizes = np.abs([energy for _, energy in self._energies.values()])
            if sizes.max() > SPREAD * sizes.min():
                sentence = f"energies of {len(self._energies)} compositions are what their atoms have in Hartree"
                yield Complaint("total energies", sentence, self._remedy())

    def _like_hartree(self, limits: tuple[float, float]) -> bool:
        """Whether the energy of every composition is what its atoms have in Hartree, though another unit was said."""
        quotients = np.array([quotient for quotient, _ in self._energies.values()])
        factor = self._factor("Hartree")
        return factor != 1.0 and len(quotients) > 0 and _within(quotients * factor, limits)

    def _bond_lengths(self) -> Iterator[Complaint]:
        if not self._bonds:
            return
        low, high = self._bond_range()
        for ratio, is_odd in ((low, low > BOND_RATIOS[1]), (high, high < BOND_RATIOS[0])):
            if is_odd:
                sentence = f"positions are odd, shortest distances are {ratio:.2f} bond lengths"
                yield Complaint("units of positions", sentence, self._remedy())

    def _hessian_sizes(self) -> Iterator[Complaint]:
        if not self._hessians:
            return
        median = float(np.median(self._hessians))
        if not HESSIANS[0] <= median <= HESSIANS[1]:
            sentence = f"Hessians are odd, their largest element is {median:.3g} where bonds have 20 to 200 eV/Å²"
            yield Complaint("units of Hessians", sentence, self._remedy())

    def _energy_sizes(self) -> Iterator[Complaint]:
        if self._like_hartree(LIKE_ATOMS):
            yield Complaint("total energies", "energies are what their atoms have in Hartree", self._remedy())
        elif self._per_atom and (median := float(np.median([energy for energy, _ in self._per_atom]))) > HIGHEST:
            sentence = f"energies of {median:.6g} eV/atom are far above zero"
            yield Complaint("total energies", sentence, "find out what they are relative to")

    def _odd_stresses(self) -> Iterator[Complaint]:
        if (found := self._stresses.doubt(self._keys)) is not None:
            yield Complaint("units of stresses", *found)

    def _remedy(self) -> str:
        """The units, of as few words as possible, with which all that is known of the source fits."""
        candidates = _candidates(self._has_forces, self._has_hessians)
        fitting = [(not self._bonded(units), len(named), named) for named, units in candidates if self._fits(units)]
        if not fitting:
            return "find the units of each and pass --units"
        _, _, best = min(fitting, key=lambda each: each[:2])
        if not best:
            return "leave --units out"
        untold = self._has_forces and "forces" not in best and self._pair() is None
        advice = ",".join(f"{key}={text}" for key, text in best.items())
        return f"pass --units {advice}" + (", and forces=UNIT where theirs do not follow from it" if untold else "")

    def _fits(self, other: Units) -> bool:
        """Whether all rules would hold if the source were in `other`."""
        energy, length = other.energy / self._units.energy, other.length / self._units.length
        forces, hessian = other.forces / self._units.forces, other.hessian / self._units.hessian
        if (pair := self._pair()) is not None and not _within(abs(pair) * energy / (forces * length), RIGHT):
            return False
        if (turn := self._rotation()) is not None and not _within(abs(turn) * hessian * length / forces, RIGHT):
            return False
        if self._hessians and not _within(float(np.median(self._hessians)) * hessian, HESSIANS):
            return False
        if self._bonds:
            low, high = (bound * length for bound in self._bond_range())
            if low > BOND_RATIOS[1] or high < BOND_RATIOS[0]:
                return False
        if self._energies:
            quotients = np.array([quotient for quotient, _ in self._energies.values()])
            told = [f for name in _ALL_ELECTRONS if _within(quotients * (f := self._factor(name)), LIKE_ATOMS)]
            return bool(np.median(quotients) * energy < LOWEST) and (not told or bool(np.isclose(told, energy).any()))
        return True

    def _bonded(self, other: Units) -> bool:
        """Whether most structures would have bonds of usual lengths if the source were in `other`."""
        length = other.length / self._units.length
        return not self._bonds or _within(float(np.median(self._bonds)) * length, BOND_RATIOS)

    def _factor(self, energy: str) -> float:
        """From the energies as they were added to those of a source in the unit of this name."""
        return Units.parse({"energy": energy}).energy / self._units.energy

    def _bond_range(self) -> tuple[float, float]:
        low, high = np.quantile(self._bonds, [STRETCHED, 1 - STRETCHED])
        return float(low), float(high)


@cache
def _candidates(has_forces: bool, has_hessians: bool) -> list[tuple[dict[str, str], Units]]:
    """Units that files are in, likely ones first: what has to be said to have them, and the factors."""
    found = []
    for texts in product(_ENERGIES, _LENGTHS, _FORCES if has_forces else ("",), _HESSIANS if has_hessians else ("",)):
        stated = {key: text for key, text in zip(("energy", "length", "forces", "hessian"), texts, strict=True) if text}
        named = {key: text for key, text in stated.items() if text not in ("eV", "Å")}
        found.append((named, Units.parse(stated)))
    return found


def shortest_ratio(record: Record, chosen: np.ndarray | None = None) -> float | None:
    """Shortest distance over the sum of its atoms' covalent radii, images included; None without close atoms.

    chosen (n,) bool: the atoms that count. Two noble gas atoms do not.
    """
    numbers, positions = record.numbers, record.positions
    if chosen is not None:
        numbers, positions = numbers[chosen], positions[chosen]
    radii = covalent_radii[numbers]
    noble = np.isin(numbers, _NOBLE)
    reach = SPARSE * mean_spacing(positions, record.cell, record.pbc)
    while True:
        ratios = _ratios(positions, record, radii, noble, reach)
        if len(ratios):
            least = float(ratios.min())
            wider = least * 2 * float(radii.max())
            return float(_ratios(positions, record, radii, noble, wider).min(initial=least)) if wider > reach else least
        if reach > FARTHEST:
            return None
        reach *= 2


def _ratios(positions: np.ndarray, record: Record, radii: np.ndarray, noble: np.ndarray, reach: float) -> np.ndarray:
    first, second, vectors = find_edges(positions, record.cell, record.pbc, reach)
    ratios = np.linalg.norm(vectors, axis=1) / (radii[first] + radii[second])
    return np.asarray(ratios[~(noble[first] & noble[second])])


def rotation_quotient(record: Record) -> float | None:
    """H·(e×r) over −e×F of an isolated molecule, which is 1; None where forces are small or both differ by more."""
    if record.hessian is None or record.forces is None:
        return None
    if np.abs(record.forces).max() <= FORCES[1] * np.abs(record.hessian).max():
        return None
    positions = isolated_positions(record.positions, record.cell, record.pbc)
    if positions is None:
        return None
    factor = Factor()
    factor.add(turned(positions - positions.mean(axis=0)) @ record.hessian, -turned(record.forces))
    return factor.value


def _without_hessian(record: Record) -> Record:
    return replace(record, hessian=None, directions=None, products=None, properties={})


def _step(one: Record, other: Record) -> np.ndarray | None:
    """Displacements (n, 3) Å, to the nearest images; None where the cells differ."""
    step = other.positions - one.positions
    if (one.pbc != other.pbc).any():
        return None
    if one.pbc.any():
        if not np.allclose(one.cell[one.pbc], other.cell[other.pbc]):
            return None
        shifts = np.rint(step @ np.linalg.pinv(np.where(one.pbc[:, None], one.cell, 0.0)))
        step = step - np.where(one.pbc, shifts, 0.0) @ one.cell
    return step


def _within(values: np.ndarray | float, limits: tuple[float, float]) -> bool:
    return bool(np.all((np.asarray(values) >= limits[0]) & (np.asarray(values) <= limits[1])))
