"""Risk: errors of structures that were trained on, shown as if they were of new ones; energies that do not compare."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import ase.io
import pytest
from ase.build import molecule
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset, Record
from hesspot.data.split import usual_split


def records(symbols: list[str], per_system: int = 1) -> list[Record]:
    return [
        Record(molecule(symbol).numbers, molecule(symbol).positions, f"{symbol}_{i}", system=symbol)
        for symbol in symbols
        for i in range(per_system)
    ]


MOLECULES = ["H2O", "CH4", "NH3", "C2H4", "C2H6", "CO2", "HCN", "CH3OH", "N2H4", "H2O2"]


def test_the_usual_split_keeps_systems_whole_trains_on_every_element_and_repeats() -> None:
    dataset = Dataset(records(MOLECULES, 3), "x")
    divided, told = usual_split(dataset)
    assert told == "parts drawn by system: 24 training structures, 3 validation, 3 test"
    parts = {system: {record.part for record in divided.select(system=system)} for system in MOLECULES}
    assert all(len(part) == 1 for part in parts.values())
    assert divided.select(part="train").elements == dataset.elements
    assert [record.part for record in usual_split(dataset)[0]] == [record.part for record in divided]


@pytest.mark.parametrize("seed", range(12))
def test_no_element_stands_in_validation_alone(seed: int) -> None:
    from hesspot.data.split import split_into_parts

    dataset = Dataset(records(["H2O", "CH4", "C2H4", "C2H6", "HCN", "H2O2"]), "x")
    assert split_into_parts(dataset, (0.6, 0.2, 0.2), seed=seed).select(part="train").elements == dataset.elements


def test_too_few_systems_are_divided_by_structure_and_too_few_structures_not_at_all() -> None:
    divided, told = usual_split(Dataset(records(["H2O"], 10), "x"))
    assert "by structure: 8 training structures, 1 validation, 1 test; there are 1 systems only" in told
    divided, told = usual_split(Dataset(records(["H2O"], 2), "x"))
    assert {record.part for record in divided} == {"train"} and "nothing is left to validate" in told


def test_the_first_recipe_validates_on_structures_that_it_did_not_train_on(tmp_path: Path, hesspot) -> None:
    """Label, train, export, verify with small molecules: each table says of which part its errors are."""
    pytest.importorskip("tblite")
    ase.io.write(tmp_path / "molecules.xyz", [molecule(symbols) for symbols in MOLECULES[:6]])
    (tmp_path / "config.yaml").write_text(
        "data: labels.h5\nmode: efh\nvalidate_every: 1\n"
        "model: {cutoff: 3.0, n_radial: 3, n_channels: 2, hidden: [4]}\noptimizer: {epochs: 2}\n"
    )
    words = ["label", "molecules.xyz", "--out", "labels.h5", "--program", "tblite", "--kind", "minimum"]
    done = hesspot(*words, cwd=tmp_path)
    assert done.returncode == 0 and "parts drawn by system: 4 training structures, 1 validation, 1 test" in done.stderr
    labels = Dataset.read(tmp_path / "labels.h5")
    assert [len(labels.select(part=part)) for part in ("train", "valid", "test")] == [4, 1, 1]
    done = hesspot("train", "config.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0 and "no structure" not in done.stderr
    assert "  validation: E " in done.stdout and ", validation)" in done.stdout
    assert all(f"│ {part} " in done.stdout for part in ("training structures", "validation", "test"))
    assert hesspot("export", "run", "model.pt", cwd=tmp_path).returncode == 0
    done = hesspot("verify", "model.pt", "--engines", "torch", cwd=tmp_path)
    told = " ".join(done.stdout.split())  # a long title is folded
    assert re.search(r"Model error of \d training structures.*: trained model against reference", told)
    assert "errors of new ones are larger" in done.stdout
    done = hesspot("verify", "model.pt", "--engines", "torch", "--data", "labels.h5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Model error of 1 test: trained" in done.stdout and "errors of new ones" not in done.stdout


def test_without_a_validation_part_all_say_that_training_structures_validate(
    labels_file: Path, small_config: Path, tmp_path: Path, hesspot
) -> None:
    dataset = Dataset.read(labels_file)
    only = Dataset(dataset.select(part="train").records, dataset.level_of_theory)
    only.write(tmp_path / "only.h5")
    small_config.write_text(small_config.read_text().replace(str(labels_file), str(tmp_path / "only.h5")))
    done = hesspot("train", small_config, "--out", tmp_path / "run")
    assert "is marked valid: the TRAINING structures validate" in done.stderr
    assert "training structures: E " in done.stdout and "validation:" not in done.stdout
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").open()))
    assert {row["validated_on"] for row in rows} == {"train"}
    places = {"IN.h5": tmp_path / "only.h5", "OUT.h5": tmp_path / "o.h5"}
    remedy = [places.get(word, word) for word in done.stderr.split("`")[1].split()[1:]]
    assert hesspot(*remedy, "--split-by", "structure").returncode == 0
    assert len(Dataset.read(tmp_path / "o.h5").select(part="valid")) == 1


def test_labels_of_another_level_are_refused_by_verify_unless_asked_for(
    labels_file: Path, house_model_file: Path, tmp_path: Path, hesspot
) -> None:
    from hesspot.training.config import parse_config
    from hesspot.training.export_run import export_run
    from hesspot.training.loop import train

    model = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]}
    config = {"data": str(labels_file), "model": model, "optimizer": {"epochs": 1}}
    train(parse_config(config, "a test"), tmp_path / "run", show=False, final_table=False)
    export_run(tmp_path / "run", tmp_path / "model.pt")
    other = Dataset(Dataset.read(labels_file).records, "GFN2-xTB (tblite)")
    other.write(tmp_path / "other.h5")
    words = ["verify", tmp_path / "model.pt", "--engines", "torch", "--data", tmp_path / "other.h5"]
    done = hesspot(*words)
    assert done.returncode == 1 and "harmonic bonds and GFN2-xTB (tblite), whose energies do not compare" in done.stderr
    assert "Model error" not in done.stdout
    assert "Model error" in hesspot(*words, "--allow-mixed-levels").stdout
    done = hesspot("verify", house_model_file, "--engines", "torch", "--data", labels_file)
    assert done.returncode == 0 and "level of theory of model" in done.stderr and "is not known" in done.stderr


def test_a_file_is_exported_with_the_labels_that_the_run_has_kept(labels_file: Path, tmp_path: Path) -> None:
    """Whatever has become of its data: the references of a fingerprint are never those of another file."""
    from hesspot.errors import UserError
    from hesspot.training.config import parse_config
    from hesspot.training.export_run import export_run
    from hesspot.training.loop import train

    dataset = Dataset.read(labels_file)
    dataset.write(tmp_path / "data.h5")
    model = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]}
    config = {"data": str(tmp_path / "data.h5"), "model": model, "optimizer": {"epochs": 1}}
    train(parse_config(config, "a test"), tmp_path / "run", show=False, final_table=False)
    moved = [replace(record, energy=record.energy + 1.0) for record in dataset if record.energy is not None]
    Dataset(moved, dataset.level_of_theory).write(tmp_path / "data.h5")
    energies = {record.name: record.energy for record in dataset}
    for data_are_there in (True, False):
        metadata = export_run(tmp_path / "run", tmp_path / "model.pt", structures=4)
        known = [entry for entry in metadata.fingerprint if entry.reference is not None]
        assert [entry.reference.energy for entry in known] == [energies[entry.name] for entry in known]
        assert len(known) == 4
        if data_are_there:
            (tmp_path / "data.h5").unlink()
    with pytest.raises(UserError, match="--structures 33 is not possible: a run keeps 32"):
        export_run(tmp_path / "run", tmp_path / "model.pt", structures=33)

    (tmp_path / "run" / "references.h5").unlink()  # as of a run of an earlier version
    with pytest.raises(UserError, match=r"has no references\.h5, .* --resume` adds them"):
        export_run(tmp_path / "run", tmp_path / "model.pt")
    dataset.write(tmp_path / "data.h5")
    train(tmp_path / "run" / "config.yaml", tmp_path / "run", resume=True, show=False, final_table=False)
    export_run(tmp_path / "run", tmp_path / "model.pt")


def test_help_shows_the_defaults_that_labels_get() -> None:
    pytest.importorskip("pyscf")
    from hesspot.reference.pyscf_labels import Method
    from hesspot.reference.tblite_labels import TbliteMethod

    wide = {"COLUMNS": "300", "TERMINAL_WIDTH": "300"}
    told = " ".join(CliRunner().invoke(app, ["label", "--help"], env=wide).output.split())
    method = Method()
    grid = ",".join(map(str, method.grid))
    for default in (method.xc, method.basis, grid, TbliteMethod().method, "cart" if method.cart else "spherical"):
        assert f"[default: ({default})]" in told


def test_no_words_of_a_help_text_are_lost() -> None:
    """Square brackets in a help text are markup, and vanish."""
    import typer.main

    def commands(command):
        yield command
        for child in getattr(command, "commands", {}).values():
            yield from commands(child)

    helps = [(each.name, option.help or "") for each in commands(typer.main.get_command(app)) for option in each.params]
    assert len(helps) > 50
    assert [(name, text) for name, text in helps if "[" in text.replace("NAME[", "")] == []
