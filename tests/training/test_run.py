"""Risk: a run that cannot be repeated or resumed, that loses work, or that takes a bad configuration."""

import csv

import numpy as np
import pytest
import torch
import yaml

from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.config import TrainingConfig, parse_config, read_config
from hesspot.training.initialise import energy_shifts
from hesspot.training.loop import Run, train
from hesspot.training.samples import make_samples


def config(data, mode="efh", epochs=6, **changed):
    return parse_config(
        {
            "data": str(data),
            "mode": mode,
            "validate_every": 2,
            "model": {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]},
            "optimizer": {"epochs": epochs, "batch_size": 5},
            **changed,
        },
        "a test",
    )


def weights(folder, which="last.pt"):
    content = load_checkpoint(folder / which)
    return {**content["last"], **{f"average.{key}": value for key, value in content["average"].items()}}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("mode", ["e", "ef", "efh"])
def test_training_lowers_the_loss(dataset_file, tmp_path, mode):
    result = train(config(dataset_file, mode, epochs=30), tmp_path, show=False)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(rows[-1]["valid_loss"]) < 0.5 * float(rows[0]["valid_loss"])
    assert result.best_loss == min(float(row["valid_loss"]) for row in rows)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["mode"] == mode


@pytest.mark.parametrize("sampling", ["probes", "full"])
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(dataset_file, tmp_path, monkeypatch, sampling):
    settings = config(dataset_file, hessian={"sampling": sampling})
    train(settings, tmp_path / "whole", show=False)

    class Killed(Exception):
        pass

    epochs = Run.train_epoch

    def dying(self):
        if self.epoch == 5:  # after the checkpoint of epoch 4, with an epoch's work to be lost
            raise Killed
        return epochs(self)

    monkeypatch.setattr(Run, "train_epoch", dying)
    with pytest.raises(Killed):
        train(settings, tmp_path / "cut", show=False)
    monkeypatch.setattr(Run, "train_epoch", epochs)
    train(settings, tmp_path / "cut", resume=True, show=False)
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    logs = [
        [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in csv.DictReader((tmp_path / run / "log.csv").open())
        ]
        for run in ("whole", "cut")
    ]
    assert logs[0] == logs[1]


def test_one_seed_gives_one_model_and_another_seed_another(dataset_file, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(dataset_file, seed=seed, epochs=2), tmp_path / name, show=False)
    assert_same_bits(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a")["mix"], weights(tmp_path / "c")["mix"])


def test_checkpoint_gives_the_averaged_model(dataset_file, tmp_path):
    result = train(config(dataset_file), tmp_path, show=False)
    content = load_checkpoint(tmp_path / "best.pt")
    assert_same_bits(result.model.state_dict(), content["average"])
    assert model_of(content, "last").shifts == result.model.shifts


def test_a_folder_with_a_run_is_not_overwritten(dataset_file, tmp_path):
    train(config(dataset_file, epochs=2), tmp_path, show=False)
    with pytest.raises(UserError, match="holds a run already; pass --resume"):
        train(config(dataset_file, epochs=2), tmp_path, show=False)


def test_resume_with_another_configuration_is_refused(dataset_file, tmp_path):
    train(config(dataset_file, epochs=2), tmp_path, show=False)
    with pytest.raises(UserError, match=r"another configuration \(seed, optimizer differ\)"):
        train(config(dataset_file, seed=7, epochs=4), tmp_path, resume=True, show=False)


def test_fine_tuning_starts_from_the_best_model(dataset_file, tmp_path):
    first = train(config(dataset_file, "ef", epochs=10), tmp_path / "ef", show=False)
    settings = config(dataset_file, "efh", epochs=2, start_from=str(tmp_path / "ef"))
    run = Run(settings, tmp_path / "efh")
    assert_same_bits(run.model.state_dict(), first.model.state_dict())
    assert run.model.shifts == first.model.shifts
    run.fit(show=False)
    with pytest.raises(UserError, match="give the same shape"):
        Run(config(dataset_file, start_from=str(tmp_path / "ef"), model={"cutoff": 3.0}), tmp_path / "other")


def test_the_weight_of_the_hessian_grows(dataset_file, tmp_path):
    run = Run(config(dataset_file, hessian={"ramp_epochs": 4}, loss={"hessian": 0.2}), tmp_path)
    reached = []
    for run.epoch in range(6):
        reached.append(run.weights().hessian)
    assert reached == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


def test_patience_ends_a_run_that_does_not_get_better(dataset_file, tmp_path):
    """Steps too small to change any weight: the first validation stays the best."""
    frozen = {"epochs": 40, "learning_rate": 1e-30, "patience": 3}
    result = train(config(dataset_file, validate_every=1, optimizer=frozen), tmp_path, show=False)
    assert (result.best_epoch, result.epochs) == (1, 5)


def test_damaged_checkpoint(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"PK damaged")
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(tmp_path / "last.pt")


def test_missing_hessian_names_the_structure(dataset, tmp_path):
    bare = [type(r)(**{**vars(r), "hessian": None}) if r.name == "train4" else r for r in dataset]
    Dataset(bare, "x").write(tmp_path / "d.h5")
    with pytest.raises(UserError, match="structure train4 has no Hessian, which mode efh needs"):
        train(config(tmp_path / "d.h5"), tmp_path / "run", show=False)
    assert not (tmp_path / "run").exists()
    train(config(tmp_path / "d.h5", epochs=2, hessian={"missing": "skip"}), tmp_path / "run", show=False)


def test_missing_forces_and_energies(dataset):
    record = dataset.records[0]
    for key, mode, words in (("forces", "ef", "no forces, which mode ef needs"), ("energy", "e", "no energy")):
        bare = type(record)(**{**vars(record), key: None})
        with pytest.raises(UserError, match=words):
            make_samples([bare], dataset.elements, 4.0, mode)


def test_a_loss_that_blows_up_stops_the_run(dataset_file, tmp_path):
    settings = config(dataset_file, optimizer={"epochs": 50, "learning_rate": 1e300, "warmup_epochs": 0})
    with pytest.raises(UserError, match=r"loss is not a finite number in epoch \d+ .* lower optimizer.learning_rate"):
        train(settings, tmp_path, show=False)


def test_shifts_are_the_atomic_energies():
    """Energies that are sums of atomic energies give these back."""
    import ase

    from hesspot.data import Record

    atomic = {"H": -13.5, "C": -1030.0, "O": -2041.0}
    records = []
    for symbols in ("OH", "OCO", "CH4", "COH2", "HH"):
        atoms = ase.Atoms(symbols)
        positions = np.arange(3 * len(atoms)).reshape(-1, 3) * 0.7
        energy = sum(atomic[s] for s in atoms.get_chemical_symbols())
        records.append(Record(atoms.numbers, positions, symbols, energy=energy))
    samples = make_samples(records, ["H", "C", "O"], 3.0, "e")
    assert energy_shifts(samples, 3) == pytest.approx([-13.5, -1030.0, -2041.0], abs=1e-8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: a.h5\nmod: ef", "key mod is unknown, the nearest valid one is mode"),
        ("data: a.h5\noptimizer: {learningrate: 1}", "key optimizer.learningrate .* is optimizer.learning_rate"),
        ("data: a.h5\nmode: efg", "mode = 'efg' is not valid: input should be 'e', 'ef' or 'efh'"),
        ("mode: ef", "key data is missing"),
        ("- a\n- b", "holds no keys"),
        ("data: [", "no valid YAML"),
        ("data: a.h5\nmodel: {cutoff: -1}", "model.cutoff = -1 is not valid"),
    ],
)
def test_bad_configurations(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_config(path)


def test_configuration_is_not_there():
    with pytest.raises(UserError, match="does not exist"):
        read_config("none.yaml")


def test_defaults_are_complete():
    assert TrainingConfig(data="a.h5").mode == "efh"
