"""Does a run at constant energy keep it as velocity Verlet does: an error that falls with the square of the step?"""

from __future__ import annotations

import ase.units
import numpy as np

from hesspot.audit.engines.base import Refusal
from hesspot.audit.findings import Finding, failed, judged, not_run
from hesspot.audit.subject import CHANCE, ROUNDING, Subject

CONSERVED = "a run keeps its energy as the square of the time step"

#: K, and fs of the longer step: a tenth of a stretch of X–H at most; fs of the run.
TEMPERATURE, TIMESTEP, LENGTH = 300.0, 0.5, 30.0
#: Of four, by how much the ratio of the fluctuations of two steps may differ: higher orders and few oscillations.
OFF = 0.35
#: Times the noise of an energy, fluctuations whose ratio means something.
ABOVE_NOISE = 20.0
SEED = 4711


def check(subject: Subject) -> list[Finding]:
    """One run with a step, one with half of it, from the same start; energies at the same times."""
    if len(subject.atoms) < 2:
        return [not_run(CONSERVED, subject.name, "one atom does not move")]
    atoms = subject.atoms.copy()
    widths = np.sqrt(atoms.get_masses() * ase.units.kB * TEMPERATURE)[:, None]
    atoms.set_momenta(np.random.default_rng(SEED).normal(size=(len(atoms), 3)) * widths)
    energies = []
    for timestep in (TIMESTEP, 0.5 * TIMESTEP):
        found = subject.engine.run(atoms, timestep, round(LENGTH / timestep))
        if isinstance(found, Refusal):
            return [failed(CONSERVED, subject.name, f"the run ended: {found.reason}")]
        energies.append(found)
    size, half = (float(np.std(series)) for series in (energies[0], energies[1][::2]))
    noise = CHANCE * subject.noise.energy_noise + ROUNDING * abs(subject.answer.energy) * len(atoms)
    if size < ABOVE_NOISE * noise:
        return [not_run(CONSERVED, subject.name, f"fluctuations of {size:.1e} eV are not above the noise")]
    ratio = size / max(half, np.finfo(float).tiny)
    fault = (
        f"with steps of {TIMESTEP:g} and {TIMESTEP / 2:g} fs the energy moves by {size:.2e} and {half:.2e} eV, a "
        f"ratio of {ratio:.2f} for 4: forces are not the slope of the energy, or not smooth, or masses are wrong"
    )
    return [judged(CONSERVED, subject.name, abs(ratio / 4 - 1), OFF, None, "", fault)]
