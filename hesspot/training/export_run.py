"""The exported file of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hesspot.data.sources import read_data, require_one_level
from hesspot.export.file import write_model
from hesspot.export.fingerprint import make_fingerprint
from hesspot.export.metadata import ModelMetadata
from hesspot.models.ensemble import mean_of
from hesspot.training.checkpoint import load_checkpoint, model_of


def export_run(runs: str | Path | Sequence[str | Path], out: str | Path, *, structures: int = 8) -> ModelMetadata:
    """Write the best model of a run that `train` made, or the mean of several, to the model file `out`.

    structures: of the training data, in the fingerprint. UserError for folders that hold no run, and for runs of
    different levels of theory or shapes.
    """
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    checkpoints = [load_checkpoint(folder / "best.pt") for folder in folders]
    level = checkpoints[0]["level_of_theory"]
    for folder, checkpoint in zip(folders, checkpoints, strict=True):
        levels = {f"run {folders[0]}": level, f"run {folder}": checkpoint["level_of_theory"]}
        require_one_level(levels, False, "a mean is made of models of one level of theory")
    models = [model_of(checkpoint).eval().requires_grad_(False) for checkpoint in checkpoints]
    model = models[0] if len(models) == 1 else mean_of(models).eval()
    dataset = read_data(checkpoints[0]["config"]["data"], allow_mixed_levels=True)
    data_now = f"its data, {checkpoints[0]['config']['data']},"
    require_one_level(
        {f"run {folders[0]}": level, data_now: dataset.level_of_theory},
        False,
        "bring back the data that it was trained on, whose labels are the reference of the fingerprint",
    )
    states = [checkpoint.get("electrons") for checkpoint in checkpoints]
    trained = [{**c["config"], "epoch": c["epoch"], "seconds": c["seconds"]} for c in checkpoints]
    return write_model(
        out,
        model,
        make_fingerprint(model, dataset.records, structures),
        level_of_theory=level,
        electrons=None if None in states else sorted({(q, m) for each in states for q, m in each or ()}),
        training=trained[0] if len(trained) == 1 else {"runs": trained},
    )
