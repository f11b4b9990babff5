"""Risk: engines on one kernel that prepare its input or sum its output each in its own way.

Where they take the neighbours of molecules in the order of the atoms, as all but LAMMPS do of up to 64 of them, they
give the same numbers to the last bit. (test_c_examples.py holds the C example against the calculator.)
"""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hesspot import HesspotCalculator, read_model
from hesspot.lammps import run_lammps
from hesspot.models.shipped import find_model
from ipi_driver.evaluation.evaluator import Evaluator

MODEL = find_model("shipped:water")


def cluster(n_molecules: int) -> Atoms:
    random = np.random.default_rng(1)
    atoms = Atoms()
    for number in range(n_molecules):
        one = molecule("H2O")
        one.rotate(random.uniform(0, 180), random.standard_normal(3))
        one.translate(3.1 * np.array([number % 3, number // 3 % 3, number // 9]))
        atoms += one
    atoms.rattle(0.05, rng=random)
    atoms.center(6.0)
    return atoms[random.permutation(len(atoms))]


def in_lammps(folder: Path, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy eV and forces (n, 3) eV/Å on one rank, with all digits; nsq: neighbours in the order of the atoms."""
    sides = " ".join(f"0 {side:.17g}" for side in atoms.cell.lengths())
    places = zip([1 if symbol == "H" else 2 for symbol in atoms.symbols], atoms.positions, strict=True)
    made = [f"create_atoms {kind} single {x:.17g} {y:.17g} {z:.17g}" for kind, (x, y, z) in places]
    script = f"""units metal
boundary f f f
atom_modify sort 0 0
neighbor 2 nsq
region all block {sides}
create_box 2 all
{chr(10).join(made)}
mass 1 1.008
mass 2 15.999
pair_style hesspot
pair_coeff * * "{MODEL}" H O
dump all all custom 1 forces.dump id fx fy fz
dump_modify all format float %.17g sort id
run 0
print "energy $(pe:%.17g)"
"""
    ended = run_lammps(script, workdir=folder)
    assert ended.returncode == 0, ended.stdout
    forces = np.loadtxt(folder / "forces.dump", skiprows=9)
    return float(ended.stdout.rpartition("energy ")[2].split()[0]), forces[:, 1:]


@pytest.mark.lammps
@pytest.mark.parametrize("n_molecules", [1, 21])
def test_of_molecules(tmp_path: Path, n_molecules: int) -> None:
    atoms = cluster(n_molecules)
    calculator = HesspotCalculator(MODEL)
    energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
    assert np.abs(forces).max() > 0.1

    driver = Evaluator(read_model(MODEL), atoms.get_chemical_symbols(), atoms.pbc)
    results = driver(atoms.positions[None].copy(), atoms.cell.array[None].copy())
    assert results.energy[0] == energy
    np.testing.assert_array_equal(results.forces[0], forces)

    energy_there, forces_there = in_lammps(tmp_path, atoms)
    assert energy_there == energy
    np.testing.assert_array_equal(forces_there, forces)
