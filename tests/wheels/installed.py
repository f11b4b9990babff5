"""An environment that has the wheel, and neither torch nor a compiler."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

#: s; a command that takes longer hangs.
PATIENCE = 300.0

#: What the programs of MPICH and of a virtual environment call; no compiler.
PROGRAMS = ("sh", "env", "uname", "hostname")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel."""

    folder: Path

    def run(self, *command: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, which sees no other programs but `PROGRAMS`."""
        return subprocess.run(
            [self.program(str(command[0])), *map(str, command[1:])],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=self.environ | environ,
            timeout=PATIENCE,
        )

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{self.folder / 'bin'}:{self.folder / 'programs'}"
        return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "1000"}


def borrow(names: list[str], folder: Path) -> None:
    """Lays these packages, and those that they need, into an environment; never torch or hesspot."""
    (site,) = (folder / "lib").glob("python*/site-packages")
    done: set[str] = set()
    while names:
        name = names.pop().lower().replace("_", "-")
        if name in done or name in ("torch", "hesspot"):
            continue
        done.add(name)
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another Python or system
        names += [line.partition(";")[0] for line in package.requires or [] if "extra ==" not in line]
        names[:] = ["".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0] for line in names]
        for file in package.files or []:
            inside = file.parts[0] != ".."
            here = Path(os.path.normpath(str(package.locate_file(file.parts[0] if inside else file))))
            there = Path(os.path.normpath(site / (file.parts[0] if inside else file)))
            if here.exists() and not there.exists() and "__pycache__" not in there.parts:
                there.parent.mkdir(parents=True, exist_ok=True)
                if inside:
                    there.symlink_to(here)
                else:  # programs and libraries ask where they lie
                    shutil.copy(here, there)
