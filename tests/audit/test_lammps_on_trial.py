"""LAMMPS as an engine: its own pair styles are consistent, what is wrong in a fragment is caught, units are undone."""

import re

import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from hesspot.audit.checks import history, precision
from hesspot.audit.comparison import MODES, compare
from hesspot.audit.consistency import consistency
from hesspot.audit.engines.base import Answer, Refusal
from hesspot.audit.engines.calculator import CalculatorEngine
from hesspot.audit.engines.lammps import LammpsEngine
from hesspot.audit.structures import made_for
from hesspot.errors import UserError
from hesspot.units import KCAL_PER_MOL

pytestmark = pytest.mark.lammps

SW = "units metal\npair_style sw\npair_coeff * * Si.sw Si\n"
#: eV, Å: argon, for the same potential in LAMMPS and ASE, cut off where both have stopped.
EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 8.0
#: eV and eV/Å between LAMMPS and ASE: both in double precision; kcal/mol is the same number in both to eight digits.
EQUAL, EQUAL_IN_KCAL = 1e-12, 1e-9


@pytest.fixture
def fragment(tmp_path):
    def write(text):
        path = tmp_path / "fragment.in"
        path.write_text(text)
        return path

    return write


def argon(units):
    epsilon = EPSILON if units == "metal" else EPSILON / KCAL_PER_MOL
    return f"units {units}\npair_style lj/cut {CUTOFF}\npair_coeff * * {epsilon!r} {SIGMA}\n"


def failures(found):
    return {finding.check: finding.note for finding in found if finding.verdict == "FAIL"}


def test_stillinger_weber_is_consistent_on_every_number_of_ranks(fragment):
    structures = {name: made_for(["Si"])[name] for name in ("cluster", "triclinic", "small cell", "atom alone")}
    engine = LammpsEngine(fragment(SW), ["Si"], ranks=(1, 2))
    found = consistency(engine, structures, accuracy=1e-6).findings
    assert failures(found) == {}
    passed = {finding.check for finding in found if finding.verdict == "PASS"}
    assert {precision.MASSES, history.SETTING.format("2 ranks"), history.SETTING.format("no skin")} <= passed


@pytest.mark.parametrize("units", ["metal", "real"])
def test_units_are_undone(fragment, units):
    atoms = made_for(["Ar"])["triclinic"]
    ase_engine = CalculatorEngine(LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF), "ase")
    (right,), (found,) = ase_engine.ask([atoms]), LammpsEngine(fragment(argon(units)), ["Ar"]).ask([atoms])
    assert isinstance(found, Answer)
    tolerance = EQUAL if units == "metal" else EQUAL_IN_KCAL
    shift = 0.5 * 4 * EPSILON * ((SIGMA / CUTOFF) ** 12 - (SIGMA / CUTOFF) ** 6)  # ASE's energy is zero at the cutoff
    n_edges = round((right.energy - found.energy) / -shift)
    np.testing.assert_allclose(found.energy, right.energy + n_edges * shift, rtol=0, atol=tolerance * n_edges)
    np.testing.assert_allclose(found.forces, right.forces, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.virial, right.virial, rtol=0, atol=10 * tolerance)


def test_exchanged_masses_are_named(fragment):
    text = "units metal\npair_style lj/cut 6.0\npair_coeff * * 0.3 2.2\nmass 1 107.868\nmass 2 63.546\n"
    structures = {"crystal": made_for(["Cu", "Ag"])["crystal"]}
    engine = LammpsEngine(fragment(text), ["Cu", "Ag"], ranks=(1,))
    found = consistency(engine, structures, accuracy=1e-6, checks=["precision"]).findings
    assert "masses are exchanged" in failures(found)[precision.MASSES]


def test_another_mass_shows_in_the_frequencies(fragment, tmp_path):
    heavier = tmp_path / "heavier.in"
    heavier.write_text(SW + "mass 1 30.0\n")
    structures = {"cluster": made_for(["Si"])["cluster"]}
    trials = [
        consistency(LammpsEngine(path, ["Si"], ranks=(1,)), structures, accuracy=1e-6, checks=["gradient"])
        for path in (fragment(SW), heavier)
    ]
    notes = failures(compare(*trials)[0])
    assert list(notes) == [MODES]
    assert "with an overlap of 1.00" in notes[MODES]


def test_refusal_has_the_words_of_lammps(fragment):
    engine = LammpsEngine(fragment(SW.replace("Si.sw", "Si.missing")), ["Si"])
    (answer,) = engine.ask([made_for(["Si"])["crystal"]])
    assert isinstance(answer, Refusal)
    assert "cannot open sw potential file Si.missing" in answer.reason


def test_one_structure_that_fails_leaves_the_others(fragment):
    made = made_for(["Si"])
    text = SW + "variable n equal count(all)\nif '$n == 1' then 'error one is alone'\n"
    refused, answered = LammpsEngine(fragment(text), ["Si"]).ask([made["atom alone"], made["crystal"]])
    assert isinstance(refused, Refusal)
    assert isinstance(answered, Answer)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pair_style sw\n", "says no units; write `units metal`"),
        ("units lj\npair_style lj/cut 2.5\n", "has units lj; an audit knows metal, real, electron"),
        ("units metal\n", "has no pair_style"),
        (SW + "run 100\n", "has the command run: runs are the audit's own"),
        ("units metal\natom_style sphere\npair_style gran/hooke\n", "has atom_style sphere"),
    ],
)
def test_fragment_that_is_none_is_refused(fragment, text, words):
    with pytest.raises(UserError, match=re.escape(words)):
        LammpsEngine(fragment(text), ["Si"])
