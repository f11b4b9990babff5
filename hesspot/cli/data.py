"""`hesspot data`: what a dataset holds, and whether its labels can be right."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Describe and check datasets.", no_args_is_help=True)


@app.command()
def info(file: Annotated[Path, typer.Argument(help="a hesspot dataset")]) -> None:
    """Print what the dataset holds: counts, elements, ranges, missing labels, level of theory."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from hesspot.data import KINDS, PARTS, Dataset

    dataset = Dataset.read(file)
    console = Console(highlight=False)
    sizes = [len(record) for record in dataset]
    lines = {
        "file": f"{file}, {file.stat().st_size / 1e6:.2f} MB",
        "level of theory": dataset.level_of_theory or "not given",
        "structures": f"{len(dataset)} with {min(sizes)} to {max(sizes)} atoms",
        "elements": " ".join(dataset.elements),
    }
    for label in ("energy", "forces", "hessian"):
        known = [value for record in dataset if (value := getattr(record, label)) is not None]
        text = f"{len(known)} of {len(dataset)}"
        if known and label != "energy":
            unit = "eV/Å" if label == "forces" else "eV/Å²"
            text += f", largest element {max(np.abs(value).max() for value in known):.2f} {unit}"
        lines[label] = text
    for key, text in lines.items():
        console.print(f"{key:16}{text}", markup=False)

    kinds = [kind for kind in KINDS if len(dataset.select(kind=kind))]
    for title, key, rows in (
        ("part", "part", [part for part in PARTS if len(dataset.select(part=part))]),
        ("system", "system", list(dict.fromkeys(record.system for record in dataset))),
    ):
        table = Table(title, *kinds, "all")
        for row in rows:
            chosen = dataset.select(**{key: row})
            table.add_row(row, *(str(len(chosen.select(kind=kind)) or "") for kind in kinds), str(len(chosen)))
        console.print(table)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="a hesspot dataset")]) -> None:
    """Test labels: sum rules, forces and imaginary modes at stationary points. Exit status 1 if one fails."""
    from rich.console import Console
    from rich.table import Table

    from hesspot.data import Dataset
    from hesspot.reference.quality import check_dataset

    findings = check_dataset(Dataset.read(file))
    console = Console(highlight=False)
    table = Table("test", "structures", "worst", "limit", "worst in", "failed")
    for test in dict.fromkeys(finding.test for finding in findings):
        own = [finding for finding in findings if finding.test == test]
        worst = max(own, key=lambda finding: finding.value)
        failed = sum(not finding.passed for finding in own)
        table.add_row(test, str(len(own)), f"{worst.value:.1e}", f"{worst.limit:.0e}", worst.name, str(failed))
    console.print(table)
    failures = [finding for finding in findings if not finding.passed]
    for finding in failures:
        console.print(f"{finding.name}: {finding.test} {finding.value:.2e} > {finding.limit:.0e}", markup=False)
    if failures:
        raise typer.Exit(1)
    console.print(f"{len(findings)} tests of the labels in {file} passed", markup=False)
