"""Plain HDF5 and NPZ: arrays under names, with a map from fields to names where the names are unusual.

Two layouts are told apart by the shape of the positions: (n, 3) is one structure, and a group of its own for each;
(m, n, 3), or (m, 3n), are m structures in stacked arrays, of one composition or filled up with atoms of number 0 or −1.
Structures of different sizes in one flat array, (Σn, 3), need `counts`; in HDF5 they may also be of variable length.
"""

import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.readers.keys import find_keys, some, unread, usual_keys
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of, periodic_along
from hesspot.data.readers.rows import Blocks, read_rows
from hesspot.errors import UserError

_LABELS = ("energy", "forces", "gradient", "hessian", "cell", "pbc", "masses", "stress", "virial")
_TEXTS = ("name", "system", "kind", "tag", "part", "level")
_ELECTRONS = ("charge", "multiplicity", "spin")

#: Atomic numbers, positions and labels of one structure.
_Structure = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Structures of an ``.npz`` or HDF5 file."""
    if path.suffix == ".npz":
        yield from _read_npz(path, options)
        return
    try:
        with h5py.File(path, "r") as file:
            found, others = False, list[str]()
            for group, inherited in _groups(file, {}):
                own = _arrays(group, options)
                if not _has_positions(own, options):
                    others += [name for name in own if name not in others]
                    continue
                found = True
                yield from _structures({**inherited, **group.attrs, **own}, path, group.name.strip("/"), options)
            if not found:
                raise UserError(
                    f"{path} has no positions under a usual name: it has {some(others)}, say where with --keys "
                    "positions=NAME"
                )
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
            f"{place} has no {missing} under a usual name: it has {some(columns)}, "
            f"set --keys {missing.replace(' and ', '=NAME,')}=NAME"
        )
    labels = {field: columns[key] for field, key in found.items() if field in (*_LABELS, *_TEXTS)}
    numbers, positions = _values(columns[found["numbers"]]), columns[found["positions"]]
    rows = np.ndim(positions) == 2 and np.ndim(numbers) == 1 and positions.shape[1] == 3 * len(numbers) > 3
    counts = _values(columns[found["counts"]]).ravel() if "counts" in found else np.zeros(0, dtype=np.int64)
    structures: Iterator[_Structure]
    alone = np.ndim(positions) == 2 and len(counts) < 2 and not rows
    many = 1 if alone else len(counts) if len(counts) > 1 else len(positions)
    electrons = {
        field: _one_each(field, _values(columns[found[field]]), many, place) for field in _ELECTRONS if field in found
    }
    if np.ndim(positions) == 3 or rows:
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
    """Arrays (m, n, …), positions also (m, 3n); atoms with the number 0 or −1, or no symbol, are left out."""
    frames, width = len(positions), int(np.prod(positions.shape[1:])) // 3
    if numbers.size not in (width, frames * width):
        raise UserError(
            f"{place} has atomic numbers of shape {numbers.shape}: {(width,)} or {(frames, width)} are read"
        )
    every = np.broadcast_to(numbers.reshape(-1, width), (frames, width))
    shared = _shared(labels, frames, {"masses": (width,)}, place)
    places, blocks = Blocks(positions), {key: Blocks(values) for key, values in labels.items() if key not in shared}
    for i, row in enumerate(every):
        yield _without_padding(row, places[i].reshape(-1, 3), shared | {key: block[i] for key, block in blocks.items()})


def _shared(
    labels: Mapping[str, Any], frames: int, of_one: Mapping[str, tuple[int, ...]], place: str
) -> dict[str, np.ndarray]:
    """What there is once for all structures; UserError for labels that are neither that nor one for each."""
    shapes = {"cell": (3, 3), "pbc": (3,), **of_one}
    shared = {}
    for key, values in labels.items():
        shape = np.shape(values)
        if shape == shapes.get(key) or (key in _TEXTS and shape[:1] != (frames,)):
            shared[key] = _values(values)
        elif shape[:1] != (frames,):
            raise UserError(f"{place} has {frames} structures but {key} of shape {shape}: check the key")
    return shared


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
    sizes = {"positions": 3 * counts, "forces": 3 * counts, "gradient": 3 * counts, "masses": counts}
    sizes |= {"numbers": counts, "hessian": 9 * counts**2}
    columns = {"positions": positions, "numbers": numbers, **labels}
    cut = {key: _Cut(columns[key], sizes[key], f"{key} of {place}") for key in sizes if key in columns}
    rest = {key: values for key, values in labels.items() if key not in cut}
    shared = _shared(rest, len(counts), {}, place)
    blocks = {key: Blocks(values) for key, values in rest.items() if key not in shared}
    for i in range(len(counts)):
        own = {key: piece[i] for key, piece in cut.items()}
        own |= shared | {key: block[i] for key, block in blocks.items()}
        yield own.pop("numbers"), own.pop("positions").reshape(-1, 3), own


class _Cut:
    """An array of all structures, one after another, with `sizes` (m,) numbers of each; UserError if it has others."""

    def __init__(self, array: Any, sizes: np.ndarray, what: str) -> None:
        width = int(np.prod(array.shape[1:]))
        ends = np.concatenate([[0], np.cumsum(sizes)])
        if width * len(array) != ends[-1] or (ends % width).any():
            raise UserError(
                f"{what} has the shape {array.shape}: the counts need {ends[-1]} numbers, all of one structure after "
                "those of the other; check the keys"
            )
        self._ends, self._blocks = ends // width, Blocks(array)

    def __getitem__(self, i: int) -> np.ndarray:
        return self._blocks.rows(int(self._ends[i]), int(self._ends[i + 1])).ravel()


def _values(item: Any) -> np.ndarray:
    return np.asarray(item[()] if _is_array(item) else item)


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode() if isinstance(value, bytes) else str(value)
