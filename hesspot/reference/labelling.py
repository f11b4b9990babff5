"""Labels for a file of structures: resumable, in parallel, with progress."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

import ase.io
from ase import Atoms

from hesspot.console import Progress, say
from hesspot.data import KINDS, Dataset, Record
from hesspot.data.record import TAG
from hesspot.data.split import usual_split
from hesspot.electrons import electrons_of, stated_electrons
from hesspot.errors import UserError
from hesspot.files import held, replacing, require_free
from hesspot.pool import executor
from hesspot.reference.force_lines import random_directions
from hesspot.reference.method import LabelMethod, NotConverged
from hesspot.reference.partial_results import PartStore, assemble
from hesspot.structures import read_structures


def label_file(
    source: str | Path,
    out: str | Path,
    method: LabelMethod,
    *,
    hessian: bool = True,
    products: int = 0,
    part: str | None = None,
    kind: str = "other",
    system: str | None = None,
    jobs: int = 1,
    mpi: bool = False,
    elements: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Label all structures of an ASE-readable file and write one dataset.

    Every finished structure is kept in ``OUT.parts/`` until the dataset is written, so that a stopped run continues.
    Structures that do not converge are left out with a word; OUT.parts/ then stays, and OUT.refused.xyz holds them,
    each with its `reason`.

    Args:
        hessian: whole Hessians, too.
        products: random directions of each structure whose Hessian products are computed, from two gradients each.
        part, kind, system: for structures whose ``info`` does not say. Parts are drawn by default, see `usual_split`;
            the system is the formula.
        jobs: one-thread processes; a second thread gains little for molecules of this size.
        mpi: the ranks of ``mpirun -n N python -m mpi4py.futures -m hesspot label …`` instead.
        elements: symbols of LAMMPS's atom types, for a file that has types only.
        overwrite: replace `out` if it exists.
    """
    source = Path(source)
    out = Path(out)
    require_free(out, overwrite)
    if jobs < 1:
        raise UserError(f"--jobs {jobs} is not possible: use 1 or more")
    if products < 0:
        raise UserError(f"--products {products} is not possible: use 0 or more")
    tell = partial(say, stderr=True)
    structures = read_structures(source, elements)
    states = electrons_of if method.counts_electrons else stated_electrons
    wanted = [_record(atoms, i, source, part or "train", kind, system, states) for i, atoms in enumerate(structures)]
    Dataset(wanted, method.level_of_theory).validate(str(source))
    division = ""
    if part is None and (undecided := [i for i, atoms in enumerate(structures) if "part" not in atoms.info]):
        drawn, division = usual_split(Dataset([wanted[i] for i in undecided], method.level_of_theory))
        for i, record in zip(undecided, drawn, strict=True):
            wanted[i] = record
    for record in wanted:
        method.check_input(record.atoms_only(), f"{record.name} of {source}", hessian=hessian)

    store = PartStore(out.with_name(out.name + ".parts"), method, tell)
    with held(store.folder, "the labels"):
        require_free(out, overwrite)
        if division:
            tell(f"{division}; --part marks all alike")
        store.method = method = _prepared(method, wanted, hessian or products > 0, store, tell)
        finished = {
            record.name: store.get(record.name, record, hessian=hessian, products=products) for record in wanted
        }
        missing = [record for record in wanted if finished[record.name] is None]
        if len(missing) < len(wanted):
            tell(f"{len(wanted) - len(missing)} of {len(wanted)} structures are taken from {store.folder}")

        reasons: dict[str, str] = {}
        with Progress("labels", len(wanted), len(wanted) - len(missing)) as progress:
            for record, reason in _label_all(missing, method, hessian, products, min(jobs, max(len(missing), 1)), mpi):
                if reason:
                    tell(f"{record.name}: left out, {reason}")
                    reasons[record.name] = reason
                else:
                    store.put(record)
                    finished[record.name] = record
                progress.advance(note=f"{record.name} left out" if reason else record.name)

        _keep_aside(out.with_name(f"{out.stem}.refused.xyz"), structures, wanted, reasons)
        # Labels may come from a part that an earlier run with other --part or --kind has left.
        records = [
            replace(
                done, part=record.part, kind=record.kind, tag=record.tag, system=record.system, masses=record.masses
            )
            for record in wanted
            if (done := finished[record.name]) is not None
        ]
        if not records:
            name, reason = next(iter(reasons.items()))
            raise UserError(
                f"no structure of {source} could be labelled, {out} is not written ({name}: {reason}): check the "
                "geometries"
            )
        dataset = assemble(records, method, out, source=source.name)
        if len(records) == len(wanted):
            store.remove()
        else:
            tell(f"{len(wanted) - len(records)} of {len(wanted)} structures could not be labelled and are left out")
        return dataset


def _keep_aside(path: Path, structures: Sequence[Atoms], records: Sequence[Record], reasons: dict[str, str]) -> None:
    """Write the structures that have a reason for having no labels; without any, no file stays."""
    left_out = []
    for atoms, record in zip(structures, records, strict=True):
        if record.name in reasons:
            frame = atoms.copy()
            frame.info |= {"name": record.name, "reason": reasons[record.name]}
            left_out.append(frame)
    if left_out:
        with replacing(path) as part:
            ase.io.write(part, left_out, format="extxyz")
    else:
        path.unlink(missing_ok=True)


def _prepared(
    method: LabelMethod, records: list[Record], curvature: bool, store: PartStore, tell: Callable[[str], None]
) -> LabelMethod:
    """As `LabelMethod.prepare`; nothing is left of a method that stops it before anything was labelled."""
    try:
        return method.prepare(records, curvature=curvature, folder=store.folder, say=tell)
    except UserError:
        if store.is_empty():
            store.remove()
        raise


def _record(
    atoms: Atoms,
    index: int,
    source: Path,
    part: str,
    kind: str,
    system: str | None,
    states: Callable[[Atoms, str], tuple[int | None, int | None]],
) -> Record:
    """The structure without any labels that the file may hold; `states` tells its charge and multiplicity."""
    bare = atoms.copy()
    bare.info = {}
    name = str(atoms.info.get("name", f"{source.stem}_{index:05d}"))
    charge, multiplicity = states(atoms, f"structure {name!r} of {source}")
    stated = str(atoms.info.get("kind", kind))
    own_word = stated if "kind" in atoms.info and stated not in KINDS else ""
    return Record.from_atoms(
        bare,
        name=name,
        charge=charge,
        multiplicity=multiplicity,
        part=str(atoms.info.get("part", part)),
        kind="other" if own_word else stated,
        tag=str(atoms.info.get(TAG, own_word)),
        system=str(atoms.info.get("system", system or atoms.get_chemical_formula())),
    )


def complete(record: Record, method: LabelMethod, *, hessian: bool, products: int = 0) -> Record:
    """The record with its labels; NotConverged where there are none."""
    labels = method.labels(record.atoms_only(), hessian=hessian)
    directions, found = None, None
    more: dict[str, float | str] = {}
    if products:
        directions = random_directions(record.name, len(record), products)
        found, more = method.products(record.atoms_only(), labels, directions)
    return replace(
        record,
        energy=labels.energy,
        forces=labels.forces,
        stress=labels.stress,
        hessian=labels.hessian,
        directions=directions,
        products=found,
        properties=record.properties | labels.properties | more,
    )


def _label(record: Record, method: LabelMethod, hessian: bool, products: int) -> tuple[Record, str]:
    """The labelled record, or the reason why there is none."""
    try:
        return complete(record, method, hessian=hessian, products=products), ""
    except NotConverged as error:
        return record, str(error)
    except Exception as error:  # whatever a library says of one structure, the others are not lost by it
        return record, f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason was given'}"


def _label_all(
    records: list[Record], method: LabelMethod, hessian: bool, products: int, jobs: int, mpi: bool
) -> Iterator[tuple[Record, str]]:
    if jobs == 1 and not mpi:
        for record in records:
            yield _label(record, method, hessian, products)
        return
    with executor(jobs, mpi=mpi) as pool:
        tasks = [pool.submit(_label, record, method, hessian, products) for record in records]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {jobs} workers ended unexpectedly, out of memory perhaps: run the same command again "
                "with fewer --jobs, finished structures are kept"
            ) from error
