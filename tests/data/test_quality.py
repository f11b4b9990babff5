"""`hesspot data check` finds labels that cannot be right, and passes the shipped ones."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.data import Dataset, Record, shipped
from hesspot.data.hessian_noise import vibrations
from hesspot.data.quality import STRICT, Limits, check_dataset, check_record, label_warnings
from hesspot.errors import UserError

#: cm⁻¹ at B3LYP/6-31G(d) with Cartesian d functions; a negative one is imaginary
PUBLISHED = {
    "H2O_minimum": [1712.9, 3726.8, 3848.7],
    "CH4_minimum": [1372.9] * 3 + [1593.0] * 2 + [3053.3] + [3163.0] * 3,
    "NH3_minimum": [1131.7, 1726.6, 1726.6, 3436.0, 3567.6, 3567.6],
    "HCN_minimum": [766.4, 766.4, 2213.2, 3480.5],
    "HNC_minimum": [463.0, 463.0, 2111.3, 3824.8],
    "H2CO_minimum": [1198.2, 1279.4, 1562.9, 1849.4, 2916.3, 2967.2],
    "NH3-inversion_saddle": [-890.0],
    "HCN=HNC_saddle": [-1146.2],
    "H2CO=H2+CO_saddle": [-1887.1],
}
WAVENUMBER_TOLERANCE = 0.3  # cm⁻¹, rounding of the published values and of optimised geometries


MOLECULES = {"H2", "CO", "H2O", "NH3", "CH4", "HCN", "HNC", "H2CO", "trans-HCOH", "HNO", "trans-N2H2", "C2H2", "CH3OH"}
REACTIONS = {"HCN=HNC", "H2CO=H2+CO", "NH3-inversion"}


@pytest.fixture(scope="module")
def small() -> Dataset:
    return Dataset.read(shipped.path("small_chno"))


def named(dataset: Dataset, name: str) -> Record:
    return next(record for record in dataset if record.name == name)


def failed(record: Record, limits: Limits = STRICT) -> list[str]:
    return [f.test for f in check_record(record, limits) if not f.passed and f.tier == "wrong"]


def noise(record: Record) -> float | None:
    """cm⁻¹; None if the record is not told to be noisy."""
    found = [f.value for f in check_record(record) if f.tier == "noise" and not f.passed]
    return found[0] if found else None


def beyond(records: list[Record], level: str = "") -> dict[str, list[str]]:
    """Names of structures by the test of the set that they do not pass."""
    names: dict[str, list[str]] = {}
    for finding in check_dataset(Dataset(records, level)):
        if not finding.passed:
            names.setdefault(finding.test, []).append(finding.name)
    return names


def test_shipped_labels_pass(small: Dataset) -> None:
    findings = check_dataset(small, STRICT)
    assert len(findings) > 4 * len(small)
    assert [finding for finding in findings if not finding.passed and finding.tier == "wrong"] == []


def test_shipped_set_holds_what_training_and_testing_need(small: Dataset) -> None:
    minima = {record.system for record in small.select(kind="minimum")}
    saddles = {record.system for record in small.select(kind="saddle")}
    assert minima >= MOLECULES
    assert saddles >= REACTIONS
    assert all(record.energy is not None and record.forces is not None for record in small)
    assert all(record.hessian is not None for record in small)
    for system in MOLECULES | REACTIONS:
        assert {record.part for record in small.select(system=system, kind="nms")} == {"train", "valid", "test"}
    for system in REACTIONS:
        assert {record.part for record in small.select(system=system, kind="irc")} == {"train", "test"}
    positions = {record.positions.tobytes() for record in small}
    assert len(positions) == len(small)


@pytest.mark.parametrize("name", PUBLISHED)
def test_shipped_wavenumbers_are_the_published_ones(small: Dataset, name: str) -> None:
    record = named(small, name)
    found = normal_modes(record.atoms_only(), record.hessian).frequencies
    expected = PUBLISHED[name]
    np.testing.assert_allclose(found[: len(expected)], expected, atol=WAVENUMBER_TOLERANCE)


def test_labels_of_another_geometry_are_found(small: Dataset) -> None:
    record = next(iter(small.select(system="H2O", kind="nms", part="train")))
    assert failed(record) == []
    other = named(small, "H2O_minimum")
    for limits in (Limits(), STRICT):
        for change in ({"forces": other.forces}, {"hessian": other.hessian}):
            assert failed(replace(record, **change), limits) == ["rotational sum rule, part of the Hessian"]


def test_every_test_can_fail(small: Dataset) -> None:
    minimum = named(small, "H2O_minimum")
    assert failed(replace(minimum, kind="saddle")) == ["imaginary modes too many or too few"]
    assert "acoustic sum rule, part of the Hessian" in failed(replace(minimum, hessian=minimum.hessian + np.eye(9)))
    assert "force at a stationary point, eV/Å" in failed(replace(minimum, forces=minimum.forces + 0.01))
    assert failed(replace(minimum, properties={"asymmetry": 1.0})) == ["asymmetry as computed, part of the Hessian"]
    assert failed(replace(minimum, properties={"cphf_residual": 1e-4})) == ["residual of the CPHF equations"]
    assert failed(replace(minimum, hessian=None, forces=None)) == []


def test_usual_limits_forgive_what_other_programs_leave(small: Dataset) -> None:
    minimum = named(small, "H2O_minimum")
    noisy = replace(minimum, hessian=minimum.hessian + 1e-3 * np.eye(9), forces=minimum.forces + 5e-3)
    assert len(failed(noisy)) == 3
    assert failed(noisy, Limits()) == []
    assert noise(noisy) is not None


#: eV/Å², standard deviation of the noise of a Hessian's elements: as in numerical Hessians, and a hundredth of it.
NOISE = (5e-2, 5e-4)
#: The size of noise is known from a few of its elements.
ESTIMATE = 2.0


@pytest.mark.parametrize("sigma", NOISE)
@pytest.mark.parametrize("system", ["H2O", "H2CO", "CH3OH", "trans-N2H2"])
def test_noise_has_the_size_of_the_error_of_frequencies(small: Dataset, system: str, sigma: float) -> None:
    """Frequencies with noise against those without; noise of numerical Hessians is no mistake."""
    minimum = named(small, f"{system}_minimum")
    exact = normal_modes(minimum.atoms_only(), minimum.hessian).frequencies
    random = np.random.default_rng(1)
    errors, found = [], []
    for _ in range(20):
        draw = sigma * random.normal(size=minimum.hessian.shape)
        noisy = replace(minimum, hessian=minimum.hessian + (draw + draw.T) / np.sqrt(2))
        assert failed(noisy, Limits()) == []
        errors.append(normal_modes(noisy.atoms_only(), noisy.hessian).frequencies - exact)
        found.append(vibrations(noisy).frequency_error)
    actual = np.sqrt(np.mean(np.square(errors)))
    np.testing.assert_allclose(np.log(np.mean(found) / actual), 0, atol=np.log(ESTIMATE))


def test_noise_is_told_with_its_size_and_is_no_failure(small: Dataset, tmp_path: Path) -> None:
    minimum = named(small, "H2CO_minimum")
    asymmetric = replace(minimum, properties={"asymmetry": 0.2}, name="numerical")
    Dataset([minimum, asymmetric], "").write(tmp_path / "set.h5")
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "set.h5")])
    assert result.exit_code == 0
    (sentence,) = [line for line in result.output.splitlines() if line.startswith("noise: ")]
    assert re.search(r"frequencies, cm⁻¹: 1 of 2 structures \(worst is numerical with \d\.?\d*,", sentence)
    assert "passed but for noise" in result.output
    assert sentence in label_warnings(Dataset.read(tmp_path / "set.h5"))
    result = json.loads(CliRunner().invoke(app, ["data", "check", str(tmp_path / "set.h5"), "--json"]).output)
    assert result["passed"] is True
    assert next(test["severity"] for test in result["tests"] if test["beyond"]) == "noise"


def misplaced(record: Record, other: Record) -> Record:
    return replace(record, hessian=other.hessian)


def test_hessians_of_other_geometries_are_wrong_and_no_noise(small: Dataset) -> None:
    for system in ("H2O", "CH3OH", "C2H4", "H2CO=H2+CO", "NH3-inversion"):
        samples = small.select(system=system, kind="nms", part="test").records
        for one, other in itertools.pairwise(samples):
            assert "rotational sum rule, part of the Hessian" in failed(misplaced(one, other), Limits())
            assert noise(misplaced(one, other)) is None


def boxed(record: Record, edge: float = 20.0) -> Record:
    """In a periodic box, cut by its faces."""
    positions = (record.positions - record.positions.mean(axis=0)) % edge
    return replace(record, positions=positions, cell=edge * np.eye(3), pbc=[True] * 3)


def test_molecules_in_boxes_are_molecules(small: Dataset) -> None:
    samples = small.select(system="CH3OH", kind="nms", part="test").records
    boxes = [boxed(record) for record in samples]
    for record in boxes:
        assert failed(record) == []
        assert "rotational sum rule, part of the Hessian" in failed(replace(record, forces=-record.forces), Limits())
        assert "rotational sum rule, part of the Hessian" not in all_tests(boxed(record, 7.0))
    assert "rotational sum rule, part of the Hessian" in failed(misplaced(boxes[0], boxes[1]), Limits())
    saddle = boxed(named(small, "NH3-inversion_saddle"))
    assert failed(saddle, Limits()) == []


def all_tests(record: Record) -> list[str]:
    return [finding.test for finding in check_record(record)]


def test_soft_crystals_are_measured_by_what_is_not_soft() -> None:
    """An argon dimer with noise of 0.02 eV/Å², a tenth of its largest element."""
    hessian = 0.2 * np.kron([[1, -1], [-1, 1]], np.diag([0, 0, 1.0])) + 0.02 * np.diag([1.0, 0, 0, 0, 0, 0])
    argon = Record([18, 18], [[0, 0, 0], [0, 0, 3.76]], "Ar2", hessian=hessian)
    assert failed(argon, Limits()) == []
    assert noise(argon) is not None


def test_units_are_asked_of_datasets_too(small: Dataset) -> None:
    scaled = [replace(r, forces=-r.forces) for r in small.select(part="test")]
    assert beyond(scaled)["signs of forces and Hessians"][0].startswith("forces have the wrong sign")
    scaled = [replace(r, energy=23.06 * r.energy) for r in small]
    assert "times those of the separate atoms" in beyond(scaled)["total energies"][0]


def test_a_hessian_of_zeros_fails(small: Dataset) -> None:
    record = named(small, "H2O_minimum")
    assert "Hessian of zeros" in failed(replace(record, hessian=np.zeros((9, 9))))


def test_mixed_levels_fail(small: Dataset) -> None:
    one, two, three = small.records[:3]
    one, two = (replace(r, properties={"level_of_theory": level}) for r, level in ((one, "HF"), (two, "PBE")))
    assert beyond([one, two, three], "HF") == {"level of theory other than the set's": [two.name]}
    assert beyond([one, two, three], "HF and PBE") == {}


def test_levels_that_the_user_states_to_be_one_are_told_and_fail_nothing(tmp_path: Path) -> None:
    """What the refusal of two levels advises."""
    fchk = (Path(__file__).parent / "files" / "water.fchk").read_text()
    for name, spin, basis in (("one", "R", "STO-3G"), ("two", "R", "6-31G "), ("open", "U", "STO-3G")):
        (tmp_path / f"{name}.fchk").write_text(fchk.replace("STO-3G", basis).replace("RHF", f"{spin}HF"))
    sources = [str(tmp_path / f"{name}.fchk") for name in ("one", "two", "open")]
    out = str(tmp_path / "set.h5")
    with pytest.raises(UserError, match="name one with --level"):
        raise CliRunner().invoke(app, ["data", "convert", *sources, "--out", out]).exception
    CliRunner().invoke(app, ["data", "convert", *sources, "--out", out, "--level", "HF/STO-3G"])
    findings = [f for f in check_dataset(Dataset.read(out)) if not f.passed and "level" in f.test]
    assert [(f.name, f.tier) for f in findings] == [("two", "warning")]
    assert CliRunner().invoke(app, ["data", "check", out]).exit_code == 0


def moved(record: Record, name: str, **fields: object) -> Record:
    """The same molecule turned, moved and with its atoms in another order, without forces and Hessian."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    order = np.random.default_rng(4).permutation(len(record))
    values = {
        "positions": (record.positions @ turn + 1.0)[order],
        "numbers": record.numbers[order],
        "forces": np.zeros((len(record), 3)),
        "hessian": None,
        "kind": "other",
    }
    return replace(record, name=name, **(values | fields))


def test_copies_are_found_whatever_their_order_and_orientation(small: Dataset) -> None:
    record = next(iter(small.select(system="CH3OH", kind="nms", part="train")))
    near = moved(record, "near", positions=record.positions + 0.02 * np.eye(6, 3), numbers=record.numbers)
    assert beyond([record, near]) == {}
    assert beyond([record, moved(record, "copy")]) == {"copy of another structure of its part": ["copy"]}
    assert beyond([moved(record, "copy", part="test"), record]) == {"copy of a training structure": ["copy"]}
    assert beyond([moved(record, "copy", part="test"), replace(record, part="valid")]) == {}


def test_two_energies_of_one_geometry_fail(small: Dataset) -> None:
    record = next(iter(small.select(system="CH3OH", kind="nms", part="train")))
    other = moved(record, "copy", energy=record.energy + 0.02)
    assert beyond([record, other])["energies of one geometry differ, eV"] == [f"copy (as {record.name})"]


@pytest.mark.parametrize(
    ("label", "test"),
    [("energy", "energy per atom"), ("forces", "largest force"), ("hessian", "largest Hessian element")],
)
def test_outliers_are_warned_of(small: Dataset, label: str, test: str) -> None:
    odd = named(small, "CH4_nms_train_03")
    value = getattr(odd, label)
    wrong = replace(odd, **{label: value + 10.0 if label == "energy" else 40 * value})
    records = [wrong if record is odd else record for record in small]
    findings = [f for f in check_dataset(Dataset(records, "")) if f.test.startswith("outlier") and not f.passed]
    assert [(f.name, f.test, f.tier) for f in findings] == [(odd.name, f"outlier: {test}", "warning")]


def test_missing_labels_are_warned_of(small: Dataset) -> None:
    bare = replace(small[0], name="bare", energy=None)
    atom = Record([1], np.zeros((1, 3)), "atom", energy=-13.0)
    assert beyond([small[1], atom, bare]) == {"no energy or no forces": ["bare"]}


def test_training_warns_in_the_words_of_the_check(small: Dataset, tmp_path: Path) -> None:
    minimum = named(small, "H2O_minimum")
    bad = Dataset([replace(minimum, kind="saddle"), replace(minimum, name="again")], "")
    (one, two) = label_warnings(bad)
    bad.write(tmp_path / "bad.h5")
    printed = CliRunner().invoke(app, ["data", "check", str(tmp_path / "bad.h5")]).output
    assert f"wrong: {one}" in printed
    assert f"warning: {two}" in printed
    assert "1 of 2 structures (H2O_minimum)" in one


def test_commands(small: Dataset, tmp_path: Path) -> None:
    run = CliRunner().invoke
    good, bad, plot = tmp_path / "good.h5", tmp_path / "bad.h5", tmp_path / "plot.svg"
    minimum = named(small, "H2O_minimum")
    bare = Record([1], np.zeros((1, 3)), "bare", kind="atom", energy=-13.0)
    Dataset([minimum, bare], small.level_of_theory).write(good)
    Dataset([replace(minimum, kind="saddle")], small.level_of_theory).write(bad)

    described = run(app, ["data", "info", str(good)])
    assert described.exit_code == 0
    assert "B3LYP/6-31G(d)" in described.output
    assert "1 of 2, largest element" in described.output
    assert f"{minimum.energy / 3:.3f} to -13.000 eV/atom" in described.output
    assert run(app, ["data", "check", str(good), "--strict"]).exit_code == 0
    checked = run(app, ["data", "check", str(bad), "--plot", str(plot)])
    assert checked.exit_code == 1
    assert "imaginary modes" in checked.output
    assert "rotational sum rule" in plot.read_text()
    with pytest.raises(UserError, match="no name for a plot"):
        raise run(app, ["data", "check", str(good), "--plot", "plot.txt"]).exception

    result = json.loads(run(app, ["data", "check", str(bad), "--json"]).output)
    assert result["passed"] is False
    (failing,) = [test for test in result["tests"] if test["beyond"]]
    assert (failing["severity"], failing["beyond"]) == ("wrong", {"H2O_minimum": 1.0})
