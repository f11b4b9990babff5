"""What runs begin with: a structure of the model's fingerprint, relaxed."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import ase.units
import numpy as np

from hesspot.accuracy.cases import from_fingerprint
from hesspot.analysis.normal_modes import NormalModes
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.ipi import curvature

#: Of the signs of velocities.
SEED = 4711


@dataclass(frozen=True, eq=False)
class Start:
    """A stationary structure, its modes, and the model file that runs."""

    model: LoadedModel
    name: str
    atoms: ase.Atoms
    modes: NormalModes

    def moving(self, temperature: float) -> ase.Atoms:
        """With velocities along the modes that are softer than nothing but rounding: ½kT in each, at random signs."""
        signs = np.random.default_rng(SEED).choice([-1.0, 1.0], len(self.modes.frequencies))
        momenta = np.sqrt(ase.units.kB * temperature) * signs @ self.modes.vectors
        atoms = self.atoms.copy()
        atoms.set_momenta(momenta.reshape(-1, 3) * np.sqrt(self.modes.masses)[:, None])
        return atoms


def start_of(model: LoadedModel) -> Start:
    """The smallest minimum of the fingerprint, or its smallest structure. UserError if it relaxes to no minimum."""
    cases = [case for case in from_fingerprint(model.metadata) if len(case.atoms) > 1]
    if not cases:
        raise UserError(f"{model.path} has no structure of two atoms in its fingerprint, so that nothing can move")
    case = min(cases, key=lambda case: (case.kind != "minimum", len(case.atoms)))
    atoms = case.atoms.copy()
    atoms.calc = None
    relaxed = curvature.relaxed(model, atoms)
    modes = curvature.derivatives(model, [relaxed]).modes()
    if modes.n_imaginary:
        raise UserError(f"{case.name} of the fingerprint of {model.path} relaxes to no minimum of the model")
    return Start(model, case.name, relaxed, modes)
