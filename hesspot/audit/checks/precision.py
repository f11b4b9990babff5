"""How exact is the engine: the noise of its energies and forces."""

from __future__ import annotations

import numpy as np

from hesspot.audit.findings import Finding, judged
from hesspot.audit.subject import Subject

PRECISION = "forces are as exact as is claimed"
MASSES = "masses are those of the structure"

#: Noise of forces over the largest of them: double precision has 1e-15 to 1e-11 where large numbers cancel, single 1e-7
#: to 1e-4.
NOISE = {"double": 1e-9, "single": 1e-3}
#: Relative: masses in files have five digits.
MASS = 1e-4


def check(subject: Subject) -> list[Finding]:
    if len(subject.atoms) == 1:
        return [_masses(subject)] if subject.answer.masses is not None else []
    noise, claimed = subject.noise.force_noise, subject.engine.precision
    tolerance = NOISE[claimed] * subject.scale
    kind = "in single precision, or a table between whose points is interpolated" if claimed == "double" else "nowhere"
    fault = (
        f"forces have a noise of {noise:.1e} eV/Å, {noise / subject.scale:.0e} of the largest, as {kind}; "
        f"the engine claims {claimed} precision"
    )
    found = [judged(PRECISION, subject.name, noise, tolerance, subject.scale, "eV/Å", fault)]
    return found + ([_masses(subject)] if subject.answer.masses is not None else [])


def _masses(subject: Subject) -> Finding:
    assert subject.answer.masses is not None
    wanted, found = subject.atoms.get_masses(), subject.answer.masses
    off = np.abs(found / wanted - 1.0)
    worst = int(off.argmax())
    fault = f"{subject.atoms.symbols[worst]} moves with {found[worst]:g} amu, and has {wanted[worst]:g} amu"
    if sorted(found.round(2)) == sorted(wanted.round(2)):
        fault += ": masses are exchanged"
    return judged(MASSES, subject.name, float(off[worst]), MASS, None, "", fault)
