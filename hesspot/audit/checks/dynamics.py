"""Does a run at constant energy keep it as velocity Verlet does: an error that falls with the square of the step?"""

from __future__ import annotations

import ase.units
import numpy as np

from hesspot.analysis.normal_modes import mass_weighted
from hesspot.audit.checks.gradient import Slopes
from hesspot.audit.engines.base import Refusal
from hesspot.audit.findings import Finding, failed, judged, not_run
from hesspot.audit.subject import CHANCE, ROUNDING, Subject
from hesspot.units import AMU_A2_PER_FS2

CONSERVED = "a run keeps its energy as the square of the time step"

#: K; of the longer step, times the largest frequency; steps of it.
TEMPERATURE, PHASE, STEPS = 300.0, 0.1, 60
#: Of four, by how much the ratio of the fluctuations of two steps may differ: higher orders and few oscillations.
OFF = 0.35
#: fs, where no Hessian was made.
UNKNOWN = 0.2
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
    step = _timestep(subject)
    energies = []
    for timestep, steps in ((step, STEPS), (0.5 * step, 2 * STEPS)):
        found = subject.engine.run(atoms, timestep, steps)
        if isinstance(found, Refusal):
            return [failed(CONSERVED, subject.name, f"the run ended: {found.reason}")]
        energies.append(found)
    size, half = (float(np.std(series)) for series in (energies[0], energies[1][::2]))
    noise = CHANCE * subject.noise.energy_noise + ROUNDING * abs(subject.answer.energy) * len(atoms)
    if size < max(ABOVE_NOISE * noise, subject.energy_tolerance):
        why = f"fluctuations of {size:.1e} eV are below noise and accuracy"
        return [not_run(CONSERVED, subject.name, why)]
    ratio = size / max(half, np.finfo(float).tiny)
    fault = (
        f"with steps of {step:.3g} and {step / 2:.3g} fs the energy moves by {size:.2e} and {half:.2e} eV, a "
        f"ratio of {ratio:.2f} for 4: forces are not the slope of the energy, or not smooth, or masses are wrong"
    )
    return [judged(CONSERVED, subject.name, abs(ratio / 4 - 1), OFF, None, "", fault)]


def _timestep(subject: Subject) -> float:
    """fs, `PHASE` over the largest frequency: the root of the largest sum of a row of the mass-weighted Hessian
    is above it (Gershgorin). `UNKNOWN` where no Hessian was made."""
    slopes: Slopes | None = subject.measured.get("slopes")
    if slopes is None or not slopes.each:
        return UNKNOWN
    stiffest = float(np.abs(mass_weighted(slopes.products, subject.atoms.get_masses())).sum(1).max())
    return PHASE / np.sqrt(stiffest / AMU_A2_PER_FS2)
