"""Compile the plugin, once for each combination of LAMMPS, MPI, torch and sources."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from hesspot import kernel, processes
from hesspot.errors import UserError
from hesspot.lammps.environment import Environment, find_environment, program

#: LAMMPS opens files that end so by itself, if they are in a folder of LAMMPS_PLUGIN_PATH.
PLUGIN_NAME = "hesspotplugin.so"

#: Lines of the compiler's output that an error shows.
SHOWN_LINES = 15


def sources() -> Path:
    """The folder with the plugin's C++ sources, which is part of the installed package."""
    spec = importlib.util.find_spec("lammps_plugin")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        if (Path(folder) / "CMakeLists.txt").is_file():
            return Path(folder)
    raise UserError("the C++ sources of the LAMMPS plugin are not installed; install hesspot again with pip")


def cache_folder() -> Path:
    """Where built plugins are kept: HESSPOT_CACHE, else inside the virtual environment, else the user's cache."""
    given = os.environ.get("HESSPOT_CACHE")
    if given:
        return Path(given).absolute() / "lammps"
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix) / "share" / "hesspot" / "lammps"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hesspot" / "lammps"


def plugin_path(environment: Environment) -> Path:
    """Where the plugin for `environment` and the present sources is, or will be once it is built."""
    digest = hashlib.sha256(json.dumps(asdict(environment), default=str, sort_keys=True).encode())
    for folder in (sources(), kernel.SOURCES):
        for file in sorted(folder.rglob("*")):
            if file.name == "CMakeLists.txt" or file.suffix in (".h", ".cpp"):
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return cache_folder() / digest.hexdigest()[:16] / PLUGIN_NAME


def build_plugin(environment: Environment | None = None, report: Callable[[str], None] = lambda message: None) -> Path:
    """The path of the plugin for `environment`, compiled if it is not there yet.

    The plugin appears in the cache as a whole or not at all. UserError with the end of the compiler's output.
    """
    environment = environment or find_environment()
    plugin = plugin_path(environment)
    if plugin.is_file():
        return plugin
    plugin.parent.parent.mkdir(parents=True, exist_ok=True)
    with _locked(plugin.parent.parent / "lock"):
        if plugin.is_file():
            return plugin
        report("compiling the LAMMPS plugin, which takes about half a minute")
        with tempfile.TemporaryDirectory(dir=plugin.parent.parent, prefix="build-") as scratch:
            _compile(environment, Path(scratch), plugin.parent.parent / "build.log")
            (Path(scratch) / "install" / "built-for.json").write_text(
                json.dumps(asdict(environment), default=str, indent=2) + "\n"
            )
            os.replace(Path(scratch) / "install", plugin.parent)
    return plugin


def json_folder() -> Path:
    """The include folder of nlohmann json. UserError if it is not installed."""
    nlohmann = importlib.util.find_spec("nlohmann_json")
    if nlohmann is None or not nlohmann.submodule_search_locations:
        raise UserError(
            "the Python package nlohmann-json is not installed; install it with `pip install nlohmann-json`"
        )
    return Path(next(iter(nlohmann.submodule_search_locations))) / "include"


def compiler() -> str:
    """The C++ compiler that CMake will take. UserError if there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise UserError("no C++ compiler was found; install g++ or clang++, or name one in the variable CXX")


def _compile(environment: Environment, scratch: Path, log: Path) -> None:
    json_headers = json_folder()
    compiler()
    cmake = str(program("cmake", "which builds the LAMMPS plugin"))
    ninja = program("ninja", "which builds the LAMMPS plugin")
    build, install = str(scratch / "build"), str(scratch / "install")
    definitions = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "CMAKE_INSTALL_PREFIX": install,
        "Torch_DIR": environment.torch_folder / "share" / "cmake" / "Torch",
        "MPI_CXX_COMPILER": environment.mpicxx,
        "NLOHMANN_JSON_INCLUDE_DIR": json_headers,
        "LAMMPS_HEADERS": environment.headers,
        "LAMMPS_SIZES": environment.lammps_sizes,
        "HESSPOT_LAMMPS_VERSION": environment.lammps_version,
        "HESSPOT_LAMMPS_DESCRIPTOR": environment.lammps_descriptor,
    }
    configure = [cmake, "-G", "Ninja", "-S", str(sources()), "-B", build]
    configure += [f"-D{name}={value}" for name, value in definitions.items()]
    with log.open("w") as output:
        for command in (configure, [cmake, "--build", build], [cmake, "--install", build]):
            output.write(f"$ {' '.join(command)}\n")
            output.flush()
            ended = processes.run(command, stdout=output, stderr=subprocess.STDOUT)
            if ended.returncode != 0:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
                raise UserError(
                    f"the LAMMPS plugin could not be compiled; the cause is in {log}, which ends with\n{tail}\n"
                    "Check that the C++ compiler knows C++20 (g++ 11 or newer), then call `hesspot lammps build` again."
                )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes from building at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
