"""`hesspot reaction`: the saddle point, the way down on both sides, and the barrier."""

from pathlib import Path
from typing import Annotated

import typer

from hesspot.cli.names import model_names
from hesspot.cli.options import Elements, symbols_of


def reaction(
    model: Annotated[str, typer.Argument(help="exported model file, or shipped:NAME", autocompletion=model_names)],
    structure: Annotated[Path, typer.Argument(help="a guess of the saddle point; or the reactant, with the product")],
    product: Annotated[Path | None, typer.Argument(help="the product, its atoms in the reactant's order")] = None,
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("reaction"),
    images: Annotated[int, typer.Option(min=3, help="between reactant and product")] = 9,
    temperature: Annotated[float, typer.Option(min=1e-3, help="K, of free energies and rates")] = 298.15,
    instanton: Annotated[
        list[float] | None, typer.Option(help="K; a rate with tunnelling by i-PI, again for each temperature")
    ] = None,
    elements: Elements = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="write into a folder that holds a reaction")] = False,
) -> None:
    """Find a saddle point, follow the path down to both sides, and give barriers.

    From a guess of the saddle point by Sella with exact Hessians; from reactant and product by a nudged elastic band
    first. Exit status 1 if the path does not lead to the reactant and product that were given.
    """
    from rich.table import Table

    from hesspot.chemistry.reaction import reaction_between, reaction_over
    from hesspot.chemistry.reaction_files import elsewhere, rows, summary, write_reaction
    from hesspot.chemistry.surface import Surface
    from hesspot.chemistry.tunnelling import instanton_rates
    from hesspot.console import say, show
    from hesspot.files import held, require_free
    from hesspot.structures import read_structure

    if out.is_dir():
        require_free(out / "reaction.json", overwrite)
    surface = Surface(model)
    types = symbols_of(elements)
    first = read_structure(structure, elements=types)
    with held(out, "the reaction"):
        if product is None:
            found = reaction_over(surface, first, tell=say)
        else:
            found = reaction_between(
                surface, first, read_structure(product, elements=types), images, say, (structure.stem, product.stem)
            )
        write_reaction(out, surface, found, temperature, [])
        table = Table()
        headings = ("", "energy\neV", "energy\nkcal/mol", "with zero\npoint", f"G at {temperature:g} K\nkcal/mol")
        for heading in headings:
            table.add_column(heading, justify="right" if heading else "left")
        for row in rows(found, temperature):
            table.add_row(*row.cells())
        show(table)
        say(f"bonds: {found.changes}")
        say(summary(found, temperature))
        if instanton:
            rates = instanton_rates(surface.calculator.model, found, instanton, out, say, overwrite)
            write_reaction(out, surface, found, temperature, rates)
    say(f"{surface.n_forces} force calls, {surface.n_hessians} exact Hessians; page: {out / 'reaction.html'}")
    if found.elsewhere:
        say(elsewhere(found), stderr=True)
        raise typer.Exit(1)
