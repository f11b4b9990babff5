"""A dataset: records of one level of theory, in order, in memory and in a file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ase.data import chemical_symbols

from hesspot.data.dataset_file import read_dataset_file, write_dataset_file
from hesspot.data.record import Record
from hesspot.errors import UserError


@dataclass(eq=False, repr=False)
class Dataset:
    """Records of one level of theory, in order."""

    records: list[Record]
    level_of_theory: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} structures, {self.level_of_theory or 'no level of theory'}>"

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    @property
    def elements(self) -> list[str]:
        """Chemical symbols that occur, by atomic number."""
        return [chemical_symbols[z] for z in sorted({int(z) for record in self for z in record.numbers})]

    def select(self, *, part: str | None = None, kind: str | None = None, system: str | None = None) -> Self:
        """The records that match every given value; may be empty."""
        wanted = {"part": part, "kind": kind, "system": system}
        records = [
            record
            for record in self
            if all(value is None or getattr(record, key) == value for key, value in wanted.items())
        ]
        return type(self)(records, self.level_of_theory, self.provenance)

    def validate(self, place: str = "the dataset") -> None:
        """Raise a UserError for the first fault of the set or of a record."""
        if not self.records:
            raise UserError(f"{place} has no structures: add at least one")
        seen: set[str] = set()
        for record in self:
            if record.name in seen:
                raise UserError(f"{place} has two structures named {record.name!r}: give each a unique name")
            seen.add(record.name)
            record.validate(place)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Validate and write; the file appears complete or not at all."""
        self.validate(f"the dataset for {path}")
        write_dataset_file(Path(path), self.records, self.level_of_theory, self.provenance)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read and validate a dataset file."""
        dataset = cls(*read_dataset_file(Path(path)))
        dataset.validate(str(path))
        return dataset
