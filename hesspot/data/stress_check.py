"""Whether stresses are in their unit and of their sign: by energies of close cells, and by their size.

E₂ − E₁ = ½(V₁ + V₂) ½(σ₁ + σ₂):ε − ½(F₁ + F₂)·u but for third order, with the strain ε from one cell to the other and
the displacements u of atoms that do not follow it.
"""

from collections.abc import Mapping

import numpy as np

from hesspot.data.factor import Factor
from hesspot.data.readers.options import Units
from hesspot.data.record import Record

#: Largest strain, and Å that an atom may move beside it, of close cells; how many pairs are needed.
CLOSE, MOVED, PAIRS = 0.05, 0.3, 5
#: eV, least change of energy by strain that is compared.
CHANGE = 1e-3
#: The factor that must be 1 has the noise of labels and of plane waves; units differ by more.
FACTORS = (0.5, 2.0)
#: A factor that a remedy must lead to.
RIGHT = (0.7, 1.4)
#: eV/Å³, median of the largest elements; 160 GPa, which no common set of solids or liquids has in its middle.
LARGEST = 1.0

_UNITS = ("eV/Å^3", "GPa", "kbar", "Hartree/bohr^3", "Rydberg/bohr^3", "kcal/mol/Å^3")


class StressCheck:
    """Takes the records of one source, in eV and Å by `units`; keeps sums alone."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._pairs = Factor()
        self._largest: list[float] = []
        self._volumes: list[float] = []

    def add(self, record: Record, other: Record | None) -> None:
        """One record more, and one before it of the same atoms, if there is one."""
        if record.stress is None:
            return
        self._largest.append(float(np.abs(record.stress).max()))
        self._volumes.append(abs(float(np.linalg.det(record.cell))))
        if other is not None and other.stress is not None and (pair := _changes(other, record)) is not None:
            self._pairs.add(*pair)

    def doubt(self, keys: Mapping[str, str]) -> tuple[str, str] | None:
        """What is odd, and what to do; `keys` are those of the file by field."""
        factor = self._pairs.value if self._pairs.count >= PAIRS else None
        if factor is not None and not FACTORS[0] <= factor <= FACTORS[1]:
            told = f"stresses are odd, energies of close cells change by {factor:.3g} of what stresses say"
            return told, self._remedy(factor, keys)
        if factor is None and self._largest and (median := float(np.median(self._largest))) > LARGEST:
            return f"stresses are odd, of {median:.3g} eV/Å³", "find out their unit, such as --units stress=GPa"
        return None

    def _remedy(self, factor: float, keys: Mapping[str, str]) -> str:
        key = keys.get("stress", "NAME")
        for unit in _UNITS:
            quotient = factor * self._units.stress / Units.parse({"stress": unit}).stress
            if RIGHT[0] <= quotient <= RIGHT[1]:
                return f"pass --units stress={unit}"
            if RIGHT[0] <= -quotient <= RIGHT[1]:
                return (
                    f"they are pressures in {unit}, positive where the crystal is compressed: turn their sign in the "
                    "file, or leave them out with --keys stress=none"
                )
        if "stress" in keys and RIGHT[0] <= -factor * float(np.median(self._volumes)) / self._energy() <= RIGHT[1]:
            return f"they are virials, pass --keys virial={key}"
        return "find out what they are, or leave them out with --keys stress=none"

    def _energy(self) -> float:
        return self._units.energy / self._units.stress


def _changes(one: Record, other: Record) -> tuple[float, float] | None:
    """The change of energy by strain alone in eV, and what stresses say of it; None where cells are not close."""
    if not (one.pbc.all() and other.pbc.all()):
        return None
    if one.energy is None or other.energy is None or one.forces is None or other.forces is None:
        return None
    inverse = np.linalg.inv(one.cell)
    strain = inverse @ other.cell - np.eye(3)
    if not 0 < np.abs(strain).max() < CLOSE:
        return None
    moved = other.positions @ np.linalg.inv(other.cell) - one.positions @ inverse
    moved = (moved - np.rint(moved)) @ (0.5 * (one.cell + other.cell))
    if np.abs(moved).max() > MOVED or one.stress is None or other.stress is None:
        return None
    volume = 0.5 * abs(np.linalg.det(one.cell) + np.linalg.det(other.cell))
    found = other.energy - one.energy + 0.5 * float(((one.forces + other.forces) * moved).sum())
    expected = 0.5 * volume * float(((one.stress + other.stress) * strain).sum())
    return (found, expected) if max(abs(found), abs(expected)) > CHANGE else None
