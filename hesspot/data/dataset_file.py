"""The dataset file: structures with energies, forces and Hessians in one HDF5 file.

The layout is written down in ``docs/data-format.md``: flat arrays over all structures, with pointer arrays
that cut them, because thousands of small HDF5 groups are slow to open. It is written structure by structure and read
in pieces, so that a file may be larger than the memory.
"""

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from hesspot.data.record import Record
from hesspot.errors import UserError
from hesspot.files import contents_of, replacing, require_file

FORMAT = "hesspot-dataset"
LABELS = ("energy", "forces", "hessian", "directions", "products", "stress")
#: What version 2 does not have.
ADDED = ("masses", "charge", "multiplicity")
#: The newest version, which is read; files without tags are of the second, those without what was added of the third.
VERSION, WITHOUT_TAGS, WITHOUT_ADDED = 4, 3, 2
UNITS = {"energy": "eV", "length": "Å", "forces": "eV/Å", "hessian": "eV/Å²"}

TEXTS = ("name", "part", "kind", "system", "properties")
#: Labels of one number for each structure; with cells they are all that is kept in memory of an open file.
_SINGLE = ("energy", "charge", "multiplicity")
#: Labels of second order, which are most of a file.
CURVATURE = ("hessian", "directions", "products")
#: Axes of an array after the first.
_AXES: dict[str, tuple[int, ...]] = {"positions": (3,), "forces": (3,), "cell": (3, 3), "pbc": (3,), "stress": (3, 3)}
#: Numbers in a chunk of HDF5 (64 kB), all of which are read for any one of them.
_CHUNK = 8192
#: Bytes of an array that wait to be written together.
_WAITING = 2**22


class _Image(io.RawIOBase):
    """A file that HDF5 writes to: after the first error it takes all and keeps nothing.

    HDF5 does not survive a full disk, and may end the process without a word. `error` is what happened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)  # type: ignore[return-value]

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(slots=True)
class Head:
    """What is kept in memory of a record that is written, and may change until the file is complete."""

    name: str
    part: str
    kind: str
    tag: str
    system: str
    numbers: np.ndarray
    properties: dict[str, float | str]


class DatasetWriter:
    """Takes valid records one by one; `heads` may be changed until the end."""

    def __init__(self, file: h5py.File, image: _Image) -> None:
        self._file, self._image = file, image
        self.heads: list[Head] = []
        self.level_of_theory = ""
        self.provenance: dict[str, Any] = {}
        self._waiting: dict[str, list[np.ndarray]] = {}
        self._bytes: dict[str, int] = {}
        self._ends: dict[str, array[int]] = {name: array("q", [0]) for name in ("atoms", *LABELS, *ADDED)}

    def add(self, record: Record) -> None:
        """Append a record; OSError if the disk is full."""
        self.heads.append(
            Head(
                record.name,
                record.part,
                record.kind,
                record.tag,
                record.system,
                record.numbers.astype(np.uint8),
                record.properties,
            )
        )
        self._put("cell", record.cell[None])
        self._put("pbc", record.pbc[None])
        self._put("numbers", record.numbers)
        self._put("positions", record.positions)
        self._ends["atoms"].append(self._ends["atoms"][-1] + len(record))
        for name in (*LABELS, *ADDED):
            values = _flat(record, name)
            self._put(name, values)
            self._ends[name].append(self._ends[name][-1] + len(values))
        if self._image.error is not None:
            raise self._image.error

    def _put(self, name: str, values: np.ndarray) -> None:
        self._waiting.setdefault(name, []).append(values)
        self._bytes[name] = self._bytes.get(name, 0) + values.nbytes
        if self._bytes[name] > _WAITING:
            self._flush(name)

    def _flush(self, name: str) -> None:
        values = np.concatenate(self._waiting[name])
        if name not in self._file:
            axes = _AXES.get(name, ())
            rows = _CHUNK // int(np.prod(axes))
            self._file.create_dataset(
                name,
                data=values,
                maxshape=(None, *axes),
                chunks=(rows, *axes),
                compression="gzip",
                shuffle=True,
            )
        else:
            stored = self._file[name]
            stored.resize(len(stored) + len(values), axis=0)
            stored[-len(values) :] = values
        self._waiting[name], self._bytes[name] = [values[:0]], 0

    def finish(self) -> None:
        """Write what waits, the texts and the header."""
        for name in self._waiting:
            if name not in ADDED or self._ends[name][-1]:
                self._flush(name)
        for name, ends in self._ends.items():
            if name not in ADDED or ends[-1]:
                self._file.create_dataset(
                    f"{name}_ptr", data=np.array(ends), compression="gzip", shuffle=True, chunks=True
                )
        tagged = any(head.tag for head in self.heads)
        for name in (*TEXTS, "tag") if tagged else TEXTS:
            values = [getattr(head, name) for head in self.heads]
            if name == "properties":
                values = [json.dumps(properties) for properties in values]
            self._file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        added = any(self._ends[name][-1] for name in ADDED)
        self._file.attrs["format"] = FORMAT
        self._file.attrs["version"] = VERSION if tagged else WITHOUT_TAGS if added else WITHOUT_ADDED
        self._file.attrs["level_of_theory"] = self.level_of_theory
        self._file.attrs["units"] = json.dumps(UNITS, ensure_ascii=False)
        self._file.attrs["provenance"] = json.dumps(self.provenance, ensure_ascii=False)


@contextmanager
def writing_dataset(path: Path) -> Iterator[DatasetWriter]:
    """A writer for the block; the file appears complete or not at all."""
    with replacing(path) as temporary:
        image = _Image(temporary)
        try:
            with h5py.File(image, "w", driver="fileobj") as file:
                writer = DatasetWriter(file, image)
                yield writer
                writer.finish()
            if image.error is not None:
                raise image.error
        finally:
            image.close()


def write_dataset_file(path: Path, records: Sequence[Record], level_of_theory: str, provenance: dict[str, Any]) -> None:
    """Write valid records; the file appears complete or not at all."""
    with writing_dataset(path) as writer:
        writer.level_of_theory, writer.provenance = level_of_theory, provenance
        for record in records:
            writer.add(record)


def _flat(record: Record, name: str) -> np.ndarray:
    """A label as it stands in its flat array; empty where it is not known."""
    values = getattr(record, name)
    axes = _AXES.get(name, ())
    if values is None:
        return np.zeros((0, *axes))
    if name == "hessian":
        return pack(values)
    return np.asarray(values, dtype=np.float64).reshape(-1, *axes)


class DatasetFile:
    """An open dataset file, from which structures are read in pieces.

    All of which there is one for each structure, such as names, is in memory; UserError for what is no such file.
    """

    def __init__(self, path: Path) -> None:
        require_file(path, "dataset", "check the path, `hesspot label` and `hesspot data convert` write one")
        if (found := contents_of(path)) != "a dataset":
            raise UserError(
                f"{path} cannot be read as a hesspot dataset, it is {found}: make one with `hesspot data convert`"
            )
        self.path = path
        self._opened: h5py.File | None = None
        with self._reading() as file:
            _check_header(file, path)
            self.level_of_theory = str(file.attrs["level_of_theory"])
            self.provenance: dict[str, Any] = json.loads(file.attrs["provenance"])
            self.texts: dict[str, list[str]] = {key: _shared(file[key].asstr()[:]) for key in TEXTS}
            count = len(self.texts["name"])
            self.texts["tag"] = _shared(file["tag"].asstr()[:]) if "tag" in file else [""] * count
            if any(len(values) != count for values in self.texts.values()):
                raise ValueError("texts do not fit to each other")
            self.numbers = file["numbers"][:].astype(np.uint8)
            self._cell, self._pbc = file["cell"][:], file["pbc"][:]
            self.known = [key for key in (*LABELS, *ADDED) if key in file]
            self.ends = {"atoms": _read_pointers(file, "atoms_ptr", count, len(self.numbers))}
            for key in self.known:
                self.ends[key] = _read_pointers(file, f"{key}_ptr", count, len(file[key]))
            self._single = {key: file[key][:] for key in _SINGLE if key in self.known}
            if len(file["positions"]) != len(self.numbers) or len(self._cell) != count or len(self._pbc) != count:
                raise ValueError("positions, cells and numbers do not fit to each other")

    def __len__(self) -> int:
        return len(self.texts["name"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}

    def has(self, label: str, index: int) -> bool:
        """Whether a label of a structure is known."""
        return label in self.ends and self.ends[label][index + 1] > self.ends[label][index]

    def curvature_bytes(self, start: int, stop: int) -> int:
        """What labels of second order of these structures take in memory, Hessians as whole matrices."""
        pieces = {key: int(self.ends[key][stop] - self.ends[key][start]) for key in CURVATURE if key in self.ends}
        return 8 * sum(2 * size if key == "hessian" else size for key, size in pieces.items())

    def single(self, label: str, index: int) -> float | None:
        """A label of one number, None where it is not known."""
        return float(self._single[label][self.ends[label][index]]) if self.has(label, index) else None

    def read(self, start: int, stop: int, curvature: bool = True) -> list[Record]:
        """The records from `start` to before `stop`, not yet validated; `curvature`: with Hessians and products."""
        wanted = [key for key in self.known if key not in _SINGLE and (curvature or key not in CURVATURE)]
        with self._reading() as file:
            first = {key: int(self.ends[key][start]) for key in ("atoms", *wanted)}
            pieces = {
                key: file["positions" if key == "atoms" else key][first[key] : int(self.ends[key][stop])]
                for key in ("atoms", *wanted)
                if self.ends[key][stop] > first[key]
            }
            return [self._record(i, pieces, first) for i in range(start, stop)]

    def _record(self, i: int, pieces: dict[str, np.ndarray], first: dict[str, int]) -> Record:
        own = slice(self.ends["atoms"][i], self.ends["atoms"][i + 1])
        label = {
            key: values[self.ends[key][i] - first[key] : self.ends[key][i + 1] - first[key]]
            for key, values in pieces.items()
            if key == "atoms" or self.has(key, i)
        }
        n = own.stop - own.start
        charge, multiplicity = self.single("charge", i), self.single("multiplicity", i)
        return Record(
            numbers=self.numbers[own],
            positions=label["atoms"] if "atoms" in label else np.zeros((0, 3)),
            cell=self._cell[i].copy(),
            pbc=self._pbc[i].copy(),
            masses=label.get("masses"),
            energy=self.single("energy", i),
            forces=label.get("forces"),
            hessian=unpack(label["hessian"]) if "hessian" in label else None,
            directions=label["directions"].reshape(-1, n, 3) if "directions" in label else None,
            products=label["products"].reshape(-1, n, 3) if "products" in label else None,
            stress=label["stress"][0] if "stress" in label else None,
            charge=None if charge is None else int(charge),
            multiplicity=None if multiplicity is None else int(multiplicity),
            properties=json.loads(self.texts["properties"][i]),
            **{key: self.texts[key][i] for key in ("name", "part", "kind", "tag", "system")},
        )

    @contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        try:
            if self._opened is None:
                self._opened = h5py.File(self.path, "r")
            yield self._opened
        except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
            raise UserError(
                f"{self.path} cannot be read as a hesspot dataset, it is truncated or damaged "
                f"({str(error).splitlines()[0]}): write or fetch it again"
            ) from error


def pack(hessian: np.ndarray) -> np.ndarray:
    """Lower triangle of (m, m), row by row: (m (m + 1) / 2,)."""
    return hessian[_lower(len(hessian))]


def unpack(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix of a lower triangle that `pack` made."""
    size = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    rows, columns = _lower(size)
    matrix = np.empty((size, size))
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


@lru_cache(maxsize=16)
def _lower(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(size)


def _shared(values: np.ndarray) -> list[str]:
    """Texts, equal ones as one object."""
    seen: dict[str, str] = {}
    return [seen.setdefault(value, value) for value in values]


def _read_pointers(file: h5py.File, name: str, count: int, total: int) -> np.ndarray:
    pointers = file[name][:]
    if len(pointers) != count + 1 or pointers[0] != 0 or pointers[-1] != total or (np.diff(pointers) < 0).any():
        raise ValueError(f"the array {name} does not fit to the others")
    return pointers


def _check_header(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise UserError(f"{path} is an HDF5 file but not a hesspot dataset: convert it with `hesspot data convert`")
    version = int(file.attrs["version"])
    if version > VERSION:
        raise UserError(f"{path} has dataset version {version}, only {VERSION} is known here: install a newer hesspot")
    units = json.loads(file.attrs["units"])
    if units != UNITS:
        raise UserError(f"{path} has the units {units}: hesspot reads {UNITS} only, convert it")
