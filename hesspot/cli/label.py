"""`hesspot label`: energies, forces, stresses and Hessians from quantum chemistry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hesspot.cli.options import Elements, Overwrite, symbols_of

if TYPE_CHECKING:
    from hesspot.reference.method import LabelMethod

PROGRAMS = ("pyscf", "tblite")


def label(
    source: Annotated[Path, typer.Argument(help="structures, in any format that ASE reads")],
    out: Annotated[Path, typer.Option(help="the dataset to write (HDF5)")],
    program: Annotated[str, typer.Option(help="pyscf: Kohn-Sham; tblite: extended tight binding")] = "pyscf",
    method: Annotated[str | None, typer.Option(help="tblite: GFN1-xTB or GFN2-xTB", show_default="GFN2-xTB")] = None,
    xc: Annotated[str | None, typer.Option(help="PySCF: functional, by PySCF's name", show_default="B3LYP")] = None,
    basis: Annotated[str | None, typer.Option(help="PySCF: basis set", show_default="6-31G(d)")] = None,
    cart: Annotated[
        bool | None, typer.Option("--cart/--spherical", help="PySCF: kind of d functions", show_default="cart")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="PySCF: radial,angular points of the integration grid", show_default="75,434")
    ] = None,
    hessian: Annotated[bool, typer.Option("--hessian/--no-hessian", help="whole Hessians, too")] = True,
    products: Annotated[
        int, typer.Option(help="Hessian products with so many random directions, two gradients each")
    ] = 0,
    part: Annotated[
        str | None,
        typer.Option(
            help="train, valid or test, where the file does not say",
            show_default="80, 10 and 10 % drawn, whole systems where there are five or more",
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="minimum, saddle, irc, nms, other, where the file does not say")] = "other",
    system: Annotated[str | None, typer.Option(help="molecule or reaction", show_default="the formula")] = None,
    jobs: Annotated[int, typer.Option(help="one-thread processes")] = 1,
    mpi: Annotated[
        bool,
        typer.Option("--mpi", help="the ranks of: mpirun -n N python -m mpi4py.futures -m hesspot label …"),
    ] = False,
    elements: Elements = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute energies, forces and Hessians of structures; a stopped run continues when started again."""
    from hesspot.console import say
    from hesspot.errors import UserError
    from hesspot.extras import install_hint

    kohn_sham = {"--xc": xc, "--basis": basis, "--cart/--spherical": cart, "--grid": grid}
    try:
        if program == "pyscf":
            if method is not None:
                raise UserError(f"--method {method} belongs to --program tblite: give --xc and --basis to PySCF")
            level = _pyscf_method(xc, basis, cart, grid)
        elif program == "tblite":
            if given := [key for key, value in kohn_sham.items() if value is not None]:
                raise UserError(f"{given[0]} belongs to --program pyscf: give --method to tblite")
            level = _tblite_method(method)
        else:
            raise UserError(f"--program {program} is not known: use one of {', '.join(PROGRAMS)}")
        from hesspot.reference.labelling import label_file
    except ModuleNotFoundError as error:
        raise UserError(f"labels need {error.name}, which is not installed: {install_hint('reference')}") from error
    dataset = label_file(
        source,
        out,
        level,
        hessian=hessian,
        products=products,
        part=part,
        kind=kind,
        system=system,
        jobs=jobs,
        mpi=mpi,
        elements=symbols_of(elements),
        overwrite=overwrite,
    )
    say(f"{out}: {len(dataset)} structures at {dataset.level_of_theory}")


def _pyscf_method(xc: str | None, basis: str | None, cart: bool | None, grid: str | None) -> LabelMethod:
    from pydantic import ValidationError

    from hesspot.errors import UserError
    from hesspot.reference.pyscf_labels import Method

    given: dict[str, Any] = {"xc": xc, "basis": basis, "cart": cart, "grid": grid and tuple(grid.split(","))}
    try:
        return Method.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise UserError(f"--grid {grid} is not two whole numbers: write it as 75,434") from error


def _tblite_method(method: str | None) -> LabelMethod:
    from pydantic import ValidationError

    from hesspot.errors import UserError
    from hesspot.reference.tblite_labels import TbliteMethod

    try:
        return TbliteMethod.model_validate({"method": method} if method is not None else {})
    except ValidationError as error:
        raise UserError(f"--method {method} is not known to tblite here: use GFN1-xTB or GFN2-xTB") from error
