"""`hesspot label`: energies, forces, stresses and Hessians from quantum chemistry or any calculator of ASE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hesspot.cli.options import Elements, Overwrite, symbols_of

if TYPE_CHECKING:
    from hesspot.reference.method import LabelMethod

PROGRAMS = ("pyscf", "tblite", "ase")


def label(
    source: Annotated[Path, typer.Argument(help="structures, in any format that ASE reads")],
    out: Annotated[Path, typer.Option(help="the dataset to write (HDF5)")],
    program: Annotated[
        str, typer.Option(help="pyscf: Kohn-Sham; tblite: extended tight binding; ase: any calculator")
    ] = "pyscf",
    method: Annotated[str | None, typer.Option(help="tblite: GFN1-xTB or GFN2-xTB", show_default="GFN2-xTB")] = None,
    xc: Annotated[str | None, typer.Option(help="PySCF: functional, by PySCF's name", show_default="B3LYP")] = None,
    basis: Annotated[str | None, typer.Option(help="PySCF: basis set", show_default="6-31G(d)")] = None,
    cart: Annotated[
        bool | None, typer.Option("--cart/--spherical", help="PySCF: kind of d functions", show_default="cart")
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="PySCF: radial,angular points of the integration grid", show_default="75,434")
    ] = None,
    calculator: Annotated[
        str | None, typer.Option(help="ase: module:factory or file.py:function, such as ase.calculators.emt:EMT")
    ] = None,
    calculator_args: Annotated[
        list[str] | None, typer.Option(help="ase: key=value, again for each, or all in JSON: {…}", metavar="KEY=VALUE")
    ] = None,
    level: Annotated[
        str | None, typer.Option(help="ase: level of theory, in words", show_default="calculator and arguments")
    ] = None,
    step: Annotated[
        float | None, typer.Option(help="ase: Å, of differences of forces", show_default="from their noise")
    ] = None,
    differences: Annotated[
        bool, typer.Option("--differences", help="ase: of forces, also where the calculator has Hessians of its own")
    ] = False,
    allow_nonconservative: Annotated[
        bool, typer.Option("--allow-nonconservative", help="ase: label with forces that are no gradient, too")
    ] = False,
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

    of_program: dict[str, dict[str, Any]] = {
        "pyscf": {"--xc": xc, "--basis": basis, "--cart/--spherical": cart, "--grid": grid},
        "tblite": {"--method": method},
        "ase": {
            "--calculator": calculator,
            "--calculator-args": calculator_args or None,
            "--level": level,
            "--step": step,
            "--differences": differences or None,
            "--allow-nonconservative": allow_nonconservative or None,
        },
    }
    if program not in PROGRAMS:
        raise UserError(f"--program {program} is not known: use one of {', '.join(PROGRAMS)}")
    for other, options in of_program.items():
        given = next((key for key, value in options.items() if value is not None), None)
        if given and other != program:
            own = " and ".join(list(of_program[program])[:2])
            raise UserError(f"{given} belongs to --program {other}: {program} takes {own}")
    try:
        level_of_theory: LabelMethod
        if program == "pyscf":
            level_of_theory = _pyscf_method(xc, basis, cart, grid)
        elif program == "tblite":
            level_of_theory = _tblite_method(method)
        else:
            level_of_theory = _ase_method(
                calculator,
                calculator_args or [],
                level=level,
                step=step,
                differences=differences,
                allow_nonconservative=allow_nonconservative,
            )
        from hesspot.reference.labelling import label_file
    except ModuleNotFoundError as error:
        raise UserError(f"labels need {error.name}, which is not installed: {install_hint('reference')}") from error
    dataset = label_file(
        source,
        out,
        level_of_theory,
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


def _ase_method(calculator: str | None, arguments: list[str], **settings: Any) -> LabelMethod:
    from hesspot.errors import UserError
    from hesspot.reference.ase_labels import AseMethod
    from hesspot.reference.calculator_factory import FORM, CalculatorFactory, parse_arguments

    if calculator is None:
        raise UserError(f"--program ase needs --calculator: {FORM}")
    factory = CalculatorFactory(name=calculator, arguments=parse_arguments(arguments))
    return AseMethod(calculator=factory, **settings)
