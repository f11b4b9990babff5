"""Reactions: that the path is one of steepest descent, that the ends are proved, and that rates are ASE's."""

import json
import os
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.thermochemistry import IdealGasThermo
from scipy.integrate import solve_ivp
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.chemistry.reaction import End, Reaction, reaction_between, reaction_over
from hesspot.chemistry.reaction_files import rows, write_reaction
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.tunnelling import _check, _path_of, instanton_rates
from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.units import BOLTZMANN, HBAR, INVERSE_CM

#: eV; two searches end at 1e-8 eV/Å each, BFGS at 1e-4 eV/Å over 1 eV/Å².
SAME_ENERGY, BFGS_ENERGY = 1e-9, 1e-6
#: Å amu^½, of five steps of 0.1; the arc of a step is found to 0.3 %.
PATH = 2e-3
#: Relative, of rates; constants of CODATA 2014 in ASE, and the moments of inertia.
RATES = 1e-3


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface("shipped:grown")


@pytest.fixture(scope="module")
def records() -> dict[str, Atoms]:
    known = Dataset.read(find_dataset("shipped:reactive_chno"))
    return {each.system: each.atoms_only() for each in known if each.kind in ("minimum", "saddle")}


@pytest.fixture(scope="module")
def inversion(surface: Surface, records: dict[str, Atoms]) -> Reaction:
    return reaction_over(surface, records["NH3-inversion"])


def test_both_sides_of_a_symmetric_barrier_are_equal_and_the_minimum_is_ases(surface, inversion, records):
    back, forth = inversion.sides
    assert back.minimum.energy == pytest.approx(forth.minimum.energy, abs=SAME_ENERGY)
    ammonia = records["NH3"]
    ammonia.calc = HesspotCalculator("shipped:grown")
    BFGS(ammonia, logfile=None).run(fmax=1e-4)
    barrier = inversion.saddle.energy - back.minimum.energy
    expected = inversion.saddle.energy - ammonia.get_potential_energy()
    assert barrier == pytest.approx(expected, abs=BFGS_ENERGY)
    assert barrier > 0.1
    assert inversion.changes == "no bond breaks or forms"


def test_the_path_is_that_of_an_integrator(surface, inversion):
    masses = np.sqrt(inversion.saddle.modes.masses)[:, None]

    def downhill(_: float, flat: np.ndarray) -> np.ndarray:
        atoms = inversion.saddle.atoms.copy()
        atoms.positions = flat.reshape(-1, 3) / masses
        forces = surface.energy_and_forces(atoms)[1] / masses
        return forces.ravel() / np.linalg.norm(forces)

    for side in inversion.sides:
        first, last = side.path[0], side.path[5]
        start = (first.atoms.positions * masses).ravel()
        exact = solve_ivp(downhill, (first.arc, last.arc), start, method="LSODA", rtol=1e-7, atol=1e-8).y[:, -1]
        assert np.abs(exact - (last.atoms.positions * masses).ravel()).max() < PATH
        assert np.linalg.norm(exact - start) > 0.4


def test_a_band_between_the_ends_finds_the_saddle_point_of_the_guess(surface, records):
    told: list[str] = []
    ends = (records["E-HCOOH"], records["Z-HCOOH"])
    between = reaction_between(surface, *ends, images=5, tell=told.append, names=("trans", "cis"))
    over = reaction_over(surface, records["HCOOH-torsion"])
    assert between.saddle.energy == pytest.approx(over.saddle.energy, abs=SAME_ENERGY)
    assert [side.name for side in between.sides] == ["trans", "cis"] and not between.elsewhere
    assert len(told) == 5


def test_sides_come_in_the_order_of_the_ends_and_what_is_missed_is_named(surface, records):
    guess = records["HCOOH-torsion"]
    trans, cis = End("trans", records["E-HCOOH"]), End("cis", records["Z-HCOOH"])
    for ends in ((trans, cis), (cis, trans)):
        assert [side.name for side in reaction_over(surface, guess, ends).sides] == [end.name for end in ends]
    missed = reaction_over(surface, guess, (trans, End("other", records["H2CO"])))
    assert missed.elsewhere == ("other",)
    assert [side.name for side in missed.sides] == ["trans", "CH2O2"]


def test_bonds_that_break_and_form_are_named(surface, records):
    saddle = records["vinyl-alcohol=acetaldehyde"]
    found = reaction_over(surface, saddle)
    numbers = {symbol: [atom for atom in range(7) if saddle.symbols[atom] == symbol] for symbol in "CHO"}
    moving = min(numbers["H"], key=lambda h: saddle.get_distance(h, numbers["O"][0]))
    verbs = {part.split()[-1]: part.split()[0] for part in found.changes.split("; ")}
    assert all(f"H{moving}" in pair for pair in verbs.values()) and set(verbs) == {"breaks", "forms"}


def test_held_atoms_stay_on_the_whole_path(surface, records):
    saddle = records["HCOOH-torsion"]
    saddle.set_constraint(FixAtoms([0]))
    found = reaction_over(surface, saddle)
    everywhere = [point.atoms.positions[0] for side in found.sides for point in side.path]
    assert np.abs(np.array(everywhere) - saddle.positions[0]).max() < 1e-12
    saddle.set_constraint()


def test_rates_of_transition_states_are_ases_and_instantons_are_faster(surface, inversion, tmp_path):
    kelvin = 150.0
    (rates,) = instanton_rates(surface.calculator.model, inversion, [kelvin], tmp_path, lambda text: None)
    free = []
    for point in (inversion.sides[0].minimum, inversion.saddle):
        quanta = point.modes.frequencies[point.modes.frequencies > 0] * INVERSE_CM
        gas = IdealGasThermo(
            quanta, "nonlinear", point.energy, point.atoms, symmetrynumber=1, spin=0, vib_selection="all"
        )
        free.append(gas.get_gibbs_energy(kelvin, 1e5, verbose=False))
    kt = BOLTZMANN * kelvin
    expected = kt / (2 * np.pi * HBAR) * 1e15 * np.exp(-(free[1] - free[0]) / kt)
    assert rates.quantum == pytest.approx(expected, rel=RATES)
    assert rates.wigner == pytest.approx(expected * (1 + (inversion.imaginary * INVERSE_CM / kt) ** 2 / 24), rel=RATES)
    assert units.kB == pytest.approx(BOLTZMANN, rel=1e-5)
    assert rates.instanton > 1.5 * rates.wigner
    told = rows(inversion, kelvin)[1].free
    # of the rotations 3 leave the pyramid as it is, 6 the flat molecule
    assert told == pytest.approx(free[1] - free[0] + kt * np.log(6 / 3), rel=RATES)


def test_the_path_is_that_of_the_last_run(tmp_path):
    for time, (step, at) in enumerate([(9, 1.0), (4, 2.0)]):
        file = tmp_path / f"simulation.instanton_FINAL_{step}.xyz"
        Atoms("H", [[at, 0, 0]]).write(file, format="xyz")
        os.utime(file, (time, time))
    (bead,) = _path_of(tmp_path, Atoms("H", masses=[2.014]))
    assert bead.positions[0, 0] == 2.0 and bead.get_masses()[0] == 2.014


def test_what_is_written(surface, inversion, tmp_path):
    write_reaction(tmp_path, surface, inversion, 300.0, [])
    path = ase.io.read(tmp_path / "path.xyz", ":")
    arcs = [frame.info["arc"] for frame in path]
    assert arcs == sorted(arcs) and arcs[0] < 0 < arcs[-1]
    assert max(frame.get_potential_energy() for frame in path) == pytest.approx(inversion.saddle.energy)
    told = json.loads((tmp_path / "reaction.json").read_text())
    assert [row["place"] for row in told["points"]] == ["reactant", "saddle", "product"]
    assert sum(value < 0 for value in told["points"][1]["frequencies"]) == 1
    page = (tmp_path / "reaction.html").read_text()
    assert 'class="path"' in page and "http" not in page.split("<body>")[1].split("<script>")[0]


def test_the_command(records, tmp_path):
    for name in ("E-HCOOH", "Z-HCOOH"):
        records[name].write(tmp_path / f"{name}.xyz")
    ends = [tmp_path / "E-HCOOH.xyz", tmp_path / "Z-HCOOH.xyz"]
    arguments = ["reaction", "shipped:grown", *map(str, ends), "--out", str(tmp_path / "out"), "--images", "5"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Z-HCOOH" in result.output and "bonds: no bond breaks or forms" in result.output
    with pytest.raises(UserError, match="--overwrite"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_bad_ends_are_refused(surface, records):
    water, other = molecule("H2O"), molecule("H2O")[[1, 0, 2]]
    with pytest.raises(UserError, match="both ends must have the same atoms"):
        reaction_between(surface, water, records["NH3"])
    with pytest.raises(UserError, match="atom 0 is O in the reactant and H in the product"):
        reaction_between(surface, water, other)
    with pytest.raises(UserError, match="relax to the same minimum"):
        reaction_between(surface, water, water)
    boxed = water.copy()
    boxed.set_cell([9, 9, 9])
    boxed.pbc = True
    with pytest.raises(UserError, match="different cells"):
        reaction_between(surface, water, boxed)


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("masses", lambda atoms: atoms.set_masses([2.014 if x == "H" else None for x in atoms.symbols])),
        ("held coordinates", lambda atoms: atoms.set_constraint(FixAtoms([0]))),
        ("charges or multiplicities", lambda atoms: atoms.info.update(multiplicity=3)),
    ],
)
def test_ends_that_state_different_things_are_refused(surface, records, what, state):
    product = records["Z-HCOOH"].copy()
    state(product)
    with pytest.raises(UserError, match=f"different {what}"):
        reaction_between(surface, records["E-HCOOH"], product)


def test_what_a_guess_states_is_in_the_files(surface, records, tmp_path):
    guess = records["NH3-inversion"].copy()
    guess.info.update(charge=0, multiplicity=1)
    write_reaction(tmp_path, surface, reaction_over(surface, guess), 300.0, [])
    for name in ("reactant", "saddle", "product", "path"):
        info = ase.io.read(tmp_path / f"{name}.xyz").info
        assert (info["charge"], info["multiplicity"]) == (0, 1)


def test_one_molecule_is_told_from_several_whatever_its_name(surface, records, inversion):
    named = replace(inversion, sides=tuple(replace(side, name="2-ammonia + x") for side in inversion.sides))
    _check(named, named.sides[0], [50.0])
    apart = named.sides[0].minimum.atoms + Atoms("H", [[9.0, 9.0, 9.0]])
    side = replace(named.sides[0], minimum=replace(named.sides[0].minimum, atoms=apart))
    with pytest.raises(UserError, match="rates by instantons are of one molecule"):
        _check(named, side, [50.0])


def test_instantons_are_refused_where_there_are_none(surface, records, inversion, tmp_path):
    with pytest.raises(UserError, match="there is no instanton at 900 K"):
        instanton_rates(surface.calculator.model, inversion, [900.0], tmp_path, lambda text: None)
    linear = reaction_over(surface, records["HCN=HNC"])
    with pytest.raises(UserError, match="molecules that are not linear"):
        instanton_rates(surface.calculator.model, linear, [100.0], tmp_path, lambda text: None)
    assert not list(tmp_path.iterdir())
