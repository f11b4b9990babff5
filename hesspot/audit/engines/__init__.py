"""The engines: LAMMPS with any pair style, ASE calculators, i-PI drivers, hesspot's files."""
