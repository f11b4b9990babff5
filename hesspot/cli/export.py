"""`hesspot export`: the TorchScript file of a finished run."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="folder of a run made by hesspot train")],
    out: Annotated[Path, typer.Argument(help="the model file to write, NAME.pt")],
    structures: Annotated[int, typer.Option(help="structures in the fingerprint", min=1)] = 8,
) -> None:
    """Write the best model of a run as one TorchScript file with its metadata and fingerprint."""
    from hesspot.export.file import write_model
    from hesspot.export.fingerprint import make_fingerprint
    from hesspot.training.checkpoint import load_checkpoint, model_of
    from hesspot.training.data import read_data

    checkpoint = load_checkpoint(run / "best.pt")
    model = model_of(checkpoint).eval().requires_grad_(False)
    dataset = read_data(checkpoint["config"]["data"], allow_mixed_levels=True)
    metadata = write_model(
        out,
        model,
        make_fingerprint(model, dataset.records, structures),
        level_of_theory=checkpoint["level_of_theory"],
        training={**checkpoint["config"], "epoch": checkpoint["epoch"], "seconds": checkpoint["seconds"]},
    )
    print(
        f"{out}: {' '.join(metadata.elements)}, cutoff {metadata.cutoff:g} Å, "
        f"{len(metadata.fingerprint)} structures in the fingerprint"
    )
    print(f"next: hesspot verify {out}")
