"""The box of examples/lammps/water.data as extended XYZ, with velocities for 300 K and one hydrogen that has 3 eV.

python hot_start.py ../lammps/water.data start.xyz
"""

import sys

import ase.io
import numpy as np
from ase.units import kB

HOT = 3.0  # eV

data, out = sys.argv[1:]
atoms = ase.io.read(data, format="lammps-data", Z_of_type={1: 8, 2: 1})
masses = atoms.get_masses()
momenta = np.random.default_rng(4711).normal(0, np.sqrt(masses * kB * 300.0), (3, len(atoms))).T
momenta[1] = np.sqrt(2.0 * HOT * masses[1]), 0.0, 0.0
atoms.set_momenta(momenta - momenta.mean(0))
ase.io.write(out, atoms, format="extxyz", columns=["symbols", "positions", "momenta"])
print(f"{out}: {len(atoms)} atoms, hydrogen 1 at {HOT / (1.5 * kB):.0f} K")
