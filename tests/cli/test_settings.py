"""Risk: a fault of a configuration that sends its author to the wrong place, and a template that is not the truth."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from hesspot.errors import UserError
from hesspot.study.config import StudyKeys, parse_study, study_template
from hesspot.training.config import TrainingConfig, config_template, parse_config, read_config

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"learning_rate": 0.01}, r"learning_rate is unknown, .* optimizer.learning_rate; write optimizer: .*: 0.01}"),
        ({"epochs": 3}, "epochs is unknown, the nearest valid one is optimizer.epochs"),
        ({"cutoff": 3}, "cutoff is unknown, the nearest valid one is model.cutoff"),
        ({"lr": 3}, "nearest valid one is optimizer.learning_rate"),
        ({"force_weight": 3}, "nearest valid one is loss.forces"),
        ({"modle": {"cutoff": 3}}, "modle is unknown, the nearest valid one is model$"),
        ({"optimizer": {"forces": 3}}, "optimizer.forces is unknown, the nearest valid one is loss.forces; write"),
        ({"loss": {"sampling": "full"}}, "nearest valid one is hessian.sampling"),
        ({"hessian": {"probs": 3}}, "hessian.probs is unknown, the nearest valid one is hessian.probes$"),
        ({"optimizer.epochs": 3}, "no dots in keys; write optimizer: {epochs: 3}"),
        ({"loss": 3}, "loss = 3 is not valid: it is a section with the keys energy, forces"),
        ({"xyzzy": 3}, "xyzzy is unknown, and resembles none of the valid ones: data, "),
    ],
)
def test_an_unknown_key_is_looked_for_in_all_sections(content: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_config({"data": "a.h5", **content}, "c.yaml")


def test_all_faults_are_told_at_once() -> None:
    content = {"learning_rate": 1, "mode": "x", "optimizer": {"epochs": 0}, "loss": {"energi": 1}}
    with pytest.raises(UserError) as error:
        parse_config(content, "c.yaml")
    text = str(error.value)
    assert "\n" not in text and "c.yaml has 5 faults" in text
    for words in ("data is missing", "mode = 'x'", "optimizer.epochs = 0", "loss.energi ", "optimizer.learning_rate"):
        assert words in text


def test_a_study_is_told_all_faults_of_all_arms() -> None:
    arms = {"E-F": {"mode": "ef", "epochs": 3}, "b": {"mode": "x", "after": "E-F"}}
    with pytest.raises(UserError, match=r"2 faults: \(1\) arm E-F: key epochs .* optimizer.epochs.*\(2\) arm b: mode"):
        parse_study({"base": {"data": "a.h5"}, "arms": arms}, "s.yaml")
    with pytest.raises(UserError, match=r"epochs is unknown, the nearest valid one is base\.optimizer\.epochs"):
        parse_study({"base": {"data": "a.h5"}, "arms": {"E-F": {}, "b": {}}, "epochs": 3}, "s.yaml")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("data: a.h5\nloss: {energy: 1}\nmode: ef\nloss: {forces: 1}\n")
    with pytest.raises(UserError, match=r"key loss stands twice.*line 4"):
        read_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(("text", "model"), [(config_template(), TrainingConfig), (study_template(), StudyKeys)])
def test_a_template_has_all_keys_their_defaults_and_a_comment_on_each(text: str, model: type[BaseModel]) -> None:
    found = model.model_validate(yaml.safe_load(text))
    required = {name: getattr(found, name) for name, field in model.model_fields.items() if field.is_required()}
    assert found == model(**required)
    active = re.sub(r"^(\s*)# (?=\S+:|  )", r"\1", text, flags=re.M)
    assert model.model_validate(yaml.safe_load(active)) is not None
    lines = [line for line in text.splitlines()[1:] if re.match(r"(\s|# )*[a-z_]+:", line)]
    written = {line.split(":")[0].strip(" #") for line in lines}
    assert written >= set(model.model_fields)


def test_training_from_the_template(labels_file: Path, tmp_path: Path, hesspot) -> None:
    text = hesspot("train", "--template").stdout
    assert text == config_template()
    text = text.replace("data: labels.h5", f"data: {labels_file}").replace("epochs: 500", "epochs: 2")
    (tmp_path / "config.yaml").write_text(text)
    done = hesspot("train", tmp_path / "config.yaml", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.pt").exists()


def test_the_page_on_training_lists_each_key_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|([^|]*)\|", (DOCS / "training.md").read_text(), re.M)
    assert {key: yaml.safe_load(value.strip(" `")) for key, value in rows} == dict(_defaults(TrainingConfig, ""))


def _defaults(model: type[BaseModel], before: str):
    for name, field in model.model_fields.items():
        section = {"replay": "ReplaySection"}.get(name) and field.annotation.__args__[0]
        section = section or (type(field.default) if isinstance(field.default, BaseModel) else None)
        if section:
            yield from _defaults(section, f"{name}.")
        else:
            yield before + name, None if field.is_required() else field.default
