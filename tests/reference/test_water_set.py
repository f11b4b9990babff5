"""The shipped set of water, and the model that comes with it."""

import numpy as np
import pytest
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from hesspot.analysis.normal_modes import normal_modes
from hesspot.calculators import HesspotCalculator
from hesspot.data import Dataset
from hesspot.data.quality import STRICT, check_dataset
from hesspot.data.shipped import path
from hesspot.models.shipped import find_model

MODEL = find_model("shipped:water")

#: eV/Å, eV/Å³, eV/Å² and cm⁻¹: a quarter more than the errors of the shipped model in docs/water.md.
FORCES, STRESS, HESSIAN, FREQUENCIES = 0.09, 7.5e-4, 0.12, 25.0
#: Atoms of the largest clusters whose Hessian is compared: larger ones take long.
LARGEST_HESSIAN = 12
#: eV per atom: total energy swings with a step of 0.5 fs.
ENERGY = 2e-3
#: Å: no hydrogen has left its oxygen.
BOND = 1.4


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset.read(path("water_gfn1"))


def test_labels_are_sound(dataset: Dataset) -> None:
    assert dataset.level_of_theory == "GFN1-xTB (tblite)"
    findings = check_dataset(dataset, STRICT)
    assert [finding for finding in findings if not finding.passed and finding.tier == "wrong"] == []
    boxes = [record for record in dataset if record.pbc.all()]
    clusters = [record for record in dataset if not record.pbc.any()]
    assert all(record.stress is not None for record in boxes)
    assert {len(record) // 3 for record in boxes} == {32, 64}
    assert {len(record) // 3 for record in clusters} == set(range(1, 9))
    assert all((record.hessian is None) != (record.products is None) for record in clusters)
    assert path("water_gfn1").stat().st_size < 4e6


def test_parts_are_different_trajectories(dataset: Dataset) -> None:
    trajectories = {
        part: {record.properties["trajectory"] for record in dataset.select(part=part)}
        for part in ("train", "valid", "test")
    }
    assert all(trajectories.values())
    assert sum(map(len, trajectories.values())) == len(set().union(*trajectories.values()))


@pytest.fixture(scope="module")
def tested(dataset: Dataset) -> list:
    """The structures of the part test with what the model says about them."""
    calculator = HesspotCalculator(MODEL)
    answers = []
    for record in dataset.select(part="test"):
        atoms = record.atoms_only()
        atoms.calc = calculator
        curved = record.hessian is not None and len(record) <= LARGEST_HESSIAN
        answers.append(
            (
                record,
                atoms.get_forces(),
                atoms.get_stress(voigt=False) if record.stress is not None else None,
                calculator.get_hessian(atoms) if curved else None,
            )
        )
    return answers


def rms(differences: list[np.ndarray]) -> float:
    return float(np.sqrt(np.concatenate([difference.ravel() for difference in differences]).var()))


def test_model_reproduces_forces_and_stresses(tested: list) -> None:
    labels = [record.forces for record, *_ in tested]
    assert rms([forces - record.forces for record, forces, *_ in tested]) < FORCES < 0.2 * rms(labels)
    stresses = [(stress, record.stress) for record, _, stress, _ in tested if stress is not None]
    assert rms([found - label for found, label in stresses]) < STRESS < rms([label for _, label in stresses])


def test_model_reproduces_hessians_and_frequencies(tested: list) -> None:
    curved = [(record, hessian) for record, _, _, hessian in tested if hessian is not None]
    labels = [record.hessian for record, _ in curved]
    assert rms([hessian - record.hessian for record, hessian in curved]) < HESSIAN < 0.2 * rms(labels)
    errors = [
        normal_modes(record.atoms_only(), hessian).frequencies
        - normal_modes(record.atoms_only(), record.hessian).frequencies
        for record, hessian in curved
        if record.kind == "minimum"
    ]
    assert np.abs(np.concatenate(errors)).mean() < FREQUENCIES


def test_liquid_keeps_its_energy_and_its_bonds(dataset: Dataset) -> None:
    boxes = [record for record in dataset.select(part="test") if len(record) == 96]
    atoms = boxes[-1].atoms_only()
    atoms.calc = HesspotCalculator(MODEL)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300.0, rng=np.random.default_rng(1))
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, 0.5 * units.fs).run(200)
    assert abs(atoms.get_total_energy() - start) / len(atoms) < ENERGY
    assert 150.0 < atoms.get_temperature() < 500.0
    distances = atoms.get_all_distances(mic=True)[np.ix_(atoms.numbers == 1, atoms.numbers == 8)]
    assert distances.min(axis=1).max() < BOND
