"""Curvature and committees in extras against finite differences of the driver's own forces, and through a real i-PI."""

import json

import ase
import numpy as np
import pytest

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.ipi.launch import run_ipi
from hesspot.models.ensemble import Member
from hesspot.units import HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from ipi_driver.evaluation.evaluator import Evaluator

#: Å; the step of central differences, and what they then leave (Hartree/Bohr²).
STEP, DIFFERENCES = 1e-3, 1e-5

#: eV, eV/Å: the kernel's and torch's sums in another order.
ROUNDING = 1e-11

#: i-PI prints extras with nine digits.
PRINTED = 1e-7

CELL = np.eye(3) * 20.0


def product(evaluator, positions, direction):
    """H·v by central differences, Hartree/Bohr² per unit of the direction."""
    pair = np.array([positions + STEP * direction, positions - STEP * direction])
    forces = evaluator(pair, np.array([CELL, CELL])).forces
    return (forces[1] - forces[0]) / (2 * STEP) / HARTREE_PER_BOHR2


def test_hessians_of_a_batch(house, molecule, rng):
    plain = Evaluator(read_model(house), molecule.symbols, molecule.pbc)
    full = Evaluator(read_model(house), molecule.symbols, molecule.pbc, extras="hessian")
    positions = molecule.positions + 0.05 * rng.standard_normal((2, 4, 3))
    results = full(positions[[0, 1, 1]], np.array([CELL] * 3))
    assert results.extras[1] == results.extras[2]
    np.testing.assert_array_equal(results.forces[:2], plain(positions, np.array([CELL] * 2)).forces)
    for structure, text in zip(positions, results.extras, strict=False):
        hessian = np.array(json.loads(text)["hessian"])
        v = rng.standard_normal((4, 3))
        wanted = product(plain, structure, v).ravel()
        np.testing.assert_allclose(hessian @ v.ravel(), wanted, rtol=0, atol=DIFFERENCES * np.linalg.norm(v))


def test_products_follow_each_bead_in_whatever_order(house, molecule, rng):
    """Three beads far apart that move a little, padded, in fragments and another order each time."""
    plain = Evaluator(read_model(house), molecule.symbols, molecule.pbc)
    evaluator = Evaluator(read_model(house), molecule.symbols, molecule.pbc, extras="hvp")
    beads = molecule.positions + 0.1 * rng.standard_normal((3, 4, 3))
    for step in range(3):
        moved = beads + 0.01 * rng.standard_normal(beads.shape)
        order = rng.permutation(3)
        for fragment in (order[:1], order[1:]):
            places = [*fragment, *[fragment[-1]] * (3 - len(fragment))]
            results = evaluator(moved[places], np.array([CELL] * 3))
            for bead, text in zip(places, results.extras, strict=True):
                extras = json.loads(text)
                way = moved[bead] - beads[bead]
                if step == 0:
                    continue
                np.testing.assert_allclose(extras["direction"], (way / np.linalg.norm(way)).ravel(), atol=1e-12)
                wanted = product(plain, moved[bead], way / np.linalg.norm(way)).ravel()
                np.testing.assert_allclose(extras["hvp"], wanted, rtol=0, atol=DIFFERENCES)
        beads = moved


@pytest.mark.parametrize(
    ("file", "backend"),
    [("ensemble", "kernel"), ("ensemble", "torchscript"), ("mean", "kernel"), ("mean", "torchscript")],
)
def test_members_of_a_committee(request, file, molecule, rng, backend):
    """Each member's numbers are those of the member by itself, and the mean is what is sent as the answer."""
    committee = request.getfixturevalue(file)
    model = read_model(committee, backend=backend)
    evaluator = Evaluator(model, molecule.symbols, [True] * 3, extras="committee")
    positions = molecule.positions + 0.05 * rng.standard_normal((2, 4, 3))
    order, cell = [0, 1, 1], np.diag([5.0, 6.0, 7.0])
    results = evaluator(positions[order], np.array([cell] * 3))
    assert results.extras[1] == results.extras[2]
    members = [Member(read_model(committee, backend="torchscript").module, number) for number in range(3)]
    structures = [ase.Atoms(molecule.symbols, positions=where, cell=cell, pbc=True) for where in positions[order]]
    batch = build_batch(structures, model.elements, model.cutoff)
    wanted = [derivatives.evaluate(member, batch, virial=True) for member in members]
    for k, text in enumerate(results.extras):
        extras = json.loads(text)
        energies = np.array([float(one.energy[k]) for one in wanted])
        forces = np.array([one.forces.reshape(3, 4, 3)[k].numpy() for one in wanted])
        virials = np.array([one.virial[k].numpy() for one in wanted])
        for key, unit, values in (
            ("committee_pot", HARTREE, energies),
            ("committee_force", HARTREE_PER_BOHR, forces.reshape(3, -1)),
            ("committee_virial", HARTREE, virials.reshape(3, -1)),
        ):
            np.testing.assert_allclose(np.array(extras[key]) * unit, values, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(results.energy[k], energies.mean(), rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(results.forces[k], forces.mean(0), rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(results.virial[k], virials.mean(0), rtol=0, atol=ROUNDING)
        assert np.ptp(energies) > 1e3 * ROUNDING


def test_one_model_is_no_committee(house, molecule):
    with pytest.raises(UserError, match="is one model"):
        Evaluator(read_model(house), molecule.symbols, molecule.pbc, extras="committee")


@pytest.mark.ipi
def test_ipi_prints_the_hessian(tmp_path, house, molecule):
    write_start(tmp_path / "start.xyz", molecule)
    xml = dynamics_input(
        "start.xyz", address="x", n_beads=2, batch_size=2, timestep=0.25, steps=1, temperature=300.0, stride=1
    )
    output = "<trajectory filename='hessian' stride='1' extra_type='hessian'> extras </trajectory></output>"
    (tmp_path / "input.xml").write_text(xml.replace("</output>", output))
    run_ipi(
        tmp_path / "input.xml", house, tmp_path / "start.xyz", tmp_path,
        driver_options=["--extras", "hessian"], timeout=200.0,
    )  # fmt: skip
    lines = (tmp_path / "simulation.hessian_0").read_text().splitlines()[1:13]
    printed = np.array(" ".join(lines).split(), dtype=float).reshape(12, 12)
    full = Evaluator(read_model(house), molecule.symbols, molecule.pbc, extras="hessian")
    wanted = json.loads(full(molecule.positions[None], CELL[None]).extras[0])["hessian"]
    np.testing.assert_allclose(printed, wanted, rtol=0, atol=PRINTED)
