"""The dataset file: structures with energies, forces and Hessians in one HDF5 file.

The layout is written down in ``docs/data-format.md``: flat arrays over all structures, with pointer arrays
that cut them, because thousands of small HDF5 groups are slow to open.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.record import Record
from hesspot.errors import UserError
from hesspot.files import contents_of, require_file, write_atomically

FORMAT = "hesspot-dataset"
LABELS = ("energy", "forces", "hessian", "directions", "products", "stress")
#: What version 2 does not have; the newest version that is read, and the one that is written where nothing needs it.
ADDED = ("masses", "charge", "multiplicity")
VERSION, WITHOUT_ADDED = 3, 2
UNITS = {"energy": "eV", "length": "Å", "forces": "eV/Å", "hessian": "eV/Å²"}


def write_dataset_file(path: Path, records: Sequence[Record], level_of_theory: str, provenance: dict[str, Any]) -> None:
    """Write valid records; the file appears complete or not at all.

    It is made in memory: HDF5 does not survive a full disk, and may end the process without a word.
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        file.attrs["format"] = FORMAT
        added = any(getattr(record, name) is not None for record in records for name in ADDED)
        file.attrs["version"] = VERSION if added else WITHOUT_ADDED
        file.attrs["level_of_theory"] = level_of_theory
        file.attrs["units"] = json.dumps(UNITS, ensure_ascii=False)
        file.attrs["provenance"] = json.dumps(provenance, ensure_ascii=False)
        _write_arrays(file, records)
        file.flush()
        image = file.id.get_file_image()
    write_atomically(path, image)


def read_dataset_file(path: Path) -> tuple[list[Record], str, dict[str, Any]]:
    """Records, level of theory and provenance, not yet validated; UserError for what is no such file."""
    require_file(path, "dataset", "check the path, `hesspot label` and `hesspot data convert` write one")
    if (found := contents_of(path)) != "a dataset":
        raise UserError(
            f"{path} cannot be read as a hesspot dataset, it is {found}: make one with `hesspot data convert`"
        )
    try:
        with h5py.File(path, "r") as file:
            _check_header(file, path)
            return (
                _read_arrays(file),
                str(file.attrs["level_of_theory"]),
                json.loads(file.attrs["provenance"]),
            )
    except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as a hesspot dataset, it is truncated or damaged "
            f"({str(error).splitlines()[0]}): write or fetch it again"
        ) from error


def _write_arrays(file: h5py.File, records: Sequence[Record]) -> None:
    def put(name: str, values: np.ndarray) -> None:
        chunks = True if values.size else None  # HDF5 cannot cut empty arrays
        file.create_dataset(name, data=values, compression="gzip", shuffle=True, chunks=chunks)

    def put_text(name: str, values: list[str]) -> None:
        file.create_dataset(name, data=values, dtype=h5py.string_dtype())

    put_text("name", [record.name for record in records])
    put_text("part", [record.part for record in records])
    put_text("kind", [record.kind for record in records])
    put_text("system", [record.system for record in records])
    put_text("properties", [json.dumps(record.properties) for record in records])
    put("cell", np.stack([record.cell for record in records]))
    put("pbc", np.stack([record.pbc for record in records]))
    put("numbers", np.concatenate([record.numbers for record in records]))
    put("positions", np.concatenate([record.positions for record in records]))
    put("atoms_ptr", _pointers([len(record) for record in records]))
    labels: dict[str, list[Any]] = {
        "energy": [[] if record.energy is None else [record.energy] for record in records],
        "forces": [np.zeros((0, 3)) if record.forces is None else record.forces for record in records],
        "hessian": [[] if record.hessian is None else pack(record.hessian) for record in records],
        "directions": [[] if record.directions is None else record.directions.ravel() for record in records],
        "products": [[] if record.products is None else record.products.ravel() for record in records],
        "stress": [np.zeros((0, 3, 3)) if record.stress is None else record.stress[None] for record in records],
    }
    for name in ADDED:
        if any(getattr(record, name) is not None for record in records):
            values = [getattr(record, name) for record in records]
            labels[name] = [[] if value is None else np.atleast_1d(value) for value in values]
    for name, pieces in labels.items():
        put(name, np.concatenate(pieces).astype(np.float64))
        put(f"{name}_ptr", _pointers([len(piece) for piece in pieces]))


def _read_arrays(file: h5py.File) -> list[Record]:
    text = {key: file[key].asstr()[:] for key in ("name", "part", "kind", "system", "properties")}
    count = len(text["name"])
    numbers, positions = file["numbers"][:], file["positions"][:]
    cell, pbc = file["cell"][:], file["pbc"][:]
    atoms = _read_pointers(file, "atoms_ptr", count, len(numbers))
    known = [key for key in (*LABELS, *ADDED) if key in file]
    labels = {key: file[key][:] for key in known}
    ptr = {key: _read_pointers(file, f"{key}_ptr", count, len(values)) for key, values in labels.items()}

    records = []
    for i in range(count):
        own = slice(atoms[i], atoms[i + 1])
        label = {
            key: values[ptr[key][i] : ptr[key][i + 1]]
            for key, values in labels.items()
            if ptr[key][i + 1] > ptr[key][i]
        }
        n = atoms[i + 1] - atoms[i]
        records.append(
            Record(
                numbers=numbers[own],
                positions=positions[own],
                cell=cell[i],
                pbc=pbc[i],
                masses=label.get("masses"),
                energy=label["energy"].item() if "energy" in label else None,
                forces=label.get("forces"),
                hessian=unpack(label["hessian"]) if "hessian" in label else None,
                directions=label["directions"].reshape(-1, n, 3) if "directions" in label else None,
                products=label["products"].reshape(-1, n, 3) if "products" in label else None,
                stress=label["stress"][0] if "stress" in label else None,
                charge=int(label["charge"].item()) if "charge" in label else None,
                multiplicity=int(label["multiplicity"].item()) if "multiplicity" in label else None,
                name=text["name"][i],
                part=text["part"][i],
                kind=text["kind"][i],
                system=text["system"][i],
                properties=json.loads(text["properties"][i]),
            )
        )
    return records


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


@lru_cache(maxsize=64)
def _lower(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(size)


def _pointers(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


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
