"""Risk: a distillation that begins with keys that cannot work, or that ignores some."""

from pathlib import Path
from typing import Any

import ase.io
import pytest
import yaml
from ase.build import molecule

from hesspot.distill.config import DistillKeys, arm_of, distillation_template, parse_distillation
from hesspot.distill.run import distill
from hesspot.errors import UserError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teecher": {}}, "key teecher is unknown, the nearest valid one is teacher"),
        ({"epochs": 3}, "write training: {optimizer: {epochs: 3}}"),
        ({"training": {"data": "x.h5"}}, "training.data is what the loop decides"),
        ({"training": {"optimizer": {"epoch": 3}}}, "training: key optimizer.epoch is unknown"),
        ({"training": {"model": {"members": 1}}}, "a single model cannot disagree"),
        ({"further": {"model": {"cutoff": 4.0}}}, "further.model would change the shape"),
        ({"sample": {"ways": {"melt": 3}}}, "ways: melt is not known; use some of rattle"),
        ({"sample": {"temperatures": [100.0]}}, "sample.temperatures are those of the ways thermal and modes"),
        ({"run": {"pressure": 1.0}}, "run.pressure is that of the ensemble npt"),
        ({"run": {"length": -1.0}}, "run.length = -1.0 is not valid"),
        ({"verify": ["lamps"]}, "the engine lamps is not known"),
        ({"arms": {"a": {"start": "x"}}}, "start of the arm a must be that of all arms"),
        ({"arms": {"a b": {}, "a-b": {}}}, "has the folder of a b"),
        ({"arms": {"a": {"labels": {"products": -1}}}}, "labels.products = -1 is not valid"),
    ],
)
def test_faults_are_told_before_anything_starts(changes: dict[str, Any], words: str, keys: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        parse_distillation(keys | changes, "a test")
    assert words in str(caught.value)


def test_the_template_is_a_configuration() -> None:
    content = yaml.safe_load(distillation_template())
    assert parse_distillation(content, "the template").teacher.calculator == "ase.calculators.emt:EMT"


def test_an_arm_changes_what_it_names(keys: dict[str, Any]) -> None:
    arms = {"E-F": {"labels": {"products": 0}}, "E-F-H": {"labels": {"products": 2}, "further": {"seed": 3}}}
    read = parse_distillation(keys | {"arms": arms}, "a test")
    plain, curved = (arm_of(read, name, "a test") for name in arms)
    assert (plain.cost, curved.cost) == (1, 5)
    assert plain.training_keys(["a"], None)["mode"] == "ef" and curved.training_keys(["a"], "b")["mode"] == "efh"
    assert curved.training_keys(["a"], "b")["seed"] == 3 and "seed" not in curved.training_keys(["a"], None)
    assert plain.model_dump(exclude={"labels"}) == read.model_copy(update={"arms": {}}).model_dump(exclude={"labels"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": {"calculator": "no_such_module:Potential"}}, "no_such_module.*pip install"),
        ({"test": {"phonons": [2, 2, 2]}}, "test.phonons is for a crystal"),
        ({"run": {"ensemble": "npt"}}, "npt is for periodic structures"),
        ({"start": "missing.xyz"}, "missing.xyz"),
    ],
)
def test_what_cannot_work_leaves_no_folder_behind(
    changes: dict[str, Any], words: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    keys |= {"start": str(tmp_path / "water.xyz")}
    with pytest.raises(UserError, match=words):
        distill(DistillKeys.model_validate(keys | changes), tmp_path / "out")
    assert not (tmp_path / "out" / "config.yaml").exists()
