"""Risk: a model file that cannot be trained on, or a run that starts from another model than was named."""

import shutil
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule

from hesspot.contract import batch_for
from hesspot.data import Dataset
from hesspot.data.shipped import path
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.models.shipped import find_model
from hesspot.training.checkpoint import model_of, save_checkpoint
from hesspot.training.config import parse_config
from hesspot.training.starting_point import read_start
from hesspot.training.trainer import Trainer

#: eV: torch against the kernel, in other orders of summation.
ROUNDING = 1e-9


def energy(model, atoms: ase.Atoms) -> float:
    return float(evaluate(model, batch_for(model, [atoms], torch.float64, "cpu")).energy[0])


def water() -> ase.Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_the_model_is_that_of_the_file(tmp_path: Path) -> None:
    """By its kernel, which reads the weights by itself; of a mean, the mean of what is trained on."""
    shutil.copy(find_model("shipped:water"), tmp_path / "model.pt")
    for place in ("shipped:water", str(tmp_path / "model.pt")):
        expected = energy(read_model(tmp_path / "model.pt"), water())
        assert energy(model_of(read_start(place)), water()) == pytest.approx(expected, abs=ROUNDING)
    members = [energy(model_of(read_start(f"shipped:grown@{number}")), water()) for number in (0, 1)]
    assert np.mean(members) == pytest.approx(energy(read_model(find_model("shipped:grown")), water()), abs=ROUNDING)
    assert abs(members[1] - members[0]) > 1000 * ROUNDING


def test_a_run_goes_on_from_a_file(tmp_path: Path) -> None:
    records = Dataset.open(path("water_gfn1")).select(part="train")
    few = sorted(records, key=len)[:2]
    Dataset(few, records.level_of_theory).write(tmp_path / "few.h5")
    content = {"data": str(tmp_path / "few.h5"), "mode": "ef", "start_from": "shipped:water"}
    trainer = Trainer(parse_config(content, "a test"))
    assert trainer.model.elements == ["H", "O"]
    assert trainer.model.shifts == read_start("shipped:water")["shifts"]
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for _ in range(2):  # the first step finds the optimiser's bases
        trainer.train_epoch()
    assert not torch.equal(trainer.model.state_dict()["mix"], before["mix"])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("shipped:grown", r"is the mean of 2 models .* shipped:grown@0 takes the first"),
        ("shipped:grown@2", r"is the mean of 2 models .* shipped:grown@0 takes the first"),
        ("shipped:water@1", "is one model, no mean of several"),
        ("shipped:gas", "no shipped model 'gas'; shipped are copper, grown, water"),
        ("TMP/run@1", "is no model file"),
        ("TMP/run/best.pt", "is a checkpoint of a run; give its folder, .*run"),
        ("TMP/nowhere", "nowhere/best.pt does not exist"),
    ],
)
def test_what_cannot_be_trained_on(place: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: x.h5\n")
    save_checkpoint(tmp_path / "run" / "best.pt", {})
    with pytest.raises(UserError, match=words) as caught:
        read_start(place.replace("TMP", str(tmp_path)))
    assert "\n" not in str(caught.value)
