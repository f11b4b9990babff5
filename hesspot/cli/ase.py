"""`hesspot ase …`: ASE's own command line, which knows the calculator by its name."""

from typing import Annotated

import typer

#: All words go to ASE, `--help` too.
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def ase(words: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENTS", help="of `ase`")] = None) -> None:
    """ASE's command line (`ase`) with the calculator `hesspot`.

    hesspot ase run hesspot water.xyz -p model=shipped:water -f 0.01
    """
    from ase.calculators.names import names
    from ase.cli.main import main

    from hesspot.calculators import NAME
    from hesspot.errors import UserError

    words = words or []
    names.append(NAME)  # what `ase run --help` lists
    try:
        main(prog="hesspot ase", args=["-T", *words])
    except (UserError, OSError):
        raise
    except Exception as error:  # ASE's commands raise whatever they run into
        if "-T" in words or "--traceback" in words:
            raise
        raise UserError(f"{type(error).__name__}: {error} (`hesspot ase -T {' '.join(words)}` shows where)") from error
