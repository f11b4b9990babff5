"""The teacher: the structures it is asked of, their labels, and how many force calls they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import ase.io

from hesspot.console import say
from hesspot.data import Dataset, Record
from hesspot.distill.config import DistillKeys, TeacherSection, Ways
from hesspot.errors import UserError
from hesspot.files import replacing
from hesspot.reference.ase_labels import AseMethod
from hesspot.reference.calculator_factory import CalculatorFactory
from hesspot.reference.labelling import label_file
from hesspot.sampling.sample import CALCULATED, MODES, THERMAL, sample
from hesspot.sampling.ways import BETWEEN


def factory_of(teacher: TeacherSection) -> CalculatorFactory:
    return CalculatorFactory(name=teacher.calculator, arguments=teacher.arguments)


def method_of(teacher: TeacherSection) -> AseMethod:
    """The maker of labels; products are differences of forces, whose cost is known."""
    return AseMethod(
        calculator=factory_of(teacher),
        level=teacher.level,
        step=teacher.step,
        differences=True,
        allow_nonconservative=teacher.allow_nonconservative,
    )


def sampled(start: Path, out: Path, section: Ways, teacher: TeacherSection) -> list[ase.Atoms]:
    """Structures around those of `start`, kept in the file `out`."""
    if not out.exists():
        sample(
            start,
            out,
            section.ways,
            keep=section.keep,
            calculator=factory_of(teacher) if section.ways.keys() & CALCULATED.keys() else None,
            temperatures=section.temperatures,
            amplitude=section.amplitude,
            seed=section.seed,
        )
    return read_frames(out)


def read_frames(path: Path) -> list[ase.Atoms]:
    """All structures of an extended XYZ file of our own, with all that is said of them."""
    frames: Any = ase.io.read(path, index=":", format="extxyz")
    return list(frames)


def sampling_calls(section: Ways, starts: Sequence[ase.Atoms]) -> int:
    """Force calls of the teacher's own dynamics and normal modes."""
    moved = sum(6 * len(atoms) for atoms in starts) if MODES in section.ways else 0
    return moved + section.ways.get(THERMAL, 0) * BETWEEN


def marked(frames: Sequence[ase.Atoms], share: float, before: int) -> list[ase.Atoms]:
    """The frames with their parts: `share` of them, spread evenly after `before` others, validates."""
    for number, frame in enumerate(frames, before):
        validates = round((number + 1) * share) > round(number * share)
        frame.info["part"] = "valid" if validates else "train"
    return list(frames)


def write_structures(path: Path, frames: Sequence[ase.Atoms]) -> None:
    with replacing(path) as part:
        ase.io.write(part, list(frames), format="extxyz")


def prepared(method: AseMethod, structures: Path, folder: Path, keys: DistillKeys) -> AseMethod:
    """The method with what it must know of the teacher, measured once and kept in `folder`."""
    folder.mkdir(exist_ok=True)
    records = [
        Record.from_atoms(ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc), name=name)
        for atoms in read_frames(structures)
        if (name := str(atoms.info["name"]))
    ]
    return method.prepare(records, curvature=keys.labels.products > 0, folder=folder, say=say)


def labelled(structures: Path, out: Path, method: AseMethod, products: int, jobs: int, part: str | None) -> Dataset:
    """Labels of a file of structures; those that the teacher refuses are kept beside `out` with the reason."""
    if not out.exists():
        label_file(structures, out, method, hessian=False, products=products, jobs=jobs, part=part)
    dataset = Dataset.read(out)
    if not len(dataset):
        raise UserError(f"{out} holds no labels; delete it, and start again with --resume")
    return dataset


def refused_of(labels: Path) -> list[tuple[str, str]]:
    """Name and reason of each structure that was left out of a file of labels."""
    path = labels.with_name(f"{labels.stem}.refused.xyz")
    if not path.exists():
        return []
    return [(str(frame.info["name"]), str(frame.info["reason"])) for frame in read_frames(path)]
