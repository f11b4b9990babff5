"""Tests that labels must pass whatever made them."""

from dataclasses import dataclass

import numpy as np

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record
from hesspot.data.checks import acoustic_defect, rotational_defect

#: eV/Å², net force on a translation; labels are reset to rounding.
ACOUSTIC = 1e-6
#: eV/Å; integration grids do not turn with the molecule, which leaves up to 1e-3 in good labels.
ROTATIONAL = 5e-3
#: eV/Å, largest force at a minimum or saddle point.
STATIONARY = 1e-3
#: eV/Å², of the Hessian before it was symmetrised (property `asymmetry`).
ASYMMETRY = 1e-2
#: Hartree/bohr, true residual of the coupled-perturbed equations (property `cphf_residual`).
RESIDUAL = 1e-7


@dataclass(frozen=True)
class Finding:
    """One test of one structure."""

    name: str
    test: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.value <= self.limit


def check_record(record: Record) -> list[Finding]:
    """All tests that the record's labels allow; sum rules of rotations need a molecule."""
    findings = []

    def add(test: str, value: float, limit: float) -> None:
        findings.append(Finding(record.name, test, value, limit))

    if record.forces is not None and record.kind in ("minimum", "saddle"):
        add("force at a stationary point, eV/Å", float(np.abs(record.forces).max()), STATIONARY)
    if record.hessian is not None:
        add("acoustic sum rule, eV/Å²", acoustic_defect(record.hessian), ACOUSTIC)
        if record.forces is not None and not record.pbc.any():
            defect = rotational_defect(record.positions, record.forces, record.hessian)
            add("rotational sum rule, eV/Å", defect, ROTATIONAL)
        if record.kind in ("minimum", "saddle"):
            imaginary = normal_modes(record.atoms_only(), record.hessian).n_imaginary
            add("imaginary modes too many or too few", abs(imaginary - (record.kind == "saddle")), 0)
    for key, limit in (("asymmetry", ASYMMETRY), ("cphf_residual", RESIDUAL)):
        value = record.properties.get(key)
        if isinstance(value, float):
            add({"asymmetry": "asymmetry as computed, eV/Å²"}.get(key, "residual of the CPHF equations"), value, limit)
    return findings


def check_dataset(dataset: Dataset) -> list[Finding]:
    return [finding for record in dataset for finding in check_record(record)]
