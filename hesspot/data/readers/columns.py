"""Plain HDF5 and NPZ: arrays under names, with a map from fields to names where the names are unusual.

Two layouts are told apart by the shape of the positions: (n, 3) is one structure, and a group of its own for each;
(m, n, 3) are m structures in stacked arrays, of one composition or filled up with atoms of number 0 or −1.
Structures of different sizes in one flat array, (Σn, 3), need `counts`; in HDF5 they may also be of variable length.
"""

import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.readers.keys import find_keys, unread, usual_keys
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of, periodic_along
from hesspot.data.readers.rows import read_rows
from hesspot.errors import UserError

_LABELS = ("energy", "forces", "gradient", "hessian", "cell", "pbc", "masses", "stress", "virial")
_TEXTS = ("name", "system", "kind", "tag", "part", "level")
_ELECTRONS = ("charge", "multiplicity", "spin")
#: Bytes of stacked arrays that are read at a time.
_BLOCK = 2**24

#: Atomic numbers, positions and labels of one structure.
_Structure = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Structures of an ``.npz`` or HDF5 file."""
    if path.suffix == ".npz":
        yield from _read_npz(path, options)
        return
    try:
        with h5py.File(path, "r") as file:
            found = False
            for group, inherited in _groups(file, {}):
                own = _arrays(group, options)
                if not _has_positions(own, options):
                    continue
                found = True
                yield from _structures({**inherited, **group.attrs, **own}, path, group.name.strip("/"), options)
            if not found:
                raise UserError(f"{path} has no positions under a usual name: say where with --keys positions=NAME")
    except OSError as error:
        raise UserError(f"{path} cannot be read as HDF5, it is truncated or damaged: fetch it again") from error


def _read_npz(path: Path, options: Options) -> Iterator[Raw]:
    try:
        with zipfile.ZipFile(path) as file:
            columns = {
                member.removesuffix(".npy"): read_rows(partial(file.open, member), f"{member} of {path}")
                for member in file.namelist()
            }
            yield from _structures(columns, path, "", options)
    except UserError:
        raise
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as NPZ, it is truncated, damaged or holds Python objects, which can run code: "
            "store arrays of numbers, of structures of different sizes filled up or flat with counts"
        ) from error
    except Exception as error:  # zipfile.BadZipFile and zlib.error
        raise UserError(f"{path} cannot be read as NPZ ({error}): fetch it again") from error


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset)


def _arrays(group: h5py.Group, options: Options) -> dict[str, Any]:
    """Arrays of a group by name, and by the given keys that are paths into groups below it."""
    arrays = {key: item for key, item in group.items() if _is_array(item)}
    return arrays | {key: group[key] for key in options.keys.values() if "/" in key and _is_array(group.get(key))}


def _has_positions(columns: Mapping[str, Any], options: Options) -> bool:
    given = options.keys.get("positions")
    wanted = usual_keys("positions") if given is None else {given.lower()}
    return any(key.lower() in wanted for key in columns)


def _groups(group: h5py.Group, inherited: Mapping[str, Any]) -> Iterator[tuple[h5py.Group, dict[str, Any]]]:
    """Every group with positions, and the arrays of the groups above it, such as one list of atomic numbers."""
    yield group, dict(inherited)
    arrays = {key: item for key, item in group.items() if _is_array(item)}
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from _groups(item, {**inherited, **group.attrs, **arrays})


def _structures(columns: Mapping[str, Any], path: Path, where: str, options: Options) -> Iterator[Raw]:
    place = f"group {where} of {path}" if where else str(path)
    fields = ("numbers", "positions", "counts", *_LABELS, *_TEXTS, *_ELECTRONS)
    found = find_keys(fields, columns, options.keys, place)
    if missing := " and ".join(field for field in ("numbers", "positions") if field not in found):
        raise UserError(
            f"{place} has no {missing} under a usual name: it has {', '.join(columns)}, "
            f"set --keys {missing.replace(' and ', '=NAME,')}=NAME"
        )
    labels = {field: columns[key] for field, key in found.items() if field in (*_LABELS, *_TEXTS)}
    numbers, positions = _values(columns[found["numbers"]]), columns[found["positions"]]
    counts = _values(columns[found["counts"]]).ravel() if "counts" in found else np.zeros(0, dtype=np.int64)
    structures: Iterator[_Structure]
    alone = np.ndim(positions) == 2 and len(counts) < 2
    many = 1 if alone else len(counts) if len(counts) > 1 else len(positions)
    electrons = {
        field: _one_each(field, _values(columns[found[field]]), many, place) for field in _ELECTRONS if field in found
    }
    if np.ndim(positions) == 3:
        structures = _stacked(numbers, positions, labels, place)
    elif _is_array(positions) and h5py.check_vlen_dtype(positions.dtype) is not None:
        structures = _variable(numbers, positions, labels)
    elif alone:
        structures = iter([(numbers, _values(positions), {key: _values(value) for key, value in labels.items()})])
    elif np.ndim(positions) == 2:
        structures = _flat(numbers, positions, labels, counts.astype(np.int64), place)
    else:
        raise UserError(f"{place} has positions of shape {np.shape(positions)}: (n, 3) or (m, n, 3) are read")
    name = where or path.stem
    notes = unread(columns.keys() - set(found.values()))
    for i, (own_numbers, own_positions, own) in enumerate(structures):
        here = place if alone else f"structure {i} of {place}"
        if "cell" in own:
            own.setdefault("pbc", periodic_along(own["cell"]))
        texts: dict[str, Any] = {key: _text(own.pop(key)) for key in _TEXTS if key in own}
        yield Raw(
            here,
            numbers_of(own_numbers, here),
            own_positions,
            texts.pop("name", name if alone else f"{name}_{i}"),
            options.units or Units(),
            keys=found,
            notes=notes,
            **{field: values[i] for field, values in electrons.items()},
            **texts,
            **own,
        )


def _one_each(field: str, values: np.ndarray, structures: int, place: str) -> np.ndarray:
    """One number for each structure, of as many or of one for all."""
    if values.size not in (1, structures):
        raise UserError(
            f"{place} has {field} of shape {values.shape}, which is not one of each of {structures} structures: say "
            f"--keys {field}=NAME, or {field}=none to leave it out"
        )
    return np.broadcast_to(values.ravel(), structures)


def _stacked(numbers: np.ndarray, positions: Any, labels: Mapping[str, Any], place: str) -> Iterator[_Structure]:
    """Arrays (m, n, …); atoms with the number 0 or −1, or no symbol, are left out. They are read in blocks."""
    frames, width = positions.shape[:2]
    if numbers.size not in (width, frames * width):
        raise UserError(
            f"{place} has atomic numbers of shape {numbers.shape}: {(width,)} or {(frames, width)} are read"
        )
    every = np.broadcast_to(numbers.reshape(-1, width), (frames, width))
    shared: dict[str, Any] = {}
    for key, values in labels.items():
        shape = np.shape(values)
        of_one = {"cell": (3, 3), "pbc": (3,), "masses": (width,)}.get(key)
        if shape == of_one or (key in _TEXTS and shape[:1] != (frames,)):
            shared[key] = _values(values)
        elif shape[:1] != (frames,):
            raise UserError(f"{place} has {frames} structures but {key} of shape {shape}: check the key")
    stacked = {key: values for key, values in labels.items() if key not in shared}
    row_bytes = sum(values.dtype.itemsize * int(np.prod(values.shape[1:])) for values in (positions, *stacked.values()))
    size = max(1, _BLOCK // max(row_bytes, 1))
    for start in range(0, frames, size):
        rows = slice(start, start + size)
        block = {key: np.asarray(values[rows]) for key, values in stacked.items()}
        for i, (row, own_positions) in enumerate(zip(every[rows], np.asarray(positions[rows]), strict=True)):
            own = shared | {key: values[i] for key, values in block.items()}
            yield _without_padding(row, own_positions, own)


def _without_padding(numbers: np.ndarray, positions: np.ndarray, own: dict[str, Any]) -> _Structure:
    real = numbers > 0 if numbers.dtype.kind in "iuf" else np.array([_text(symbol).strip() != "" for symbol in numbers])
    n = len(real)
    if not real.all():
        for key in ("forces", "gradient"):
            if key in own:
                own[key] = own[key].reshape(n, 3)[real]
        if "masses" in own:
            own["masses"] = own["masses"][real]
        if "hessian" in own and own["hessian"].size == 9 * n**2:
            if own["hessian"].shape == (n, n, 3, 3) and n != 3:
                own["hessian"] = own["hessian"][real][:, real]
            else:
                own["hessian"] = own["hessian"].reshape(n, 3, n, 3)[real][:, :, real]
    return numbers[real], positions[real], own


def _variable(numbers: Any, positions: Any, labels: Mapping[str, Any]) -> Iterator[_Structure]:
    """HDF5 arrays whose rows have different lengths."""
    for i in range(len(positions)):
        own = {key: values[i] for key, values in labels.items()}
        yield np.asarray(numbers[i]), np.asarray(positions[i]).reshape(-1, 3), own


def _flat(
    numbers: np.ndarray, positions: Any, labels: Mapping[str, Any], counts: np.ndarray, place: str
) -> Iterator[_Structure]:
    """Structures one after another: atoms in (Σn, …), Hessians in (Σ9n²,), the rest in (m, …)."""
    atoms, squares = np.concatenate([[0], np.cumsum(counts)]), np.concatenate([[0], np.cumsum(9 * counts**2)])
    values = {key: _values(value) for key, value in labels.items()}
    positions, numbers = _values(positions).reshape(-1, 3), numbers.ravel()
    if len(positions) != atoms[-1] or len(numbers) != atoms[-1]:
        raise UserError(f"{place} has counts that sum to {atoms[-1]} but {len(positions)} positions: check the keys")
    if "hessian" in values and values["hessian"].size != squares[-1]:
        raise UserError(
            f"{place} has {values['hessian'].size} Hessian elements: the counts need {squares[-1]}, all whole matrices"
        )
    for i in range(len(counts)):
        rows = slice(atoms[i], atoms[i + 1])
        own: dict[str, Any] = {}
        for key, value in values.items():
            if key == "hessian":
                own[key] = value.ravel()[squares[i] : squares[i + 1]]
            else:
                per_atom = value.reshape(-1, 3) if key in ("forces", "gradient") else value
                own[key] = per_atom[rows] if key in ("forces", "gradient", "masses") else value[i]
        yield numbers[rows], positions[rows], own


def _values(item: Any) -> np.ndarray:
    return np.asarray(item[()] if _is_array(item) else item)


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode() if isinstance(value, bytes) else str(value)
