"""Labels for a file of structures: resumable, in parallel, with a progress bar."""

from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import ase.io
from ase import Atoms
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hesspot.data import Dataset, Record
from hesspot.errors import UserError
from hesspot.reference.parts import PartStore, assemble
from hesspot.reference.pool import executor
from hesspot.reference.pyscf_labels import Method, NotConverged, check_input, compute


def label_file(
    source: Path,
    out: Path,
    method: Method,
    *,
    hessian: bool = True,
    part: str = "train",
    kind: str = "other",
    system: str | None = None,
    jobs: int = 1,
) -> Dataset:
    """Label all structures of an ASE-readable file and write one dataset.

    Every finished structure is kept in ``OUT.parts/`` until the dataset is written, so that a stopped run continues.
    Structures that do not converge are left out with a word, and OUT.parts/ then stays.

    Args:
        part, kind, system: for structures whose ``info`` does not say; the system is the formula by default.
        jobs: one-thread processes; a second thread gains little for molecules of this size.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if out.exists():
        raise UserError(f"{out} exists already: remove it or choose another --out")
    if jobs < 1:
        raise UserError(f"--jobs {jobs} is not possible: use 1 or more")
    wanted = [_record(atoms, i, source, part, kind, system) for i, atoms in enumerate(read_structures(source))]
    Dataset(wanted, method.level_of_theory).validate(str(source))
    for record in wanted:
        check_input(record.atoms_only(), method, f"{record.name} of {source}")

    say = console.print
    store = PartStore(out.with_name(out.name + ".parts"), method, lambda text: say(text, markup=False))
    finished = {record.name: store.get(record.name, record, hessian=hessian) for record in wanted}
    missing = [record for record in wanted if finished[record.name] is None]
    if len(missing) < len(wanted):
        say(f"{len(wanted) - len(missing)} of {len(wanted)} structures are taken from {store.folder}", markup=False)

    columns = (TextColumn("labels"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("labels", total=len(wanted), completed=len(wanted) - len(missing))
        for record, reason in _compute_all(missing, method, hessian, min(jobs, max(len(missing), 1))):
            if reason:
                say(f"{record.name}: left out, {reason}", markup=False)
            else:
                store.put(record)
                finished[record.name] = record
            progress.advance(bar)

    # Labels may come from a part that an earlier run with other --part or --kind has left.
    records = [
        replace(done, part=record.part, kind=record.kind, system=record.system)
        for record in wanted
        if (done := finished[record.name]) is not None
    ]
    if not records:
        raise UserError(f"no structure of {source} converged, {out} is not written: check the geometries")
    dataset = assemble(records, method, out, source=source.name)
    if len(records) == len(wanted):
        store.remove()
    else:
        say(f"{len(wanted) - len(records)} of {len(wanted)} structures did not converge and are left out", markup=False)
    return dataset


def read_structures(source: Path) -> list[Atoms]:
    """All structures of a file in any format that ASE reads."""
    if not source.is_file():
        raise UserError(f"the file {source} does not exist: check the path")
    try:
        structures = list(ase.io.iread(source, ":"))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{source} cannot be read by ASE ({reason}): check its format and ending") from error
    if not structures:
        raise UserError(f"{source} has no structures: give a file with at least one")
    return structures


def _record(atoms: Atoms, index: int, source: Path, part: str, kind: str, system: str | None) -> Record:
    """The structure without any labels that the file may hold."""
    bare = atoms.copy()
    bare.info = {}
    return Record.from_atoms(
        bare,
        name=str(atoms.info.get("name", f"{source.stem}_{index:05d}")),
        part=str(atoms.info.get("part", part)),
        kind=str(atoms.info.get("kind", kind)),
        system=str(atoms.info.get("system", system or atoms.get_chemical_formula())),
    )


def _label(record: Record, method: Method, hessian: bool) -> tuple[Record, str]:
    """The labelled record, or the reason why there is none."""
    try:
        labels = compute(record.atoms_only(), method, hessian=hessian)
    except NotConverged as error:
        return record, str(error)
    properties = record.properties | labels.properties
    return replace(
        record, energy=labels.energy, forces=labels.forces, hessian=labels.hessian, properties=properties
    ), ""


def _compute_all(records: list[Record], method: Method, hessian: bool, jobs: int) -> Iterator[tuple[Record, str]]:
    if jobs == 1:
        for record in records:
            yield _label(record, method, hessian)
        return
    with executor(jobs) as pool:
        tasks = [pool.submit(_label, record, method, hessian) for record in records]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {jobs} workers ended unexpectedly, out of memory perhaps: run the same command again "
                "with fewer --jobs, finished structures are kept"
            ) from error
