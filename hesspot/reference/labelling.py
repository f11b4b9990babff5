"""Labels for a file of structures: resumable, in parallel, with progress."""

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from hesspot.console import Progress, say
from hesspot.data import KINDS, Dataset, Record
from hesspot.data.record import TAG
from hesspot.data.split import usual_split
from hesspot.electrons import electrons_of
from hesspot.errors import UserError
from hesspot.files import held, require_free
from hesspot.pool import executor
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
    Structures that do not converge are left out with a word, and OUT.parts/ then stays.

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
    wanted = [_record(atoms, i, source, part or "train", kind, system) for i, atoms in enumerate(structures)]
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
        finished = {
            record.name: store.get(record.name, record, hessian=hessian, products=products) for record in wanted
        }
        missing = [record for record in wanted if finished[record.name] is None]
        if len(missing) < len(wanted):
            tell(f"{len(wanted) - len(missing)} of {len(wanted)} structures are taken from {store.folder}")

        with Progress("labels", len(wanted), len(wanted) - len(missing)) as progress:
            for record, reason in _label_all(missing, method, hessian, products, min(jobs, max(len(missing), 1)), mpi):
                if reason:
                    tell(f"{record.name}: left out, {reason}")
                else:
                    store.put(record)
                    finished[record.name] = record
                progress.advance(note=f"{record.name} left out" if reason else record.name)

        # Labels may come from a part that an earlier run with other --part or --kind has left.
        records = [
            replace(
                done, part=record.part, kind=record.kind, tag=record.tag, system=record.system, masses=record.masses
            )
            for record in wanted
            if (done := finished[record.name]) is not None
        ]
        if not records:
            raise UserError(f"no structure of {source} converged, {out} is not written: check the geometries")
        dataset = assemble(records, method, out, source=source.name)
        if len(records) == len(wanted):
            store.remove()
        else:
            tell(f"{len(wanted) - len(records)} of {len(wanted)} structures did not converge and are left out")
        return dataset


def _record(atoms: Atoms, index: int, source: Path, part: str, kind: str, system: str | None) -> Record:
    """The structure without any labels that the file may hold."""
    bare = atoms.copy()
    bare.info = {}
    name = str(atoms.info.get("name", f"{source.stem}_{index:05d}"))
    charge, multiplicity = electrons_of(atoms, f"structure {name!r} of {source}")
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
    directions = random_directions(record, products) if products else None
    return replace(
        record,
        energy=labels.energy,
        forces=labels.forces,
        stress=labels.stress,
        hessian=labels.hessian,
        directions=directions,
        products=None if directions is None else hessian_products(record, method, directions),
        properties=record.properties | labels.properties,
    )


def random_directions(record: Record, count: int) -> np.ndarray:
    """(count, n, 3) directions of length √(3n), uniform on the sphere; the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(record.name.encode()))
    directions = rng.normal(size=(count, 3 * len(record)))
    directions *= np.sqrt(3 * len(record)) / np.linalg.norm(directions, axis=1, keepdims=True)
    return directions.reshape(count, -1, 3)


def hessian_products(record: Record, method: LabelMethod, directions: np.ndarray) -> np.ndarray:
    """H·v in eV/Å² of each direction, (k, n, 3): central differences of forces, two calculations each."""
    products = []
    for direction in directions:
        forces = []
        for sign in (1.0, -1.0):
            atoms = record.atoms_only()
            atoms.positions += sign * method.product_step * direction
            forces.append(method.labels(atoms, hessian=False).forces)
        products.append((forces[1] - forces[0]) / (2.0 * method.product_step))
    return np.array(products)


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
