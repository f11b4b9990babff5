"""What people do with a calculator in ASE: optimise, hold, run, connect, sum, store, send, and start from a shell."""

from multiprocessing import get_context
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import PropertyNotImplementedError, get_calculator_class
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms, FixBondLength, FixSymmetry
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB, NEBTools
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch
from ase.phonons import Phonons
from ase.vibrations import Infrared, Vibrations, VibrationsData
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.chemistry import phonons as phonons_module
from hesspot.chemistry.force_constants import crystal_derivatives
from hesspot.chemistry.phonons import phonons
from hesspot.chemistry.surface import Surface
from hesspot.cli.main import app
from hesspot.errors import UserError

#: eV; optimisers end at 1e-3 eV/Å, the softest curvature is some 1 eV/Å².
SAME_MINIMUM = 1e-5
#: cm⁻¹ and eV of phonons: central differences of 1e-3 Å and of 1e-2 Å.
CM, PHONON = 0.1, 2e-5
#: eV of a total energy near −3000 eV: steps of 0.25 fs, a period of 9 fs.
DRIFT = 1e-3
ROUNDING = 1e-9


def methanol() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    atoms.calc = HesspotCalculator("shipped:grown")
    return atoms


def copper(size: int = 1) -> Atoms:
    atoms = bulk("Cu", cubic=True) * size
    atoms.calc = HesspotCalculator("shipped:copper")
    return atoms


def test_optimisers_come_to_one_minimum() -> None:
    energies = []
    for optimiser in (BFGS, LBFGS, FIRE, BFGSLineSearch):
        atoms = methanol()
        assert optimiser(atoms, logfile=None).run(fmax=1e-3, steps=500)
        energies.append(atoms.get_potential_energy())
    assert np.ptp(energies) < SAME_MINIMUM


def test_an_optimiser_that_begins_with_the_exact_hessian_needs_fewer_steps() -> None:
    steps = []
    for exact in (False, True):
        atoms = methanol()
        search = BFGS(atoms, logfile=None)
        if exact:
            values, modes = np.linalg.eigh(atoms.calc.get_hessian(atoms))
            search.H0 = (modes * np.maximum(np.abs(values), 1.0)) @ modes.T
        assert search.run(fmax=1e-3)
        steps.append(search.nsteps)
    assert steps[1] < 0.7 * steps[0]


def test_constraints_hold() -> None:
    atoms = methanol()
    before = atoms.positions.copy(), atoms.get_distance(0, 1)
    atoms.set_constraint([FixAtoms([2]), FixBondLength(0, 1)])
    assert BFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    np.testing.assert_array_equal(atoms.positions[2], before[0][2])
    assert atoms.get_distance(0, 1) == pytest.approx(before[1], abs=1e-6)
    assert np.abs(atoms.get_forces(apply_constraint=False)).max() > 0.1
    crystal = copper()
    crystal.set_cell(crystal.cell * 1.03, scale_atoms=True)
    crystal.set_constraint(FixSymmetry(crystal))
    assert BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-5)
    np.testing.assert_allclose(crystal.cell.lengths(), crystal.cell.lengths()[0], rtol=ROUNDING)
    assert np.abs(crystal.get_stress()).max() < 1e-6


def test_dynamics_keep_energy_and_temperature() -> None:
    atoms = methanol()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(1))
    energies: list[float] = []
    run = VelocityVerlet(atoms, 0.25 * units.fs)
    run.attach(lambda: energies.append(atoms.get_total_energy()))
    run.run(400)
    assert np.ptp(energies) < DRIFT < atoms.get_kinetic_energy()
    crystal = copper(2)
    MaxwellBoltzmannDistribution(crystal, temperature_K=600, rng=np.random.default_rng(1))
    thermostat = Langevin(crystal, 2 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False)
    temperatures: list[float] = []
    thermostat.attach(lambda: temperatures.append(crystal.get_temperature()))
    thermostat.run(200)
    assert np.mean(temperatures[100:]) == pytest.approx(300, rel=0.25)  # 32 atoms


def test_images_of_a_band_share_a_calculator() -> None:
    """The inversion of ammonia, whose middle image is flat; with a calculator for each the same to the last bit."""
    shared = HesspotCalculator("shipped:grown")
    start = molecule("NH3")
    start.calc = shared
    BFGS(start, logfile=None).run(fmax=0.005)
    start.calc = None
    start.translate(-start.positions[1:].mean(0))
    end = start.copy()
    end.positions[0, 2] *= -1
    barriers = []
    for calculators in ([shared] * 5, [HesspotCalculator("shipped:grown") for _ in range(5)]):
        images = [start.copy(), *(start.copy() for _ in range(3)), end.copy()]
        for image, calculator in zip(images, calculators, strict=True):
            image.calc = calculator
        band = NEB(
            images, climb=True, method="improvedtangent", allow_shared_calculator=calculators[0] is calculators[1]
        )
        band.interpolate("idpp")
        assert FIRE(band, logfile=None).run(fmax=0.05, steps=200)
        barriers.append(NEBTools(images).get_barrier())
        assert np.ptp(images[2].positions[:, 2]) < 0.02
    assert barriers[0] == barriers[1] and 0.1 < barriers[0][0] < 0.5


def test_vibrations_and_phonons_are_those_of_the_exact_hessian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phonons_module, "MESH", 20.0)  # of the density of states, which is not looked at
    atoms = methanol()
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=500)
    numerical = Vibrations(atoms, name=str(tmp_path / "vibrations"), delta=1e-3)
    numerical.run()
    exact = VibrationsData.from_2d(atoms, atoms.calc.get_hessian(atoms))
    np.testing.assert_allclose(exact.get_frequencies().real[6:], numerical.get_frequencies().real[6:], atol=CM)
    cell = bulk("Cu", a=3.589)
    theirs = Phonons(cell, HesspotCalculator("shipped:copper"), (2, 2, 2), delta=0.01, name=str(tmp_path / "phonons"))
    theirs.run()
    theirs.read(acoustic=True)
    held = np.array([[0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])  # X and L, which the supercell holds
    ours = phonons(crystal_derivatives(Surface("shipped:copper"), cell, progress=False), [300.0], (2, 2, 2))
    frequencies = np.array(ours.phonopy.run_qpoints(held).frequencies)
    np.testing.assert_allclose(theirs.band_structure(held), frequencies * 1e12 * units._hplanck * units.J, atol=PHONON)
    with pytest.raises(PropertyNotImplementedError, match="dipole"):
        Infrared(atoms, name=str(tmp_path / "infrared")).run()


def test_calculators_are_summed() -> None:
    atoms, pair = copper(), LennardJones(sigma=2.0, epsilon=0.01)
    alone = atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    atoms.calc = pair
    more = atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    atoms.calc = SumCalculator([HesspotCalculator("shipped:copper"), pair])
    both = atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    for one, other, total in zip(alone, more, both, strict=True):
        np.testing.assert_allclose(total, np.add(one, other), atol=ROUNDING)


def test_a_slab_has_a_stress_only_with_a_cell() -> None:
    energies = []
    for vacuum in (None, 8.0):
        slab = fcc111("Cu", (1, 1, 4), vacuum=vacuum)
        slab.calc = HesspotCalculator("shipped:copper")
        energies.append(slab.get_potential_energy())
        if vacuum is None:
            with pytest.raises(PropertyNotImplementedError):
                slab.get_stress()
        else:
            assert slab.get_stress().shape == (6,)
    assert list(slab.pbc) == [True, True, False] and energies[0] == pytest.approx(energies[1], abs=ROUNDING)


def energy_in_a_child(atoms: Atoms) -> float:
    return float(atoms.get_potential_energy())


def test_other_processes_take_structures_with_one_shared_calculator() -> None:
    frames = [methanol() for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.calc = frames[0].calc
        frame.rattle(0.05, seed=seed)
    expected = [frame.get_potential_energy() for frame in frames]
    with get_context("fork").Pool(2) as pool:
        assert pool.map(energy_in_a_child, frames) == expected
    assert len(set(expected)) == 3


def test_files_say_which_model_it_was(tmp_path: Path) -> None:
    atoms = methanol()
    energy, weights = atoms.get_potential_energy(), atoms.calc.model.metadata.weights_sha256
    atoms.write(tmp_path / "a.traj")
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(atoms)
    from_file, row = ase.io.read(tmp_path / "a.traj"), next(ase.db.connect(tmp_path / "a.db").select())
    assert from_file.calc.name == row.calculator == "hesspot"
    assert from_file.get_potential_energy() == row.energy == energy
    assert from_file.calc.parameters["weights_sha256"] == row.calculator_parameters["weights_sha256"] == weights
    assert row.calculator_parameters["model"].endswith("grown.pt")


def test_ase_finds_it_by_its_name() -> None:
    assert get_calculator_class("hesspot") is HesspotCalculator


def test_the_command_line_of_ase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copper().write("cu.xyz")
    words = ["ase", "run", "hesspot", "cu.xyz", "-p", "model=shipped:copper", "-s", "0.001", "-o", "relaxed.xyz"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    relaxed = ase.io.read("relaxed.xyz")
    assert np.abs(relaxed.get_stress()).max() < 1e-3
    relaxed.calc = HesspotCalculator("shipped:copper")
    assert relaxed.get_potential_energy() < copper().get_potential_energy()
    listed = CliRunner().invoke(app, ["ase", "run", "--help"])
    assert listed.exit_code == 0 and "ase run" in listed.output and "hesspot" in listed.output
    with pytest.raises(UserError, match="element Cu of atom 0 is not known to the model, which has H, O"):
        CliRunner().invoke(app, [*words[:5], "model=shipped:water"], catch_exceptions=False)
    with pytest.raises(UserError, match=r"No module named .* .`hesspot ase -T run nothing cu.xyz` shows where"):
        CliRunner().invoke(app, ["ase", "run", "nothing", "cu.xyz"], catch_exceptions=False)
