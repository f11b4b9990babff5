"""Finished structures, one small dataset file each: what a stopped run leaves for the next one."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from hesspot.data import Dataset, Record
from hesspot.errors import UserError
from hesspot.reference.method import LabelMethod


class PartStore:
    """A folder of finished records of one method; files appear complete or not at all.

    Args:
        say: called with a sentence when a part cannot be used again.
    """

    def __init__(self, folder: str | Path, method: LabelMethod, say: Callable[[str], None] = print) -> None:
        folder = Path(folder)
        self.folder = folder
        self.method = method
        self.say = say
        if not folder.parent.is_dir():
            raise UserError(f"cannot write {folder}: the folder {folder.parent} does not exist, create it")
        folder.mkdir(exist_ok=True)

    def _file(self, name: str) -> Path:
        readable = quote(name, safe="")
        return self.folder / f"{readable[:80]}.{hashlib.sha256(name.encode()).hexdigest()[:12]}.h5"

    def get(self, name: str, like: Record | None = None, *, hessian: bool = True, products: int = 0) -> Record | None:
        """The finished record of this name, or None if it must be computed.

        Args:
            like: the geometry that the record must have.
            hessian: whether it must have a Hessian.
            products: how many Hessian products it must have.
        """
        file = self._file(name)
        if not file.exists():
            return None
        try:
            part = Dataset.read(file)
        except UserError as error:
            self.say(f"{name}: computed again, {error}")
            return None
        if part.provenance != self.method.provenance():
            self.say(f"{name}: computed again, {file} was made with another method or program version")
            return None
        record = part[0]
        if like is not None and not same_geometry(record, like):
            self.say(f"{name}: computed again, {file} holds another geometry")
            return None
        if hessian and record.hessian is None:
            self.say(f"{name}: computed again, {file} has no Hessian")
            return None
        if products != (0 if record.products is None else len(record.products)):
            self.say(f"{name}: computed again, {file} has another number of Hessian products")
            return None
        return record

    def put(self, record: Record) -> None:
        Dataset([record], self.method.level_of_theory, self.method.provenance()).write(self._file(record.name))

    def is_empty(self) -> bool:
        return not any(self.folder.glob("*.h5"))

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def same_geometry(a: Record, b: Record) -> bool:
    same = all(np.array_equal(getattr(a, key), getattr(b, key)) for key in ("numbers", "positions", "cell", "pbc"))
    return same and (a.charge or 0, a.multiplicity or 1) == (b.charge or 0, b.multiplicity or 1)


def assemble(records: list[Record], method: LabelMethod, out: str | os.PathLike[str], **more: Any) -> Dataset:
    """Write the records as one dataset; `more` goes to its provenance."""
    dataset = Dataset(records, method.level_of_theory, method.provenance() | more)
    dataset.write(out)
    return dataset
