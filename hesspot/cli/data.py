"""`hesspot data`: what a dataset holds, whether its labels can be right, and datasets from other formats."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hesspot.cli.names import dataset_names
from hesspot.cli.options import Elements, Overwrite, symbols_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hesspot.data.quality import Finding

app = typer.Typer(help="Convert, describe and check datasets.", no_args_is_help=True)

_SET = "a hesspot dataset, or shipped:NAME"


@app.command()
def info(file: Annotated[str, typer.Argument(help=_SET, autocompletion=dataset_names)]) -> None:
    """Print what the dataset holds: counts, elements, ranges, missing labels, level of theory."""
    from collections import Counter

    from rich.table import Table

    from hesspot.console import Progress, say, show
    from hesspot.data import KINDS, PARTS, Dataset
    from hesspot.data.label_summary import LABELS, LabelSummary
    from hesspot.data.shipped import find_dataset

    path = find_dataset(file)
    dataset = Dataset.open(path)
    heads = dataset.heads
    with Progress("structures read", len(dataset)) as progress:
        labels = LabelSummary.of(dataset, progress.advance)
    sizes = [len(head) for head in heads]
    lines = {
        "file": f"{path}, {path.stat().st_size / 1e6:.2f} MB",
        "level of theory": dataset.level_of_theory or "not given",
        "structures": f"{len(dataset)} with {min(sizes)} to {max(sizes)} atoms, {labels.periodic} periodic",
        "elements": " ".join(dataset.elements),
        **labels.lines(),
    }
    states = Counter((head.charge, head.multiplicity) for head in heads)
    if set(states) != {(None, None)}:
        lines["electrons"] = "; ".join(
            f"charge {_or_unstated(charge)}, multiplicity {_or_unstated(multiplicity)}: {count}"
            for (charge, multiplicity), count in states.items()
        )
    properties = [head.properties for head in heads]
    if levels := {str(own["level_of_theory"]) for own in properties if "level_of_theory" in own}:
        lines["levels of records"] = ", ".join(sorted(levels))
    if keys := sorted({key for own in properties for key in own}):
        lines["properties"] = ", ".join(keys)
    for key, text in lines.items():
        say(f"{key:18}{text}")

    table = Table("part", *LABELS)
    for part in PARTS:
        if part in labels.by_part:
            table.add_row(part, *(str(labels.by_part[part][label]) for label in LABELS))
    show(table)
    kinds = [kind for kind in KINDS if any(head.kind == kind for head in heads)]
    for key in ("part", "tag", "system"):
        counts = Counter((getattr(head, key), head.kind) for head in heads)
        rows = list(dict.fromkeys(row for row, _ in counts))
        if rows == [""]:
            continue
        table = Table(key, *kinds, "all")
        for row in [part for part in PARTS if part in rows] if key == "part" else rows:
            own = [counts[row, kind] for kind in kinds]
            table.add_row(row or "(none)", *(str(count or "") for count in [*own, sum(own)]))
        show(table)


def _or_unstated(value: int | None) -> str:
    return "not stated" if value is None else str(value)


@app.command()
def check(
    file: Annotated[str, typer.Argument(help=_SET, autocompletion=dataset_names)],
    strict: Annotated[bool, typer.Option(help="limits that labels of `hesspot label` keep")] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG, PDF or SVG: a histogram of each defect")] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Test labels: sum rules, stationary points, levels of theory, copies, outliers, gaps.

    Exit status 1 if labels are wrong; noise, which has its size as an error of frequencies, and warnings leave it at 0.
    """
    import json

    from hesspot.console import Progress, say
    from hesspot.data import Dataset
    from hesspot.data.quality import STRICT, TIERS, USUAL, check_dataset, in_words
    from hesspot.data.shipped import find_dataset

    if plot is not None:
        _check_plot(plot, overwrite)
    dataset = Dataset.open(find_dataset(file))
    with Progress("structures checked", len(dataset), lines=not as_json) as progress:
        findings = check_dataset(dataset, STRICT if strict else USUAL, progress.advance)
    told = {tier: in_words([finding for finding in findings if finding.tier == tier]) for tier in TIERS}
    if plot is not None:
        _write_plot(findings, plot)
    if as_json:
        print(json.dumps(_as_json(file, findings), ensure_ascii=False, indent=1))
    else:
        _print_table(findings)
        for tier, sentences in told.items():
            for sentence in sentences:
                say(f"{tier}: {sentence}")
        counts = {tier: f"{len(each)} kind{'s' * (len(each) > 1)} of" for tier, each in told.items() if each}
        verdict = f"{counts['wrong']} test failed" if "wrong" in counts else f"all tests of the labels in {file} passed"
        verdict += " but for noise" if "noise" in counts else ""
        say(verdict + (f", {counts['warning']} warning" if "warning" in counts else ""))
    if told["wrong"]:
        raise typer.Exit(1)


def _by_test(findings: "Sequence[Finding]") -> "dict[str, list[Finding]]":
    tests: dict[str, list[Finding]] = {}
    for finding in findings:
        tests.setdefault(finding.test, []).append(finding)
    return tests


def _print_table(findings: "Sequence[Finding]") -> None:
    from rich import box
    from rich.table import Table

    from hesspot.console import show

    table = Table(box=box.SIMPLE)
    table.add_column("test", no_wrap=True)
    for title in ("of", "worst", "limit", "beyond"):
        table.add_column(title, justify="right")
    for test, own in _by_test(findings).items():
        worst = max(finding.value for finding in own)
        beyond = sum(not finding.passed for finding in own)
        table.add_row(test, str(len(own)), f"{worst:.2g}", f"{own[0].limit:.2g}", str(beyond or ""))
    show(table)


def _as_json(file: str, findings: "Sequence[Finding]") -> dict[str, object]:
    tests = [
        {
            "test": test,
            "severity": own[0].tier,
            "structures": len(own),
            "limit": own[0].limit,
            "worst": max(finding.value for finding in own),
            "beyond": {finding.name: finding.value for finding in own if not finding.passed},
        }
        for test, own in _by_test(findings).items()
    ]
    passed = all(finding.passed or finding.tier != "wrong" for finding in findings)
    return {"file": file, "passed": passed, "tests": tests}


def _check_plot(path: Path, overwrite: bool) -> None:
    from hesspot.errors import UserError
    from hesspot.files import require_free

    known = ("png", "pdf", "svg")
    if path.suffix[1:] not in known:
        raise UserError(f"{path} is no name for a plot: end it with .{', '.join(known)}")
    require_free(path, overwrite)


def _write_plot(findings: "Sequence[Finding]", path: Path) -> None:
    from hesspot.data.quality_plot import quality_figure
    from hesspot.files import replacing

    with replacing(path) as temporary:
        quality_figure(findings).savefig(temporary, format=path.suffix[1:])


@app.command()
def convert(
    sources: Annotated[list[Path], typer.Argument(help="files or folders")],
    out: Annotated[Path, typer.Option(help="the dataset to write")],
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="of all sources, where it is not told by what they hold: hesspot, fchk, orca, pyscf, deepmd, lmdb, "
            "columns, output, gamess-dat, cp2k, deepmd-hdf5, qcschema, phonopy, turbomole, ase, or a name of ASE's",
        ),
    ] = None,
    units: Annotated[str, typer.Option(help="such as energy=Hartree,length=bohr; the rest follows, or is given")] = "",
    keys: Annotated[
        str, typer.Option("--keys", "--map", help="where labels are: energy=REF_energy,forces=dft_forces")
    ] = "",
    level: Annotated[str | None, typer.Option(help="level of theory, such as 'wB97X/6-31G(d)'")] = None,
    part: Annotated[str | None, typer.Option(help="part of all structures: train, valid, test")] = None,
    kind: Annotated[str | None, typer.Option(help="kind of all structures: minimum, saddle, …")] = None,
    tag: Annotated[str | None, typer.Option(help="a word of your own for all structures, as config_type")] = None,
    system: Annotated[str | None, typer.Option(help="system of all structures")] = None,
    split: Annotated[str | None, typer.Option(help="draw parts: 0.8,0.1,0.1 for train, valid, test")] = None,
    split_by: Annotated[
        str | None, typer.Option(help="what stays together: system, composition, structure", show_default="system")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of the split", show_default="0")] = None,
    limit: Annotated[int | None, typer.Option(help="take the first structures of each source")] = None,
    unit_check: Annotated[bool, typer.Option(help="refuse numbers that cannot be in their units")] = True,
    elements: Elements = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a dataset from files of other programs, in eV and Å, as in

    hesspot data convert *.fchk --out set.h5 --split 0.8,0.1,0.1

    What is read of each format, and how units are told: docs/converting-data.md, where `hesspot --help` says.
    """
    from hesspot.console import Progress, say, warn
    from hesspot.data.convert import convert_to
    from hesspot.data.label_summary import LabelSummary
    from hesspot.data.quality import label_warnings
    from hesspot.data.readers import Options, Units
    from hesspot.errors import UserError
    from hesspot.files import require_free

    if split is not None and part is not None:
        raise UserError("--split and --part both say which part a structure is in: give one")
    for option, value in (("--split-by", split_by), ("--seed", seed)):
        if split is None and value is not None:
            raise UserError(f"{option} {value} has no use without --split: leave it out, or say --split 0.8,0.1,0.1")
    require_free(out, overwrite)
    given_units = _pairs(units, "--units")
    parsed = Units.parse(given_units) if given_units else None
    options = Options(parsed, _pairs(keys, "--keys"), elements=symbols_of(elements))
    with Progress("structures read", None) as progress:
        dataset = convert_to(
            out,
            sources,
            options,
            level=level,
            split=None if split is None else _fractions(split),
            split_by=split_by or "system",
            seed=seed or 0,
            provenance={"units": given_units, "keys": dict(options.keys)},
            file_format=file_format,
            part=part,
            kind=kind,
            tag=tag,
            system=system,
            limit=limit,
            check_units=unit_check,
            progress=progress.reach,
            doubt=warn,
        )
    if not dataset.level_of_theory:
        warn("the level of theory is not known; name it with --level")
    with Progress("structures checked", len(dataset)) as progress:
        for sentence in label_warnings(dataset, progress.advance):
            warn(sentence)
    lines = LabelSummary.of(dataset).lines()
    known = ", ".join(f"{label} {text}" for label, text in lines.items() if not text.startswith("0 "))
    say(f"{out}: {len(dataset)} structures; {known}")


def _pairs(text: str, option: str) -> dict[str, str]:
    """``a=b,c=d`` as a dictionary."""
    from hesspot.errors import UserError

    pairs = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise UserError(f"{option} has {item!r}, which is not NAME=VALUE: separate several by commas")
        pairs[key.strip()] = value.strip()
    return pairs


def _fractions(text: str) -> list[float]:
    from hesspot.errors import UserError

    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(f"--split {text} is not three numbers: give it as 0.8,0.1,0.1") from error
