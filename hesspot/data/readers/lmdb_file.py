"""LMDB files of pickled torch_geometric samples, as HORM publishes them, without torch_geometric.

A pickle can run any code. Here it is unpickled with a list of what may be called: tensors and arrays are rebuilt,
classes of torch_geometric become empty shells that hold their fields, and everything else is refused.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from hesspot.data.readers.keys import find_keys, unread
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of, periodic_along
from hesspot.errors import UserError
from hesspot.extras import install_hint

#: Elements of the columns of HORM's `one_hot`.
_ONE_HOT = np.array([1, 6, 7, 8, 9])

_LABELS = ("energy", "forces", "gradient", "hessian", "stress", "cell", "pbc", "charge", "multiplicity", "spin")
#: Fields that `--keys` may name.
FIELDS = ("numbers", "positions", *_LABELS, "system")

#: Samples that are looked at for a number of the reaction that is more than a constant.
_SAMPLED = 100


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Samples of an LMDB file, or of all ``*.lmdb`` in a folder, in eV and Å unless other units are given."""
    try:
        import lmdb
    except ImportError as error:
        raise UserError(f"LMDB files need the package lmdb: {install_hint('readers')}") from error
    for file in [path] if path.suffix == ".lmdb" else sorted(path.glob("*.lmdb")):
        try:
            with (
                lmdb.open(str(file), subdir=file.is_dir(), readonly=True, lock=False, readahead=False) as store,
                store.begin() as transaction,
            ):
                reactions = _has_reactions(transaction, file)
                for key, value in transaction.cursor():
                    if key.isdigit():
                        sample = _unpickle(value, f"sample {key.decode()} of {file}")
                        yield _raw(sample, key.decode(), file, reactions, options)
        except lmdb.Error as error:
            raise UserError(
                f"{file} cannot be read as LMDB, it is truncated or of another kind: fetch it again"
            ) from error


def _has_reactions(transaction: Any, file: Path) -> bool:
    """Whether samples differ in `rxn`, the number of the reaction: in HORM's files it is 1 everywhere."""
    seen: set[float] = set()
    for i in np.linspace(0, transaction.stat()["entries"] - 1, _SAMPLED).astype(int):
        if (value := transaction.get(str(i).encode())) is None:
            continue
        reaction = _unpickle(value, f"sample {i} of {file}").get("rxn")
        if reaction is not None and np.size(_array(reaction)) == 1:
            seen.add(float(_array(reaction).item()))
    return len(seen) > 1


def _raw(fields: dict[str, Any], key: str, file: Path, reactions: bool, options: Options) -> Raw:
    """A sample; without a field that says its system, this is the formula, so that its like stay in one part."""
    place = f"sample {key} of {file}"
    arrays = {name: _array(value) for name, value in fields.items() if value is not None}
    found = find_keys(("numbers", "positions", *_LABELS), arrays, options.keys, place)
    given = {"system": "rxn"} if reactions and "system" not in options.keys else options.keys
    system = find_keys(("system",), arrays, given, place).get("system") if "system" in given else None
    if "numbers" in found:
        numbers = arrays[found["numbers"]]
    elif "one_hot" in arrays:
        numbers = _ONE_HOT[arrays["one_hot"].argmax(axis=1)]
    else:
        raise UserError(
            f"{place} has neither atomic numbers nor one_hot: it has {', '.join(arrays)}, set --keys numbers="
        )
    if "positions" not in found:
        raise UserError(f"{place} has no positions: it has {', '.join(arrays)}, set --keys positions=")
    labels: dict[str, Any] = {field: arrays[name] for field, name in found.items() if field in _LABELS}
    if "cell" in labels:
        labels.setdefault("pbc", periodic_along(labels["cell"]))
    if "pbc" in labels:
        labels["pbc"] = np.ravel(labels["pbc"]).astype(bool)
    numbers = numbers_of(numbers, place)
    return Raw(
        place,
        numbers,
        arrays[found["positions"]],
        f"{file.stem}_{int(key)}",
        options.units or Units(),
        keys=found,
        system=f"{system} {arrays[system].item()}" if system else Atoms(numbers).get_chemical_formula(),
        notes=unread(arrays.keys() - {*found.values(), system, *(() if "numbers" in found else ("one_hot",))}),
        **labels,
    )


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


class _Shell:
    """Stands for any class of torch_geometric: keeps the state that it is given."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


def _tensor_storage(data: bytes) -> Any:
    """In place of torch's own function of this purpose, which unpickles without limits."""
    return torch.load(io.BytesIO(data), weights_only=True)


#: What a sample may call. `_codecs.encode` turns text to bytes in pickles of protocol 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("torch.storage", "_load_from_bytes"): _tensor_storage,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch", "Size"): torch.Size,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "object"): object,
    ("copyreg", "_reconstructor"): lambda cls, base, state: cls.__new__(cls) if issubclass(cls, _Shell) else None,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "torch_geometric":
            return _Shell
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it calls {module}.{name}")


def _unpickle(data: bytes, place: str) -> dict[str, Any]:
    """Fields of a sample of torch_geometric 1 (own attributes) or 2 (a store), or of a plain dictionary."""
    try:
        sample = _Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{place} is refused, it is no pickle of tensors alone ({reason}): fetch it again") from error
    if isinstance(sample, dict):
        return sample
    fields = getattr(sample, "__dict__", {})
    store = fields.get("_store")
    mapping = getattr(store, "_mapping", None)
    return mapping if isinstance(mapping, dict) else fields
