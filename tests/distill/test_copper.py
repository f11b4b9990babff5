"""Risk: a loop whose parts work and whose model is not its teacher: the example, from the calculator to the phonons."""

from pathlib import Path

import pytest
from ase.build import bulk

from hesspot.data import Dataset
from hesspot.distill.config import read_distillation
from hesspot.distill.rounds import Round
from hesspot.distill.run import distill
from hesspot.verification.report import VerifyReport

EXAMPLE = Path(__file__).parents[2] / "examples" / "distill" / "copper.yaml"

#: What the example promises: force calls, THz, of the constants.
CALLS, PHONONS, ELASTIC = 60, 0.1, 0.03


@pytest.mark.lammps
def test_copper_from_emt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (bulk("Cu", cubic=True) * (2, 2, 2)).write("copper.xyz")
    (ending,) = distill(read_distillation(EXAMPLE), "copper")
    assert ending.held, ending.sentence
    rounds = [Round(Path("copper"), number) for number in range(len(list(Path("copper").glob("round-*"))))]
    labels = [record for each in rounds for record in Dataset.read(each.labels)]
    # eleven to measure the noise
    assert 11 + sum(1 + 2 * len(record.products) for record in labels) <= CALLS
    errors = rounds[-1].errors
    assert errors is not None
    assert errors.properties.phonons < PHONONS
    assert errors.properties.elastic < ELASTIC
    report = VerifyReport.model_validate_json(Path("copper/verify.json").read_text())
    assert report.passed and {each.engine for each in report.engines} == {"torch", "ase", "lammps"}
