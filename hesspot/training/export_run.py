"""The exported file of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hesspot.console import warn
from hesspot.data import Dataset
from hesspot.data.sources import require_one_level
from hesspot.errors import UserError, in_words
from hesspot.export.file import surroundings_of, write_model
from hesspot.export.fingerprint import make_fingerprint
from hesspot.export.metadata import ModelMetadata
from hesspot.export.surroundings import Surroundings
from hesspot.models.ensemble import mean_of
from hesspot.training.checkpoint import load_checkpoint, model_of

#: Structures of its data that a run keeps, with their labels: the references of the exported file's fingerprint.
REFERENCES, KEPT = "references.h5", 32


def export_run(runs: str | Path | Sequence[str | Path], out: str | Path, *, structures: int = 8) -> ModelMetadata:
    """Write the best model of a run that `train` made, or the mean of several, to the model file `out`.

    structures: of those that the run keeps, in the fingerprint. UserError for folders that hold no run, and for runs of
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
    references = _references(folders[0], structures)
    states = [checkpoint.get("electrons") for checkpoint in checkpoints]
    trained = [{**c["config"], "epoch": c["epoch"], "seconds": c["seconds"]} for c in checkpoints]
    return write_model(
        out,
        model,
        make_fingerprint(model, references.records, structures),
        level_of_theory=level,
        electrons=None if None in states else sorted({(q, m) for each in states for q, m in each or ()}),
        training=trained[0] if len(trained) == 1 else {"runs": trained},
        surroundings=_surroundings(model, _sources(checkpoints)),
    )


def _sources(checkpoints: Sequence[dict[str, Any]]) -> list[str]:
    """The data that the runs were trained on."""
    given = [checkpoint["config"]["data"] for checkpoint in checkpoints]
    return list(dict.fromkeys(name for each in given for name in ([each] if isinstance(each, str) else each)))


def _surroundings(model: Any, sources: Sequence[str]) -> Surroundings | None:
    """None, with a word, where the data are not there any more or the model has no kernel."""
    try:
        return surroundings_of(model, sources)
    except (UserError, OSError) as error:
        warn(f"the file says nothing of distances from the training data: {in_words(error)}")
        return None


def _references(run: Path, structures: int) -> Dataset:
    """What the run has kept of its data when it began, wherever they are now."""
    if not 1 <= structures <= KEPT:
        raise UserError(f"--structures {structures} is not possible: a run keeps {KEPT} structures of its data")
    if not (run / REFERENCES).exists():
        raise UserError(
            f"run {run} has no {REFERENCES}, the labels that its file is verified with; put the data that it was "
            f"trained on back, then `hesspot train {run / 'config.yaml'} --out {run} --resume` adds them"
        )
    return Dataset.read(run / REFERENCES)
