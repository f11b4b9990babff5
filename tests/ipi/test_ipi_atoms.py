"""What a structure says about its atoms reaches i-PI: masses, isotopes, atoms held, velocities, cell; or is refused."""

import re

import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.md.verlet import VelocityVerlet
from ase.vibrations import Vibrations
from ipi_folders import run_folder, write_well
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import app
from hesspot.errors import UserError
from hesspot.units import BOHR, BOLTZMANN, HARTREE, HARTREE_PER_BOHR2, INVERSE_CM, IPI_AMU, SQRT_EV_PER_A2_AMU

pytestmark = pytest.mark.ipi

#: cm⁻¹: ASE's central differences of 0.01 Å.
DIFFERENCES = 2.0

#: cm⁻¹: D2O's stretch is 1000 below that of H2O.
ISOTOPE_SHIFT = 500.0

#: eV: i-PI's factors of units have 8 digits, and a few steps.
PRINTED = 1e-6


def command(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def by_differences(model, atoms, folder, indices=None):
    """Frequencies of ASE's Vibrations, cm⁻¹, ascending, imaginary ones negative."""
    atoms = atoms.copy()
    atoms.set_constraint()
    atoms.calc = HesspotCalculator(model)
    vibrations = Vibrations(atoms, name=str(folder / "ase"), indices=indices)
    vibrations.run()
    frequencies = vibrations.get_frequencies()
    return np.sort(np.where(np.abs(frequencies.imag) > 0, -np.abs(frequencies.imag), frequencies.real))


def of_ipi(folder):
    """Frequencies that i-PI's vibrations find, cm⁻¹."""
    values = np.loadtxt(folder / "simulation.phonons.eigval") * HARTREE_PER_BOHR2 * IPI_AMU
    return np.sort(np.sign(values) * np.sqrt(np.abs(values)) * SQRT_EV_PER_A2_AMU)


def rows(symbols, positions, more):
    return "\n".join(
        f"{symbol} {' '.join(f'{x:.10f}' for x in place)}{more[symbol]}"
        for symbol, place in zip(symbols, positions, strict=True)
    )


@pytest.mark.parametrize("how", ["mass", "masses", "D"])
def test_heavy_water_is_heavy(water, tmp_path, how):
    """However the file says so: frequencies of i-PI and those printed are ASE's with these masses."""
    model, minimum = water
    symbols = ["O", "D", "D"] if how == "D" else ["O", "H", "H"]
    column = "" if how == "D" else f":{how}:R:1"
    more = {"O": " 15.999", "H": " 2.014"} if how != "D" else {"O": "", "D": ""}
    (tmp_path / "heavy.xyz").write_text(
        f'3\nProperties=species:S:1:pos:R:3{column} pbc="F F F"\n{rows(symbols, minimum.positions, more)}\n'
    )
    result = command("ipi-hessian", model, tmp_path / "heavy.xyz", "--for", "vibrations", "--out", tmp_path / "run")
    run_folder(tmp_path / "run")
    heavy = minimum.copy()
    heavy.set_masses([15.999, 2.014, 2.014])
    wanted = by_differences(model, heavy, tmp_path)[-3:]
    light = by_differences(model, minimum, tmp_path / "light")[-3:]
    assert (light[1:] - wanted[1:] > ISOTOPE_SHIFT).all()
    np.testing.assert_allclose(of_ipi(tmp_path / "run")[-3:], wanted, rtol=0, atol=DIFFERENCES)
    printed = [float(word) for word in result.output.split("frequencies ")[1].split(" cm")[0].split(", ")]
    np.testing.assert_allclose(printed, wanted, rtol=0, atol=DIFFERENCES)


@pytest.mark.parametrize("how", ["move_mask", "FixAtoms"])
def test_atoms_that_are_held_do_not_move(water, tmp_path, how):
    model, minimum = water
    atoms = minimum.copy()
    if how == "FixAtoms":
        atoms.set_constraint(FixAtoms([1]))
        file = tmp_path / "held.traj"
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
        atoms.write(file)
    else:
        file = tmp_path / "held.xyz"
        places = [" ".join(f"{x:.10f}" for x in place) for place in atoms.positions]
        file.write_text(
            '3\nProperties=species:S:1:pos:R:3:move_mask:L:1 pbc="F F F"\n'
            f"O {places[0]} T\nH {places[1]} F\nH {places[2]} T\n"
        )
    for case, beads in (("nvt", 1), ("pimd", 4)):
        folder = tmp_path / case
        options = ["--steps", 20, "--stride", 1, "--beads", beads, "--temperature", 500]
        command("ipi-input", case, file, model, "--out", folder, *options)
        run_folder(folder)
        start = ase.io.read(folder / "start.xyz").positions
        for path in folder.glob("simulation.pos_*"):
            for frame in ase.io.read(path, ":", format="extxyz"):
                np.testing.assert_allclose(frame.positions[1], start[1], rtol=0, atol=PRINTED)
            assert np.abs(frame.positions - start)[[0, 2]].max() > 1e-2
    command("ipi-hessian", model, file, "--for", "vibrations", "--out", tmp_path / "modes")
    run_folder(tmp_path / "modes")
    wanted = by_differences(model, atoms, tmp_path, indices=[0, 2])
    got = of_ipi(tmp_path / "modes")
    assert (np.abs(got) < DIFFERENCES).sum() >= 3
    np.testing.assert_allclose(got[-3:], wanted[-3:], rtol=0, atol=DIFFERENCES)


def test_single_coordinates_are_held(water, tmp_path):
    model, minimum = water
    atoms = minimum.copy()
    atoms.set_constraint(FixCartesian([0], [True, False, True]))
    atoms.write(tmp_path / "held.traj")
    command("ipi-input", "nvt", tmp_path / "held.traj", model, "--out", tmp_path / "run", "--steps", 20, "--stride", 1)
    run_folder(tmp_path / "run")
    (path,) = (tmp_path / "run").glob("simulation.pos_*")
    moved = ase.io.read(path, -1, format="extxyz").positions - minimum.positions
    assert np.abs(moved[0, [0, 2]]).max() < PRINTED < 1e-3 < abs(moved[0, 1])


def test_the_last_structure_of_a_trajectory_is_the_start(water, tmp_path):
    model, minimum = water
    stretched = minimum.copy()
    stretched.positions[1] += 0.5
    ase.io.write(tmp_path / "relaxation.xyz", [stretched, minimum])
    result = command(
        "ipi-input", "nvt", tmp_path / "relaxation.xyz", model, "--out", tmp_path / "run", "--steps", 1, "--stride", 1
    )
    assert "the last is taken" in result.output
    run_folder(tmp_path / "run")
    assert abs(np.loadtxt(tmp_path / "run/simulation.out")[0, 5]) < PRINTED
    result = command("ipi-hessian", model, tmp_path / "relaxation.xyz", "--for", "imf", "--out", tmp_path / "modes")
    assert "the last is taken" in result.output


def test_velocities_of_the_file_are_the_first_ones(water, tmp_path, rng):
    """A run at constant energy is ASE's from the same velocities, with the momentum of the whole that it has."""
    model, atoms = water
    atoms = atoms.copy()
    atoms.set_cell([[40.0, 9.0, 2.0], [3.0, 45.0, 8.0], [2.0, -4.0, 50.0]])  # is turned for i-PI, the velocities too
    atoms.pbc = True
    atoms.set_momenta(rng.normal(0.0, 0.2, (3, 3)))
    atoms.write(tmp_path / "moving.xyz", format="extxyz")
    options = ["--steps", 10, "--stride", 10, "--timestep", 0.5]
    command("ipi-input", "nve", tmp_path / "moving.xyz", model, "--out", tmp_path / "run", *options)
    run_folder(tmp_path / "run")
    table = np.loadtxt(tmp_path / "run/simulation.out")
    atoms.calc = HesspotCalculator(model)
    assert abs(table[0, 2] - atoms.get_total_energy()) < PRINTED
    from ase.units import fs

    VelocityVerlet(atoms, 0.5 * fs).run(10)
    assert abs(table[1, 5] - atoms.get_potential_energy()) < 10 * PRINTED
    assert abs(table[1, 2] - atoms.get_total_energy()) < 10 * PRINTED
    with pytest.raises(UserError, match="--velocities thermal"):
        command("ipi-input", "pimd", tmp_path / "moving.xyz", model, "--out", tmp_path / "pimd")
    command("ipi-input", "pimd", tmp_path / "moving.xyz", model, "--out", tmp_path / "pimd", "--velocities", "thermal")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"charge": 1}, r"the charge \+1, .* remove the statement"),
        ({"spin": 3}, "the multiplicity 3"),
        ({"charge": "+1"}, r"the charge \+1"),
    ],
)
def test_charge_and_spin_are_refused(water, tmp_path, info, words):
    model, atoms = water
    atoms = atoms.copy()
    atoms.info.update(info)
    atoms.write(tmp_path / "ion.traj")
    for arguments in (["ipi-input", "nvt", tmp_path / "ion.traj", model],
                      ["ipi-hessian", model, tmp_path / "ion.traj", "--for", "vibrations"]):  # fmt: skip
        with pytest.raises(UserError, match=words):
            command(*arguments, "--out", tmp_path / "run")
    atoms.info = {"charge": 0, "spin": 1}
    atoms.set_initial_magnetic_moments([2.0, 0.0, 0.0])
    atoms.write(tmp_path / "radical.traj")
    with pytest.raises(UserError, match="two values of its multiplicity: 1 from spin and 3 from initial_magmoms"):
        command("ipi-input", "nvt", tmp_path / "radical.traj", model, "--out", tmp_path / "run")


def stretched(water, constraint):
    """Held where the model does not want it to be: 0.03 Å too long a bond."""
    atoms = water[1].copy()
    atoms.positions[1] += 0.03 * (atoms.positions[1] - atoms.positions[0]) / 0.96
    atoms.set_constraint(constraint)
    return atoms


def last_of(folder, pattern):
    (path,) = folder.glob(pattern)
    return ase.io.read(path, -1, format="extxyz").positions


def test_free_energies_and_anharmonic_modes_with_held_atoms(water, tmp_path):
    """They are those of the free atoms, at the minimum of these."""
    atoms = stretched(water, FixAtoms([0, 1]))
    atoms.write(tmp_path / "held.traj")
    options = ["--steps", 10, "--stride", 1, "--points", 1]
    command("ipi-input", "ti", tmp_path / "held.traj", water[0], "--out", tmp_path / "ti", *options)
    run_folder(tmp_path / "ti")
    moved = last_of(tmp_path / "ti", "l0_simulation.pos_*") - atoms.positions
    assert np.abs(moved[:2]).max() < PRINTED < 1e-3 < np.abs(moved[2]).max()
    command("ipi-hessian", water[0], tmp_path / "held.traj", "--for", "imf", "--relax", "--out", tmp_path / "imf")
    log = run_folder(tmp_path / "imf")
    relaxed = ase.io.read(tmp_path / "imf/start.xyz")
    assert np.abs(relaxed.positions - atoms.positions)[:2].max() < PRINTED
    # the third atom's bend and stretch; its turn about the axis of the others costs nothing, and does not count
    quanta = by_differences(water[0], relaxed, tmp_path, indices=[2])[-2:] * INVERSE_CM
    wanted = (0.5 * quanta + BOLTZMANN * 300.0 * np.log1p(-np.exp(-quanta / (BOLTZMANN * 300.0)))).sum()
    harmonic, offset = (
        float(re.findall(rf"@NM: {name} += +(\S+)", log)[-1]) for name in ("HAR free energy", "Potential offset")
    )
    assert abs((harmonic - offset) * HARTREE - wanted) < DIFFERENCES * INVERSE_CM


def test_minimisations_with_held_atoms(water, tmp_path):
    """i-PI ends where Newton's method does, in a few steps; single coordinates too."""
    for name, constraint in (("atoms", FixAtoms([1])), ("one", FixCartesian([1], [True, False, False]))):
        atoms = stretched(water, constraint)
        atoms.write(tmp_path / f"{name}.traj")
        command("ipi-hessian", water[0], tmp_path / f"{name}.traj", "--for", "minimize", "--out", tmp_path / name)
        run_folder(tmp_path / name)
        held = constraint.mask if name == "one" else slice(None)
        energies = np.loadtxt(tmp_path / name / "simulation.out")
        assert len(energies) < 10
        assert abs(energies[-1, 1]) < PRINTED < 1e-3 < energies[0, 1]
        final = (tmp_path / name / "RESTART").read_text().split("<q")[1].split("[")[1].split("]")[0]
        places = np.array([float(x) for x in final.split(",")]).reshape(3, 3) * BOHR
        np.testing.assert_allclose(places[1, held], atoms.positions[1, held], rtol=0, atol=PRINTED)


def test_instantons_with_held_atoms(tmp_path):
    """One end of the dimer is held: the other one tunnels."""
    saddle = write_well(tmp_path / "well.pt", k2=-7.5, k4=12.0, k=20.0)
    saddle.set_constraint(FixAtoms([1]))
    saddle.write(tmp_path / "held.traj")
    options = ["--temperature", 150, "--beads", 10]
    command("ipi-input", "instanton", tmp_path / "held.traj", tmp_path / "well.pt", "--out", tmp_path / "run", *options)
    assert "Geometry optimization converged" in run_folder(tmp_path / "run")
    (final,) = (tmp_path / "run").glob("simulation.instanton_FINAL_[0-9]*.xyz")
    beads = np.array([frame.positions for frame in ase.io.read(final, ":", format="xyz")])
    assert np.ptp(beads[:, 1], axis=0).max() < PRINTED < 0.1 < np.ptp(beads[:, 0, 0])


@pytest.mark.parametrize(
    ("arguments", "constraint", "words"),
    [
        (["ipi-input", "npt"], FixAtoms([0]), "barostat of i-PI moves them"),
        (["ipi-input", "nvt"], FixBondLength(0, 1), "FixBondLength"),
        (["ipi-hessian", "--for", "scp"], FixAtoms([0]), "are held, .* or use imf"),
        (["ipi-hessian", "--for", "instanton"], FixCartesian([0], [True, False, False]), "hold whole atoms only"),
    ],
)
def test_constraints_that_are_not_kept_are_refused(water, tmp_path, arguments, constraint, words):
    model, atoms = water
    atoms = atoms.copy()
    if "npt" in arguments:
        atoms.set_cell(50 * np.eye(3))
        atoms.pbc = True
    atoms.set_constraint(constraint)
    ase.io.write(tmp_path / "held.traj", [atoms, atoms] if "instanton" in arguments else atoms)
    files = [tmp_path / "held.traj", model]
    files = files[::-1] if arguments[0] == "ipi-hessian" else files
    with pytest.raises(UserError, match=words):
        command(*arguments, *files, "--out", tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_nothing_is_left_behind_by_what_cannot_run(water, tmp_path):
    water[1].write(tmp_path / "start.xyz")
    with pytest.raises(UserError, match=r"none\.pt does not exist"):
        command("ipi-input", "nvt", tmp_path / "start.xyz", tmp_path / "none.pt", "--out", tmp_path / "a/b/run")
    assert [path.name for path in tmp_path.iterdir()] == ["start.xyz"]
