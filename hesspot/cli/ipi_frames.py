"""`hesspot ipi-frames`: the structures that an i-PI run has kept in doubt, for labelling."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Overwrite


def ipi_frames(
    kept: Annotated[Path, typer.Argument(help="what <active_output> names, such as simulation.doubtful")],
    template: Annotated[Path, typer.Option(help="start structure of the run, for its elements")],
    out: Annotated[Path, typer.Option(help="extended XYZ to write")],
    overwrite: Overwrite = False,
) -> None:
    """Write structures on which a committee disagreed as extended XYZ (Å), with all earlier parts of the run."""
    from hesspot.console import say
    from hesspot.files import require_free
    from hesspot.ipi.doubtful import write_frames

    require_free(out, overwrite)
    count = write_frames(kept, template, out)
    say(f"{out}: {count} structures in doubt" if count else f"{kept} holds no structures, {out} is not written")
    if count:
        say(f"next: hesspot label {out} --out doubtful.h5")
