"""`hesspot data check` finds labels that cannot be right, and passes the shipped ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.data import Dataset, Record, shipped
from hesspot.reference.quality import check_dataset, check_record

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


def failed(record: Record) -> list[str]:
    return [finding.test for finding in check_record(record) if not finding.passed]


def test_shipped_labels_pass(small: Dataset) -> None:
    findings = check_dataset(small)
    assert len(findings) > 4 * len(small)
    assert [finding for finding in findings if not finding.passed] == []


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
    assert failed(replace(record, forces=other.forces)) == ["rotational sum rule, eV/Å"]
    assert failed(replace(record, hessian=other.hessian)) == ["rotational sum rule, eV/Å"]


def test_every_test_can_fail(small: Dataset) -> None:
    minimum = named(small, "H2O_minimum")
    assert failed(replace(minimum, kind="saddle")) == ["imaginary modes too many or too few"]
    assert "acoustic sum rule, eV/Å²" in failed(replace(minimum, hessian=minimum.hessian + np.eye(9)))
    assert "force at a stationary point, eV/Å" in failed(replace(minimum, forces=minimum.forces + 0.01))
    assert failed(replace(minimum, properties={"asymmetry": 1.0})) == ["asymmetry as computed, eV/Å²"]
    assert failed(replace(minimum, properties={"cphf_residual": 1e-4})) == ["residual of the CPHF equations"]
    assert failed(replace(minimum, hessian=None, forces=None)) == []


def test_commands(small: Dataset, tmp_path: Path) -> None:
    run = CliRunner().invoke
    good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
    minimum = named(small, "H2O_minimum")
    bare = replace(minimum, name="bare", hessian=None, forces=None)
    Dataset([minimum, bare], small.level_of_theory).write(good)
    Dataset([replace(minimum, kind="saddle")], small.level_of_theory).write(bad)

    described = run(app, ["data", "info", str(good)])
    assert described.exit_code == 0
    assert "B3LYP/6-31G(d)" in described.output
    assert "1 of 2, largest element" in described.output
    assert run(app, ["data", "check", str(good)]).exit_code == 0
    checked = run(app, ["data", "check", str(bad)])
    assert checked.exit_code == 1
    assert "imaginary modes" in checked.output
