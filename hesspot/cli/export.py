"""`hesspot export`: the TorchScript file of finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Overwrite


def export(
    runs: Annotated[list[Path], typer.Argument(help="folder of a run made by hesspot train; of several, the mean")],
    out: Annotated[Path, typer.Argument(help="the model file to write, NAME.pt")],
    structures: Annotated[int, typer.Option(help="structures in the fingerprint", min=1)] = 8,
    overwrite: Overwrite = False,
) -> None:
    """Write the best model of a run, or the mean of several, as one TorchScript file with metadata and fingerprint."""
    from hesspot.console import say
    from hesspot.files import require_free
    from hesspot.training.export_run import export_run

    require_free(out, overwrite)
    metadata = export_run(runs, out, structures=structures)
    say(
        f"{out}: {' '.join(metadata.elements)}, cutoff {metadata.cutoff:g} Å, "
        f"{len(metadata.fingerprint)} structures in the fingerprint"
    )
    say(f"next: hesspot verify {out}")
