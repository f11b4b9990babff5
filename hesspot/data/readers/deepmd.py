"""DeePMD-kit's folders: ``type.raw`` and ``set.*/coord.npy``, ``energy.npy``, ``force.npy``, ``hessian.npy``, …"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.keys import find_keys, unread
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.data.readers.rows import read_rows
from hesspot.errors import UserError

_LABELS = ("energy", "forces", "gradient", "virial", "stress", "hessian", "cell", "charge", "multiplicity")
#: Fields that `--keys` may name, each with a file of the sets: ``gradient=force`` for DeePMD-kit's own Hessians.
FIELDS = ("positions", *_LABELS)


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Frames of all systems in a folder; a system is one folder with ``type.raw``, and names its structures."""
    systems = sorted(file.parent for file in path.rglob("type.raw"))
    if not systems:
        raise UserError(f"{path} has no type.raw in it: give the folder of a DeePMD-kit system")
    for system in systems:
        name = system.resolve().name if system == path else "/".join(system.relative_to(path).parts)
        yield from _system(system, name, options)


def _system(folder: Path, name: str, options: Options) -> Iterator[Raw]:
    symbols = _symbols(folder / "type_map.raw", options)
    types = np.array((folder / "type.raw").read_text().split(), dtype=np.int64)
    periodic = not (folder / "nopbc").exists()
    sets = sorted(folder.glob("set.*"))
    if not sets:
        raise UserError(f"{folder} has no set.* folder: convert its raw files with DeePMD-kit first")
    given = {field: key.removesuffix(".npy") for field, key in options.keys.items()}
    for each in sets:
        keys = find_keys(FIELDS, sorted(file.stem for file in each.glob("*.npy")), given, str(each))
        coordinates = _load(each / f"{keys.pop('positions', 'coord')}.npy")
        frames = len(coordinates)
        labels = {field: _load(each / f"{key}.npy") for field, key in keys.items()}
        for field, values in labels.items():
            if len(values) != frames:
                raise UserError(f"{each} has {frames} frames of coordinates but {len(values)} in {keys[field]}.npy")
        if periodic and "cell" not in labels:
            raise UserError(f"{each} has no box.npy: add it, or an empty file nopbc to {folder} for molecules")
        notes = unread(
            file.name
            for file in each.glob("*.npy")
            if file.stem not in {"coord", "real_atom_types", *keys.values(), *given.values()}
        )
        real = each / "real_atom_types.npy"
        frame_types = _load(real) if real.is_file() else np.broadcast_to(types, (frames, len(types)))
        for i in range(frames):
            raw = _frame(each, i, name, symbols, frame_types[i], coordinates[i], labels, periodic)
            raw.units, raw.keys, raw.notes = options.units or Units(), keys, notes
            yield raw


def _symbols(type_map: Path, options: Options) -> list[str]:
    """The element of each type, as the system says, or as was given if it does not."""
    if type_map.is_file():
        if options.elements is not None:
            raise UserError(f"{type_map} says itself what the elements are: leave --elements out")
        return type_map.read_text().split()
    if options.elements is None:
        raise UserError(
            f"{type_map.parent} has no type_map.raw, which names the elements: write their symbols into it, or say "
            "--elements O,H in the order of the types"
        )
    return list(options.elements)


def _frame(
    folder: Path,
    i: int,
    name: str,
    symbols: list[str],
    types: np.ndarray,
    coordinates: np.ndarray,
    labels: dict[str, np.ndarray],
    periodic: bool,
) -> Raw:
    place = f"frame {i} of {folder}"
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
        f"{name}/{folder.name}/{i}",
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


def _load(path: Path) -> Any:
    """An array, or the rows of a large one."""
    try:
        return read_rows(lambda: path.open("rb"), str(path))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is missing, truncated or no array of NumPy: write it again") from error
