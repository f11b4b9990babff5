"""Outputs of CP2K, through dpdata. eV and Å."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hesspot.data.readers.options import Options
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.errors import UserError
from hesspot.extras import install_hint

_UNCONVERGED = re.compile(r"SCF run NOT converged", re.IGNORECASE)
#: CP2K is periodic unless it says otherwise of its Poisson solver.
_PERIODIC = re.compile(r"\|.*Periodicity\s+(NONE|[XYZ]+)\s*$")
_SHORT_CELL = re.compile(r"CELL\| Vector a \[angstrom\]:\s+-?\d+\.\d{1,4}\s")
_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL")


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The one structure of an output with PRINT/FORCES: energies, forces and stress of CP2K's single points."""
    notes: tuple[str, ...] = ()
    periodic, energies = "XYZ", 0
    with path.open(errors="replace") as file:
        for line in file:
            if _UNCONVERGED.search(line):
                raise UserError(f"{path} has an SCF that did not converge: converge it, or leave it out")
            if (match := _PERIODIC.search(line)) is not None:
                periodic = match[1].upper()
            if _SHORT_CELL.search(line):
                notes = ("its cell is printed with three decimals: positions and cell do not fit better than that",)
            energies += _ENERGY.search(line) is not None
    if energies != 1:
        raise UserError(
            f"{path} has {energies} energies of CP2K, of which the geometries stand elsewhere: run single points, or "
            "write the trajectory as extended XYZ with energies and forces"
        )
    data = _load(path)
    if not len(data["coords"]):
        raise UserError(f"{path} has no SCF that converged: run CP2K again, with PRINT_LEVEL MEDIUM and PRINT/FORCES")
    symbols = [re.sub(r"[\d_].*", "", str(name)) for name in data["atom_names"]]  # kinds of CP2K, such as Fe1
    place = f"structure {path.stem} of {path}"
    yield Raw(
        place,
        numbers_of([symbols[kind] for kind in data["atom_types"]], place),
        data["coords"][0],
        path.stem,
        cell=data["cells"][0] if periodic != "NONE" else None,
        pbc=[axis in periodic for axis in "XYZ"],
        energy=data["energies"][0],
        forces=data["forces"][0] if "forces" in data else None,
        virial=data["virials"][0] if "virials" in data else None,
        notes=notes if periodic != "NONE" else (),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        import dpdata
    except ImportError as error:
        raise UserError(f"{path} needs the package dpdata: {install_hint('readers')}") from error
    try:
        return dict(dpdata.LabeledSystem(str(path), fmt="cp2k/output").data)
    except (Exception, PendingDeprecationWarning) as error:  # dpdata raises whatever its parsing runs into
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{path} cannot be read by dpdata ({reason}): it lacks labels, is damaged or of a new version"
        ) from error
