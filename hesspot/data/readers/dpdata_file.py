"""What dpdata reads: outputs of CP2K, and DeePMD-kit's systems in one HDF5 file. eV and Å."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.errors import UserError
from hesspot.extras import install_hint

_CP2K_UNCONVERGED = re.compile(r"SCF run NOT converged", re.IGNORECASE)
#: CP2K is periodic unless it says otherwise of its Poisson solver.
_CP2K_PERIODIC = re.compile(r"\|.*Periodicity\s+(NONE|[XYZ]+)\s*$")
_CP2K_SHORT_CELL = re.compile(r"CELL\| Vector a \[angstrom\]:\s+-?\d+\.\d{1,4}\s")
_CP2K_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL")


def read_cp2k(path: Path, options: Options) -> Iterator[Raw]:
    """The one structure of an output with PRINT/FORCES: energies, forces and stress of CP2K's single points."""
    notes: tuple[str, ...] = ()
    periodic, energies = "XYZ", 0
    with path.open(errors="replace") as file:
        for line in file:
            if _CP2K_UNCONVERGED.search(line):
                raise UserError(f"{path} has an SCF that did not converge: converge it, or leave it out")
            if (match := _CP2K_PERIODIC.search(line)) is not None:
                periodic = match[1].upper()
            if _CP2K_SHORT_CELL.search(line):
                notes = ("its cell is printed with three decimals: positions and cell do not fit better than that",)
            energies += _CP2K_ENERGY.search(line) is not None
    if energies != 1:
        raise UserError(
            f"{path} has {energies} energies of CP2K, of which the geometries stand elsewhere: run single points, or "
            "write the trajectory as extended XYZ with energies and forces"
        )
    data = _load(str(path), "cp2k/output", path)
    if not len(data["coords"]):
        raise UserError(f"{path} has no SCF that converged: run CP2K again, with PRINT_LEVEL MEDIUM and PRINT/FORCES")
    (raw,) = _frames(data, str(path), path.stem, [axis in periodic for axis in "XYZ"], Units())
    raw.place, raw.name, raw.system = f"structure {path.stem} of {path}", path.stem, None
    raw.notes = notes if raw.cell is not None else ()
    yield raw


def read_deepmd_hdf5(path: Path, options: Options) -> Iterator[Raw]:
    """Frames of all systems of a file; a system is a group with ``type.raw``, and names its structures."""
    try:
        with h5py.File(path, "r") as file:
            groups: list[str] = []
            file.visit(lambda name: groups.append(name) if name.split("/")[-1] == "type.raw" else None)
            systems = {name.rpartition("/")[0]: _is_periodic(file, name.rpartition("/")[0]) for name in groups}
            for name in systems:
                if "type_map.raw" not in file[name or "/"]:
                    raise UserError(
                        f"{path} has no type_map.raw in {name or '/'}: write the symbols of the types into it"
                    )
    except OSError as error:
        raise UserError(f"{path} cannot be read as HDF5, it is truncated or damaged: fetch it again") from error
    for name, periodic in systems.items():
        data = _load(f"{path}#/{name}", "deepmd/hdf5", path)
        where = f"{path}, group {name}" if name else str(path)
        yield from _frames(data, where, name or path.stem, [periodic] * 3, options.units or Units())


def _is_periodic(file: h5py.File, group: str) -> bool:
    return "nopbc" not in file[group or "/"]


def _load(source: str, file_format: str, path: Path) -> dict[str, Any]:
    try:
        import dpdata
        from dpdata.data_type import Axis, DataType
    except ImportError as error:
        raise UserError(f"{path} needs the package dpdata: {install_hint('readers')}") from error
    shape = (Axis.NFRAMES, Axis.NATOMS, 3, Axis.NATOMS, 3)
    hessian = DataType("hessian", np.ndarray, shape, required=False, deepmd_name="hessian")
    dpdata.LabeledSystem.register_data_type(hessian)
    try:
        return dict(dpdata.LabeledSystem(source, fmt=file_format).data)
    except (Exception, PendingDeprecationWarning) as error:  # dpdata raises whatever its parsing runs into
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{path} cannot be read by dpdata ({reason}): it lacks labels, is damaged or of a new version"
        ) from error


def _frames(data: dict[str, Any], where: str, name: str, periodic: list[bool], units: Units) -> Iterator[Raw]:
    symbols = [re.sub(r"[\d_].*", "", str(name)) for name in data["atom_names"]]  # kinds of CP2K, such as Fe1
    numbers = numbers_of([symbols[kind] for kind in data["atom_types"]], where)
    for i in range(len(data["coords"])):
        yield Raw(
            f"frame {i} of {where}",
            numbers,
            data["coords"][i],
            f"{name}/{i}",
            units,
            cell=data["cells"][i] if any(periodic) else None,
            pbc=periodic,
            energy=data["energies"][i],
            forces=data["forces"][i] if "forces" in data else None,
            hessian=data["hessian"][i] if "hessian" in data else None,
            virial=data["virials"][i] if "virials" in data else None,
            system=name,
        )
