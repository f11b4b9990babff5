"""Minima and saddle points: that they are what is asked for, and the same that ASE finds."""

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.optimize import BFGS

from hesspot.analysis.stationary import stationary_point
from hesspot.calculators import HesspotCalculator
from hesspot.chemistry.stationary import find_minimum, find_saddle, point_at, require_stationary
from hesspot.chemistry.surface import Surface
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError

#: eV/Å, twice what Newton's steps end at: the structure is evaluated anew.
FORCE = 2e-8
#: Å and eV; BFGS ends at 1e-5 eV/Å, which is 1e-5 Å of the softest bond and a square of that in energy.
SAME_PLACE, SAME_ENERGY = 1e-4, 1e-8
#: Å, of a coordinate that no step changes.
ROUNDING = 1e-12


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface("shipped:grown")


def record(system: str, kind: str = "minimum"):
    records = Dataset.read(find_dataset("shipped:reactive_chno"))
    return next(each for each in records if (each.system, each.kind) == (system, kind)).atoms_only()


def test_a_minimum_is_the_one_that_ase_finds(surface):
    start = record("CH3OH")
    start.rattle(0.03, seed=1)
    found = find_minimum(surface, start)
    assert found.order == 0 and found.force < FORCE
    start.calc = HesspotCalculator("shipped:grown")
    BFGS(start, logfile=None).run(fmax=1e-5, steps=1000)
    assert found.energy == pytest.approx(start.get_potential_energy(), abs=SAME_ENERGY)
    distances = found.atoms.get_all_distances() - start.get_all_distances()
    assert np.abs(distances).max() < SAME_PLACE


def test_a_symmetric_start_does_not_end_at_a_saddle_point(surface):
    flat = record("NH3")
    flat.positions[:, :] = [[0, 0, 0], *([np.cos(a), np.sin(a), 0] for a in np.arange(3) * 2 * np.pi / 3)]
    found = find_minimum(surface, flat)
    assert found.order == 0
    normal = np.cross(*(found.atoms.positions[2:] - found.atoms.positions[1]))
    height = normal @ (found.atoms.positions[0] - found.atoms.positions[1]) / np.linalg.norm(normal)
    assert abs(height) > 0.2


def test_a_saddle_point_has_one_imaginary_mode(surface):
    flat = record("NH3")
    flat.positions[:, :] = [[0, 0, 0.15], *([np.cos(a), np.sin(a), 0] for a in np.arange(3) * 2 * np.pi / 3)]
    found = find_saddle(surface, flat)
    assert found.order == 1 and found.force < FORCE
    spread = np.linalg.svd(found.atoms.positions - found.atoms.positions.mean(0))[1]
    assert spread[2] < SAME_PLACE


def test_what_is_held_stays(surface):
    start = record("CH3OH")
    start.positions[0] += [0.1, 0.0, 0.0]
    start.set_constraint(FixAtoms([0, 1]))
    found = find_minimum(surface, start)
    assert np.abs(found.atoms.positions - start.positions)[:2].max() < ROUNDING
    assert found.force < FORCE < np.abs(surface.energy_and_forces(found.atoms)[1]).max()


def test_a_structure_under_force_is_refused(surface):
    start = record("CH3OH")
    start.positions[0] += [0.1, 0.0, 0.0]
    with pytest.raises(UserError, match=r"no stationary point of this model: its largest force is .* eV/Å.*; relax it"):
        require_stationary(start, point_at(surface, start).force, "relax it")


def test_newton_steps_go_down_where_a_minimum_is_wanted(surface):
    shallow = record("NH3")
    shallow.positions[:, :] = [[0, 0, 0.1], *([np.cos(a), np.sin(a), 0] for a in np.arange(3) * 2 * np.pi / 3)]

    def derivatives(at):
        return surface.energy_and_forces(at)[1], surface.hessian(at)

    orders = [
        point_at(surface, stationary_point(shallow, derivatives, downhill=downhill)[0]).order
        for downhill in (False, True)
    ]
    assert orders == [1, 0]
