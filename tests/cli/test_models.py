"""Risk: a shipped model that a door does not know by its name, or of which something else is told than it is."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase.build import molecule

from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import main
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.models.shipped import find_model, names, path, read_card
from hesspot.training.config import parse_config
from ipi_driver.evaluation.load import open_evaluator

ROOT = Path(__file__).parents[2]

#: Relative: a card keeps three digits.
PRINTED = 0.005
#: eV: the same kernel with positions in another box.
ROUNDING = 1e-9

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Exit status, stdout and stderr of a command in a folder with a molecule of water."""
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hesspot", *words])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return called


#: Calls in which MODEL stands for a model.
DOORS = {
    "verify": ["verify", "MODEL", "--engines", "ase", "--max", "1"],
    "export": ["export", "MODEL", "new.pt"],
    "sample": ["sample", "water.xyz", "--out", "more.xyz", "--way", "rattle=3", "--keep", "2", "--model", "MODEL"],
    "label": [
        *("label", "water.xyz", "--out", "labels.h5", "--program", "ase", "--no-hessian"),
        *("--calculator", "hesspot:HesspotCalculator", "--calculator-args", "model=MODEL"),
    ],
    "train": ["train", "from.yaml", "--out", "run"],
    "ipi-input": ["ipi-input", "nve", "water.xyz", "MODEL", "--out", "run"],
    "ipi-hessian": ["ipi-hessian", "MODEL", "water.xyz", "--for", "vibrations", "--out", "run"],
}

#: Doors that tell an unknown name, behind which a file is written or trained on: tests/export, test_starting_point.py.
SLOW = ("export", "train")


@pytest.mark.parametrize("door", DOORS)
def test_a_name_opens_every_door(door: str, call: Call, tmp_path: Path) -> None:
    def entered(model: str) -> tuple[int, str, str]:
        (tmp_path / "from.yaml").write_text(f"data: shipped:small_chno\nstart_from: {model}\n")
        return call(*(word.replace("MODEL", model) for word in DOORS[door]))

    code, _, told = entered("shipped:gron")
    assert code == 1 and "no shipped model 'gron'; the nearest is shipped:grown" in told
    if door in SLOW:
        return
    code, out, told = entered("shipped:grown")
    assert code == 0, out + told
    if door == "ipi-input":
        assert str(path("grown")) in (tmp_path / "run" / "run.sh").read_text()


def test_a_name_is_one_for_the_calculator_and_the_driver(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    evaluator, atoms = open_evaluator("shipped:water", tmp_path / "water.xyz", "float64", "cpu", "auto", 0.5, str)
    atoms.calc = HesspotCalculator("shipped:water")
    found = evaluator(atoms.positions[None], atoms.cell.array[None])
    assert found.energy[0] == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING)
    assert atoms.get_potential_energy() == HesspotCalculator(path("water")).get_potential_energy(atoms)
    for door in (HesspotCalculator, read_model, find_model):
        with pytest.raises(UserError, match="no shipped model 'gas'; shipped are copper, grown, water"):
            door("shipped:gas")


def test_cards_say_what_the_models_are(call: Call) -> None:
    assert [each["name"] for each in json.loads(call("models", "--json")[1])] == names() == ["copper", "grown", "water"]
    for name in names():
        told = json.loads(call("models", f"shipped:{name}", "--json")[1])
        metadata = read_model(path(name)).metadata
        assert told["level_of_theory"] == metadata.level_of_theory and told["elements"] == metadata.elements
        assert told["licence"] == "MIT" and (ROOT / told["page"]).is_file()
        shown = call("models", name)[1]
        assert told["made"] in shown and told["weights_sha256"] in shown
        assert call("models", name, "--path")[1].strip() == str(path(name)) == told["file"]


@pytest.mark.parametrize("name", names())
def test_errors_on_a_card_are_the_models(name: str) -> None:
    """At the minima, by the calculator; those of all structures take longer."""
    (told,) = (errors for errors in read_card(name).errors if errors.group == "minima")
    minima = [r for r in Dataset.read(find_dataset(told.data)) if (r.part, r.kind) == (told.part, "minimum")]
    calculator = HesspotCalculator(f"shipped:{name}")
    forces, energies = [], []
    for record in minima:
        atoms = record.atoms_only()
        forces.append((calculator.get_property("forces", atoms) - record.forces).ravel())
        energies.append(1e3 * abs(calculator.get_property("energy", atoms) - record.energy) / len(atoms))
    assert len(minima) == told.structures
    assert np.sqrt(np.mean(np.concatenate(forces) ** 2)) == pytest.approx(told.forces_rmse, rel=PRINTED)
    assert np.mean(energies) == pytest.approx(told.energy_mae, rel=PRINTED)


def test_what_cannot_be_listed(call: Call) -> None:
    for words, sentence in {
        ("watter",): "no shipped model 'watter'; the nearest is shipped:water (`hesspot models` lists all)",
        ("--path",): "--path is of one model; name it",
        ("water", "--path", "--json"): "--path and --json are two ways to print",
    }.items():
        code, _, told = call("models", *words)
        assert code == 1 and sentence in told and told.count("\n") == 1


#: Of each model what its script calls, in this order.
MADE = {
    "copper": ["make_copper_set", "train", "export"],
    "grown": ["make_pretraining_set", *["train"] * 4, "export"],
    "water": ["make_water_set", "train", "export"],
}


@pytest.mark.parametrize("name", names())
def test_the_command_that_makes_it_can_be_followed(name: str, tmp_path: Path) -> None:
    """With programs that do nothing; a second call goes on with all runs."""
    fakes = {
        "python": 'echo "$(basename "$1" .py)" >> ../calls',
        "hesspot": 'echo "$1" "$2" "${5:-}" >> ../calls\n[ "$1" = export ] || mkdir -p "$4"',
    }
    (tmp_path / "bin").mkdir()
    for program, lines in fakes.items():
        (tmp_path / "bin" / program).write_text(f"#!/bin/bash\nset -e\n{lines}\n")
        (tmp_path / "bin" / program).chmod(0o755)
    command = shlex.split(read_card(name).made)
    assert command[:1] == ["bash"] and command[2:] == [f"{name}.pt"]
    words = ["bash", str(ROOT / command[1]), f"{name}.pt", *([] if name == "grown" else ["--labels"])]
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    for again in (False, True):
        (tmp_path / "calls").unlink(missing_ok=True)
        subprocess.run(words, cwd=tmp_path, env=environ, check=True)
        calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
        assert [call[0] for call in calls] == MADE[name][again:]
        assert all((call[-1] == "--resume") == again for call in calls if call[0] == "train")
    for call in calls[:-1]:
        content = yaml.safe_load((tmp_path / f"{name}.pt.parts" / call[1]).read_text())
        parse_config(content, "the script")
        assert content.get("start_from", "xtb-large-x").startswith("xtb-large-")
