"""LAMMPS's commands on top of the pair style, against the same commands with LAMMPS's own potentials."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from lammps_runs import (
    ENERGY_TOLERANCE,
    FORCE_TOLERANCE,
    Case,
    expected,
    hesspot_pair,
    run_failing,
    run_succeeding,
    single_points,
)
from structures import water_crystal

from hesspot.contract import build_batch
from hesspot.derivatives import scatter_to_atoms
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.lammps.run import error_of
from hesspot.models.analytic import StillingerWeber

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]

#: The same path of a minimiser or of a trajectory, with forces that are rounded in another order.
PATH_TOLERANCE = 1e-8


@pytest.fixture
def silicon(tmp_path: Path) -> dict[str, str]:
    """The pair commands for Stillinger-Weber silicon, of LAMMPS and of hesspot."""
    model = StillingerWeber()
    write_model(tmp_path / "sw.pt", model, [fingerprint_entry(model, "Si", bulk("Si", cubic=True))])
    (tmp_path / "Si.sw").write_text(
        "Si Si Si 2.1683 2.0951 1.8 21 1.2 -0.3333333333333333 7.049556277 0.6022245584 4 0 0\n"
    )
    return {
        "sw": f'pair_style sw\npair_coeff * * "{tmp_path / "Si.sw"}" Si',
        "hesspot": hesspot_pair(tmp_path / "sw.pt", ["Si"]),
    }


CRYSTAL = """units metal
atom_style STYLE
atom_modify map array
lattice diamond 5.431
region box block 0 1 0 1 0 2
create_box 1 box
create_atoms 1 box
mass 1 28.0855
"""


def thermo(output: str, columns: str) -> np.ndarray:
    """All rows of all thermodynamic tables."""
    rows = []
    words = r"\s+".join(columns.split())
    for part in re.split(rf"\s{words}\s*\n", output)[1:]:
        rows += [
            [float(word) for word in line.split()] for line in part.split("Loop time")[0].splitlines() if line.split()
        ]
    return np.array(rows)


@pytest.mark.parametrize("style", ["atomic", "full"])
def test_minimize_and_rerun(tmp_path: Path, silicon: dict[str, str], style: str) -> None:
    tables = {}
    for name, pair in silicon.items():
        script = f"""{CRYSTAL.replace("STYLE", style)}{pair}
displace_atoms all random 0.2 0.2 0.2 5
thermo_style custom step pe fnorm press
thermo_modify format float %.17g
thermo 5
minimize 0.0 1e-6 25 100
velocity all create 900 3
fix 1 all nve
reset_timestep 0
dump 1 all custom 5 {name}.dump id type x y z
dump_modify 1 sort id format float %.17g
run 20
undump 1
rerun sw.dump dump x y z
"""
        tables[name] = thermo(run_succeeding(tmp_path, script, 2), "Step PotEng Fnorm Press")
    assert len(tables["sw"]) > 10
    np.testing.assert_allclose(tables["hesspot"][:, :3], tables["sw"][:, :3], atol=PATH_TOLERANCE, rtol=PATH_TOLERANCE)


STYLES = ("charge", "bond", "molecular", "full", "dipole", "sphere", "ellipsoid", "dpd", "hybrid charge sphere")


def test_any_atom_style(tmp_path: Path, silicon: dict[str, str]) -> None:
    script = "".join(
        f"""clear
{CRYSTAL.replace("STYLE", style).replace("mass 1", "mass 1" if "sphere" not in style and style != "ellipsoid" else "#")}
displace_atoms all random 0.2 0.2 0.2 5
{silicon[name]}
run 0 post no
write_dump all custom {number}.dump fx fy fz modify sort id format float %.17g
"""
        for number, (name, style) in enumerate([("sw", "atomic"), *(("hesspot", style) for style in STYLES)])
    )
    run_succeeding(tmp_path, script, 2)
    forces = [np.loadtxt(tmp_path / f"{number}.dump", skiprows=9) for number in range(len(STYLES) + 1)]
    assert abs(forces[0]).max() > 1.0
    for style, ours in zip(STYLES, forces[1:], strict=True):
        np.testing.assert_allclose(ours, forces[0], atol=FORCE_TOLERANCE, rtol=0, err_msg=style)


def test_nudged_elastic_band_on_partitions(tmp_path: Path, silicon: dict[str, str]) -> None:
    """An atom hops into a vacancy: three images, each with LAMMPS and a model of its own."""
    a = 5.431
    (tmp_path / "final.hop").write_text(f"1\n2 {0.02 * a} {0.01 * a} 0\n")
    ends = {}
    for name, pair in silicon.items():
        script = f"""{CRYSTAL.replace("STYLE", "atomic")}
group hole id 1
delete_atoms group hole compress no
{pair}
timestep 0.001
fix 1 all neb 1.0
min_style quickmin
thermo 5
neb 0.0 0.0 10 5 5 final final.hop
"""
        output = run_succeeding(tmp_path, script, 3, ["-partition", "3x1", "-plog", "none", "-pscreen", "none"])
        rows = [line.split() for line in output.splitlines() if line.strip()[:1].isdigit() and len(line.split()) > 12]
        ends[name] = np.array(rows, dtype=float)
    assert ends["sw"].shape[0] >= 2
    np.testing.assert_allclose(ends["hesspot"], ends["sw"], rtol=1e-4, atol=PATH_TOLERANCE)  # printed with 8 digits


def test_grand_canonical_monte_carlo_takes_the_same_decisions(tmp_path: Path, lj_model_file: Path) -> None:
    tables = {}
    for name, pair in {
        "lj/cut": "pair_style lj/cut 6.0\npair_coeff 1 1 0.010 3.4",
        "hesspot": hesspot_pair(lj_model_file, ["Ar"]),
    }.items():
        script = f"""units metal
region box block 0 14 0 14 0 14
create_box 1 box
create_atoms 1 random 12 7 box overlap 3.0 maxtry 100
mass 1 39.948
{pair}
fix 1 all gcmc 1 20 20 1 29494 300.0 -0.25 1.0 full_energy
compute_modify thermo_temp dynamic/dof yes
thermo_style custom step atoms pe
thermo_modify format float %.12g
thermo 1
run 10
"""
        tables[name] = thermo(run_succeeding(tmp_path, script, 2), "Step Atoms PotEng")
    assert len(set(tables["lj/cut"][:, 1])) > 1, "the number of atoms must change"
    np.testing.assert_allclose(tables["hesspot"], tables["lj/cut"], atol=PATH_TOLERANCE, rtol=0)


def test_excluded_atoms_are_absent(tmp_path: Path, house_model_file: Path) -> None:
    """Neither neighbours nor centres: not even the energy of the isolated atom stays."""
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS)
    hydrogen = np.array(atoms.get_chemical_symbols()) == "H"
    answer = expected(house_model_file, atoms[~hydrogen])
    for exclusion in ("group hidden all", "group all hidden", "type 4 *"):
        command = f"group hidden type 4\nneigh_modify exclude {exclusion}"
        if exclusion.startswith("type"):
            command = "\n".join(f"neigh_modify exclude type 4 {k}" for k in range(1, 5))
        folder = tmp_path / exclusion.replace(" ", "-")
        folder.mkdir()
        (point,) = single_points(folder, [Case(atoms, ELEMENTS, f"{pair}\n{command}")], 2)
        np.testing.assert_allclose(point.energy, answer.energy[0], atol=ENERGY_TOLERANCE, rtol=0)
        np.testing.assert_allclose(point.forces[~hydrogen], answer.forces, atol=FORCE_TOLERANCE, rtol=0)
        assert not point.forces[hydrogen].any() and not point.atom_energies[hydrogen].any()


def scaled_by_center(model: Path, atoms: Atoms, element: str, scale: float) -> tuple[float, np.ndarray]:
    """Energy and forces where the energies of the centres of one element are scaled."""
    loaded = read_model(model)
    batch = build_batch([atoms], loaded.elements, loaded.cutoff)
    vectors = batch.vectors.clone().requires_grad_(True)
    weights = torch.ones(batch.n_atoms, dtype=torch.float64)
    weights[batch.species == loaded.elements.index(element)] = scale
    energy = (weights * loaded.module(batch.species, batch.centers, batch.neighbors, vectors)).sum()
    (gradient,) = torch.autograd.grad(energy, vectors)
    return float(energy.detach()), -scatter_to_atoms(gradient, batch).numpy()


def test_scale_of_fix_adapt(tmp_path: Path, house_model_file: Path) -> None:
    atoms = water_crystal()
    pair = hesspot_pair(house_model_file, ELEMENTS)
    adapt = "variable s equal 0.3\nfix 1 all {} 1 pair hesspot scale {} v_s"
    cases = [
        Case(atoms, ELEMENTS, f"{pair}\n{adapt.format(fix, types)}")
        for fix, types in (("adapt", "* *"), ("adapt", "1 1"), ("adapt/fep", "* *"))
    ]
    whole, oxygen, free_energy = single_points(tmp_path, cases, 2)
    np.testing.assert_allclose(free_energy.forces, whole.forces, atol=FORCE_TOLERANCE, rtol=0)
    answer = expected(house_model_file, atoms)
    np.testing.assert_allclose(whole.energy, 0.3 * answer.energy[0], atol=ENERGY_TOLERANCE, rtol=0)
    np.testing.assert_allclose(whole.forces, 0.3 * answer.forces, atol=FORCE_TOLERANCE, rtol=0)
    np.testing.assert_allclose(whole.virial, 0.3 * answer.virial[0], atol=1e-8, rtol=0)
    energy, forces = scaled_by_center(house_model_file, atoms, "O", 0.3)
    np.testing.assert_allclose(oxygen.energy, energy, atol=ENERGY_TOLERANCE, rtol=0)
    np.testing.assert_allclose(oxygen.forces, forces, atol=FORCE_TOLERANCE, rtol=0)
    script = (tmp_path / "in.lammps").read_text().replace("scale 1 1", "scale 1 4")
    assert "there is no energy of a pair of types; scale * *" in error_of(run_failing(tmp_path, script))


def test_restarts_of_hybrid_styles_and_without_the_model_file(tmp_path: Path, lj_model_file: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(lj_model_file.read_bytes())
    script = f"""units metal
lattice fcc 5.3
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 39.948
displace_atoms all random 0.1 0.1 0.1 5
pair_style hybrid/overlay hesspot precision single zero 6.0
pair_coeff * * hesspot copy.pt Ar
pair_coeff * * zero
run 0 post no
print "energy $(pe:%.17g)"
write_restart hybrid
clear
read_restart hybrid
pair_coeff * * hesspot copy.pt Ar
pair_coeff * * zero
run 0 post no
print "energy $(pe:%.17g)"
{hesspot_pair(Path("copy.pt"), ["Ar"], "precision single")}
run 0 post no
shell mkdir sub
shell cd sub
write_restart ../plain
shell cd ..
shell rm copy.pt
clear
read_restart plain
pair_coeff * * "{lj_model_file}" Ar
run 0 post no
print "energy $(pe:%.17g)"
"""
    output = run_succeeding(tmp_path, script, 2)
    energies = [float(line.split()[1]) for line in output.splitlines() if line.startswith("energy ")]
    assert len(energies) == 3
    np.testing.assert_allclose(energies, energies[0], rtol=1e-6)  # the order of float32 sums may differ
    assert f"model file {tmp_path / 'copy.pt'} of the restart is not there any more" in output
    without = script.replace(f'pair_coeff * * "{lj_model_file}" Ar\nrun', "run")
    (tmp_path / "copy.pt").write_bytes(lj_model_file.read_bytes())
    assert "pair coeffs" in error_of(run_failing(tmp_path, without))
