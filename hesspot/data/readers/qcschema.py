"""QCSchema: the JSON of QCEngine, QCFractal and Psi4, versions 1 and 2. Results in Hartree and bohr."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.frames import require_frame
from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of, without_ghosts
from hesspot.errors import UserError
from hesspot.extras import install_hint


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The results in a file: one, a list of them, or every point of an optimisation."""
    try:
        import qcelemental.models as version_1
        from qcelemental.models import v2 as version_2
    except ImportError as error:
        raise UserError(f"QCSchema needs the package qcelemental: {install_hint('readers')}") from error
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is no JSON, or it is truncated ({error}): write it again") from error
    results = list(_results(document, str(path)))
    for i, result in enumerate(results):
        place = f"structure {path.stem} of {path}" if len(results) == 1 else f"result {i} of {path}"
        _require_success(result, place)
        models = version_2 if result.get("schema_version") == 2 else version_1
        try:
            parsed = models.AtomicResult(**result)
        except Exception as error:  # pydantic's own, of either of its versions
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{place} is not what QCSchema defines ({reason}): write it with qcelemental") from error
        raw = _raw(parsed, place, path.stem if len(results) == 1 else f"{path.stem}_{i}")
        raw.system = path.stem if len(results) > 1 and isinstance(document, dict) else None
        yield raw


def _results(document: Any, place: str) -> Iterator[dict[str, Any]]:
    """Single results in a document, in their order."""
    if isinstance(document, list):
        for i, each in enumerate(document):
            yield from _results(each, f"item {i} of {place}")
        return
    name = document.get("schema_name", "") if isinstance(document, dict) else ""
    if name in ("qcschema_output", "qc_schema_output", "qcschema_atomic_result", "qcschema_failed_operation"):
        yield document
    elif name in ("qcschema_optimization_output", "qcschema_optimization_result"):
        _require_success(document, place)
        points = document.get("trajectory") or document.get("trajectory_results") or []
        if not points:
            raise UserError(f"{place} is an optimization without its points: run it with the protocol trajectory=all")
        yield from points
    else:
        raise UserError(
            f"{place} has the schema_name {name or None!r}, which holds no results: give an AtomicResult or an "
            "OptimizationResult"
        )


def _require_success(document: dict[str, Any], place: str) -> None:
    if document.get("success") is not True:
        error = document.get("error") or {}
        message = str(error.get("error_message", "success is not true")).strip().splitlines()[-1]
        raise UserError(f"{place} is of a calculation that failed ({message[:120]}): run it again or leave it out")


def _raw(result: Any, place: str, name: str) -> Raw:
    specification = result.input_data.specification if hasattr(result, "input_data") else result
    molecule, properties, driver = result.molecule, result.properties, str(specification.driver.value)
    labels = {key: getattr(properties, f"return_{key}", None) for key in ("energy", "gradient", "hessian")}
    if driver in labels:
        labels[driver] = result.return_result
    elif all(value is None for value in labels.values()):
        raise UserError(
            f"{place} is a result of the driver {driver!r}, without an energy: run energy, gradient, hessian"
        )
    numbers = numbers_of(molecule.atomic_numbers, place)
    positions = np.asarray(molecule.geometry).reshape(-1, 3)
    require_frame(place, positions, labels["gradient"], labels["hessian"])
    model = specification.model
    basis = model.basis if isinstance(model.basis, str) else getattr(model.basis, "name", "")
    raw = Raw(
        place,
        numbers,
        positions,
        name,
        ATOMIC,
        masses=isotopes(numbers, np.asarray(molecule.masses)),
        charge=round(molecule.molecular_charge),
        multiplicity=int(molecule.molecular_multiplicity),
        energy=labels["energy"],
        gradient=labels["gradient"],
        hessian=labels["hessian"],
        level=f"{model.method}/{basis}" if basis else str(model.method),
    )
    return without_ghosts(raw, ~np.asarray(molecule.real, dtype=bool))
