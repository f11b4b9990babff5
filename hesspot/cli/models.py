"""`hesspot models`: what is shipped, and what a name stands for."""

from typing import Annotated, Any

import typer


def models(
    name: Annotated[str | None, typer.Argument(help="one of them, for all that is known of it")] = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    path: Annotated[
        bool, typer.Option("--path", help="print the model's file, for programs that know no names")
    ] = False,
) -> None:
    """List the models that come with hesspot; `shipped:NAME` stands for one wherever a model is asked for."""
    import json as json_module

    from hesspot.errors import UserError
    from hesspot.models import shipped

    if path and name is None:
        raise UserError("--path is of one model; name it: `hesspot models NAME --path`")
    if path and json:
        raise UserError("--path and --json are two ways to print; give one of them")
    name = name and name.removeprefix(shipped.PREFIX)
    if path:
        print(shipped.path(str(name)))
        return
    told = [_description(each) for each in ([name] if name else shipped.names())]
    if json:
        print(json_module.dumps(told[0] if name else told, indent=1, ensure_ascii=False))
    elif name:
        _show_one(told[0])
    else:
        _show_all(told)


def _description(name: str) -> dict[str, Any]:
    """What the file says and what its card says."""
    from hesspot.export import read_model
    from hesspot.models.shipped import path, read_card

    card, metadata = read_card(name), read_model(path(name)).metadata
    return {
        "name": name,
        "use": f"shipped:{name}",
        "file": str(path(name)),
        "elements": metadata.elements,
        "cutoff": metadata.cutoff,
        "level_of_theory": metadata.level_of_theory,
        "architecture": metadata.architecture.name,
        "weights_sha256": metadata.weights_sha256,
        **card.model_dump(),
    }


def _show_all(told: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from hesspot.console import say, show

    table = Table()
    for heading in ("model", "for", "elements", "level of theory", "forces\neV/Å", "frequencies\ncm⁻¹", "runs\nheld"):
        table.add_column(heading)
    table.add_column("licence")
    for each in told:
        errors, runs = each["errors"], each["stability"]
        table.add_row(
            each["use"],
            each["about"],
            " ".join(each["elements"]),
            each["level_of_theory"],
            ", ".join(f"{one['forces_rmse']:.2g}" for one in errors if one["group"] == "all"),
            ", ".join(_number(one["frequencies_mae"]) for one in errors if one["group"] == "minima"),
            f"{sum(not run['event'] for run in runs)} of {len(runs)}" if runs else "–",
            each["licence"],
        )
    show(table)
    say("errors of test parts: RMSE of forces, MAE of frequencies at minima; all of a model: `hesspot models NAME`")


def _show_one(told: dict[str, Any]) -> None:
    from rich.table import Table

    from hesspot.console import say, show
    from hesspot.models.shipped import Run

    facts = Table(show_header=False, box=None)
    for key in ("use", "file", "about", "not_for", "level_of_theory", "licence", "made", "page", "architecture"):
        facts.add_row(key.replace("_", " "), str(told[key]))
    facts.add_row("elements", " ".join(told["elements"]))
    facts.add_row("cutoff", f"{told['cutoff']:g} Å")
    facts.add_row("weights", told["weights_sha256"])
    show(facts)
    errors = Table(title="errors", title_justify="left")
    for heading in ("part", "structures", "energy MAE\nmeV/atom", "forces RMSE\neV/Å", "Hessian RMSE\neV/Å²"):
        errors.add_column(heading)
    errors.add_column("frequencies MAE\ncm⁻¹")
    for one in told["errors"]:
        where = f"{one['data']}, {one['part']}, {one['group']}"
        values = (one[key] for key in ("energy_mae", "forces_rmse", "hessian_rmse", "frequencies_mae"))
        errors.add_row(where, str(one["structures"]), *map(_number, values))
    show(errors)
    if told["stability"]:
        say("runs until the first unphysical event (page `stability`):")
    for run in told["stability"]:
        one = Run.model_validate(run)
        say(f"  {one.start}, {one.ensemble.upper()}, {one.temperature:g} K: {one.describe()}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
