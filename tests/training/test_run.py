"""Risk: a run that cannot be repeated or resumed, that loses work, or that takes a bad configuration."""

import csv
import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.contract import build_batch, join_batches
from hesspot.data import Dataset, Record
from hesspot.derivatives import evaluate, hessian
from hesspot.errors import UserError
from hesspot.models.ensemble import HouseEnsemble
from hesspot.models.house import HouseConfig
from hesspot.training import loop, parallel
from hesspot.training import samples as sampling
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.config import (
    PRESETS,
    ModelSection,
    OptimizerSection,
    TrainingConfig,
    parse_config,
    read_config,
)
from hesspot.training.initialise import LEAST_VARIETY, Moments, energy_shifts, initial_model, member_weights
from hesspot.training.loop import Run, train
from hesspot.training.optimizer import Schedule
from hesspot.training.samples import make_samples
from hesspot.training.trainer import Trainer


def config(data, mode="efh", epochs=6, **changed):
    return parse_config(
        {
            "data": data if isinstance(data, list) else str(data),
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


@pytest.mark.parametrize(("way", "method"), [("probes", "adamw"), ("probes", "soap"), ("full", "soap")])
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(dataset_file, tmp_path, monkeypatch, way, method):
    optimizer = {"epochs": 6, "batch_size": 5, "method": method}
    settings = config(dataset_file, hessian={"sampling": way}, optimizer=optimizer)
    train(settings, tmp_path / "whole", show=False)

    class Killed(Exception):
        pass

    epochs = Trainer.train_epoch

    def dying(self):
        if self.epoch == 5:  # after the checkpoint of epoch 4, with an epoch's work to be lost
            raise Killed
        return epochs(self)

    monkeypatch.setattr(Trainer, "train_epoch", dying)
    with pytest.raises(Killed):
        train(settings, tmp_path / "cut", show=False)
    monkeypatch.setattr(Trainer, "train_epoch", epochs)
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


@pytest.mark.parametrize("members", [1, 2])
def test_a_set_that_is_read_for_every_batch_gives_the_bits_of_one_in_memory(
    members, dataset_file, tmp_path, monkeypatch
):
    """Stopped and resumed in between, and with the same final table."""
    shape = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8], "members": members}
    settings = config(dataset_file, epochs=4, model=shape)
    kept = train(settings, tmp_path / "kept", show=False)
    monkeypatch.setattr(sampling, "KEPT_BYTES", 0)
    epochs = Trainer.train_epoch

    def stopping(trainer):
        if trainer.epoch == 3:
            assert trainer.data.training[0] is not trainer.data.training[0]
            raise KeyboardInterrupt
        return epochs(trainer)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train_epoch", stopping)
        train(settings, tmp_path / "read", show=False)
    read = train(settings, tmp_path / "read", resume=True, show=False)
    for which in ("last.pt", "best.pt"):
        assert_same_bits(weights(tmp_path / "kept", which), weights(tmp_path / "read", which))
    assert read.rows == kept.rows


def test_the_standardisation_is_that_of_all_structures_at_once(dataset):
    """Group by group, against torch's own mean and deviation."""
    samples = make_samples(dataset.records, ["H", "O"], 4.0, "ef")
    model = initial_model(ModelSection(cutoff=4.0).shape(["H", "O"]), samples, 0)
    batch = join_batches([sample.graph for sample in samples], 2)
    with torch.no_grad():
        rows = model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)
    moments = Moments()
    for part in rows.split(5):
        moments.add(part)
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(moments.deviation, rows.std(0, unbiased=False), rtol=1e-12, atol=1e-14)
    own = rows[batch.species == 1]
    torch.testing.assert_close(model.mean[1], own.mean(0), rtol=1e-12, atol=1e-14)


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


def interrupted(monkeypatch, settings, folder):
    """A run that is stopped in its first epoch."""

    def stop(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train_epoch", stop)
        train(settings, folder, show=False)
    assert not (folder / "last.pt").exists()


def test_resume_before_the_first_checkpoint_keeps_the_configuration(dataset_file, tmp_path, monkeypatch):
    interrupted(monkeypatch, config(dataset_file, epochs=2), tmp_path / "run")
    with pytest.raises(UserError, match=r"another configuration \(seed, optimizer differ\)"):
        train(config(dataset_file, seed=7, epochs=4), tmp_path / "run", resume=True, show=False)
    train(config(dataset_file, epochs=2, tensorboard=False, threads=2), tmp_path / "run", resume=True, show=False)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["threads"] == 2
    train(config(dataset_file, epochs=2), tmp_path / "whole", show=False)
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    with pytest.raises(UserError, match=r"last\.pt does not exist; give the folder of a run"):
        train(config(dataset_file, epochs=2), tmp_path / "none", resume=True, show=False)


def test_training_leaves_the_process_as_it_was(dataset_file, tmp_path, monkeypatch):
    settings = config(dataset_file, epochs=2, threads=torch.get_num_threads() + 1)

    def state():
        return (
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            dict(os.environ),
        )

    before = state()
    train(settings, tmp_path / "good", show=False)
    assert state() == before
    interrupted(monkeypatch, settings, tmp_path / "stopped")
    assert state() == before


def test_fine_tuning_starts_from_the_best_model(dataset_file, tmp_path):
    first = train(config(dataset_file, "ef", epochs=10), tmp_path / "ef", show=False)
    settings = config(dataset_file, "efh", epochs=2, start_from=str(tmp_path / "ef"))
    (tmp_path / "efh").mkdir()
    run = Run(Trainer(settings), tmp_path / "efh")
    assert_same_bits(run.trainer.model.state_dict(), first.model.state_dict())
    assert run.trainer.model.shifts == first.model.shifts
    run.fit(show=False)
    with pytest.raises(UserError, match="give the same shape"):
        Trainer(config(dataset_file, start_from=str(tmp_path / "ef"), model={"cutoff": 3.0}))


def test_fine_tuning_takes_the_shape_of_the_model_it_starts_from(dataset_file, tmp_path):
    train(config(dataset_file, "ef", epochs=2), tmp_path / "ef", show=False, final_table=False)
    settings = parse_config({"data": str(dataset_file), "start_from": str(tmp_path / "ef")}, "a test")
    (tmp_path / "efh").mkdir()
    run = Run(Trainer(settings), tmp_path / "efh")
    assert run.trainer.model.config.hidden == [8]
    assert yaml.safe_load((tmp_path / "efh" / "config.yaml").read_text())["model"]["n_radial"] == 4


def with_elements(records, change, **changed):
    """Copies with other atomic numbers."""
    return [
        Record(**{**vars(r), "numbers": [change.get(z, z) for z in r.numbers], "name": f"new{i}", **changed})
        for i, r in enumerate(records)
    ]


def test_new_elements_are_refused_in_fine_tuning_and_replay(dataset, dataset_file, tmp_path):
    train(config(dataset_file, epochs=2), tmp_path / "old", show=False, final_table=False)
    Dataset(with_elements(dataset.records, {8: 16}), "harmonic bonds").write(tmp_path / "sulphur.h5")
    words = r"has S, which the model of .* does not know \(H, O\); leave such structures out"
    start = {"start_from": str(tmp_path / "old")}
    with pytest.raises(UserError, match=words):
        Trainer(config(tmp_path / "sulphur.h5", **start))
    with pytest.raises(UserError, match=f"replayed.*{words}"):
        Trainer(config(dataset_file, **start, replay={"data": str(tmp_path / "sulphur.h5")}))


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_model_has_the_elements_that_it_is_trained_on(part, dataset, tmp_path):
    """Another one would be answered for at random; the remedy that is told, parts drawn anew, works."""
    odd = with_elements(dataset.records[1:2], {8: 16}, part=part)
    Dataset([*dataset, *odd], "harmonic bonds").write(tmp_path / "d.h5")
    word = {"valid": "validation", "test": "test"}[part]
    words = rf"structure new0 \({word}\) of .*d\.h5 has S, which no training structure has \(H, O\); leave such"
    with pytest.raises(UserError, match=words):
        Trainer(config(tmp_path / "d.h5"))
    again = ["data", "convert", str(tmp_path / "d.h5"), "--split", "0.8,0.1,0.1", "--out", str(tmp_path / "drawn.h5")]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert Trainer(config(tmp_path / "drawn.h5")).model.elements == ["H", "O", "S"]


def test_replayed_structures_have_their_share_of_each_epoch(dataset, dataset_file, tmp_path):
    train(config(dataset_file, epochs=2), tmp_path / "old", show=False, final_table=False)
    Dataset(with_elements(dataset.records[:10], {8: 1}), "harmonic bonds").write(tmp_path / "new.h5")
    replay = {"data": str(dataset_file), "share": 0.6}
    run = Trainer(config(tmp_path / "new.h5", start_from=str(tmp_path / "old"), replay=replay))
    names = [sample.name for batch in run.draw_batches() for sample in run.samples(batch)]
    replayed = [name for name in names if name.startswith("train")]
    # 10 structures are 40 % of an epoch, so that of the 12 to be replayed 15 are: each of them, some twice
    assert (len(names), len(replayed), len(set(replayed))) == (25, 15, 12)
    assert names[10:] != replayed
    with pytest.raises(UserError, match="replay is for a model that is trained on"):
        config(dataset_file, replay=replay)


def test_data_of_another_level_of_theory_move_the_shifts(dataset, dataset_file, tmp_path):
    """Energies of another zero: fine-tuning begins with the old errors, and another level is not mixed in unasked."""
    result = train(config(dataset_file, epochs=2), tmp_path / "old", show=False, final_table=False)
    moved = [Record(**{**vars(r), "energy": r.energy + float(np.sum(100.0 * r.numbers))}) for r in dataset.records]
    Dataset(moved, "another").write(tmp_path / "moved.h5")
    start = {"start_from": str(tmp_path / "old")}
    run = Trainer(config(tmp_path / "moved.h5", **start))
    before, after = np.array(result.model.shifts), np.array(run.model.shifts)
    assert after - before == pytest.approx([100.0, 800.0], abs=5.0)
    replay = {"data": str(dataset_file)}
    with pytest.raises(UserError, match=r"different levels of theory, another and harmonic bonds, .* allow_mixed"):
        Trainer(config(tmp_path / "moved.h5", **start, replay=replay))


def test_several_files_are_one_set(dataset, dataset_file, tmp_path):
    Dataset(with_elements(dataset.records, {8: 16}), "harmonic bonds").write(tmp_path / "sulphur.h5")
    Dataset(with_elements(dataset.records, {8: 16}), "another").write(tmp_path / "level.h5")
    run = Trainer(config([str(dataset_file), str(tmp_path / "sulphur.h5")]))
    assert run.model.elements == ["H", "O", "S"]
    assert len(run.data.training) == 24 and len(run.data.validation) == 6
    both = [str(dataset_file), str(tmp_path / "level.h5")]
    with pytest.raises(UserError, match=r"different levels of theory, harmonic bonds and another, .* allow_mixed"):
        Trainer(config(both))
    assert len(Trainer(config(both, allow_mixed_levels=True)).data.training) == 24


def test_batches_by_edges_hold_every_structure_once(dataset_file, tmp_path):
    run = Trainer(config(dataset_file, optimizer={"batch_edges": 9}))
    for _ in range(3):
        batches = [run.samples(batch) for batch in run.draw_batches()]
        edges = [sum(s.graph.n_edges for s in batch) for batch in batches]
        assert max(edges) <= 9 and sum(edges) == sum(s.graph.n_edges for s in run.data.training)
        assert len({s.name for batch in batches for s in batch}) == len(run.data.training)
    (single,) = Trainer(config(dataset_file, optimizer={"batch_edges": 1})).draw_batches()[:1]
    assert len(single) == 1


def test_the_learning_rate_rises_and_falls_as_configured():
    cosine = Schedule(OptimizerSection(learning_rate=1.0, epochs=20, warmup_epochs=4))
    rates = [cosine.rate(epoch, 0.5) for epoch in (0, 2, 3.5, 4, 12, 20)]
    assert rates == pytest.approx([0.125, 0.625, 1.0, 1.0, 0.505, 0.01])
    plateau = Schedule(
        OptimizerSection(learning_rate=1.0, schedule="plateau", warmup_epochs=2, plateau_factor=0.1, plateau_patience=3)
    )
    reached = []
    for epoch, loss in enumerate([5.0, 4.0, 4.0, 4.1, 4.2, 4.2, 4.2, 3.9, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0], start=1):
        plateau.validated(epoch, loss)
        reached.append(plateau.rate(epoch, 0.5))
    # the best of epoch 2 stands for more than three epochs at 6; that of 8 at 12; a hundredth is the least
    assert reached == pytest.approx([0.75] + 4 * [1.0] + 6 * [0.1] + 4 * [0.01])


def test_the_weight_of_the_hessian_grows(dataset_file, tmp_path):
    run = Trainer(config(dataset_file, hessian={"ramp_epochs": 4}, loss={"hessian": 0.2}))
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
    with pytest.raises(UserError, match="is text or truncated"):
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


def test_a_committee_is_trained_and_its_members_differ(dataset_file, tmp_path):
    shape = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8], "members": 2}
    result = train(config(dataset_file, epochs=16, model=shape, seed=1), tmp_path, show=False, final_table=False)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert float(rows[-1]["valid_loss"]) < 0.7 * float(rows[0]["valid_loss"])
    assert isinstance(result.model, HouseEnsemble)
    graph = make_samples(Dataset.read(dataset_file).records[:1], ["H", "O"], 4.0, "e")[0].graph
    first, second = result.model.members(graph.species, graph.centers, graph.neighbors, graph.vectors).sum(1)
    assert abs(first - second) > 1e-3


@pytest.mark.parametrize("bootstrap", ["weights", "resample"])
def test_members_weigh_structures_differently(bootstrap):
    weights = member_weights(400, bootstrap, 3, seed=1)
    assert weights.mean(0).tolist() == pytest.approx([1.0] * 3)
    # exponential and Poisson weights have variance one; five standard errors of 400: the variance's own is about √(8/n)
    assert weights.var(0).tolist() == pytest.approx([1.0] * 3, abs=0.7)
    assert abs(torch.corrcoef(weights.T)[0, 1]) < 0.25
    assert torch.equal(weights, member_weights(400, bootstrap, 3, seed=1))
    assert member_weights(400, "none", 3, seed=1) is None


def test_the_final_table_has_the_errors_of_every_part_and_kind(dataset, tmp_path):
    kinds = ["minimum", "nms", "atom"]
    records = [
        Record(**{**vars(r), "kind": "minimum" if r.part == "valid" else kinds[i % 2]})
        for i, r in enumerate(dataset.records)
    ]
    records[0] = Record(**{**vars(records[0]), "hessian": None})
    Dataset(records, "harmonic bonds").write(tmp_path / "d.h5")
    result = train(config(tmp_path / "d.h5", epochs=2, hessian={"missing": "skip"}), tmp_path / "run", show=False)
    rows = list(csv.DictReader((tmp_path / "run" / "results.csv").open()))
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"] == result.rows
    assert [(r["part"], r["kind"], r["structures"]) for r in rows] == [
        ("train", "all", "12"),
        ("train", "minimum", "6"),
        ("train", "nms", "6"),
        ("valid", "minimum", "3"),
    ]
    energies, forces, hessians, frequencies = [], [], [], []
    for record in records:
        if record.part != "train" or record.kind != "minimum":
            continue
        batch = build_batch([record.atoms_only()], result.model.elements, result.model.cutoff)
        energies.append(1e3 * (float(evaluate(result.model, batch).energy) - record.energy) / len(record))
        forces += (evaluate(result.model, batch).forces.numpy() - record.forces).ravel().tolist()
        if record.hessian is not None:
            matrix = hessian(result.model, batch)[0].numpy()
            hessians += (matrix - record.hessian).ravel().tolist()
            both = [normal_modes(record.atoms_only(), h).frequencies for h in (matrix, record.hessian)]
            frequencies += (both[0] - both[1]).tolist()
    found = {"energy": energies, "forces": forces, "hessian": hessians, "frequencies": frequencies}
    for quantity, errors in found.items():
        assert float(rows[1][f"{quantity}_rmse"]) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)
        assert float(rows[1][f"{quantity}_mae"]) == pytest.approx(np.mean(np.abs(errors)), rel=1e-9)
    assert rows[2]["frequencies_rmse"] == rows[2]["stress_rmse"] == ""


def test_the_final_table_is_split_by_tags(dataset, tmp_path):
    """A row for each tag of a part; the row of the part itself is as without tags."""
    tags = {f"train{i}": "hot" if i % 2 else "cold" for i in range(8)}
    tagged = [Record(**{**vars(r), "tag": tags.get(r.name, "")}) for r in dataset.records]
    Dataset(tagged, "harmonic bonds").write(tmp_path / "d.h5")
    result = train(config(tmp_path / "d.h5", "ef", epochs=2), tmp_path / "run", show=False)
    rows = {(row["part"], row["kind"], row["tag"]): row for row in result.rows}
    assert list(rows) == [
        ("train", "other", ""),
        ("train", "all", "cold"),
        ("train", "all", "hot"),
        ("valid", "other", ""),
    ]
    assert [row["structures"] for row in result.rows] == [12, 4, 4, 3]
    hot = [r for r in tagged if r.tag == "hot"]
    batch = build_batch([r.atoms_only() for r in hot], result.model.elements, result.model.cutoff)
    answers = evaluate(result.model, batch).energy.numpy()
    errors = [1e3 * abs(e - r.energy) / len(r) for e, r in zip(answers, hot, strict=True)]
    assert rows["train", "all", "hot"]["energy_mae"] == pytest.approx(np.mean(errors), rel=1e-9)
    assert "tag" in (tmp_path / "run" / "results.csv").read_text().splitlines()[0]


def test_events_are_written_for_tensorboard(dataset_file, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config(dataset_file, epochs=4, tensorboard=True), tmp_path, show=False, final_table=False)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    written = events.Scalars("valid/loss")
    assert [event.step for event in written] == [2, 4]
    # events are in single precision
    assert [event.value for event in written] == pytest.approx([float(r["valid_loss"]) for r in rows], rel=1e-6)


def test_tensorboard_that_is_not_installed(dataset_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="needs the package tensorboard, which is not installed;"):
        train(config(dataset_file, tensorboard=True), tmp_path, show=False)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("gpu", "device 'gpu' is not known to torch"),
        pytest.param(
            "cuda",
            "device cuda is not there: torch .* finds no GPU; use device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_a_device_that_is_not_there(dataset_file, tmp_path, device, words):
    with pytest.raises(UserError, match=words):
        Trainer(config(dataset_file, device=device))


def test_sets_from_which_nothing_can_be_learned(dataset, tmp_path):
    Dataset(dataset.records[:1], "harmonic bonds").write(tmp_path / "one.h5")
    Dataset(dataset.select(part="valid").records, "harmonic bonds").write(tmp_path / "valid.h5")
    with pytest.raises(UserError, match="has one structure, train0, in its part train, which fixes no model"):
        Trainer(config(tmp_path / "one.h5"))
    with pytest.raises(UserError, match="has no structure in its part train; mark some as train"):
        Trainer(config(tmp_path / "valid.h5"))
    assert not (tmp_path / "run").exists()


def test_a_run_on_changed_data_is_not_resumed(dataset, tmp_path):
    path = tmp_path / "d.h5"
    dataset.write(path)
    train(config(path, epochs=2), tmp_path / "run", show=False, final_table=False)
    records = list(dataset.records)
    records[3] = Record(**{**vars(records[3]), "energy": records[3].energy + 1e-12})
    Dataset(records, "harmonic bonds").write(path)
    with pytest.raises(UserError, match=r"the data of the run in .* have changed since it was started"):
        train(config(path, epochs=2), tmp_path / "run", resume=True, show=False)


def test_a_weight_for_labels_that_are_not_there_is_refused(dataset_file):
    with pytest.raises(UserError, match=r"loss\.stress alone is above zero, and no structure"):
        Trainer(config(dataset_file, mode="ef", loss={"energy": 0, "forces": 0, "stress": 1}))


def test_a_checkpoint_of_another_kind(dataset_file, tmp_path):
    (tmp_path / "old").mkdir()
    torch.save({"weights": torch.zeros(3)}, tmp_path / "old" / "best.pt")
    with pytest.raises(UserError, match=r"best\.pt is no hesspot checkpoint; give the folder of a run"):
        Trainer(config(dataset_file, start_from=str(tmp_path / "old")))


def test_a_loss_that_blows_up_stops_the_run(dataset_file, tmp_path):
    settings = config(dataset_file, optimizer={"epochs": 50, "learning_rate": 1e300, "warmup_epochs": 0})
    with pytest.raises(UserError, match=r"finite number, .* in epoch \d+ .* lower optimizer.learning_rate"):
        train(settings, tmp_path, show=False)


@pytest.mark.parametrize("backend", ["kernel", "torch"])
@pytest.mark.parametrize(("mode", "term", "label"), [("ef", "forces", "forces"), ("efh", "hessian", "hessian")])
def test_the_structure_and_the_term_that_are_not_finite_are_named(dataset_file, backend, mode, term, label):
    trainer = Trainer(config(dataset_file, mode=mode, backend=backend))
    kept = trainer.data.training._kept
    kept[3] = replace(kept[3], **{label: 1e200 * getattr(kept[3], label)})  # whose square is beyond all numbers
    with pytest.raises(UserError, match=rf"the loss of the term {term} of structure {kept[3].name} is not a finite"):
        trainer.train_epoch()


def test_more_threads_than_cores_and_a_weight_without_labels_are_told(dataset_file, tmp_path, capsys):
    train(config(dataset_file, epochs=1, threads=1000, loss={"stress": 0.5}), tmp_path, show=False)
    told = capsys.readouterr().err
    assert "threads: 1000 is more than the" in told
    assert "loss.stress is 0.5, but no training structure" in told


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
        ("data: []", r"data = \[\] is not valid"),
        ("data: a.h5\nstart_from: b\nreplay: {data: c.h5, shar: 1}", "key replay.shar .* is replay.share"),
        ("data: a.h5\nmodel: {cutoff: -1}", "model.cutoff = -1 is not valid"),
        (
            "data: a.h5\nmodel: {preset: huge}",
            "preset = 'huge' is not valid: input should be 'small', 'medium' or 'large'",
        ),
        (
            "data: a.h5\nmodel: {preset: large, n_radial: 8, n_channels: 6, hidden: [32, 32]}",
            "preset = 'large' does nothing where n_radial, n_channels, hidden are all given; delete it",
        ),
        ("data: a.h5\nmode: e\nloss: {energy: 0}", r"loss weights of mode e \(energy\) are all zero"),
        ("data: a.h5\nmode: ef\nloss: {energy: 0, forces: 0, stress: 0}", "energy, forces, stress.* are all zero"),
        ("data: a.h5\nloss: {energy: 0, forces: 0, hessian: 0, stress: 0}", "so that nothing is learnt"),
        ("data: a.h5\noptimizer: {epochs: 1, epochs: 2}", "key epochs stands twice"),
        ("data: a.h5\n? [mode]\n: ef", "a key is no word"),
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


def test_a_preset_is_the_shape_that_its_keys_spell_out():
    assert ModelSection(preset="small") == ModelSection()
    for name, shape in PRESETS.items():
        meant = ModelSection(**shape)
        assert ModelSection(preset=name) == meant
        assert ModelSection(preset=name, members=2, n_radial=3).model_dump() == {
            **meant.model_dump(),
            "members": 2,
            "n_radial": 3,
        }
        assert ModelSection(**meant.model_dump(), preset=name) == meant


def test_a_run_tells_and_resumes_the_shape_of_its_preset(dataset_file, tmp_path):
    keys = {"data": dataset_file, "mode": "ef", "optimizer": {"epochs": 1}}
    result = train({**keys, "model": {"preset": "small"}}, tmp_path / "run", show=False)
    told = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]
    assert told == {"cutoff": 5.0, "members": 1, "core": "auto", **PRESETS["small"]}
    again = train({**keys, "model": PRESETS["small"]}, tmp_path / "run", resume=True, show=False)
    assert again.model.config == result.model.config


def test_defaults_are_complete():
    assert TrainingConfig(data="a.h5").mode == "efh"


def test_the_current_gpu_is_put_back(dataset_file, tmp_path, monkeypatch):
    """However a run ends that has chosen one for itself; a single process chooses none."""
    current = [1]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: current.__setitem__(0, getattr(device, "index", device))
    )
    monkeypatch.setattr(parallel, "torch_device", torch.device)
    assert parallel._device("cuda:0", None) == torch.device("cuda:0") and current == [1]

    def start(*arguments, **options):
        parallel._device("cuda", 3)
        assert current == [3]
        raise UserError("it ends")

    monkeypatch.setattr(loop, "Run", start)
    with pytest.raises(UserError, match="it ends"):
        train(config(dataset_file), tmp_path, show=False)
    assert current == [1]


def test_a_run_of_an_older_version_is_begun_anew_from_its_model(dataset_file, tmp_path):
    train(config(dataset_file, epochs=2), tmp_path / "old", show=False)
    for name in ("last.pt", "best.pt"):
        kept = torch.load(tmp_path / "old" / name, weights_only=True)
        torch.save({**kept, "version": 2}, tmp_path / "old" / name)
    with pytest.raises(UserError, match="made by an older hesspot"):
        train(config(dataset_file, epochs=2), tmp_path / "old", resume=True, show=False)
    again = config(dataset_file, epochs=2, start_from=str(tmp_path / "old"))
    assert train(again, tmp_path / "new", show=False).epochs == 2


def test_an_element_whose_surroundings_are_alike_is_standardised_as_the_others():
    """Nitrogen is seen in one molecule: what its descriptors vary by is not known, and not taken for nothing."""
    records = []
    for number, name in enumerate(["H2O", "H2O", "CH4", "CH3OH", "NH3"]):
        atoms = molecule(name)
        if name != "NH3":
            atoms.rattle(0.1, seed=number)
        records.append(Record(atoms.numbers, atoms.positions, f"{name} {number}", energy=0.0))
    samples = make_samples(records, ["H", "C", "N", "O"], 4.0, "e")
    model = initial_model(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.0), samples, seed=0)
    largest = model.inverse_deviation.amax(1)
    assert float(largest[2] / largest.min()) < 5 / LEAST_VARIETY  # those of others deviate more than by the floor alone
