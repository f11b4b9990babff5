"""Enthalpy, entropy and free energy from harmonic frequencies: ideal gas, or vibrations alone.

The ideal gas is a rigid rotor with harmonic vibrations (D. A. McQuarrie, Statistical Mechanics, 1976). Soft modes,
whose harmonic entropy has no bound, are told in two more ways. Grimme's entropy (Chem. Eur. J. 18, 9955, 2012) goes
over to that of a free rotor, w S_harmonic + (1 − w) S_rotor, with w = 1/(1 + (ν₀/ν)⁴) and the mean moment of inertia
that it names, 10⁻⁴⁴ kg m². Head-Gordon's enthalpy (Y.-P. Li et al., J. Phys. Chem. C 119, 1840, 2015) does the same
with ½ hν + hν/(exp(hν/kT) − 1) and ½ kT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ase
import numpy as np

from hesspot.analysis.normal_modes import rigid_basis
from hesspot.chemistry.symmetry_number import symmetry_number
from hesspot.chemistry.vibrations import Vibrations
from hesspot.electrons import lowest_multiplicity, stated_electrons
from hesspot.errors import UserError
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR, INVERSE_CM, KILOGRAM, METER, PRESSURES

#: bar in eV/Å³, and the pressure where none is stated, in bar.
BAR, ATMOSPHERE = 1e5 * PRESSURES["pa"], 1.01325

#: amu Å², the moment of inertia that a free rotor has at most: Grimme's B_av.
MEAN_INERTIA = 1e-44 * KILOGRAM * METER**2

#: cm⁻¹, below which the free rotor takes over.
SOFT = 100.0

#: Ways to treat soft modes: as they are, Grimme's entropy, and with it Head-Gordon's enthalpy.
Treatment = Literal["harmonic", "quasi-RRHO", "quasi-RRHO, H too"]
TREATMENTS: tuple[Treatment, ...] = ("harmonic", "quasi-RRHO", "quasi-RRHO, H too")


@dataclass(frozen=True)
class Conditions:
    """temperature K, pressure bar, symmetry number of rotation, and total spin S of the electrons; cut: cm⁻¹, where
    free rotors take over. UserError for what cannot be."""

    temperature: float = 298.15
    pressure: float = ATMOSPHERE
    symmetry: int = 1
    spin: float = 0.0
    cut: float = SOFT

    def __post_init__(self) -> None:
        for what, value in (("temperature", self.temperature), ("pressure", self.pressure)):
            if not (0.0 < value < np.inf):
                raise UserError(f"--{what} {value:g}: give a positive number")
        if self.symmetry < 1:
            raise UserError(
                f"--symmetry {self.symmetry}: the number of rotations that leave the molecule as it is, is 1 or more "
                "(1 for CHFClBr, 2 for H2O, 3 for NH3, 12 for CH4)"
            )
        if self.spin < 0 or 2 * self.spin != int(2 * self.spin):
            raise UserError(f"--spin {self.spin:g}: the total spin is 0, 0.5, 1, …, half the unpaired electrons")
        if not (0.0 <= self.cut < np.inf):
            raise UserError(f"--soft {self.cut:g}: give a frequency in cm⁻¹, 0 or more")


@dataclass(frozen=True)
class Thermochemistry:
    """Of one treatment of soft modes, eV and eV/K.

    zero_point; internal (U) and entropy: parts by their names, the potential energy not among them; pv: pressure times
    volume of an ideal gas, 0 for vibrations alone.
    """

    treatment: Treatment
    temperature: float
    potential: float
    zero_point: float
    internal: dict[str, float]
    entropies: dict[str, float]
    pv: float

    @property
    def enthalpy(self) -> float:
        """eV, with the potential energy; U + pV, for vibrations alone U."""
        return self.potential + sum(self.internal.values()) + self.pv

    @property
    def entropy(self) -> float:
        """eV/K."""
        return sum(self.entropies.values())

    @property
    def gibbs(self) -> float:
        """eV; H − TS, for vibrations alone Helmholtz's U − TS."""
        return self.enthalpy - self.temperature * self.entropy


def is_gas(atoms: ase.Atoms) -> bool:
    """Whether a structure can move and turn as a molecule of a gas: nothing is held, nothing periodic."""
    return not atoms.pbc.any() and not atoms.constraints


def spin_of(atoms: ase.Atoms) -> float:
    """Total spin of a molecule as it states it, else the lowest that its number of electrons allows."""
    charge, multiplicity = stated_electrons(atoms, "the structure")
    multiplicity = multiplicity or lowest_multiplicity(int(atoms.numbers.sum()) - (charge or 0))
    return 0.5 * (multiplicity - 1)


def conditions_for(
    atoms: ase.Atoms,
    temperature: float,
    pressure: float | None = None,
    symmetry: int | None = None,
    spin: float | None = None,
    cut: float = SOFT,
) -> Conditions:
    """What is stated, and for the rest 1 atm, the `symmetry_number` of the structure and its `spin_of`.

    UserError for a pressure or a symmetry number of what is no gas, and for a spin that the electrons cannot have.
    """
    if not is_gas(atoms):
        for option, value in (("--pressure", pressure), ("--symmetry", symmetry)):
            if value is not None:
                raise UserError(
                    f"{option} {value:g} is for a molecule of a gas, and {atoms.symbols} is periodic or has atoms that "
                    "are held, so that it neither moves nor turns; leave it out"
                )
    if spin is not None and not atoms.pbc.any():
        charge, _ = stated_electrons(atoms, "the structure")
        electrons = int(atoms.numbers.sum()) - (charge or 0)
        if (2 * spin - electrons) % 2:
            raise UserError(f"--spin {spin:g} cannot be with {electrons} electrons; give half the unpaired ones")
    own = spin_of(atoms) if is_gas(atoms) else 0.0
    rotations = symmetry_number(atoms) if is_gas(atoms) else 1
    return Conditions(
        temperature,
        ATMOSPHERE if pressure is None else pressure,
        rotations if symmetry is None else symmetry,
        own if spin is None else spin,
        cut,
    )


def thermochemistry(found: Vibrations, conditions: Conditions, treatment: Treatment = "harmonic") -> Thermochemistry:
    """H, S and G of an ideal gas (`is_gas`), else U, S and F of the vibrations; imaginary modes are left out."""
    kt = BOLTZMANN * conditions.temperature
    quanta = found.real * INVERSE_CM
    weights = np.ones(len(quanta))
    if treatment != "harmonic":
        weights = 1.0 / (1.0 + (conditions.cut / found.real) ** 4)
    of_rotors = weights if treatment == "quasi-RRHO, H too" else np.ones(len(quanta))
    vibrational = of_rotors * (0.5 * quanta + quanta / np.expm1(quanta / kt)) + (1.0 - of_rotors) * 0.5 * kt
    harmonic = BOLTZMANN * (quanta / kt / np.expm1(quanta / kt) - np.log(-np.expm1(-quanta / kt)))
    entropy = weights * harmonic + (1.0 - weights) * _rotor_entropies(found.real, conditions.temperature)
    internal, entropies = {"vibration": float(vibrational.sum())}, {"vibration": float(entropy.sum())}
    if is_gas(found.atoms):
        moved, moved_entropies = _gas(found.atoms, conditions)
        internal, entropies = {**moved, **internal}, {**moved_entropies, **entropies}
    entropies["electrons"] = BOLTZMANN * float(np.log(2.0 * conditions.spin + 1.0))
    return Thermochemistry(
        treatment,
        conditions.temperature,
        found.point.energy,
        found.zero_point_energy,
        internal,
        entropies,
        kt if is_gas(found.atoms) else 0.0,
    )


def wigner(frequency: float, temperature: float) -> float:
    """Tunnelling factor 1 + (hν/kT)²/24 of a barrier whose imaginary mode has `frequency` cm⁻¹ (E. Wigner, Z. Phys.
    Chem. B 19, 203, 1932); good while it is below 2."""
    return float(1.0 + (frequency * INVERSE_CM / (BOLTZMANN * temperature)) ** 2 / 24.0)


def _rotor_entropies(frequencies: np.ndarray, temperature: float) -> np.ndarray:
    """eV/K of free rotors that would have these frequencies (m,) cm⁻¹; Grimme's equations 4 to 6."""
    inertia = HBAR / (2.0 * frequencies * INVERSE_CM / HBAR) / AMU_A2_PER_FS2  # h/(8π²ν), amu Å²
    inertia = inertia * MEAN_INERTIA / (inertia + MEAN_INERTIA)
    thermal = 2.0 * np.pi * inertia * AMU_A2_PER_FS2 * BOLTZMANN * temperature / HBAR**2
    return np.asarray(BOLTZMANN * (0.5 + 0.5 * np.log(thermal)))


def _gas(atoms: ase.Atoms, conditions: Conditions) -> tuple[dict[str, float], dict[str, float]]:
    """Internal energies and entropies of translation and rotation."""
    kt = BOLTZMANN * conditions.temperature
    wave = np.sqrt(2.0 * np.pi * HBAR**2 / (atoms.get_masses().sum() * AMU_A2_PER_FS2 * kt))
    translation = BOLTZMANN * (np.log(kt / (conditions.pressure * BAR * wave**3)) + 2.5)
    turning = len(rigid_basis(atoms, atoms.get_masses())) - 3
    rotation = 0.0
    if turning:
        moments = np.sort(atoms.get_moments_of_inertia())[-turning:]
        thermal = 2.0 * moments * AMU_A2_PER_FS2 * kt / HBAR**2
        states = thermal[0] if turning == 2 else np.sqrt(np.pi * thermal.prod())
        rotation = BOLTZMANN * (np.log(states / conditions.symmetry) + 0.5 * turning)
    return (
        {"translation": 1.5 * kt, "rotation": 0.5 * turning * kt},
        {"translation": float(translation), "rotation": float(rotation)},
    )
