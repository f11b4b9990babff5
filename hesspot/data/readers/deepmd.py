"""DeePMD-kit's systems: ``type.raw`` and ``set.*/coord.npy``, ``energy.npy``, ``force.npy``, ``hessian.npy``, …

In folders, or under the same names in one HDF5 file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.readers.keys import find_keys, unread
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.data.readers.rows import Blocks, read_rows
from hesspot.errors import UserError

_LABELS = ("energy", "forces", "gradient", "virial", "stress", "hessian", "cell", "charge", "multiplicity")
#: Fields that `--keys` may name, each with a file of the sets: ``gradient=force`` for DeePMD-kit's own Hessians.
FIELDS = ("positions", *_LABELS)


@dataclass
class _Set:
    """Arrays of one ``set.*`` by the names of their files, without ``.npy``; each is read by a call."""

    place: str
    name: str
    arrays: dict[str, Callable[[], Any]]


@dataclass
class _System:
    """What is at `place`, a folder with ``type.raw`` or a group of HDF5; type_map is None where there is none."""

    place: str
    name: str
    types: np.ndarray
    type_map: list[str] | None
    periodic: bool
    sets: list[_Set]


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Frames of all systems in a folder; a system is one folder with ``type.raw``, and names its structures."""
    folders = sorted(file.parent for file in path.rglob("type.raw"))
    if not folders:
        raise UserError(f"{path} has no type.raw in it: give the folder of a DeePMD-kit system")
    for folder in folders:
        name = folder.resolve().name if folder == path else "/".join(folder.relative_to(path).parts)
        type_map = folder / "type_map.raw"
        system = _System(
            str(folder),
            name,
            np.array((folder / "type.raw").read_text().split(), dtype=np.int64),
            type_map.read_text().split() if type_map.is_file() else None,
            not (folder / "nopbc").exists(),
            [
                _Set(str(each), each.name, {file.stem: partial(_load, file) for file in sorted(each.glob("*.npy"))})
                for each in sorted(folder.glob("set.*"))
            ],
        )
        yield from _frames(system, options)


def read_hdf5(path: Path, options: Options) -> Iterator[Raw]:
    """Frames of all systems in one HDF5 file, in which groups are laid out as the folders are."""
    try:
        with h5py.File(path, "r") as file:
            groups: list[str] = []
            file.visit(lambda name: groups.append(name) if name.split("/")[-1] == "type.raw" else None)
            for name in (group.rpartition("/")[0] for group in groups):
                yield from _frames(_system_of(file[name or "/"], name, path), options)
    except OSError as error:
        raise UserError(f"{path} cannot be read as HDF5, it is truncated or damaged: fetch it again") from error


def _system_of(group: h5py.Group, name: str, path: Path) -> _System:
    place = f"group {name} of {path}" if name else str(path)
    sets = []
    for key in sorted(key for key in group if key.startswith("set.")):
        arrays: dict[str, Callable[[], Any]] = {
            file.removesuffix(".npy"): partial(Blocks, item) for file, item in group[key].items()
        }
        sets.append(_Set(f"{key} in {place}", key, arrays))
    type_map = group["type_map.raw"].asstr()[()].tolist() if "type_map.raw" in group else None
    return _System(place, name or path.stem, group["type.raw"][()], type_map, "nopbc" not in group, sets)


def _frames(system: _System, options: Options) -> Iterator[Raw]:
    symbols, name, types = _symbols(system, options), system.name, system.types
    if not system.sets:
        raise UserError(f"{system.place} has no set.* folder: convert its raw files with DeePMD-kit first")
    given = {field: key.removesuffix(".npy") for field, key in options.keys.items()}
    for each in system.sets:
        keys = find_keys(FIELDS, list(each.arrays), given, each.place)
        place_key = keys.pop("positions", "coord")
        if place_key not in each.arrays:
            raise UserError(f"{each.place} has no coord.npy, or it is truncated: write it again")
        coordinates = each.arrays[place_key]()
        frames = len(coordinates)
        labels = {field: each.arrays[key]() for field, key in keys.items()}
        for field, values in labels.items():
            if len(values) != frames:
                raise UserError(
                    f"{each.place} has {frames} frames of coordinates but {len(values)} in {keys[field]}.npy"
                )
        if system.periodic and "cell" not in labels:
            raise UserError(f"{each.place} has no box.npy: add it, or an empty nopbc to {system.place} for molecules")
        notes = unread(
            f"{stem}.npy"
            for stem in each.arrays
            if stem not in {"coord", "real_atom_types", *keys.values(), *given.values()}
        )
        real = each.arrays.get("real_atom_types")
        frame_types = real() if real is not None else np.broadcast_to(types, (frames, len(types)))
        for i in range(frames):
            raw = _frame(each, i, name, symbols, frame_types[i], coordinates[i], labels, system.periodic)
            raw.units, raw.keys, raw.notes = options.units or Units(), keys, notes
            yield raw


def _symbols(system: _System, options: Options) -> list[str]:
    """The element of each type, as the system says, or as was given if it does not."""
    if system.type_map is not None:
        if options.elements is not None:
            raise UserError(f"{system.place} has a type_map.raw, which names the elements: leave --elements out")
        return system.type_map
    if options.elements is None:
        raise UserError(
            f"{system.place} has no type_map.raw, which names the elements: write their symbols into it, or say "
            "--elements O,H in the order of the types"
        )
    return list(options.elements)


def _frame(
    each: _Set,
    i: int,
    name: str,
    symbols: list[str],
    types: np.ndarray,
    coordinates: np.ndarray,
    labels: dict[str, np.ndarray],
    periodic: bool,
) -> Raw:
    place = f"frame {i} of {each.place}"
    present = types >= 0  # virtual atoms fill up sets of mixed composition
    if types.max(initial=-1) >= len(symbols):
        raise UserError(f"{place} has the type {types.max()}: type_map.raw has {len(symbols)} symbols, add the others")
    if coordinates.size != 3 * len(types):
        raise UserError(
            f"{place} has {coordinates.size} coordinates: the {len(types)} atoms of type.raw need three each"
        )
    values: dict[str, Any] = {key: array[i] for key, array in labels.items()}
    if not present.all():
        _drop_virtual(values, present)
    if not periodic:
        values.pop("cell", None)
    return Raw(
        place,
        numbers_of([symbols[t] for t in types[present]], place),
        coordinates.reshape(-1, 3)[present],
        f"{name}/{each.name}/{i}",
        pbc=[periodic] * 3,
        system=name,
        **values,
    )


def _drop_virtual(values: dict[str, Any], present: np.ndarray) -> None:
    n = len(present)
    for key in ("forces", "gradient"):
        if key in values:
            values[key] = values[key].reshape(n, 3)[present]
    if "hessian" in values:
        values["hessian"] = values["hessian"].reshape(n, 3, n, 3)[present][:, :, present]


def _load(path: Path) -> np.ndarray | Blocks:
    """An array, or the rows of a large one."""
    try:
        array = read_rows(lambda: path.open("rb"), str(path))
        return array if isinstance(array, np.ndarray) else Blocks(array)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is missing, truncated or no array of NumPy: write it again") from error
