"""Risk: a deviation, a spread or a curvature that is not the frame's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trajectories import Step, waters

from hesspot.calculators import HesspotCalculator
from hesspot.export import read_model
from hesspot.graph import build_graph
from hesspot.kernel import KernelModel
from hesspot.models.ensemble import mean_of
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.monitor import committee
from hesspot.monitor.curvature import lowest_curvature
from hesspot.monitor.frames import Frame, usual_masses
from hesspot.monitor.look import Settings, look_at
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Of central differences of forces with 1e-4 Å, of what they are of.
DIFFERENCES = 1e-6

#: Rounding of float64, of numbers up to a thousand.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def step(house_model_file: Path) -> Step:
    return waters(house_model_file, 1)[0]


def frame_of(step: Step) -> Frame:
    atoms = step.atoms
    numbers = atoms.numbers
    return Frame(
        step.step,
        np.arange(len(atoms)),
        numbers,
        atoms.positions,
        atoms.cell.array,
        atoms.pbc,
        usual_masses(numbers),
        step.forces,
        step.velocities,
    )


def test_curvature_along_the_motion_is_that_of_differences(house_model_file: Path, step: Step) -> None:
    calculator = HesspotCalculator(house_model_file)
    h = 1e-4 / np.abs(step.velocities).max()

    def forces(sign: float) -> np.ndarray:
        moved = step.atoms.copy()
        moved.positions += sign * h * step.velocities
        return calculator.get_forces(moved)

    product = (forces(-1.0) - forces(1.0)) / (2 * h)
    kinetic = (step.atoms.get_masses()[:, None] * step.velocities**2).sum()
    expected = (step.velocities * product).sum() / kinetic
    found = look_at(frame_of(step), read_model(house_model_file), Settings(), "run").values["along"]
    np.testing.assert_allclose(found, expected, rtol=DIFFERENCES)


def test_lowest_curvature_is_that_of_the_whole_hessian(house_model_file: Path, step: Step) -> None:
    hessian = HesspotCalculator(house_model_file).get_hessian(step.atoms)
    weights = 1.0 / np.sqrt(np.repeat(step.atoms.get_masses(), 3))
    values, vectors = np.linalg.eigh(weights[:, None] * hessian * weights)
    model = read_model(house_model_file)
    look = look_at(frame_of(step), model, Settings(lowest=27), "run")
    np.testing.assert_allclose(look.values["lowest_curvature"], values[0], atol=ROUNDING)
    wavenumber = np.sign(values[0]) * np.sqrt(abs(values[0])) * SQRT_EV_PER_A2_AMU
    np.testing.assert_allclose(look.values["lowest"], wavenumber, rtol=1e-9)
    assert look.at["lowest"] == (vectors[:, 0].reshape(-1, 3) ** 2).sum(1).argmax()
    few = lowest_curvature(lambda v: (hessian @ v.ravel()).reshape(-1, 3), step.atoms.get_masses(), 8)
    assert values[0] < few.value
    assert np.abs(values - few.value).min() <= few.residual
    dynamical = weights[:, None] * hessian * weights
    residual = np.linalg.norm(dynamical @ few.vector.ravel() - few.value * few.vector.ravel())
    np.testing.assert_allclose(few.residual, residual, rtol=1e-6)


def test_spread_is_that_of_the_members_themselves(tmp_path: Path, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    shape = HouseConfig(elements=["H", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8])
    members = [HouseModel(shape) for _ in range(3)]
    for member in members:
        member.scale.fill_(20.0)
        member.requires_grad_(False).eval()
    kernel = KernelModel.of(mean_of(members))
    graph = build_graph(step.atoms, kernel.elements, kernel.cutoff)
    forces = np.array([HesspotCalculator(member).get_forces(step.atoms) for member in members])
    expected = np.sqrt(((forces - forces.mean(0)) ** 2).sum(2).mean(0))
    for held in (committee.HELD, 200):  # all centres at once, and some
        monkeypatch.setattr(committee, "HELD", held)
        np.testing.assert_allclose(committee.force_spread(kernel, graph), expected, atol=ROUNDING)


def test_rounding_is_what_the_digits_of_the_positions_do(house_model_file: Path, step: Step) -> None:
    """Over many frames whose positions are written with three decimals."""
    model = read_model(house_model_file)
    calculator = HesspotCalculator(house_model_file)
    found, told = [], []
    random = np.random.default_rng(0)
    for number in range(20):
        atoms = step.atoms.copy()
        atoms.positions += random.normal(0, 0.02, atoms.positions.shape)
        exact = replace(step, atoms=atoms, forces=calculator.get_forces(atoms))
        frame = replace(frame_of(exact), step=number, positions=np.round(atoms.positions, 3), digit=1e-3)
        look = look_at(frame, model, Settings(), "run")
        found.append(look.values["force"])
        told.append(look.values["rounding"])
    assert 0.7 < np.mean(found) / np.mean(told) < 1.4
