"""A dataset: records of one level of theory, in order, in memory or in a file."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ase.data import chemical_symbols

from hesspot.data.dataset_file import DatasetFile, write_dataset_file
from hesspot.data.record import Record
from hesspot.data.stored_records import Entry, StoredRecords
from hesspot.errors import UserError


@dataclass(eq=False, repr=False)
class Dataset:
    """Records of one level of theory, in order; those of a file that is open are read whenever they are asked for."""

    records: Sequence[Record]
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
    def heads(self) -> Sequence[Record | Entry]:
        """Name, part, kind, tag, system, numbers, charge, multiplicity and properties of each, without reading more."""
        return self.records.entries if isinstance(self.records, StoredRecords) else self.records

    @property
    def elements(self) -> list[str]:
        """Chemical symbols that occur, by atomic number."""
        return [
            chemical_symbols[z] for z in sorted({int(z) for head in self.heads for z in set(head.numbers.tolist())})
        ]

    def select(
        self, *, part: str | None = None, kind: str | None = None, tag: str | None = None, system: str | None = None
    ) -> Self:
        """The records that match every given value; may be empty."""
        wanted = {"part": part, "kind": kind, "tag": tag, "system": system}
        given = [(key, value) for key, value in wanted.items() if value is not None]
        indices = [i for i, head in enumerate(self.heads) if all(getattr(head, key) == value for key, value in given)]
        return type(self)(self._chosen(indices), self.level_of_theory, self.provenance)

    def _chosen(self, indices: Sequence[int]) -> Sequence[Record]:
        if isinstance(self.records, StoredRecords):
            return self.records.chosen(indices)
        return [self.records[i] for i in indices]

    def validate(self, place: str = "the dataset") -> None:
        """Raise a UserError for the first fault of the set or of a record."""
        self._require_unique_names(place)
        for record in self:
            record.validate(place)

    def _require_unique_names(self, place: str) -> None:
        if not self.records:
            raise UserError(f"{place} has no structures: add at least one")
        seen: set[str] = set()
        for head in self.heads:
            if head.name in seen:
                raise UserError(f"{place} has two structures named {head.name!r}: give each a unique name")
            seen.add(head.name)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Validate and write; the file appears complete or not at all."""
        self.validate(f"the dataset for {path}")
        write_dataset_file(Path(path), self.records, self.level_of_theory, self.provenance)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read and validate a dataset file, all of it into memory."""
        with DatasetFile(Path(path)) as file:
            dataset = cls(file.read(0, len(file)), file.level_of_theory, file.provenance)
        dataset.validate(str(path))
        return dataset

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A dataset file that may be larger than the memory: a record is read and validated when it is asked for.

        A change of such a record is not kept.
        """
        file = DatasetFile(Path(path))
        dataset = cls(StoredRecords.of(file), file.level_of_theory, file.provenance)
        dataset._require_unique_names(str(path))
        return dataset
