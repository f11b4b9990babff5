"""The files of a run that a spectrum is made of: of a folder of i-PI, or named one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hesspot.errors import UserError
from hesspot.files import require_file
from hesspot.monitor.trajectory import Source

#: What `hesspot ipi-input --velocities-every` has i-PI write.
POSITIONS, VELOCITIES, START = "simulation.xc.xyz", "simulation.vc.xyz", "start.xyz"

_TIMESTEP = re.compile(r"<timestep\s+units\s*=\s*['\"]femtosecond['\"]\s*>\s*([-+.\deE]+)\s*</timestep>")


def run_files(
    run: Path,
    *,
    timestep: float | None,
    velocities: Path | None = None,
    elements: Sequence[str] | None = None,
    units: str | None = None,
    template: Path | None = None,
) -> tuple[Source, float]:
    """The source of a run and its timestep in fs: `run` is a folder of `hesspot ipi-input`, which says all of it, or a
    trajectory; the other arguments are those of `Source`. UserError for what is missing or said twice."""
    if not run.is_dir():
        if timestep is None:
            raise UserError(f"{run} does not say how long a step is; pass --timestep with the fs of the run's timestep")
        require_file(
            run, "trajectory", "give a dump of LAMMPS, XYZ with velocities, or a folder of `hesspot ipi-input`"
        )
        return Source(run, None, velocities, elements, units, template), timestep
    given = {"--velocities": velocities, "--elements": elements, "--units": units, "--template": template}
    for option, value in given.items():
        if value is not None:
            raise UserError(f"{option} is for files, and {run} is a folder, which says it itself; leave it out")
    for name in ("input.xml", START):
        require_file(run / name, "i-PI's file", "give a folder that `hesspot ipi-input` wrote, or a trajectory")
    if not (run / VELOCITIES).is_file():
        raise UserError(
            f"{run} has no {VELOCITIES}, the velocities that a spectrum is made of: write the run with `hesspot "
            "ipi-input … --velocities-every 2`, and run it"
        )
    found = _TIMESTEP.findall((run / "input.xml").read_text())
    if timestep is None and len(found) != 1:
        raise UserError(f"{run / 'input.xml'} has {len(found)} timesteps in femtosecond; pass --timestep")
    step = float(found[0]) if timestep is None else timestep
    return Source(run / POSITIONS, None, run / VELOCITIES, template=run / START), step
