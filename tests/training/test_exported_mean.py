"""Risk: a file of several runs that is not their mean, or of runs that do not belong together."""

import pytest
import torch
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.contract import build_batch
from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.config import parse_config
from hesspot.training.loop import train

ROUNDING = 1e-11  # eV: the same float64 operations in another order
SIGNAL = 1e-6  # eV: what other initial weights change at least


def run(dataset_file, folder, seed, **model):
    settings = {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4], **model}
    config = {"data": str(dataset_file), "seed": seed, "model": settings, "optimizer": {"epochs": 1}}
    train(parse_config(config, "a test"), folder, show=False)
    return folder


def test_runs_are_exported_as_their_mean(dataset_file, dataset, tmp_path):
    runs = [run(dataset_file, tmp_path / f"run-{seed}", seed) for seed in (0, 1)]
    result = CliRunner().invoke(app, ["export", *map(str, runs), str(tmp_path / "mean.pt")])
    assert result.exit_code == 0, result.output
    model = read_model(tmp_path / "mean.pt")
    assert len(model.metadata.training["runs"]) == 2
    batch = build_batch([dataset[0].atoms_only()], model.elements, model.cutoff)
    arguments = batch.species, batch.centers, batch.neighbors, batch.vectors
    alone = torch.stack([model_of(load_checkpoint(folder / "best.pt"))(*arguments).detach() for folder in runs])
    assert (alone[0] - alone[1]).abs().max() > SIGNAL
    torch.testing.assert_close(model(*arguments), alone.mean(0), atol=ROUNDING, rtol=1e-13)


def test_runs_of_other_shapes_are_refused(dataset_file, tmp_path):
    runs = [run(dataset_file, tmp_path / "a", 0), run(dataset_file, tmp_path / "b", 0, n_channels=3)]
    result = CliRunner().invoke(app, ["export", *map(str, runs), str(tmp_path / "mean.pt")])
    assert result.exit_code != 0 and not (tmp_path / "mean.pt").exists()
    assert "another shape" in result.output + str(result.exception)


def test_runs_of_other_levels_of_theory_are_refused(dataset_file, dataset, tmp_path):
    other = tmp_path / "other.h5"
    Dataset(dataset.records, "harmonic bonds of another table").write(other)
    runs = [run(dataset_file, tmp_path / "a", 0), run(other, tmp_path / "b", 0)]
    with pytest.raises(UserError, match="levels of theory, harmonic bonds and harmonic bonds of another table"):
        CliRunner().invoke(app, ["export", *map(str, runs), str(tmp_path / "mean.pt")], catch_exceptions=False)
    assert not (tmp_path / "mean.pt").exists()
