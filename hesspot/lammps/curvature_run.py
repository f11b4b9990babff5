"""Start `mpirun … python -m hesspot.lammps.curvature_job` with the plugin loaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hesspot.errors import UserError
from hesspot.lammps.build import build_plugin
from hesspot.lammps.curvature_job import CurvatureJob
from hesspot.lammps.environment import find_environment
from hesspot.lammps.run import lammps_environ


def run_curvature(
    kind: str,
    script: Path,
    out: Path,
    *,
    ranks: int = 1,
    workdir: Path | None = None,
    arguments: Sequence[str] = (),
    capture: bool = False,
    report: Callable[[str], None] = lambda message: None,
    **asked: Any,
) -> subprocess.CompletedProcess[str]:
    """Ask on `ranks` MPI ranks for what `CurvatureJob` describes, in `workdir` (the present folder), and wait.

    The plugin is built if it has to be. With `capture`, all output is in `stdout` of what is returned. UserError if
    there is no such script.
    """
    if ranks < 1:
        raise UserError(f"-n {ranks}: the number of MPI ranks must be 1 or more")
    script = script.absolute()
    if not script.is_file():
        raise UserError(f"LAMMPS input script {script} does not exist; give the path of an input script")
    if importlib.util.find_spec("mpi4py") is None:
        raise UserError("the Python package mpi4py is not installed; install it with `pip install mpi4py`")
    environment = find_environment()
    plugin = build_plugin(environment, report=report)
    styles = plugin.parent / "libhesspot_styles.so"
    job = CurvatureJob(kind, str(script), str(styles), str(out.absolute()), arguments=list(arguments), **asked)
    return subprocess.run(
        [
            str(environment.mpirun),
            "-n",
            str(ranks),
            sys.executable,
            "-m",
            "hesspot.lammps.curvature_job",
            job.to_json(),
        ],
        cwd=workdir,
        env=lammps_environ(environment, plugin),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        errors="replace",
    )
