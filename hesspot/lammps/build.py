"""The plugin: what a wheel brought, or else compiled, once for each combination of LAMMPS, MPI, torch and sources."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from hesspot import processes
from hesspot.compiled import KERNEL_SOURCES
from hesspot.errors import UserError
from hesspot.lammps.environment import Environment, find_environment, program
from hesspot.lammps.prebuilt import PLUGIN_NAME, prebuilt_plugin, why_not_prebuilt

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
    for folder in (sources(), KERNEL_SOURCES):
        for file in sorted(folder.rglob("*")):
            if file.name == "CMakeLists.txt" or file.suffix in (".h", ".cpp"):
                digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return cache_folder() / digest.hexdigest()[:16] / PLUGIN_NAME


def find_plugin(environment: Environment) -> Path | None:
    """The plugin that runs in `environment`: the compiled one, or else the one that came with hesspot, or else None."""
    compiled = plugin_path(environment)
    return compiled if compiled.is_file() else prebuilt_plugin(environment)


def build_plugin(environment: Environment | None = None, report: Callable[[str], None] = lambda message: None) -> Path:
    """The path of the plugin for `environment`, compiled if there is none; UserError as for `compile_plugin`."""
    environment = environment or find_environment()
    return find_plugin(environment) or compile_plugin(environment, report)


def compile_plugin(environment: Environment, report: Callable[[str], None] = lambda message: None) -> Path:
    """The path of the plugin that is compiled for `environment`, if it is not there yet; TorchScript wants torch.

    The plugin appears in the cache as a whole or not at all. UserError with the end of the compiler's output.
    """
    plugin = plugin_path(environment)
    if plugin.is_file():
        return plugin
    try:
        compiler()
    except UserError as error:
        raise UserError(f"{why_not_prebuilt(environment)}{error}") from None
    plugin.parent.parent.mkdir(parents=True, exist_ok=True)
    with _locked(plugin.parent.parent / "lock"):
        if plugin.is_file():
            return plugin
        report("compiling the LAMMPS plugin, which takes about a minute")
        with tempfile.TemporaryDirectory(dir=plugin.parent.parent, prefix="build-") as scratch:
            _compile(environment, Path(scratch), plugin.parent.parent / "build.log")
            (Path(scratch) / "install" / "built-for.json").write_text(
                json.dumps(asdict(environment), default=str, indent=2) + "\n"
            )
            os.replace(Path(scratch) / "install", plugin.parent)
    return plugin


def compiler() -> str:
    """The C++ compiler that CMake will take. UserError if there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise UserError("no C++ compiler was found; install g++ or clang++, or name one in the variable CXX")


def configure_command(environment: Environment, build: Path, install: Path) -> list[str]:
    """The call of CMake that prepares `build` for `environment`; UserError for a tool that is missing."""
    compiler()
    definitions = {
        "CMAKE_MAKE_PROGRAM": program("ninja", "which builds the LAMMPS plugin"),
        "CMAKE_INSTALL_PREFIX": install,
        "TORCH_INCLUDE_DIR": environment.torch_folder / "include" if environment.torch_folder else "",
        "MPI_CXX_COMPILER": environment.mpicxx,
        "LAMMPS_HEADERS": environment.headers,
        "LAMMPS_SIZES": environment.lammps_sizes,
        "HESSPOT_LAMMPS_VERSION": environment.lammps_version,
        "HESSPOT_LAMMPS_DESCRIPTOR": environment.lammps_descriptor,
    }
    command = [str(program("cmake", "which builds the LAMMPS plugin")), "-G", "Ninja", "-S", str(sources())]
    return [*command, "-B", str(build), *(f"-D{name}={value}" for name, value in definitions.items())]


def _compile(environment: Environment, scratch: Path, log: Path) -> None:
    build = scratch / "build"
    configure = configure_command(environment, build, scratch / "install")
    with log.open("w") as output:
        cmake = configure[0]
        for command in (configure, [cmake, "--build", str(build)], [cmake, "--install", str(build), "--strip"]):
            output.write(f"$ {' '.join(command)}\n")
            output.flush()
            ended = processes.run(command, stdout=output, stderr=subprocess.STDOUT)
            if ended.returncode != 0:
                raise UserError(
                    f"the LAMMPS plugin could not be compiled: {cause_of(log.read_text(errors='replace'))}\n"
                    f"The whole output is in {log}. Then call `hesspot lammps build` again."
                )


#: What the output of a failed build shows, and what that means.
CAUSES = [
    (r"No space left on device|Disk quota exceeded", "the disk is full; make room"),
    (
        r"Killed signal|Killed \(program|out of memory|memory exhausted|std::bad_alloc",
        "the compiler ran out of memory or was killed; end other programs",
    ),
    (
        r"(unrecognized|unknown|invalid) .*-?std=\S*2[0ab]\b|-std=\S*2[0ab]\b.* not recognized|dialect\s+\"CXX20\"",
        "the C++ compiler does not know C++20; install g++ 11 or clang++ 14 or newer, or name one in the variable CXX",
    ),
]


def cause_of(output: str) -> str:
    """Why a build failed, from the output of CMake, the compiler and the linker, with a remedy if it is known."""
    for pattern, meaning in CAUSES:
        if re.search(pattern, output):
            return meaning
    # CMake indents its message below the place
    cmake = re.search(r"^CMake Error(?: at \S+ \([^)]*\))?:\n?((?:\s*\n|[ \t]+.*\n)+)", output, re.MULTILINE)
    if cmake:
        return f"CMake says: {' '.join(cmake.group(1).split())}"
    errors = [line for line in output.splitlines() if re.search(r"\berror: |undefined reference|cannot find -l", line)]
    if errors:
        return errors[0].strip()
    return "the output ends with\n" + "\n".join(output.splitlines()[-SHOWN_LINES:])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes from building at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
