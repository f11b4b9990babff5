"""What `hesspot audit` finds in engines that others have released: a table as Markdown.

    OMP_NUM_THREADS=1 python benchmarks/audit_engines.py --out audits
    python benchmarks/audit_engines.py --out audits --only sw

Fragments are in examples/audit; an engine that is not installed is said to be. Each report stays as JSON and as a page
in the folder; an engine whose report is there is not run again.
"""

import argparse
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hesspot.audit.engines.spec import parse_engine
from hesspot.audit.page import write_page
from hesspot.audit.report import AuditReport, counted
from hesspot.audit.run import audit
from hesspot.audit.structures import made_for
from hesspot.console import say
from hesspot.errors import UserError

EXAMPLES = Path(__file__).parents[1] / "examples" / "audit"


@dataclass(frozen=True)
class Trial:
    """accuracy: of mesh sums and of charges that are iterated, what their input asks for."""

    name: str
    engine: str
    elements: str
    package: str
    accuracy: float = 1e-6
    structures: tuple[str, ...] = ()


#: For engines that take long for one answer.
LEAST = ("molecule", "small cell", "atom alone")

TRIALS = [
    Trial("LAMMPS sw", "lammps:{examples}/si-sw.in elements=Si", "Si", "lammps"),
    Trial("LAMMPS tersoff", "lammps:{examples}/si-tersoff.in elements=Si", "Si", "lammps"),
    Trial("LAMMPS eam/alloy", "lammps:{examples}/cu-eam.in elements=Cu", "Cu", "lammps"),
    Trial("LAMMPS snap", "lammps:{examples}/w-snap.in elements=W", "W", "lammps"),
    Trial(
        "LAMMPS lj/cut/coul/long, ewald", "lammps:{examples}/nacl-coulomb.in elements=Na,Cl", "Na,Cl", "lammps", 1e-5
    ),
    Trial("LAMMPS reaxff, qeq", "lammps:{examples}/cho-reaxff.in elements=C,H,O", "C,H,O", "lammps", 1e-5),
    Trial("ASE EMT", "ase:ase.calculators.emt:EMT", "Cu", "ase"),
    Trial("ASE LennardJones, smooth", "ase:{examples}/calculators.py:lennard_jones", "Cu", "ase"),
    Trial("tblite GFN1-xTB", "ase:{examples}/calculators.py:gfn1", "C,H,O", "tblite", 1e-4, LEAST),
    Trial("hesspot water", "shipped:water", "H,O", "hesspot"),
]


def report_of(trial: Trial, folder: Path) -> AuditReport:
    """From the folder, or from a run."""
    kept = folder / f"{trial.name.replace(' ', '-').replace('/', '-').replace(',', '')}.json"
    if kept.exists():
        return AuditReport.model_validate_json(kept.read_text())
    elements = tuple(trial.elements.split(","))
    spec = parse_engine(trial.engine.format(examples=EXAMPLES), elements)
    made = made_for(elements)
    chosen = {name: made[name] for name in trial.structures or made}
    report, trials = audit({spec.text: spec.engine}, chosen, accuracy=trial.accuracy)
    write_page(kept.with_suffix(".html"), report, trials)
    report.write(kept)
    return report


def row(trial: Trial, report: AuditReport) -> str:
    (engine,) = report.engines
    counts = counted(engine.findings)
    failed = {finding.check for finding in engine.findings if finding.verdict == "FAIL"}
    found = "; ".join(sorted(failed)) or "nothing"
    cells = [trial.name, f"{trial.package} {version(trial.package)}", f"{engine.seconds:.0f}", f"{report.accuracy:g}"]
    cells += [str(counts[verdict]) for verdict in ("PASS", "FAIL", "NOT RUN")]
    return f"| {' | '.join([*cells, found])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="engines whose names hold this text")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for trial in TRIALS:
        if arguments.only not in trial.name:
            continue
        try:
            rows.append(row(trial, report_of(trial, arguments.out)))
        except (UserError, PackageNotFoundError) as error:
            rows.append(f"| {trial.name} | not run: {error} | | | | | | |")
        say(rows[-1])
    say("| engine | package | s | accuracy | passed | failed | not run | what failed |")
    say("|" + " --- |" * 8)
    say("\n".join(rows))


if __name__ == "__main__":
    main()
