"""Risk: atoms that fall into each other, or a core that is felt where there are data, jumps, or is lost on the way."""

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule
from pydantic import ValidationError

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate, hessian
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.file import eager_model
from hesspot.export.script import cast_floats
from hesspot.models.core import INNER, OUTER, core_within, repulsion, smaller_core
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, mean_of
from hesspot.models.house import HouseConfig, HouseModel

ELEMENTS = ["H", "C", "O"]
SHORTEST = np.array([[1.4, 1.1, 1.0], [1.1, 1.3, 1.2], [1.0, 1.2, np.inf]])
CORE = core_within(ELEMENTS, SHORTEST, 4.0)
NEAREST = 0.05  # Å
STEP, DIFFERENCE = 1e-5, 1e-6  # Å; relative to the largest value, of central differences
#: eV/Å, of a force that is the repulsion's alone: rounding of a slope of 10⁴.
ROUNDING = 1e-9
FLOAT32 = 2e-4  # relative, as in test_house.py


def make(seed=5, members=None, **changed):
    torch.manual_seed(seed)
    keys = {"elements": ELEMENTS, "cutoff": 4.0, "n_channels": 3, "hidden": [8], "core": CORE, **changed}
    model = (
        HouseModel(HouseConfig(**keys)) if members is None else HouseEnsemble(EnsembleConfig(**keys, members=members))
    )
    model.scale.fill_(20.0)
    return model.requires_grad_(False)


def dimer(one, other, distance):
    return ase.Atoms([one, other], [[0.0, 0.0, 0.0], np.array([0.6, 0.0, 0.8]) * distance])


def quantities(model, structures):
    batch = build_batch(structures, model.elements, model.cutoff)
    found = evaluate(model, batch)
    return found.energy, found.forces, hessian(model, batch)


def test_radii_come_from_the_data_and_else_from_covalent_radii():
    assert CORE["H-O"] == pytest.approx((INNER * OUTER * 1.0, OUTER * 1.0))
    assert CORE["O-O"][1] == pytest.approx(OUTER * 2 * 0.66)  # Cordero's radius of oxygen
    assert core_within(["O"], np.array([[9.0]]), 4.0)["O-O"][1] == pytest.approx(OUTER * 4.0)
    other = core_within(ELEMENTS, SHORTEST * [[0.5, 2, 2], [2, 2, 2], [2, 2, 2]], 4.0)
    assert smaller_core(CORE, other) == {**CORE, "H-H": other["H-H"]}
    assert smaller_core(CORE, None) is None


def test_nothing_is_felt_where_there_are_data():
    """To the last bit, up to the shortest distances themselves."""
    model, bare = make(), make(core=None)
    structures = [dimer("H", "O", 1.0), dimer("C", "C", 1.3), molecule("CH3OH")]
    for one, other in zip(quantities(model, structures), quantities(bare, structures), strict=True):
        for own, same in zip(one, other, strict=True):
            assert torch.equal(own, same)
    assert float(quantities(model, [dimer("H", "O", 0.8)])[0] - quantities(bare, [dimer("H", "O", 0.8)])[0]) > 0.1


@pytest.mark.parametrize("pair", ["H-H", "H-C", "C-O"])
def test_within_the_inner_radius_the_repulsion_is_all_that_acts_along_a_pair(pair):
    one, other = pair.split("-")
    inner = CORE[pair][0]
    distances = np.linspace(NEAREST, 0.999 * inner, 20)
    model = make()
    forces = evaluate(model, build_batch([dimer(one, other, r) for r in distances], ELEMENTS, 4.0)).forces
    along = (forces[1::2] @ torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)).numpy()
    strength, length = model.core[2:, ELEMENTS.index(one), ELEMENTS.index(other)]
    r = torch.tensor(distances, requires_grad=True)
    (slope,) = torch.autograd.grad(repulsion(strength, length, r).sum(), r)
    np.testing.assert_allclose(along, -slope.numpy(), atol=ROUNDING, rtol=1e-12)
    assert (np.diff(along) < 0).all() and along[-1] > 1.0


def test_three_derivatives_are_continuous_at_both_radii():
    """A fourth one jumps: so near the radius a lower one may have changed by it times this distance, and no more."""
    model, near = make(), 1e-7
    unit = torch.tensor([[0.6, 0.0, 0.8], [-0.6, 0.0, -0.8]], dtype=torch.float64)
    ends, species = torch.tensor([0, 1]), torch.tensor([0, 2])

    def derivatives(distance):
        r = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        values = [model(species, ends, 1 - ends, r * unit).sum()]
        for _ in range(4):
            values += torch.autograd.grad(values[-1], r, create_graph=True)
        return torch.stack(values).detach()

    for radius in CORE["H-O"]:
        below, above = derivatives(radius - near), derivatives(radius + near)
        fourth = float(torch.maximum(below[4].abs(), above[4].abs()))
        assert float((below[4] - above[4]).abs()) > 0.5 * fourth > 1.0
        assert ((below[:4] - above[:4]).abs() < 4 * near * torch.maximum(below[1:].abs(), above[1:].abs()) + 1e-9).all()


@pytest.mark.parametrize("members", [None, 2])
def test_derivatives_are_those_of_differences(members):
    """With pairs on the switch and within it."""
    model = make(members=members)
    atoms = molecule("CH3OH")
    atoms.positions *= 0.72
    distances = build_batch([atoms], ELEMENTS, 4.0).vectors.norm(dim=1)
    assert distances.min() < 0.72 and ((distances > CORE["H-C"][0]) & (distances < CORE["H-C"][1])).sum() > 2
    _, forces, (matrix,) = quantities(model, [atoms])
    moved = []
    for place in range(3 * len(atoms)):
        for sign in (1.0, -1.0):
            other = atoms.copy()
            other.positions.flat[place] += sign * STEP
            moved.append(other)
    energies, all_forces, _ = quantities(model, moved)
    slopes = (energies[0::2] - energies[1::2]) / (2 * STEP)
    np.testing.assert_allclose(-slopes, forces.flatten(), atol=DIFFERENCE * float(forces.abs().max()), rtol=0)
    by_rows = all_forces.reshape(len(moved), -1)
    columns = -(by_rows[0::2] - by_rows[1::2]) / (2 * STEP)
    np.testing.assert_allclose(columns, matrix, atol=DIFFERENCE * float(matrix.abs().max()), rtol=0)


def test_it_stays_in_files_float32_and_means(tmp_path):
    structures = [dimer("H", "O", 0.3), dimer("C", "C", 1.0), molecule("CH3OH")]
    models = [make(seed=1), make(seed=2, core=core_within(ELEMENTS, 0.9 * SHORTEST, 4.0))]
    mean = mean_of(models)
    assert mean.config.core == models[0].config.core == core_within(ELEMENTS, 0.9 * SHORTEST, 4.0)
    for model in (models[0], make(members=2), mean):
        expected = quantities(model, structures)
        write_model(tmp_path / "model.pt", model, [fingerprint_entry(model, "close", structures[0])])
        loaded = read_model(tmp_path / "model.pt")
        assert loaded.metadata.architecture.config["core"]["H-O"] == pytest.approx(model.config.core["H-O"])
        for read in (loaded, eager_model(loaded), read_model(tmp_path / "model.pt", backend="torchscript")):
            for found, own in zip(quantities(read, structures)[:2], expected[:2], strict=True):
                torch.testing.assert_close(found, own, rtol=1e-12, atol=1e-9)
    single = make()
    cast_floats(single, torch.float32)
    batch = build_batch(structures, ELEMENTS, 4.0)
    found = evaluate(single, batch.to(dtype=torch.float32)).forces
    expected = quantities(make(), structures)[1]
    assert float((found - expected).abs().max()) < FLOAT32 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("core", "words"),
    [
        ({"H-H": (0.3, 0.5)}, "a core has radii for the pairs H-H, H-C, H-O, C-C, C-O, O-O, and this one for H-H"),
        ({**CORE, "H-O": (0.9, 0.7)}, "the radii 0.9 and 0.7 Å of H-O are not possible: 0 < inner < outer ≤ 4 Å"),
        ({**CORE, "H-O": (0.9, 4.5)}, "the radii 0.9 and 4.5 Å of H-O"),
    ],
)
def test_a_core_that_cannot_be_is_refused(core, words):
    with pytest.raises(ValidationError, match=words):
        HouseConfig(elements=ELEMENTS, cutoff=4.0, core=core)


def test_atoms_on_one_place_end_with_a_word():
    with pytest.raises(UserError, match="has atoms 0 and 1 on one place"):
        build_batch([dimer("H", "O", 0.0)], ELEMENTS, 4.0)
