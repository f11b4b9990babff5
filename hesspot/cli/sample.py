"""`hesspot sample`: the structures that a potential must know, from a few."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.options import Elements, Overwrite, symbols_of


def sample(
    source: Annotated[Path, typer.Argument(help="start structures, in any format that ASE reads")],
    out: Annotated[Path, typer.Option(help="extended XYZ to write")],
    way: Annotated[
        list[str],
        typer.Option(
            help="WAY=N, again for each: rattle, strain, deform, vacancy, contact, dimer, thermal", metavar="WAY=N"
        ),
    ],
    keep: Annotated[int | None, typer.Option(help="so many of all, which cover most", show_default="all")] = None,
    calculator: Annotated[
        str | None, typer.Option(help="of thermal and modes: module:factory or file.py:function, as in `hesspot label`")
    ] = None,
    calculator_args: Annotated[
        list[str] | None, typer.Option(help="key=value, again for each, or all in JSON: {…}", metavar="KEY=VALUE")
    ] = None,
    temperatures: Annotated[str, typer.Option(help="of thermal, rising, and of modes, K")] = "300,600,1200",
    amplitude: Annotated[float, typer.Option(help="Å, largest root mean square of random displacements")] = 0.25,
    by: Annotated[
        str, typer.Option(help="of --keep: typical ones, near to most atoms, or farthest, extremes first")
    ] = "typical",
    model: Annotated[
        Path | None,
        typer.Option(
            help="model file or shipped:NAME, whose descriptors compare surroundings", show_default="random weights"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="of all random numbers")] = 0,
    elements: Elements = None,
    overwrite: Overwrite = False,
) -> None:
    """Make structures around those of a file in several ways, and keep those that cover most, for labelling."""
    from collections import Counter
    from functools import partial

    from hesspot.console import say
    from hesspot.data.record import TAG
    from hesspot.errors import UserError
    from hesspot.reference.calculator_factory import CalculatorFactory, parse_arguments
    from hesspot.sampling.sample import sample as run

    ways = {}
    for text in way:
        name, _, count = text.partition("=")
        if not count.isdigit() or name in ways:
            raise UserError(f"--way {text} is no number of structures, or its way stands twice; write --way rattle=40")
        ways[name] = int(count)
    try:
        kelvin = [float(word) for word in temperatures.split(",")]
    except ValueError as error:
        raise UserError(f"--temperatures {temperatures} are no numbers; write them as 300,600") from error
    if calculator_args and calculator is None:
        raise UserError("--calculator-args are given without --calculator; name one")
    factory = None
    if calculator is not None:
        factory = CalculatorFactory(name=calculator, arguments=parse_arguments(calculator_args or []))
    frames = run(
        source,
        out,
        ways,
        keep=keep,
        calculator=factory,
        temperatures=kelvin,
        amplitude=amplitude,
        model=model,
        by=by,
        seed=seed,
        elements=symbols_of(elements),
        overwrite=overwrite,
        say=partial(say, stderr=True),
    )
    counts = ", ".join(f"{count} {name}" for name, count in Counter(frame.info[TAG] for frame in frames).items())
    say(f"{out}: {len(frames)} structures ({counts})")
    say(f"next: hesspot label {out} --out labels.h5")
