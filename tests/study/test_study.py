"""Risk: a study that repeats or loses work, mixes data, or takes a bad configuration."""

import copy
import csv
import itertools

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.files import held
from hesspot.study.config import parse_study, read_study
from hesspot.study.cost import read_cost
from hesspot.study.evaluate import reactions
from hesspot.study.report import write_report
from hesspot.study.run import Study, run_study
from hesspot.study.subsets import training_subset
from hesspot.training.trainer import Trainer

TABLES = ("results.csv", "summary.csv", "tests.csv", "report.md")


def finished(folder):
    return sorted(str(path.parent.relative_to(folder / "runs")) for path in folder.rglob("structures.csv"))


def test_a_killed_study_goes_on_to_the_same_tables(study_keys, tmp_path, monkeypatch):
    config = parse_study(study_keys, "a test")
    write_report(run_study(config, tmp_path / "whole", show=False))

    class Killed(Exception):
        pass

    epochs, trained = Trainer.train_epoch, []

    def counted(run):
        trained.append(run)
        if len(trained) == 12:  # in the third of the four runs, of four epochs each, before its end
            raise Killed
        return epochs(run)

    monkeypatch.setattr(Trainer, "train_epoch", counted)
    with pytest.raises(Killed):
        run_study(config, tmp_path / "killed", show=False)
    assert len(finished(tmp_path / "killed")) == 2
    partial = write_report(Study(config, tmp_path / "killed"))
    assert len(partial.missing) == 2 and "Not finished" in partial.path.read_text()
    with pytest.raises(UserError, match="--resume"):
        run_study(config, tmp_path / "killed", show=False)
    trained.clear()
    monkeypatch.setattr(Trainer, "train_epoch", lambda run: trained.append(run) or epochs(run))
    write_report(run_study(config, tmp_path / "killed", resume=True, show=False))
    assert len(trained) == 2 + 4  # half of the third, all of the fourth
    for name in TABLES:
        whole, killed = ((tmp_path / place / name).read_text() for place in ("whole", "killed"))
        assert whole == killed, name


def test_the_command_writes_everything_and_reports_again(study_keys, tmp_path):
    keys = copy.deepcopy(study_keys)
    keys["arms"]["fine-tuned"] = {"mode": "efh", "after": "E-F", "fractions": [1.0]}
    keys |= {"fractions": [0.5, 1.0], "seeds": [0], "cost_epochs": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(keys))
    out = tmp_path / "out"
    arguments = ["study", str(tmp_path / "study.yaml"), "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert "Change of the RMSE against E-F" in result.output
    assert finished(out) == [
        "E-F-H-probes/fraction-0.5/seed-0",
        "E-F-H-probes/fraction-1/seed-0",
        "E-F/fraction-0.5/seed-0",
        "E-F/fraction-1/seed-0",
        "fine-tuned/fraction-1/seed-0",
    ]
    figures = ["changes.png", "cost.png", "frequencies.png", "learning.png"]
    assert sorted(path.name for path in out.glob("*.png")) == figures
    costs = {cost.arm: cost for cost in read_cost(out)}
    assert costs.keys() == keys["arms"].keys() and all(cost.seconds > 0 for cost in costs.values())
    fine = yaml.safe_load((out / "runs/fine-tuned/fraction-1/seed-0/config.yaml").read_text())
    assert fine["start_from"] == str(out / "runs/E-F/fraction-1/seed-0")
    steps = {  # 8 and 4 structures in batches of 4: as many steps with half the data need twice the epochs
        fraction: yaml.safe_load((out / f"runs/E-F/fraction-{fraction}/seed-0/config.yaml").read_text())["optimizer"][
            "epochs"
        ]
        for fraction in ("0.5", "1")
    }
    assert steps == {"0.5": 8, "1": 4}

    before = {name: (out / name).read_bytes() for name in (*TABLES, *figures)}
    for name in before:
        (out / name).unlink()
    assert CliRunner().invoke(app, [*arguments, "--report-only"]).exit_code == 0
    assert {name: (out / name).read_bytes() for name in before} == before


def test_the_report_says_what_the_tables_hold(study_keys, tmp_path):
    report = write_report(run_study(parse_study(study_keys, "a test"), tmp_path, show=False))
    with (tmp_path / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    change = next(
        float(row["change"])
        for row in rows
        if (row["arm"], row["part"], row["quantity"]) == ("E-F-H (probes)", "NMS", "Hessian") and row["unit"] == "eV/Å²"
    )
    line = next(line for line in report.path.read_text().splitlines() if line.startswith("| NMS: Hessian |"))
    assert f"{change:+.1f}".replace("-", "−") in line and "−77.0" in line


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fractions_are_nested_drawn_by_system_and_hold_every_element(dataset, seed):
    subsets = [training_subset(dataset, fraction, seed) for fraction in (0.25, 0.5, 0.75, 1.0)]
    systems = [{record.system for record in subset.select(part="train")} for subset in subsets]
    assert [len(names) for names in systems] == [1, 2, 3, 4]
    assert all(small < large for small, large in itertools.pairwise(systems))
    assert all(
        len(subset.select(part="train")) == 2 * len(names) for subset, names in zip(subsets, systems, strict=True)
    )
    assert all(subset.select(part="valid").records for subset in subsets)
    assert set(subsets[1].elements) == {"H", "O"}


def test_seeds_draw_different_systems(dataset):
    drawn = {
        tuple(sorted({r.system for r in training_subset(dataset, 0.5, seed).select(part="train")})) for seed in range(8)
    }
    assert len(drawn) > 2


def test_a_run_of_another_configuration_is_refused(study_keys, tmp_path):
    run_study(parse_study(study_keys, "a test"), tmp_path, show=False)
    kept = (tmp_path / "study.yaml").read_bytes()
    study_keys["base"]["loss"] = {"forces": 3.0}
    with pytest.raises(UserError, match=r"seed-0.*loss differ"):
        run_study(parse_study(study_keys, "a test"), tmp_path, resume=True, show=False)
    assert (tmp_path / "study.yaml").read_bytes() == kept


def test_a_run_that_another_process_writes_is_left_alone(study_keys, tmp_path):
    """Not yet one that has trained, which would be removed and begun anew."""
    config = parse_study(study_keys, "a test")
    run = Study(config, tmp_path / "study").jobs[0].folder
    with held(run, "the run"):
        (run / "config.yaml").write_text("of the other")
        with pytest.raises(UserError, match=f"the run in {run} is being written by another process"):
            run_study(config, tmp_path / "study", show=False)
        assert (run / "config.yaml").read_text() == "of the other"


def test_a_seed_can_be_added(study_keys, tmp_path):
    run_study(parse_study(study_keys, "a test"), tmp_path, show=False)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")}
    study_keys["seeds"] = [0, 1, 2]
    run_study(parse_study(study_keys, "a test"), tmp_path, resume=True, show=False)
    assert len(finished(tmp_path)) == 6
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_changed_data_are_refused(study_keys, dataset, tmp_path):
    path = tmp_path / "changing.h5"
    dataset.write(path)
    study_keys["base"]["data"] = str(path)
    config = parse_study(study_keys, "a test")
    Study(config, tmp_path / "out").start(resume=False)
    Dataset(dataset.records[1:], dataset.level_of_theory, dataset.provenance).write(path)
    with pytest.raises(UserError, match="another content"):
        run_study(config, tmp_path / "out", resume=True, show=False)


def changed(keys, path, value):
    keys = copy.deepcopy(keys)
    place = keys
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return keys


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("fraction",), [1.0], "nearest valid one is fractions"),
        (("fractions",), [0.0], "greater than 0"),
        (("seeds",), [1, 1], "one twice"),
        (("reference",), "EF", "none of the arms"),
        (("base", "seed"), 3, "list `seeds`"),
        (("base", "start_from"), "elsewhere", "arms that are fine-tuned"),
        (("base", "optimiser"), {}, "nearest valid one is optimizer"),
        (("base", "data"), ["a.h5", "b.h5"], "lists 2 datasets"),
        (("arms", "E-F"), {"mode": "f"}, "arm E-F"),
        (("arms", "E-F"), {"data": "other.h5"}, "must be that of all arms"),
        (("arms", "E-F"), {"after": "nothing"}, "must be one of"),
        (("arms", "E-F"), {"fractions": [0.3]}, "must be some of"),
        (("arms", "E F"), {}, "would share the folder"),
        (("arms",), {"E-F": {"mode": "ef"}}, "at least 2"),
        (("arms",), {"E-F": {"after": "x"}, "x": {"after": "E-F"}}, "start from each other"),
    ],
)
def test_bad_configurations_are_one_sentence(study_keys, path, value, message):
    with pytest.raises(UserError, match=message) as error:
        parse_study(changed(study_keys, path, value), "s.yaml")
    assert "s.yaml" in str(error.value) and "\n" not in str(error.value)


def test_missing_files_and_empty_studies_are_one_sentence(study_keys, dataset, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_study(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="no run of the arm E-F is finished"):
        write_report(Study(parse_study(study_keys, "a test"), tmp_path))
    with pytest.raises(UserError, match="give a number of processes"):
        run_study(parse_study(study_keys, "a test"), tmp_path, jobs=0)
    untested = tmp_path / "untested.h5"
    Dataset([r for r in dataset if r.part != "test"], "harmonic bonds").write(untested)
    study_keys["base"]["data"] = str(untested)
    with pytest.raises(UserError, match=r"no minimum, saddle, irc or nms structure in its part test"):
        Study(parse_study(study_keys, "a test"), tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a4": {"saddle": "t-saddle", "ends": [["nowhere"]]}}, "nowhere, which the dataset lacks"),
        ({"a4": {"top": "t-saddle"}}, "must read"),
        (["a4"], "must read"),
    ],
)
def test_a_wrong_table_of_reactions_is_one_sentence(dataset, table, message):
    with pytest.raises(UserError, match=message):
        reactions(Dataset(dataset.records, "harmonic bonds", {"reactions": table}))


def test_both_ends_alike_are_one_barrier(dataset):
    table = {"a4": {"saddle": "t-saddle", "ends": [["t-min"], ["t-min"]]}}
    (only,) = reactions(Dataset(dataset.records, "harmonic bonds", {"reactions": table}))
    assert only.end == "t-min" and np.isclose(only.saddle.energy, 0.0)
