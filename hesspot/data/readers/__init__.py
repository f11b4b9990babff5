"""Readers of other formats, by name and by what a path looks like."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
from ase.io.formats import UnknownFileTypeError, ioformats

from hesspot.console import warn
from hesspot.data.dataset import Dataset
from hesspot.data.dataset_file import FORMAT, LABELS
from hesspot.data.readers import (
    ase_file,
    columns,
    cp2k,
    deepmd,
    fchk,
    gamess_dat,
    lmdb_file,
    orca,
    output,
    phonopy_file,
    pyscf,
    qcschema,
    turbomole,
)
from hesspot.data.readers.contents import text_format
from hesspot.data.readers.keys import FIELDS
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw
from hesspot.errors import UserError
from hesspot.files import require_file

__all__ = ["FORMATS", "Options", "Raw", "Units", "read_labelled", "recognise"]

Reader = Callable[[Path, Options], Iterator[Raw]]


def _read_hesspot(path: Path, options: Options) -> Iterator[Raw]:
    """A dataset of hesspot's own, to be joined with others or cut anew."""
    dataset = Dataset.open(path)
    for record in dataset:
        fields = {key: value for key, value in vars(record).items()}
        place = f"structure {record.name} of {path}"
        yield Raw(place, **fields, level=dataset.level_of_theory)


#: Formats with readers of their own, by name; every other name is one of ASE's.
FORMATS: dict[str, Reader] = {
    "hesspot": _read_hesspot,
    "fchk": fchk.read,
    "orca": orca.read,
    "pyscf": pyscf.read,
    "deepmd": deepmd.read,
    "lmdb": lmdb_file.read,
    "columns": columns.read,
    "output": output.read,
    "gamess-dat": gamess_dat.read,
    "cp2k": cp2k.read,
    "deepmd-hdf5": deepmd.read_hdf5,
    "qcschema": qcschema.read,
    "phonopy": phonopy_file.read,
    "turbomole": turbomole.read,
    "ase": ase_file.read,
}
#: Formats that say themselves what their units are.
FIXED_UNITS = ("hesspot", "fchk", "orca", "pyscf", "output", "gamess-dat", "cp2k", "qcschema", "phonopy", "turbomole")

_KNOWN = f"--format names one of {', '.join(FORMATS)}, or one of ASE's"

#: Fields that a format takes keys for; of all others, their places are known.
TAKES_KEYS: dict[str, Sequence[str]] = {
    "deepmd": deepmd.FIELDS,
    "deepmd-hdf5": deepmd.FIELDS,
    "lmdb": lmdb_file.FIELDS,
    "columns": FIELDS,
    "ase": ase_file.FIELDS,
}

_SUFFIXES = {
    ".fchk": "fchk",
    ".fch": "fchk",
    ".fck": "fchk",
    ".lmdb": "lmdb",
    ".npz": "columns",
}


def recognise(path: str | Path) -> str:
    """The name of a path's format, by what a file or a folder holds, else by its suffix."""
    path = Path(path)
    if path.is_file() and (found := text_format(path)) is not None:
        return found
    if path.name.lower().endswith(orca.OWN):
        return "orca"
    suffix = path.suffix.lower()
    if path.is_dir() and suffix not in _SUFFIXES:
        return _recognise_folder(path)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if path.is_file() and h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as file:
                if file.attrs.get("format") == FORMAT:
                    return "hesspot"
                if file.visit(lambda name: True if name.split("/")[-1] == "type.raw" else None):
                    return "deepmd-hdf5"
                if "force_constants" in file or "fc2" in file:
                    return "phonopy"
                return "pyscf" if "mol" in file and isinstance(file["mol"], h5py.Dataset) else "columns"
        except OSError as error:
            raise UserError(f"{path} cannot be read as HDF5, it is truncated or damaged: fetch it again") from error
    if path.suffix in (".h5", ".hdf5"):
        raise UserError(f"{path} is not HDF5, or it is truncated: fetch it again")
    return "ase"


def _recognise_folder(path: Path) -> str:
    """The format of a folder; UserError for one whose files are to be named themselves."""
    if any((path / name).is_file() for name in turbomole.FILES):
        return "turbomole"
    if any(path.glob("*.lmdb")):
        return "lmdb"
    if next(path.rglob("type.raw"), None) is not None:
        return "deepmd"
    kinds = Counter(file.suffix for file in path.iterdir() if file.is_file())
    if not kinds:
        raise UserError(f"{path} is a folder without files and without DeePMD-kit systems: name the files to be read")
    ending, count = max(kinds.items(), key=lambda kind: (kind[0].lower() in _SUFFIXES, kind[1]))
    raise UserError(
        f"{path} is a folder of {count} {ending or 'other'} files, and neither of LMDB files nor of DeePMD-kit "
        f"systems: name the files themselves, as in {path}/*{ending}"
    )


def read_labelled(path: str | Path, options: Options, file_format: str | None = None) -> Iterator[Raw]:
    """Labelled structures of a file or folder, one after another; UserError for what cannot be read."""
    path = Path(path)
    if not path.is_dir():
        require_file(path, "source", "check the path")
    name = file_format or recognise(path)
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is empty: fetch or write it again")
    if name not in FORMATS:
        if name not in ioformats:
            raise UserError(f"--format {name} is not known: use one of {', '.join(FORMATS)}, or one of ASE's")
        name, options = "ase", replace(options, ase_format=name)
    if name == "ase" and path.is_file() and (known := text_format(path)) is not None:
        name = known  # ASE reads of some programs the energy of another method, of a part of the atoms, of a failed SCF
    _refuse_unused(path, name, options)
    count = 0
    notes: Counter[str] = Counter()
    keys: dict[str, dict[str, None]] = {}
    try:
        for raw in FORMATS[name](path, options):
            count += 1
            notes.update(raw.notes)
            for field, key in raw.keys.items():
                keys.setdefault(field, {})[key] = None
            yield raw
    except UnknownFileTypeError as error:
        raise UserError(f"{path} is in no format that is known: {_KNOWN}") from error
    finally:
        for field, names in keys.items():
            if field in LABELS and len({name.lower() for name in names}) > 1:
                warn(f"{path}: {field} of some structures are under {' and of others under '.join(names)}")
        for note, structures in notes.items():
            warn(f"{path}: {note}" + (f" ({structures} structures)" if structures > 1 else ""))
    if count == 0:
        raise UserError(f"{path} holds no structures that the format {name} knows: {_KNOWN}")


def _refuse_unused(path: Path, name: str, options: Options) -> None:
    """UserError for options that the format has no use for."""
    if name in FIXED_UNITS and options.units is not None:
        raise UserError(f"{path} is of the format {name}, whose units are known: leave --units out")
    if options.elements is not None and name not in ("ase", "deepmd", "deepmd-hdf5"):
        raise UserError(
            f"{path} is of the format {name}, which says itself what its elements are: leave --elements out"
        )
    taken = TAKES_KEYS.get(name, ())
    for field, key in options.keys.items():
        if field not in taken:
            remedy = f"give keys of {', '.join(taken)} only" if taken else "leave --keys out"
            raise UserError(
                f"{path} is of the format {name}, which says itself where its {field} is, so that "
                f"--keys {field}={key} has no use: {remedy}"
            )
