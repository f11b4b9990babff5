"""Units: the only place where a conversion factor is written.

hesspot works in eV, Å, amu, fs; Hessians are in eV/Å². Factors are CODATA 2018 values.
"""

import math

HARTREE = 27.211386245988  #: eV
BOHR = 0.529177210903  #: Å
KCAL_PER_MOL = 4.184 / 96.48533212331002  #: eV
BOLTZMANN = 8.617333262e-5  #: eV/K
AMU = 1822.888486209  #: electron masses
IPI_AMU = 1822.8885  #: electron masses, as i-PI rounds it: what it divides by, files for it must multiply by
ATOMIC_TIME = 2.4188843265857e-2  #: fs, ħ / Hartree
HBAR = HARTREE * ATOMIC_TIME  #: eV fs
SPEED_OF_LIGHT = 2.99792458e-5  #: cm/fs

HARTREE_PER_BOHR = HARTREE / BOHR  #: eV/Å
HARTREE_PER_BOHR2 = HARTREE / BOHR**2  #: eV/Å²

#: amu Å²/fs² in eV, so that sqrt((eV/Å²)/amu · 1/AMU_A2_PER_FS2) is an angular frequency in rad/fs.
AMU_A2_PER_FS2 = AMU * (1.0 / BOHR) ** 2 * ATOMIC_TIME**2 * HARTREE

#: sqrt(eV/(Å² amu)) as a wavenumber in cm⁻¹: ν̃ = ω / (2πc).
SQRT_EV_PER_A2_AMU = math.sqrt(1.0 / AMU_A2_PER_FS2) / (2.0 * math.pi * SPEED_OF_LIGHT)

#: one cm⁻¹ as an energy hcν̃ in eV.
INVERSE_CM = 2.0 * math.pi * HBAR * SPEED_OF_LIGHT
