"""Two engines: what lies between them is named."""

import numpy as np
import pair_potential as pp
import pytest

from hesspot.audit.comparison import ENERGIES, FORCES, HESSIANS, MODES, VIRIALS, compare
from hesspot.audit.consistency import consistency
from hesspot.audit.engines.calculator import CalculatorEngine
from hesspot.audit.run import audit
from hesspot.audit.structures import made_for
from hesspot.errors import UserError
from hesspot.units import HARTREE

STRUCTURES = {name: made_for(["Cu", "Ag"])[name] for name in ("cluster", "triclinic", "small cell", "atom alone")}


def trial(calculator):
    engine = CalculatorEngine(calculator, "pair")
    return consistency(engine, STRUCTURES, accuracy=1e-6, checks=["gradient"])


def failures(calculator):
    findings, spectra = compare(trial(pp.Pair()), trial(calculator))
    assert [spectrum.structure for spectrum in spectra] == ["cluster", "triclinic", "small cell"]
    return {finding.check: finding.note for finding in findings if finding.verdict == "FAIL"}


def all_in_hartree(results, atoms):
    for key in results:
        results[key] = results[key] / HARTREE


def constants(results, atoms):
    results["energy"] += 3.0 * atoms.symbols.count("Cu") - 7.0 * atoms.symbols.count("Ag")


def constant_of_a_structure(results, atoms):
    results["energy"] += 1.2


def sign(results, atoms):
    if "stress" in results:
        results["stress"] = -results["stress"]


class ElementsExchanged(pp.Pair):
    def calculate(self, atoms=None, *arguments):
        other = atoms.copy()
        other.symbols = ["Ag" if symbol == "Cu" else "Cu" for symbol in atoms.symbols]
        super().calculate(other, *arguments)


def test_the_same_engine_agrees():
    assert failures(pp.Pair()) == {}


def test_other_constants_of_the_elements_are_no_fault():
    assert failures(pp.bent(constants)) == {}


def test_a_constant_of_each_structure_is_one():
    assert list(failures(pp.bent(constant_of_a_structure))) == [ENERGIES]


def test_units_are_named_everywhere():
    notes = failures(pp.bent(all_in_hartree))
    assert notes[ENERGIES] == "energies are in Hartree for eV"
    assert notes[FORCES] == "forces are in Hartree for eV"
    assert notes[VIRIALS] == "the virial is in Hartree for eV"
    assert notes[HESSIANS] == "the Hessian is in Hartree for eV"
    assert MODES in notes


def test_sign_of_the_virial_is_named():
    assert failures(pp.bent(sign)) == {VIRIALS: "the virial is of the wrong sign"}


def test_exchanged_elements_show():
    assert {FORCES, VIRIALS, HESSIANS} <= set(failures(ElementsExchanged()))


def test_report_says_which_engine_failed(tmp_path):
    engines = {"right": CalculatorEngine(pp.Pair(), "right"), "wrong": CalculatorEngine(pp.bent(sign), "wrong")}
    report, _ = audit(engines, {"triclinic": STRUCTURES["triclinic"]}, checks=["strain"])
    assert not report.passed
    assert [engine.passed for engine in report.engines] == [True, False]
    assert [comparison.passed for comparison in report.comparisons] == [False]
    report.write(tmp_path / "audit.json")
    assert type(report).model_validate_json((tmp_path / "audit.json").read_text()) == report


@pytest.mark.parametrize(
    ("options", "words"),
    [({"accuracy": 2.0}, "an accuracy of 2.0"), ({"checks": ["grdient"]}, "the check 'grdient' is not known")],
)
def test_what_makes_no_audit_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        audit({"right": CalculatorEngine(pp.Pair(), "right")}, STRUCTURES, **options)


def test_an_engine_that_answers_for_nothing_is_an_error():
    class Refuses(pp.Pair):
        def calculate(self, atoms=None, *arguments):
            raise ValueError("no such atoms")

    with pytest.raises(UserError, match="answers for none of 4 structures: no such atoms"):
        audit({"refuses": CalculatorEngine(Refuses(), "refuses")}, STRUCTURES)


def test_modes_are_matched_by_overlap_not_by_order():
    found = trial(pp.Pair())
    _, (first, *_) = compare(found, found)
    np.testing.assert_allclose(first.overlap, 1.0, atol=1e-6)
    np.testing.assert_array_equal(first.first, first.second)
