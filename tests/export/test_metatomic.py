"""Risk: a file for metatomic's engines that gives other numbers in them, or that ignores a charge."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.socketio import SocketIOCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from typer.testing import CliRunner

from hesspot import HesspotCalculator, UserError, read_model, write_model
from hesspot.cli.main import app
from hesspot.export import fingerprint_entry
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble

pytest.importorskip("metatomic.torch", reason="metatomic-torch is for torch before 2.15")

import metatomic.torch as mta
from metatensor.torch import Labels
from metatomic_ase import MetatomicCalculator

from hesspot.export.metatomic import DIRECTION, HVP, as_metatomic, direction_data, write_metatomic

#: eV, eV/Å: rounding, of sums in another order than the kernel's, of energies of some 1000 eV.
ROUNDING = 1e-10

#: eV/Å³: rounding, of a virial of some 10 eV over some 100 Å³.
OF_STRESS = 1e-12

#: eV/Å²: rounding, of second derivatives.
OF_CURVATURE = 1e-9

#: Of energies and forces: ASE's Hartree and Bohr are not i-PI's.
CONVERTED = 1e-6


@pytest.fixture(scope="module")
def files(house_model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model file, and one for metatomic's engines."""
    theirs = tmp_path_factory.mktemp("metatomic") / "house-metatomic.pt"
    ended = CliRunner().invoke(app, ["export", str(house_model_file), str(theirs), "--metatomic"])
    assert ended.exception is None, ended.exception
    return house_model_file, theirs


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=2)
    return atoms


def ice() -> Atoms:
    """A triclinic cell, smaller than twice the cutoff."""
    atoms = molecule("H2O")
    atoms.set_cell([[4.1, 0, 0], [0.7, 4.6, 0], [-0.4, 0.9, 5.2]])
    atoms.pbc = True
    atoms *= (1, 1, 2)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("atoms", [water(), ice(), Atoms("O")], ids=["molecule", "cell", "atom"])
def test_in_ase(files: tuple[Path, Path], atoms: Atoms) -> None:
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc = HesspotCalculator(files[0])
    theirs.calc = MetatomicCalculator(files[1], check_consistency=True)
    for step in range(3):
        for each in (ours, theirs):
            each.rattle(0.02, seed=step)
        assert abs(theirs.get_potential_energy() - ours.get_potential_energy()) < ROUNDING
        np.testing.assert_allclose(theirs.get_forces(), ours.get_forces(), rtol=0, atol=ROUNDING)
        energies = theirs.get_potential_energies()
        np.testing.assert_allclose(energies, ours.get_potential_energies(), rtol=0, atol=ROUNDING)
        if atoms.pbc.all():
            np.testing.assert_allclose(theirs.get_stress(), ours.get_stress(), rtol=0, atol=OF_STRESS)


def systems_of(structures: list[Atoms], model: mta.AtomisticModel) -> list[mta.System]:
    from vesin.metatomic import neighbor_lists_for_model

    systems = []
    for atoms in structures:
        cell = torch.tensor(atoms.cell.array * atoms.pbc[:, None])
        numbers = torch.tensor(atoms.numbers, dtype=torch.int32)
        system = mta.System(numbers, torch.tensor(atoms.positions), cell, torch.tensor(atoms.pbc))
        for neighbors in neighbor_lists_for_model("angstrom", model):
            neighbors.add_neighbor_list(system)
        systems.append(system)
    return systems


def test_products_are_those_of_the_hessian(files: tuple[Path, Path]) -> None:
    model = mta.load_atomistic_model(files[1])
    structures = [ice(), water()]
    systems = systems_of(structures, model)
    options = mta.ModelEvaluationOptions(
        length_unit="angstrom", outputs={HVP: mta.ModelOutput(unit="eV/A^2", sample_kind="atom")}
    )
    with pytest.raises(Exception, match="hesspot::hvp needs hesspot::direction"):
        model(systems, options, check_consistency=False)
    directions = [np.random.default_rng(4).standard_normal((len(atoms), 3)) for atoms in structures]
    for system, direction in zip(systems, directions, strict=True):
        system.add_data(DIRECTION, direction_data(direction))
    products = model(systems, options, check_consistency=False)[HVP].block().values.squeeze(-1).numpy()
    calculator = HesspotCalculator(files[0])
    expected = [
        (calculator.get_hessian(atoms) @ direction.ravel()).reshape(-1, 3)
        for atoms, direction in zip(structures, directions, strict=True)
    ]
    np.testing.assert_allclose(products, np.concatenate(expected), rtol=0, atol=OF_CURVATURE)


def test_a_part_of_the_atoms(files: tuple[Path, Path]) -> None:
    """As an engine with domains asks: energies of the atoms of a domain, whose neighbours are atoms of others."""
    model = mta.load_atomistic_model(files[1])
    systems = systems_of([water(), ice()], model)
    chosen = Labels(["system", "atom"], torch.tensor([[1, 4], [0, 2], [1, 0]], dtype=torch.int32))
    calculator = HesspotCalculator(files[0])
    energies = [calculator.get_potential_energies(atoms) for atoms in (water(), ice())]
    expected = np.array([energies[1][4], energies[0][2], energies[1][0]])
    for kind, values in (("atom", expected), ("system", np.array([expected[1], expected[0] + expected[2]]))):
        outputs = {"energy": mta.ModelOutput(unit="eV", sample_kind=kind)}
        options = mta.ModelEvaluationOptions(length_unit="angstrom", outputs=outputs, selected_atoms=chosen)
        found = model(systems, options, check_consistency=False)["energy"].block().values.squeeze(-1)
        np.testing.assert_allclose(found.numpy(), values, rtol=0, atol=ROUNDING)


def test_a_committee(tmp_path: Path) -> None:
    torch.manual_seed(5)
    shape = {"elements": ["H", "O"], "cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8], "members": 3}
    committee = HouseEnsemble(EnsembleConfig(**shape)).requires_grad_(False).eval()
    write_model(tmp_path / "committee.pt", committee, [fingerprint_entry(committee, "water", molecule("H2O"))])
    loaded = read_model(tmp_path / "committee.pt", backend="torchscript")
    calculator = MetatomicCalculator(as_metatomic(loaded), check_consistency=True)
    outputs = {"energy_ensemble": mta.ModelOutput(unit="eV", sample_kind="system")}
    found = calculator.run_model(water(), outputs)["energy_ensemble"].block().values[0]
    members = loaded.module.members(*_edges_of(water(), 4.0)).sum(1)
    np.testing.assert_allclose(found.numpy(), members.numpy(), rtol=0, atol=ROUNDING)
    assert abs(float(found.mean()) - calculator.get_potential_energy(water())) < ROUNDING


def _edges_of(atoms: Atoms, cutoff: float) -> tuple[torch.Tensor, ...]:
    """Species of H and O, centres, neighbours, vectors, by all distances of a molecule."""
    vectors = atoms.get_all_distances(vector=True)
    near = (np.linalg.norm(vectors, axis=2) < cutoff) & ~np.eye(len(atoms), dtype=bool)
    centers, neighbors = np.nonzero(near)
    species = torch.tensor((atoms.numbers == 8).astype(int))
    return species, torch.tensor(centers), torch.tensor(neighbors), torch.tensor(vectors[near])


def test_a_model_of_somebody_else(lj_model_file: Path, tmp_path: Path) -> None:
    write_metatomic(tmp_path / "lj.pt", read_model(lj_model_file, backend="torchscript"))
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.numbers[1] = 10
    atoms.rattle(0.1, seed=1)
    atoms.calc = HesspotCalculator(lj_model_file)
    ours = atoms.get_forces()
    atoms.calc = MetatomicCalculator(tmp_path / "lj.pt")
    np.testing.assert_allclose(atoms.get_forces(), ours, rtol=0, atol=ROUNDING)


#: What a structure says, the states that a model was trained on, and whether what it says is one of them.
STATES = {
    "neutral": ({}, None, True),
    "stated": ({"charge": 0, "spin": 1}, [(0, 1)], True),
    "cation": ({"charge": 1, "spin": 2}, None, False),
    "trained cation": ({"charge": 1, "spin": 2}, [(0, 1), (1, 2)], True),
    "triplet": ({"spin_multiplicity": 3}, [(0, 1)], False),
    "only anions": ({}, [(-1, 2)], False),
    "cation without a multiplicity": ({"charge": 1}, [(1, 2)], True),
}


@pytest.mark.parametrize("name", STATES)
def test_charges_are_looked_at(files: tuple[Path, Path], name: str) -> None:
    said, trained, known = STATES[name]
    loaded = read_model(files[0], backend="torchscript")
    told = replace(loaded, metadata=loaded.metadata.model_copy(update={"electrons": trained}))
    told.__dict__["module"] = loaded.module
    atoms = water()
    atoms.info.update(said)
    calculators = [MetatomicCalculator(as_metatomic(told))]
    if trained is None:
        calculators.append(MetatomicCalculator(files[1]))
    for atoms.calc in calculators:
        if known:
            atoms.get_potential_energy()
            continue
        with pytest.raises(Exception, match="are none that the model was trained on"):
            atoms.get_potential_energy()


def test_an_engine_that_knows_no_charges(files: tuple[Path, Path]) -> None:
    loaded = read_model(files[0], backend="torchscript")
    for ask in (True, False):
        asked = as_metatomic(loaded, ask_electrons=ask).requested_inputs(use_new_names=True)
        assert set(asked) == ({"charge", "spin_multiplicity"} if ask else set())


@pytest.mark.ipi
def test_in_ipi(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Through its driver, which is another program: two structures, one after the other."""
    atoms = ice()
    atoms.write(tmp_path / "start.xyz", format="extxyz")
    address = f"hesspot-{tmp_path.name}-{os.getpid()}"
    program = Path(sys.executable).with_name("i-pi-driver-py")
    command = [program, "-u", "-a", address, "-m", "metatomic", "-o", f"template=start.xyz,model={files[1]}"]
    found = []
    with SocketIOCalculator(unixsocket=address) as atoms.calc, (tmp_path / "driver.log").open("w") as log:
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            for _ in range(2):
                atoms.rattle(0.05, seed=1)
                found.append((atoms.copy(), atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
        finally:  # it does not notice that a server is gone
            driver.kill()
            driver.wait()
    ours = HesspotCalculator(files[0])
    for structure, energy, forces, stress in found:
        assert energy == pytest.approx(ours.get_potential_energy(structure), rel=CONVERTED)
        np.testing.assert_allclose(forces, ours.get_forces(structure), rtol=CONVERTED, atol=CONVERTED)
        np.testing.assert_allclose(stress, ours.get_stress(structure), rtol=CONVERTED, atol=CONVERTED)


@pytest.mark.ipi
def test_in_the_class_of_ipi_to_rounding(files: tuple[Path, Path], tmp_path: Path) -> None:
    """i-PI's own units back and forth leave the numbers as they are."""
    from ipi.pes.metatomic import MetatomicDriver
    from ipi.utils.units import unit_to_internal, unit_to_user

    atoms = ice()
    ase.io.write(tmp_path / "start.xyz", atoms)
    driver = MetatomicDriver(template=str(tmp_path / "start.xyz"), model=str(files[1]))
    cell, positions = (unit_to_internal("length", "angstrom", x) for x in (atoms.cell.array.T, atoms.positions))
    potential, forces, virial, _ = driver.compute(cell, positions)
    ours = HesspotCalculator(files[0])
    assert abs(unit_to_user("energy", "electronvolt", potential) - ours.get_potential_energy(atoms)) < ROUNDING
    np.testing.assert_allclose(unit_to_user("force", "ev/ang", forces), ours.get_forces(atoms), rtol=0, atol=ROUNDING)
    stress = -unit_to_user("energy", "electronvolt", virial) / atoms.get_volume()
    expected = voigt_6_to_full_3x3_stress(ours.get_stress(atoms))
    np.testing.assert_allclose(stress, expected, rtol=0, atol=OF_STRESS)


def test_what_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments, words in (
        (["--metatomic", "--core", "shipped:small_chno"], "write that first, then export it with --metatomic"),
        (["--no-electrons"], "--no-electrons is for --metatomic"),
    ):
        ended = CliRunner().invoke(app, ["export", str(files[0]), str(tmp_path / "out.pt"), *arguments])
        assert isinstance(ended.exception, UserError) and words in str(ended.exception)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"house-metatomic\.pt"):
        read_model(files[1])
