"""Start `mpirun … lmp` with the plugin loaded."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hesspot import processes
from hesspot.errors import UserError
from hesspot.files import require_text
from hesspot.lammps.build import build_plugin
from hesspot.lammps.environment import Environment, find_environment, with_library_folder
from hesspot.models.shipped import FOLDER

#: A script of this name is read from standard input.
STANDARD_INPUT = Path("-")


def lammps_environ(environment: Environment, plugin: str | Path) -> dict[str, str]:
    """The variables with which LAMMPS finds MPI, plugin and shipped models; one OpenMP thread per rank unless set."""
    plugin = Path(plugin)
    before = os.environ.get("LAMMPS_PLUGIN_PATH")
    return with_library_folder(
        {
            **os.environ,
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "LAMMPS_PLUGIN_PATH": f"{plugin.parent}:{before}" if before else str(plugin.parent),
            "HESSPOT_MODELS": os.environ.get("HESSPOT_MODELS", str(FOLDER)),
        },
        environment.mpi_libraries,
    )


def mpirun_command(
    environment: Environment,
    ranks: int,
    script: str | Path,
    extra_args: Sequence[str] = (),
    lmp: str | Path | None = None,
) -> list[str]:
    """`mpirun -n RANKS lmp -in SCRIPT …`; UserError if there is no such script or executable.

    The script - is standard input."""
    script = Path(script)
    lmp = None if lmp is None else Path(lmp)
    if ranks < 1:
        raise UserError(f"-n {ranks}: the number of MPI ranks must be 1 or more")
    if script != STANDARD_INPUT:
        check_script(script)
    executable = lmp or environment.lmp
    if not (executable.is_file() and os.access(executable, os.X_OK)):
        raise UserError(f"LAMMPS executable {executable} does not exist or cannot be run; give the path of lmp")
    reading = [] if script == STANDARD_INPUT else ["-in", str(script)]
    return [str(environment.mpirun), "-n", str(ranks), str(executable), *reading, *extra_args]


def check_script(script: str | Path) -> None:
    """UserError if there is no such input script, or if it is no text."""
    require_text(Path(script), "LAMMPS input script", "give the path of an input script")


def run_lammps(
    script: str | Path, ranks: int = 1, workdir: str | Path | None = None, extra_args: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run LAMMPS with the plugin loaded, and wait for it.

    script: the path of an input script, or its text, which is then written to `in.lammps` in `workdir`;
    workdir: the folder that LAMMPS runs in (the present one). The plugin is built if it has to be.
    Returns the ended process with all of its output in `stdout`; a failed run is the caller's to notice.
    """
    workdir = None if workdir is None else Path(workdir)
    workdir = (workdir or Path.cwd()).absolute()
    if isinstance(script, str):
        (workdir / "in.lammps").write_text(script)
        script = workdir / "in.lammps"
    environment = find_environment()
    plugin = build_plugin(environment)
    return processes.run(
        mpirun_command(environment, ranks, script.absolute(), extra_args),
        capture=True,
        cwd=workdir,
        env=lammps_environ(environment, plugin),
    )


def error_of(output: str) -> str:
    """The line of LAMMPS's output that tells why it ended, without its prefix and place in the source."""
    for line in output.splitlines():
        if line.startswith("ERROR"):
            return re.sub(r" \([^()]*:\d+\)$", "", line.split(": ", 1)[-1].strip())
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"
