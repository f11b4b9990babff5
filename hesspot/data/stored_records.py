"""Records that stay in their files and are read when they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from hesspot.data.dataset_file import DatasetFile
from hesspot.data.record import Record

#: Bytes of Hessians and products, and structures, that are read together where one after the other is asked for.
BLOCK_BYTES, BLOCK = 2**24, 2048


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in a file: where it is, and what is known of it without reading it."""

    file: DatasetFile
    index: int
    name: str
    part: str
    kind: str
    tag: str
    system: str

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def numbers(self) -> np.ndarray:
        """(n,) atomic numbers."""
        ends = self.file.ends["atoms"]
        return self.file.numbers[ends[self.index] : ends[self.index + 1]]

    @property
    def charge(self) -> int | None:
        value = self.file.single("charge", self.index)
        return None if value is None else int(value)

    @property
    def multiplicity(self) -> int | None:
        value = self.file.single("multiplicity", self.index)
        return None if value is None else int(value)

    @property
    def properties(self) -> dict[str, float | str]:
        found: dict[str, float | str] = json.loads(self.file.texts["properties"][self.index])
        return found


class StoredRecords(Sequence[Record]):
    """Records of one file or several, each read and validated whenever it is asked for.

    What is changed in one is not kept. curvature: False leaves Hessians and products unread, None in every record.
    """

    def __init__(self, entries: Sequence[Entry], curvature: bool = True) -> None:
        self.entries, self._curvature = entries, curvature

    @classmethod
    def of(cls, file: DatasetFile) -> StoredRecords:
        """All of a file."""
        texts = [file.texts[key] for key in ("name", "part", "kind", "tag", "system")]
        return cls([Entry(file, i, *own) for i, own in enumerate(zip(*texts, strict=True))])

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> StoredRecords: ...

    def __getitem__(self, index: int | slice) -> Record | StoredRecords:
        if isinstance(index, slice):
            return StoredRecords(self.entries[index], self._curvature)
        return self._read(index % len(self) if -len(self) <= index < 0 else index, 1)[0]

    def __iter__(self) -> Iterator[Record]:
        first = 0
        while first < len(self):
            count = self._block(first)
            yield from self._read(first, count)
            first += count

    def _block(self, first: int) -> int:
        """How many entries from `first` on stand one after the other in one file and are not too large together."""
        file, start = self.entries[first].file, self.entries[first].index
        count = 1
        for entry in self.entries[first + 1 : first + BLOCK]:
            if entry.file is not file or entry.index != start + count:
                break
            if self._curvature and file.curvature_bytes(start, entry.index + 1) > BLOCK_BYTES:
                break
            count += 1
        return count

    def _read(self, first: int, count: int) -> list[Record]:
        entries = self.entries[first : first + count] if count > 1 else [self.entries[first]]
        start = entries[0].index
        records = entries[0].file.read(start, start + count, self._curvature)
        for entry, record in zip(entries, records, strict=True):
            record.name, record.part, record.kind = entry.name, entry.part, entry.kind
            record.tag, record.system = entry.tag, entry.system
            record.validate(str(entry.file.path))
        return records

    def without_curvature(self) -> StoredRecords:
        """The same records without their Hessians and products, which are not read."""
        return StoredRecords(self.entries, curvature=False)

    def chosen(self, indices: Sequence[int]) -> StoredRecords:
        """Some of them."""
        return StoredRecords([self.entries[i] for i in indices], self._curvature)

    def with_texts(self, **texts: Sequence[str]) -> StoredRecords:
        """The same records with other names, parts, kinds, tags or systems."""
        keys: list[dict[str, Any]] = [dict(zip(texts, own, strict=True)) for own in zip(*texts.values(), strict=True)]
        return StoredRecords(
            [replace(entry, **own) for entry, own in zip(self.entries, keys, strict=True)], self._curvature
        )


def without_curvature(records: Sequence[Record]) -> Sequence[Record]:
    """Records whose Hessians and products are not looked at: where they are stored in files they are not read."""
    return records.without_curvature() if isinstance(records, StoredRecords) else records
