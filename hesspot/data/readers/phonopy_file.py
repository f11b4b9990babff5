"""phonopy: force constants of a supercell, which are its Hessian, from YAML, ``FORCE_CONSTANTS`` or HDF5."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, isotopes
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.units import ENERGIES, LENGTHS

#: Where phonopy keeps the crystal, the fullest first.
CRYSTALS = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The supercell with its Hessian; force constants that stand in a file of their own need the YAML beside them.

    They are those of the undisplaced crystal, whose forces and energy phonopy does not keep.
    """
    try:
        from phonopy import Phonopy
        from phonopy.harmonic.force_constants import compact_fc_to_full_fc
        from phonopy.interface.phonopy_yaml import PhonopyYaml
        from phonopy.physical_units import get_calculator_physical_units
    except ImportError as error:
        raise UserError(f"force constants need the package phonopy 4: {install_hint('readers')}") from error
    crystal = _crystal(path)
    document = PhonopyYaml()
    try:
        document.read(str(crystal))
        matrix = document.supercell_matrix
        phonon = Phonopy(
            document.unitcell,  # type: ignore[arg-type]  # None is refused by phonopy
            np.eye(3, dtype=int) if matrix is None else matrix,
            primitive_matrix=document.primitive_matrix,
            calculator=document.calculator,
            log_level=0,
        )
    except Exception as error:  # phonopy's and YAML's own
        raise UserError(f"{crystal} cannot be read by phonopy ({_first_line(error)}): write it again") from error
    constants, said = _force_constants(path, crystal, document, phonon)
    n = len(phonon.supercell)
    if constants.shape[1] != n or constants.shape[0] not in (n, len(phonon.primitive)):
        raise UserError(
            f"{path} has force constants of {constants.shape[0]} by {constants.shape[1]} atoms, but the supercell of "
            f"{crystal} has {n}: they are of different calculations"
        )
    if constants.shape[0] != n:
        constants = compact_fc_to_full_fc(phonon.primitive, constants)
    units = get_calculator_physical_units(document.calculator)
    length = _length(units.length_unit)
    place = f"the supercell of {path}"
    numbers = np.array(phonon.supercell.numbers, dtype=np.int64)
    yield Raw(
        place,
        numbers,
        np.array(phonon.supercell.positions),
        path.resolve().parent.name if path.stem.lower().startswith(("force_constants", "phonopy")) else path.stem,
        Units(length=length, hessian=_constant(said or units.force_constants_unit, place)),
        cell=np.array(phonon.supercell.cell),
        pbc=[True] * 3,
        masses=isotopes(numbers, np.array(phonon.supercell.masses)),
        hessian=np.transpose(constants, (0, 2, 1, 3)).reshape(3 * n, 3 * n),
    )


def _crystal(path: Path) -> Path:
    """The YAML with the crystal of the force constants in `path`, which may be the same file."""
    if path.suffix in (".yaml", ".yml"):
        return path
    found = next((path.parent / name for name in CRYSTALS if (path.parent / name).is_file()), None)
    if found is None:
        raise UserError(
            f"{path} has force constants without their crystal: put {', '.join(CRYSTALS[:-1])} or {CRYSTALS[-1]} "
            "beside it"
        )
    return found


def _force_constants(path: Path, crystal: Path, document: Any, phonon: Any) -> tuple[np.ndarray, str | None]:
    """Full or compact force constants and their unit, if the file says it."""
    from phonopy.file_IO import parse_FORCE_CONSTANTS, read_force_constants_hdf5
    from phonopy.interface.phonopy_yaml import PhonopyYaml

    try:
        if path != crystal and path.suffix in (".hdf5", ".h5"):
            constants, unit = read_force_constants_hdf5(
                path, p2s_map=phonon.primitive.p2s_map, return_physical_unit=True
            )
            return constants, unit
        if path != crystal:
            return parse_FORCE_CONSTANTS(path, p2s_map=phonon.primitive.p2s_map), None
    except (Exception, SystemExit) as error:  # phonopy ends the program for indices that do not fit
        raise UserError(f"{path} cannot be read by phonopy ({_first_line(error)}): write it again") from error
    if document.force_constants is not None:
        return document.force_constants, None
    if document.dataset is not None and _has_forces(document.dataset):
        phonon.dataset = document.dataset
        phonon.produce_force_constants(calculate_full_force_constants=True)
        return phonon.force_constants, None
    for name in ("FORCE_CONSTANTS", "force_constants.hdf5"):
        beside = path.parent / name
        if beside.is_file():
            return _force_constants(beside, crystal, PhonopyYaml(), phonon)
    raise UserError(
        f"{path} has neither force constants nor forces: put FORCE_CONSTANTS or force_constants.hdf5 beside it, which "
        "phonopy-load --writefc writes"
    )


def _has_forces(dataset: dict[str, Any]) -> bool:
    displaced = dataset.get("first_atoms", [])
    return "forces" in dataset or (bool(displaced) and all("forces" in each for each in displaced))


def _length(name: str) -> float:
    return LENGTHS["bohr" if name == "au" else name.lower()]


def _constant(unit: str, place: str) -> float:
    """eV/Å² of phonopy's units, such as ``Ry/au^2`` and ``eV/angstrom.au``."""
    energy, _, lengths = unit.partition("/")
    factor = 1e-3 if energy == "mRy" else 1.0
    first, _, second = lengths.removesuffix("^2").partition(".")
    try:
        return factor * ENERGIES[energy.removeprefix("m").lower()] / (_length(first) * _length(second or first))
    except KeyError as error:
        raise UserError(
            f"{place} has force constants in {unit!r}, which is not known: convert them to eV/angstrom^2"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
