"""`hesspot distill`: from a calculator to a verified model."""

from pathlib import Path
from typing import Annotated

import typer


def distill(
    config: Annotated[
        Path | None, typer.Argument(help="teacher, structures, run (YAML); --template prints one")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the distillation")] = Path("distillation"),
    resume: Annotated[bool, typer.Option("--resume", help="go on where the one in --out stopped")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="print a commented configuration with all keys and defaults, and exit")
    ] = False,
) -> None:
    """Sample, label, train a committee and run it, until a run of the asked length stays within the asked deviation."""
    from hesspot.console import say
    from hesspot.distill.config import distillation_template, read_distillation
    from hesspot.distill.report import FILE
    from hesspot.distill.run import distill as run
    from hesspot.errors import UserError

    if template:
        print(distillation_template(), end="")
        return
    if config is None:
        raise typer.BadParameter(
            "none is given; `hesspot distill --template > distill.yaml` writes one", param_hint="CONFIG"
        )
    endings = run(read_distillation(config), out, resume=resume)
    say(f"report: {out / FILE}")
    for ending in endings:
        if ending.held:
            say(ending.sentence)
    if missing := [ending.sentence for ending in endings if not ending.held]:
        raise UserError("; ".join(missing))
