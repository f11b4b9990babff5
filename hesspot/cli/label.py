"""`hesspot label`: energies, forces and Hessians from quantum chemistry."""

from pathlib import Path
from typing import Annotated

import typer


def label(
    source: Annotated[Path, typer.Argument(help="structures, in any format that ASE reads")],
    out: Annotated[Path, typer.Option(help="the dataset to write (HDF5)")],
    xc: Annotated[str, typer.Option(help="functional, by PySCF's name")] = "B3LYP",
    basis: Annotated[str, typer.Option(help="basis set, by PySCF's name")] = "6-31G(d)",
    cart: Annotated[bool, typer.Option("--cart/--spherical", help="kind of d functions")] = True,
    grid: Annotated[str, typer.Option(help="radial,angular points of the integration grid")] = "75,434",
    hessian: Annotated[bool, typer.Option("--hessian/--no-hessian", help="analytic Hessians, too")] = True,
    part: Annotated[str, typer.Option(help="train, valid or test, where the file does not say")] = "train",
    kind: Annotated[str, typer.Option(help="minimum, saddle, irc, nms, other, where the file does not say")] = "other",
    system: Annotated[str | None, typer.Option(help="molecule or reaction [default: the formula]")] = None,
    jobs: Annotated[int, typer.Option(help="one-thread processes")] = 1,
) -> None:
    """Compute labels of closed-shell molecules with PySCF; a stopped run continues when started again."""
    from pydantic import ValidationError

    from hesspot.errors import UserError

    try:
        from hesspot.reference.labelling import label_file
        from hesspot.reference.pyscf_labels import Method
    except ModuleNotFoundError as error:
        raise UserError(f"labels need {error.name}: pip install 'hesspot[reference]'") from error
    try:
        radial, angular = (int(number) for number in grid.split(","))
        method = Method(xc=xc, basis=basis, cart=cart, grid=(radial, angular))
    except (ValueError, ValidationError) as error:
        raise UserError(f"--grid {grid} is not two whole numbers: write it as 75,434") from error
    dataset = label_file(source, out, method, hessian=hessian, part=part, kind=kind, system=system, jobs=jobs)
    print(f"{out}: {len(dataset)} structures at {dataset.level_of_theory}")
