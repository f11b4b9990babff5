"""Start `mpirun … python -m hesspot.lammps.curvature_job` with the plugin loaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hesspot import processes
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.lammps.build import build_plugin
from hesspot.lammps.curvature_job import CurvatureJob
from hesspot.lammps.environment import find_environment
from hesspot.lammps.run import check_script, lammps_environ
from hesspot.processes import Output


def run_curvature(
    kind: str,
    script: str | Path,
    out: str | Path,
    *,
    ranks: int = 1,
    workdir: str | Path | None = None,
    arguments: Sequence[str] = (),
    capture: bool = False,
    report: Callable[[str], None] = lambda message: None,
    **asked: Any,
) -> subprocess.CompletedProcess[str]:
    """Ask on `ranks` MPI ranks for what `CurvatureJob` describes, in `workdir` (the present folder), and wait.

    The plugin is built if it has to be. With `capture`, all output is in `stdout` of what is returned. UserError if
    there is no such script.
    """
    script = Path(script)
    out = Path(out)
    workdir = None if workdir is None else Path(workdir)
    if ranks < 1:
        raise UserError(f"-n {ranks}: the number of MPI ranks must be 1 or more")
    script = script.absolute()
    check_script(script)
    if importlib.util.find_spec("mpi4py") is None:
        raise UserError(f"the Python package mpi4py is not installed; install it with {install_hint('mpi')}")
    environment = find_environment()
    plugin = build_plugin(environment, report=report)
    styles = plugin.parent / "libhesspot_styles.so"
    job = CurvatureJob(kind, str(script), str(styles), str(out.absolute()), arguments=list(arguments), **asked)
    output = Output(out.absolute())
    module = [sys.executable, "-m", "hesspot.lammps.curvature_job"]
    ended = processes.run(
        [environment.mpirun, "-n", str(ranks), *module, job.to_json()],
        capture=capture,
        cwd=workdir,
        env=lammps_environ(environment, plugin),
    )
    if ended.returncode == 0 and not output.is_new():
        raise UserError(
            f"LAMMPS ended before {out} was written, as the command `quit` makes it do; take it out of {script}"
        )
    return ended
