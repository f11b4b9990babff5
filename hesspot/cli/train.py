"""`hesspot train`: a model from labelled data."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path | None, typer.Argument(help="configuration (YAML); --template prints one")] = None,
    out: Annotated[Path, typer.Option(help="folder of the run")] = Path("run"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; in the place of the key device")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on exactly where the run in --out stopped")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="print a commented configuration with all keys and defaults, and exit")
    ] = False,
) -> None:
    """Train a house model on energies (e), forces (ef) and Hessians (efh)."""
    from hesspot.console import say
    from hesspot.data import PART_NAMES
    from hesspot.training.config import config_template, read_config
    from hesspot.training.loop import train as run
    from hesspot.training.results import print_results

    if template:
        print(config_template(), end="")
        return
    if config is None:
        raise typer.BadParameter(
            "none is given; `hesspot train --template > config.yaml` writes one", param_hint="CONFIG"
        )
    settings = read_config(config)
    if device is not None:
        settings = settings.model_copy(update={"device": device})
    result = run(settings, out, resume=resume)
    if not result.rows:  # another process writes
        return
    print_results(result.rows)
    say(
        f"{out}: {result.epochs} epochs in {result.training_seconds:.0f} s of training; "
        f"best after epoch {result.best_epoch} (loss {result.best_loss:.4g}, {PART_NAMES[result.validated_on]})"
    )
    say(f"next: hesspot export {out} model.pt")
