"""`hesspot export`: the TorchScript file of finished runs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    runs: Annotated[list[Path], typer.Argument(help="folder of a run made by hesspot train; of several, the mean")],
    out: Annotated[Path, typer.Argument(help="the model file to write, NAME.pt")],
    structures: Annotated[int, typer.Option(help="structures in the fingerprint", min=1)] = 8,
) -> None:
    """Write the best model of a run, or the mean of several, as one TorchScript file with metadata and fingerprint."""
    from hesspot.console import say
    from hesspot.data.sources import read_data
    from hesspot.errors import UserError
    from hesspot.export.file import write_model
    from hesspot.export.fingerprint import make_fingerprint
    from hesspot.models.ensemble import mean_of
    from hesspot.training.checkpoint import load_checkpoint, model_of

    checkpoints = [load_checkpoint(run / "best.pt") for run in runs]
    level = checkpoints[0]["level_of_theory"]
    for run, checkpoint in zip(runs, checkpoints, strict=True):
        if checkpoint["level_of_theory"] != level:
            raise UserError(
                f"run {run} was trained on {checkpoint['level_of_theory']}, but {runs[0]} on {level}; "
                "a mean is made of models of one level of theory"
            )
    models = [model_of(checkpoint).eval().requires_grad_(False) for checkpoint in checkpoints]
    model = models[0] if len(models) == 1 else mean_of(models).eval()
    dataset = read_data(checkpoints[0]["config"]["data"], allow_mixed_levels=True)
    trained = [{**c["config"], "epoch": c["epoch"], "seconds": c["seconds"]} for c in checkpoints]
    metadata = write_model(
        out,
        model,
        make_fingerprint(model, dataset.records, structures),
        level_of_theory=level,
        training=trained[0] if len(trained) == 1 else {"runs": trained},
    )
    say(
        f"{out}: {' '.join(metadata.elements)}, cutoff {metadata.cutoff:g} Å, "
        f"{len(metadata.fingerprint)} structures in the fingerprint"
    )
    say(f"next: hesspot verify {out}")
