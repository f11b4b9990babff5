"""What fits together for the LAMMPS plugin and what does not, in words."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hesspot import processes
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.lammps.build import cause_of, compiler, find_plugin
from hesspot.lammps.environment import Environment, find_environment, package_folder, program
from hesspot.lammps.prebuilt import PLUGIN_NAME, prebuilt_plugin
from hesspot.lammps.run import error_of, lammps_environ, mpirun_command

#: Older versions of torch lack C functions and headers; docs/torch-versions.md says what newer ones were tried with.
OLDEST_TORCH, NEWEST_TORCH = (2, 10), (2, 15)

#: From these on torch calls TorchScript deprecated, and unsupported.
TORCHSCRIPT_DEPRECATED, TORCHSCRIPT_UNSUPPORTED_PYTHON = (2, 14), (3, 14)
OLDEST_COMPILER = {"GNU": 11, "clang": 14}

#: LAMMPS starts within a second; this is for a slow network file system.
PATIENCE = 120.0  # s

#: Is there a pair_style hesspot?
LOADS = """region box block 0 1 0 1 0 1
create_box 1 box
pair_style hesspot
print "the plugin is there"
"""

TORCH_LIBRARIES = ("lib/libtorch.so", "lib/libtorch_cpu.so", "lib/libc10.so")

#: Do torch's headers and libraries belong together?
TRIAL = """#include <torch/headeronly/version.h>
#include <cstdint>
#include <cstdio>
extern "C" std::uint64_t aoti_torch_abi_version();
int main() {
  if (aoti_torch_abi_version() == TORCH_ABI_VERSION) return 0;
  std::puts("error: the headers, of version " TORCH_VERSION ", are not those of the libraries");
  return 1;
}
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `text` tells what was found and, if it is not fine, what to do."""

    subject: str
    fine: bool
    text: str


def diagnose() -> list[Finding]:
    """All findings, in the order in which things are needed. Nothing is built, nothing is changed."""
    environment: Environment | UserError
    try:
        environment = find_environment()
    except UserError as error:
        environment = error
    brought = isinstance(environment, Environment) and prebuilt_plugin(environment) is not None
    tools = {
        "compiler": _compiler,
        "CMake": lambda: str(program("cmake", "which builds the LAMMPS plugin")),
        "Ninja": lambda: str(program("ninja", "which builds the LAMMPS plugin")),
    }
    findings = [_finding(name, look, needed=not brought) for name, look in tools.items()]
    findings.append(_finding("torch", _torch))
    if importlib.util.find_spec("torch") and all(
        finding.fine for finding in findings if finding.subject in ("compiler", "torch")
    ):
        findings.append(_finding("a program with torch", _link, needed=not brought))
    if isinstance(environment, UserError):
        return [*findings, Finding("LAMMPS", False, str(environment))]
    found = environment
    summary = found.summary()
    findings += [Finding(name, True, summary[name]) for name in ("LAMMPS", "MPI")]
    findings += _other_plugins(found)
    findings.append(_finding("MPI with two processes", lambda: _two_processes(found)))
    findings.append(_finding("plugin", lambda: _plugin(found)))
    return findings


def _finding(subject: str, look: Callable[[], str], needed: bool = True) -> Finding:
    """What is not `needed`, since the plugin came with hesspot, may be wrong."""
    try:
        return Finding(subject, True, look())
    except UserError as error:
        if needed:
            return Finding(subject, False, str(error))
        return Finding(
            subject, True, f"not needed, since the plugin came with hesspot, unless for TorchScript: {error}"
        )


def _compiler() -> str:
    path = compiler()
    text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()
    first = text[0] if text else ""
    kind = "clang" if "clang" in first else "GNU"
    number = re.search(r"(\d+)\.\d+", first.split(")")[-1])
    if number and int(number.group(1)) < OLDEST_COMPILER[kind]:
        raise UserError(
            f"{path} ({first}) is older than version {OLDEST_COMPILER[kind]} and does not know C++20; "
            "name a newer compiler in the variable CXX"
        )
    return f"{path} ({first})"


def _torch() -> str:
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return (
            "it is not installed, and LAMMPS, i-PI and ASE need none; training, export and TorchScript do: "
            f"{install_hint('train')}"
        )
    number = tuple(int(part) for part in version.split(".")[:2])
    if number < OLDEST_TORCH:
        raise UserError(f"{version} is older than {_dotted(OLDEST_TORCH)}, which the plugin needs; install a newer one")
    folder = package_folder("torch", "torch")
    for file in ("include/torch/csrc/api/include/torch/torch.h", *TORCH_LIBRARIES):
        if not (folder / file).exists():
            raise UserError(
                f"{version} has no {folder / file}, so that nothing can be compiled with it; {_again(version)}"
            )
    return f"{version} {folder}{_of_torchscript(number, sys.version_info[:2])}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _of_torchscript(torch: tuple[int, ...], python: tuple[int, ...]) -> str:
    """What is known of these versions of torch and Python, in words; empty: nothing odd."""
    notes = []
    if torch > NEWEST_TORCH:
        notes.append(f"newer than {_dotted(NEWEST_TORCH)}, the last one that hesspot was tried with")
    if python >= TORCHSCRIPT_UNSUPPORTED_PYTHON:
        notes.append("its TorchScript, and so `hesspot export`, is not supported on Python 3.14 and may break")
    elif torch >= TORCHSCRIPT_DEPRECATED:
        notes.append("it calls TorchScript deprecated, which models with a kernel do not need to run")
    return "".join(f"; {note}" for note in notes)


def _again(version: str) -> str:
    return f"install the wheel of PyPI with `pip install --force-reinstall torch=={version.split('+')[0]}`"


def _link() -> str:
    """UserError if a small program cannot be compiled, linked and run with the headers and libraries of torch."""
    folder = package_folder("torch", "torch")
    libraries = [str(folder / file) for file in TORCH_LIBRARIES]
    with tempfile.TemporaryDirectory(prefix="hesspot-doctor-") as scratch:
        source, trial = Path(scratch) / "trial.cpp", Path(scratch) / "trial"
        source.write_text(TRIAL)
        command = [compiler(), "-std=c++20", f"-I{folder / 'include'}", str(source), "-o", str(trial)]
        command += ["-Wl,--no-as-needed", *libraries, f"-Wl,-rpath,{folder / 'lib'}"]
        for step, words in ((command, "cannot be compiled and linked"), ([str(trial)], "does not run")):
            ended = processes.run(step, capture=True)
            if ended.returncode != 0:
                raise UserError(f"it {words}: {cause_of(ended.stdout)}; {_again(metadata.version('torch'))}")
    return "it compiles and runs"


def _other_plugins(environment: Environment) -> Iterator[Finding]:
    """Folders of LAMMPS_PLUGIN_PATH that would bring another plugin into the run."""
    for folder in filter(None, os.environ.get("LAMMPS_PLUGIN_PATH", "").split(":")):
        other = Path(folder) / PLUGIN_NAME
        if other.is_file() and other != find_plugin(environment):
            yield Finding(
                "LAMMPS_PLUGIN_PATH",
                False,
                f"it names {folder}, whose hesspot plugin is for something else; remove it from the variable",
            )


def _two_processes(environment: Environment) -> str:
    output = _run(environment, 'print "this is one of $(extract_setting(world_size)) ranks"\n')
    if "this is one of 2 ranks" not in output:
        raise UserError(
            f"{environment.mpirun} did not start two ranks that know of each other ({error_of(output)}); "
            "install MPICH again with `pip install --force-reinstall mpich`"
        )
    other = shutil.which("mpirun")
    if other and Path(other).resolve() != environment.mpirun.resolve():
        return f"{environment.mpirun} starts them; {other} of the PATH is not for it, so use `hesspot lammps run`"
    return f"{environment.mpirun} starts them"


def _plugin(environment: Environment) -> str:
    plugin = find_plugin(environment)
    if plugin is None:
        raise UserError("it is not built for these versions yet; call `hesspot lammps build`")
    output = _run(environment, LOADS, plugin)
    if "the plugin is there" not in output:
        raise UserError(f"{plugin} cannot be used: {error_of(output)}")
    return f"LAMMPS uses {plugin}"


def _run(environment: Environment, script: str, plugin: Path | None = None) -> str:
    """The output of LAMMPS on two ranks, with no plugin but this one."""
    with tempfile.TemporaryDirectory(prefix="hesspot-doctor-") as folder:
        file = Path(folder) / "in.doctor"
        file.write_text(script)
        environ = lammps_environ(environment, plugin or file)
        environ["LAMMPS_PLUGIN_PATH"] = str(plugin.parent) if plugin else ""
        try:
            command = mpirun_command(environment, 2, file, ["-log", "none"])
            return processes.run(command, capture=True, timeout=PATIENCE, cwd=folder, env=environ).stdout
        except subprocess.TimeoutExpired:
            return f"no answer within {PATIENCE:.0f} s"
