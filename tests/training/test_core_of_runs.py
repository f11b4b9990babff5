"""Risk: a core that is felt in the data, that a run loses, or that it changes when it goes on."""

import ase
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.contract import build_batch
from hesspot.data import Dataset, Record
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.models.core import OUTER
from hesspot.training.checkpoint import load_checkpoint, model_of
from hesspot.training.config import parse_config
from hesspot.training.export_run import export_run
from hesspot.training.loop import train
from hesspot.training.trainer import Trainer


def config(data, core=None, **changed):
    model = {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4], **({} if core is None else {"core": core})}
    optimizer = {"epochs": 1, "batch_size": 5}
    return parse_config({"data": str(data), "mode": "ef", "model": model, "optimizer": optimizer, **changed}, "a test")


def shortest(records):
    """Of each pair, Å, by ASE."""
    found = {}
    for atoms in (record.atoms_only() for record in records):
        for i, row in enumerate(atoms.get_all_distances()):
            for j in range(i):
                pair = "-".join(sorted((atoms.symbols[i], atoms.symbols[j])))
                found[pair] = min(found.get(pair, np.inf), row[j])
    return found


def outer(core):
    return {pair: radii[1] for pair, radii in core.items()}


def stretched(dataset, folder, factor):
    """The same set with other distances."""
    records = [
        Record(r.numbers, factor * r.positions, r.name, energy=r.energy, forces=r.forces, part=r.part) for r in dataset
    ]
    Dataset(records, dataset.level_of_theory).write(folder / f"{factor}.h5")
    return folder / f"{factor}.h5"


def test_a_run_chooses_its_core_from_its_training_structures_and_tells_it(dataset, dataset_file, tmp_path, capsys):
    result = train(config(dataset_file), tmp_path / "run", final_table=False)
    training = dataset.select(part="train").records
    expected = {pair: OUTER * r for pair, r in shortest(training).items()}
    assert "O-O" not in expected
    expected["O-O"] = OUTER * 2 * 0.66  # Cordero's radius of oxygen
    assert outer(result.model.config.core) == pytest.approx(expected)
    assert f"repulsive core below H-H {expected['H-H']:.2f}, H-O {expected['H-O']:.2f}, O-O 1.19 Å" in "".join(
        capsys.readouterr()
    )
    bare = model_of(load_checkpoint(tmp_path / "run" / "best.pt"))
    bare.set_core(None)
    batch = build_batch([r.atoms_only() for r in training], bare.elements, bare.cutoff)
    assert torch.equal(evaluate(result.model, batch).forces, evaluate(bare, batch).forces)
    written = export_run(tmp_path / "run", tmp_path / "model.pt")
    assert outer(written.architecture.config["core"]) == pytest.approx(expected)
    assert "repulsive core below H-H" in read_model(tmp_path / "model.pt").describe()


def test_none_is_none(dataset_file):
    model = Trainer(config(dataset_file, core="none")).model
    assert model.config.core is None and not model.core.any()


def test_a_model_that_is_trained_on_has_no_larger_core(dataset, dataset_file, tmp_path):
    first = train(config(dataset_file), tmp_path / "run", final_table=False, show=False).model.config.core
    start = {"start_from": str(tmp_path / "run")}
    wider, closer = (stretched(dataset, tmp_path, factor) for factor in (1.3, 0.7))
    assert Trainer(config(wider, **start)).model.config.core == first
    shrunk = outer(Trainer(config(closer, **start)).model.config.core)
    assert shrunk["H-O"] == pytest.approx(0.7 * first["H-O"][1]) and shrunk["O-O"] == first["O-O"][1]
    replayed = Trainer(config(wider, replay={"data": str(closer)}, **start)).model.config.core
    assert outer(replayed) == pytest.approx(shrunk)
    alone = parse_config({"data": str(closer), "mode": "ef", "model": {"core": "none"}, **start}, "a test")
    assert Trainer(alone).model.config.core is None
    without = Trainer(config(closer, core="none", **start)).model
    assert without.config.core is None
    oldest = tmp_path / "run" / "best.pt"
    kept = torch.load(oldest, weights_only=True)
    del kept["model_config"]["core"]
    torch.save(kept, oldest)
    assert outer(Trainer(config(closer, **start)).model.config.core)["H-O"] == pytest.approx(shrunk["H-O"])


def test_a_resumed_run_keeps_its_core(dataset_file, tmp_path):
    """Whatever would be chosen today; a run that was begun before there were cores has none."""
    for name, kept_core in (("run", {"H-H": (0.1, 0.2), "H-O": (0.2, 0.3), "O-O": (0.4, 0.5)}), ("old", None)):
        train(config(dataset_file), tmp_path / name, final_table=False, show=False)
        for file in ("last.pt", "best.pt"):
            kept = torch.load(tmp_path / name / file, weights_only=True)
            kept["model_config"]["core"] = kept_core
            kept["epoch"] = 0
            if kept_core is None:
                del kept["model_config"]["core"], kept["config"]["model"]["core"]
            torch.save(kept, tmp_path / name / file)
        resumed = train(config(dataset_file), tmp_path / name, resume=True, final_table=False, show=False)
        assert resumed.model.config.core == kept_core
        assert bool(resumed.model.core.any()) == (kept_core is not None)


def export(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_file_from_before_gets_the_core_of_its_data(dataset, dataset_file, tmp_path):
    train(config(dataset_file, core="none"), tmp_path / "run", final_table=False, show=False)
    export(tmp_path / "run", tmp_path / "old.pt")
    assert "no repulsive core" in read_model(tmp_path / "old.pt").describe()
    export(tmp_path / "old.pt", tmp_path / "new.pt", "--core", dataset_file)
    old, new = read_model(tmp_path / "old.pt"), read_model(tmp_path / "new.pt")
    expected = {pair: OUTER * r for pair, r in shortest(dataset).items()}
    assert {pair: new.metadata.architecture.config["core"][pair][1] for pair in expected} == pytest.approx(expected)
    assert new.metadata.fingerprint == old.metadata.fingerprint
    batch = build_batch([r.atoms_only() for r in dataset], old.elements, old.cutoff)
    assert torch.equal(evaluate(new, batch).forces, evaluate(old, batch).forces)
    close = build_batch([ase.Atoms("OH", [[0, 0, 0], [0.1, 0, 0]])], old.elements, old.cutoff)
    assert float(evaluate(new, close).energy - evaluate(old, close).energy) > 100.0
    with pytest.raises(UserError, match="--core is for a model file"):
        export(tmp_path / "run", tmp_path / "other.pt", "--core", dataset_file)
