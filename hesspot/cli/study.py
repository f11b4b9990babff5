"""`hesspot study`: what Hessians in the training data are worth."""

from pathlib import Path
from typing import Annotated

import typer


def study(
    config: Annotated[
        Path | None, typer.Argument(help="arms, seeds and fractions (YAML); --template prints one")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the study")] = Path("study"),
    resume: Annotated[bool, typer.Option("--resume", help="go on where the study in --out stopped")] = False,
    jobs: Annotated[int, typer.Option(help="trainings at a time, one-thread processes")] = 1,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="write the tables and plots anew from the finished runs in --out")
    ] = False,
    template: Annotated[
        bool, typer.Option("--template", help="print a commented study with all keys and defaults, and exit")
    ] = False,
) -> None:
    """Train with several losses, seeds and amounts of data, and compare on the test part."""
    from hesspot.console import say, show
    from hesspot.errors import UserError
    from hesspot.study.config import read_study, study_template
    from hesspot.study.report import write_report
    from hesspot.study.run import Study, run_study

    if template:
        print(study_template(), end="")
        return
    if config is None:
        raise typer.BadParameter(
            "none is given; `hesspot study --template > study.yaml` writes one", param_hint="CONFIG"
        )
    settings = read_study(config)
    if report_only and not out.is_dir():
        raise UserError(f"folder {out} holds no study to report on; run it without --report-only first")
    done = Study(settings, out) if report_only else run_study(settings, out, resume=resume, jobs=jobs)
    report = write_report(done)
    for table in report.tables:
        show(table.rich())
        say("")
    for run in report.missing:
        say(f"not finished: {run}")
    say(f"report: {report.path}")
