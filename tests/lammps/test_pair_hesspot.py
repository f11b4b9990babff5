"""The pair style against LAMMPS's own potentials, in all units, and along trajectories."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from lammps_runs import (
    FORCE_TOLERANCE,
    VIRIAL_TOLERANCE,
    Case,
    expected,
    hesspot_pair,
    run_succeeding,
    single_points,
)
from structures import water_crystal

from hesspot.export import fingerprint_entry, write_model
from hesspot.lammps.structure import write_data
from hesspot.models.analytic import StillingerWeber
from hesspot.units import BOHR, HARTREE, KCAL_PER_MOL

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]  # not the model's order

#: LAMMPS's potentials and the exported ones do the same arithmetic in another order.
ORACLE_TOLERANCE = 1e-10

#: Two trajectories differ by rounding that grows along them; after 50 steps still far below this (Å).
TRAJECTORY_TOLERANCE = 1e-9

#: The kernel starts a second thread for so many.
ATOMS_FOR_TWO_THREADS = 128

JOULE = 1.602176634e-19  # per eV, exact


def argon_and_neon() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True) * (2, 2, 3)
    atoms.symbols[::3] = "Ne"
    atoms.rattle(0.15, seed=2)
    return atoms


@pytest.mark.parametrize("ranks", [1, 2])
def test_lennard_jones_is_lj_cut(tmp_path: Path, lj_model_file: Path, ranks: int) -> None:
    lj_cut = """pair_style lj/cut 6.0
pair_coeff 1 1 0.010 3.4
pair_coeff 1 2 0.007 3.1
pair_coeff 2 2 0.003 2.8"""
    atoms, elements = argon_and_neon(), ["Ar", "Ne"]
    cases = [Case(atoms, elements, lj_cut), Case(atoms, elements, hesspot_pair(lj_model_file, elements))]
    theirs, ours = single_points(tmp_path, cases, ranks)
    assert abs(theirs.forces).max() > 0.1
    np.testing.assert_allclose(ours.energy, theirs.energy, atol=ORACLE_TOLERANCE, rtol=0)
    for name in ("forces", "virial", "atom_energies", "atom_stress", "centroid_stress"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=ORACLE_TOLERANCE, rtol=0)


@pytest.mark.parametrize("ranks", [1, 4])
def test_stillinger_weber_is_sw(tmp_path: Path, ranks: int) -> None:
    """LAMMPS divides the energy of a triplet among its atoms, so that only what is global can be compared."""
    file = tmp_path / "sw.pt"
    model = StillingerWeber()
    write_model(file, model, [fingerprint_entry(model, "Si", bulk("Si", cubic=True))])
    (tmp_path / "Si.sw").write_text("Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333333333 ")
    with (tmp_path / "Si.sw").open("a") as parameters:
        parameters.write("7.049556277 0.6022245584 4.0 0.0 0.0\n")
    sheared = bulk("Si", cubic=True) * (2, 1, 2)
    sheared.rattle(0.15, seed=1)
    sheared.set_cell(sheared.cell.array + np.array([[0, 0, 0], [0.6, 0, 0], [-0.5, 0.4, 0]]), scale_atoms=True)
    cases = [
        Case(sheared, ["Si"], pair, nine="stress/atom")
        for pair in (
            "pair_style sw\npair_coeff * * Si.sw Si",
            hesspot_pair(file, ["Si"], "verify yes"),
            hesspot_pair(file, ["Si"], "max_edges 60") + "\nneighbor 0.3 bin",
        )
    ]
    theirs, *ours = single_points(tmp_path, cases, ranks)
    assert abs(theirs.forces).max() > 1.0
    for point in ours:
        np.testing.assert_allclose(point.energy, theirs.energy, atol=ORACLE_TOLERANCE, rtol=0)
        np.testing.assert_allclose(point.forces, theirs.forces, atol=ORACLE_TOLERANCE, rtol=0)
        np.testing.assert_allclose(point.virial, theirs.virial, atol=10 * ORACLE_TOLERANCE, rtol=0)


def test_units(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    answer = expected(house_model_file, atoms)
    per_ev_and_angstrom = {
        "real": (1 / KCAL_PER_MOL, 1.0, ""),
        "si": (JOULE, 1e-10, "neighbor 0.5e-10 bin"),
        "electron": (1 / HARTREE, 1 / BOHR, ""),
    }
    cases = []
    for units, (_, length, neighbor) in per_ev_and_angstrom.items():
        pair = hesspot_pair(house_model_file, ELEMENTS, "verify yes")
        cases.append(Case(atoms, ELEMENTS, f"{neighbor}\n{pair}", units=units, length=length))
    assert answer.virial is not None and answer.atom_virial is not None
    points = single_points(tmp_path, cases, 2)
    for (energy, length, _), point in zip(per_ev_and_angstrom.values(), points, strict=True):
        np.testing.assert_allclose(point.energy / energy, answer.energy[0], rtol=1e-13)
        np.testing.assert_allclose(point.atom_energies / energy, answer.atom_energies, rtol=1e-13)
        np.testing.assert_allclose(point.forces * (length / energy), answer.forces, atol=FORCE_TOLERANCE, rtol=0)
        np.testing.assert_allclose(point.virial / energy, answer.virial[0], atol=VIRIAL_TOLERANCE, rtol=0)
        np.testing.assert_allclose(
            -point.centroid_stress[:, 0] / energy, answer.atom_virial[:, 0, 0], atol=VIRIAL_TOLERANCE, rtol=0
        )


DYNAMICS = """neighbor 0.3 bin
neigh_modify every 1 delay 0
fix 1 all nve
timestep 0.004
"""
LAST = "write_dump all custom end.dump xu yu zu vx vy vz modify sort id format float %.17g"


def test_threads_of_the_kernel_change_no_bit(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal() * (2, 2, 2)
    atoms.rattle(0.05, seed=4)
    pairs = [hesspot_pair(house_model_file, ELEMENTS, f"backend kernel threads {threads}") for threads in (1, 3)]
    one, several = single_points(tmp_path, [Case(atoms, ELEMENTS, pair) for pair in pairs])
    assert len(atoms) > ATOMS_FOR_TWO_THREADS and abs(one.forces).max() > 0.1
    assert one.energy == several.energy
    np.testing.assert_array_equal(one.forces, several.forces)


def test_a_trajectory_over_ranks_and_restarts(tmp_path: Path, lj_model_file: Path) -> None:
    """Atoms cross ranks and change neighbours; a restart in the middle, its model from the restart file."""
    atoms = argon_and_neon()
    pair = hesspot_pair(lj_model_file, ["Ar", "Ne"], "max_edges 1000 verify yes")
    start = f"units metal\natom_style atomic\nread_data start.data\n{pair}\nvelocity all create 300 7\n{DYNAMICS}"
    scripts = {
        "one": (1, start + f"run 50\n{LAST}"),
        "tiles": (4, "comm_style tiled\n" + start + f"fix 2 all balance 10 1.05 rcb\nrun 50\n{LAST}"),
        "parts": (2, start + f"run 25\nwrite_restart half\nclear\nread_restart half\n{DYNAMICS}run 25\n{LAST}"),
    }
    final = {}
    for name, (ranks, script) in scripts.items():
        folder = tmp_path / name
        folder.mkdir()
        write_data(folder / "start.data", atoms, ["Ar", "Ne"])
        output = run_succeeding(folder, script, ranks)
        builds = int(output.split("Neighbor list builds =")[1].split()[0])
        assert builds > 0, "atoms must move enough to change their neighbour lists"
        final[name] = np.loadtxt(folder / "end.dump", skiprows=9)
    np.testing.assert_allclose(final["tiles"], final["one"], atol=TRAJECTORY_TOLERANCE, rtol=0)
    np.testing.assert_allclose(final["parts"], final["one"], atol=TRAJECTORY_TOLERANCE, rtol=0)
