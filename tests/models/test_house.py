"""Risk: a model that is not smooth, not invariant, or another one after scripting or in float32."""

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate, hessian
from hesspot.errors import UserError
from hesspot.export.script import cast_floats
from hesspot.models.house import HouseConfig, HouseModel

ROUNDING = 1e-11  # eV, eV/Å, eV/Å²
STEP = 1e-3  # Å, of the walk through the cutoff
#: In a walk by equal steps the second differences of a C² function are h² times its second derivative, and a jump
#: shows undiminished: 1e-8 for this model, 6e-7 with an envelope of one power less, 2e-4 with two less.
JUMP = 1e-7
FLOAT32 = 2e-4  # of the largest force: about 2⁻²³ times the some hundred operations and their cancellation


@pytest.fixture(scope="module")
def model() -> HouseModel:
    torch.manual_seed(5)
    model = HouseModel(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.0))
    model.scale.fill_(20.0)
    return model.requires_grad_(False)


def quantities(model, atoms):
    batch = build_batch([atoms], model.elements, model.cutoff)
    result = evaluate(model, batch)
    return float(result.energy), result.forces.numpy(), hessian(model, batch)[0].numpy()


def walk_through_cutoff(model, steps):
    """E, F, H of water and a hydrogen atom that leaves the oxygen's cutoff, at the given distances − cutoff."""
    for step in steps:
        atoms = molecule("H2O")
        direction = np.array([0.6, 0.0, 0.8])
        atoms += ase.Atoms("H", positions=[atoms.positions[0] + (model.cutoff + step) * direction])
        yield quantities(model, atoms)


def test_nothing_jumps_at_the_cutoff(model):
    steps = STEP * np.arange(-10.5, 10)
    energy, forces, curvature = (
        np.array(list(column)) for column in zip(*walk_through_cutoff(model, steps), strict=True)
    )
    for values in (energy, forces, curvature):
        second = np.abs(np.diff(values, n=2, axis=0))
        assert second.max() < JUMP
    # the hydrogen does interact before it leaves: with the envelope's fourth power the signal appears further in
    inside, outside = list(walk_through_cutoff(model, [-1.0, 0.5]))
    assert np.abs(inside[1] - outside[1]).max() > 1e-3


def test_curvature_falls_to_zero_at_least_quadratically(model):
    """C³: halving the distance to the cutoff leaves at most a quarter of what the leaving atom's curvature was."""
    far, near, beyond = (h[:, 9:] for _, _, h in walk_through_cutoff(model, [-0.04, -0.02, 0.01]))
    assert np.abs(near - beyond).max() > 0
    assert np.abs(far - beyond).max() / np.abs(near - beyond).max() > 3.5


def test_rotation_and_permutation(model):
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    energy, forces, curvature = quantities(model, atoms)
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    order = [3, 1, 5, 0, 4, 2]
    moved = atoms[order]
    moved.positions = moved.positions @ rotation.T + [1.0, -2.0, 3.0]
    other_energy, other_forces, other_curvature = quantities(model, moved)
    assert other_energy == pytest.approx(energy, abs=ROUNDING)
    np.testing.assert_allclose(other_forces, forces[order] @ rotation.T, atol=ROUNDING, rtol=0)
    blocks = curvature.reshape(6, 3, 6, 3)[np.ix_(order, range(3), order, range(3))]
    turned = np.einsum("xa,iajb,yb->ixjy", rotation, blocks, rotation).reshape(18, 18)
    np.testing.assert_allclose(other_curvature, turned, atol=ROUNDING, rtol=0)


def test_mirror_images_have_one_energy(model):
    atoms = molecule("CH3OH")
    atoms.rattle(0.2, seed=2)
    mirrored = atoms.copy()
    mirrored.positions[:, 0] *= -1
    assert quantities(model, atoms)[0] == pytest.approx(quantities(model, mirrored)[0], abs=ROUNDING)


def test_torsion_is_seen(model):
    """Four-body terms: a turned OH bond at the same distances from its centre changes the energy."""
    atoms = molecule("CH3OH")
    turned = atoms.copy()
    turned.rotate_dihedral(2, 0, 1, 3, 40, indices=[3])
    assert abs(quantities(model, atoms)[0] - quantities(model, turned)[0]) > 1e-4


def test_scripted_model_is_the_same_with_changing_shapes(model):
    scripted = torch.jit.script(model)
    names = ["CH3OH", "H2O", "CH4", "HCN", "O", "C2H6", "NH3", "H2", "CO2", "CH3CHO", "N2", "H2CO"]
    for name in names:
        atoms = molecule(name)
        mine, theirs = quantities(model, atoms), quantities(scripted, atoms)
        assert theirs[0] == pytest.approx(mine[0], abs=ROUNDING)
        np.testing.assert_allclose(theirs[1], mine[1], atol=ROUNDING, rtol=0)
        np.testing.assert_allclose(theirs[2], mine[2], atol=ROUNDING, rtol=0)


def test_float32_keeps_large_shifts(model):
    torch.manual_seed(5)
    single = HouseModel(model.config)
    single.load_state_dict(model.state_dict())
    single.shifts = [-1e5] * 4
    cast_floats(single, torch.float32)
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    batch = build_batch([atoms], model.elements, model.cutoff)
    double, rounded = evaluate(model, batch), evaluate(single, batch.to(dtype=torch.float32))
    assert rounded.energy.dtype == torch.float64
    scale = float(double.forces.abs().max())
    assert float(rounded.energy) == pytest.approx(float(double.energy) - 6e5, abs=FLOAT32 * scale)
    np.testing.assert_allclose(rounded.forces.numpy(), double.forces.numpy(), atol=FLOAT32 * scale, rtol=0)


def test_radial_functions_begin_smooth():
    """Sums over 1200 random weights of one deviation scatter by 4 % of it."""
    torch.manual_seed(0)
    model = HouseModel(HouseConfig(elements=["H", "C"], n_radial=3, n_channels=150))
    deviations = model.mix.detach().view(4, 2, 2, 3, 150).square().mean((0, 1, 4)).sqrt()
    of_all = np.sqrt(2 * (1 + 1 / 4 + 1 / 9))
    assert deviations.numpy() == pytest.approx(np.tile(1 / np.arange(1, 4), (2, 1)) / of_all, rel=0.1)


def test_bad_structures_are_named(model):
    with pytest.raises(UserError, match=r"element S of atom 0 is not known to the model, which has H, C, N, O"):
        quantities(model, molecule("SO2"))
    with pytest.raises(UserError, match="atoms 0 and 1 on one place, 1e-05 Å apart"):
        quantities(model, ase.Atoms("HH", positions=[[0, 0, 0], [0, 0, 1e-5]]))
    with pytest.raises(UserError, match="atom 0 at 0, 0, nan, which is not finite"):
        quantities(model, ase.Atoms("H", positions=[[0, 0, np.nan]]))
