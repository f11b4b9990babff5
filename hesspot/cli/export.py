"""`hesspot export`: the TorchScript file of finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Overwrite


def export(
    runs: Annotated[
        list[Path], typer.Argument(help="folder of a run, of several for their mean, or a model file or shipped:NAME")
    ],
    out: Annotated[Path, typer.Argument(help="the model file to write, NAME.pt")],
    structures: Annotated[int, typer.Option(help="structures in the fingerprint", min=1)] = 8,
    core: Annotated[
        list[str] | None,
        typer.Option(help="dataset or shipped:NAME, repeated: a model file gets the repulsive core of these data"),
    ] = None,
    training_data: Annotated[
        list[str] | None,
        typer.Option(help="dataset or shipped:NAME, repeated: a model file learns how far atoms are from these data"),
    ] = None,
    metatomic: Annotated[
        bool, typer.Option("--metatomic", help="write OUT for the engines of metatomic, from runs or a model file")
    ] = False,
    electrons: Annotated[
        bool,
        typer.Option(help="of --metatomic: ask the engine for charge and multiplicity, and refuse untrained ones"),
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Write the best model of a run, the mean of several, or a file of an older format anew, as one model file."""
    from hesspot.console import say
    from hesspot.errors import UserError
    from hesspot.export import read_model
    from hesspot.export.file import rewrite_model
    from hesspot.files import require_free
    from hesspot.models.shipped import find_model
    from hesspot.training.export_run import export_run

    require_free(out, overwrite)
    if metatomic:
        if core or training_data:
            raise UserError(
                "--core and --training-data change a model file; write that first, then export it with --metatomic"
            )
        _for_metatomic(runs, out, structures, electrons)
        return
    if not electrons:
        raise UserError("--no-electrons is for --metatomic; other engines are told nothing of charges: leave it out")
    if len(runs) == 1 and find_model(runs[0]).is_file():
        metadata = rewrite_model(runs[0], out, core or (), training_data or ())
    elif core or training_data:
        option = "--core" if core else "--training-data"
        raise UserError(f"{option} is for a model file; a run knows its data itself: leave it out")
    else:
        metadata = export_run(runs, out, structures=structures)
    say(f"{read_model(out).describe()}, {len(metadata.fingerprint)} structures in the fingerprint")
    say(f"next: hesspot verify {out}")


def _for_metatomic(runs: list[Path], out: Path, structures: int, electrons: bool) -> None:
    from tempfile import TemporaryDirectory

    from hesspot.console import say
    from hesspot.export import read_model
    from hesspot.export.metatomic import write_metatomic
    from hesspot.models.shipped import find_model
    from hesspot.training.export_run import export_run

    with TemporaryDirectory() as folder:
        model = runs[0]
        if len(runs) > 1 or not find_model(model).is_file():
            model = Path(folder, out.name)
            export_run(runs, model, structures=structures)
        loaded = read_model(model, backend="torchscript")
        write_metatomic(out, loaded, ask_electrons=electrons)
    count = len(loaded.metadata.fingerprint)
    say(f"{out}: for metatomic's engines; called as they call it, it gives {count} structures of the fingerprint")
    say(f'next: MetatomicCalculator("{out}") of metatomic_ase, and metatomic.md among the pages of `hesspot --help`')
