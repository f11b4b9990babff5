"""`hesspot lammps doctor` names what does not fit and what to do."""

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.lammps import doctor, environment
from hesspot.lammps.build import PLUGIN_NAME

pytestmark = pytest.mark.lammps


def visit() -> tuple[int, dict[str, str]]:
    """Exit status, and the line of each subject."""
    result = CliRunner().invoke(app, ["lammps", "doctor"])
    lines = [line.split(": ", 1) for line in result.stdout.splitlines()]
    return result.exit_code, {head.split(maxsplit=1)[1]: f"{head.split()[0]}: {rest}" for head, rest in lines}


def test_what_fits(plugin: Path) -> None:
    status, findings = visit()
    assert status == 0, findings
    assert all(text.startswith("fine: ") for text in findings.values())
    assert str(plugin) in findings["plugin"]
    assert {"compiler", "torch", "LAMMPS", "MPI", "MPI with two processes"} <= set(findings)


def test_a_plugin_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HESSPOT_CACHE", str(tmp_path))
    status, findings = visit()
    assert status == 1 and findings["plugin"].startswith("WRONG: it is not built for these versions yet")
    assert findings["MPI with two processes"].startswith("fine: ")


def test_another_plugin_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / PLUGIN_NAME).touch()
    monkeypatch.setenv("LAMMPS_PLUGIN_PATH", str(tmp_path))
    status, findings = visit()
    assert status == 1 and str(tmp_path) in findings["LAMMPS_PLUGIN_PATH"]
    assert findings["plugin"].startswith("fine: ")


def test_the_wheels_of_2024(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were compiled with the old std::string and carry a copy of MPICH."""
    ask = environment._ask

    def answer(library: Path, libraries: Path) -> dict[str, object]:
        told = ask(library, libraries)
        assert told["new_strings"] is True
        return told | {"new_strings": False, "mpi": ["/somewhere/lammps.libs/libmpi-2dae7d75.so.12"]}

    monkeypatch.setattr(environment, "_ask", answer)
    monkeypatch.setattr(doctor, "find_environment", environment.find_environment.__wrapped__)
    status, findings = visit()
    assert status == 1 and "plugin" not in findings
    assert "the std::string from before C++11" in findings["LAMMPS"]
    assert "an MPI of its own, libmpi-2dae7d75.so.12; install another with" in findings["LAMMPS"]
    with pytest.raises(UserError, match="cannot run the plugin"):
        environment.find_environment.__wrapped__()


@pytest.mark.parametrize(
    ("torch", "python", "words"),
    [
        ((2, 10), (3, 11), []),
        ((2, 13), (3, 11), []),
        ((2, 14), (3, 11), ["calls TorchScript deprecated"]),
        ((2, 15), (3, 14), ["is not supported on Python 3.14"]),
        ((2, 99), (3, 12), ["newer than 2.15, the last one that hesspot was tried with", "deprecated"]),
    ],
)
def test_what_is_known_of_versions_of_torch(torch: tuple[int, int], python: tuple[int, int], words: list[str]) -> None:
    notes = doctor._of_torchscript(torch, python).split("; ")[1:]
    assert len(notes) == len(words) and all(word in note for word, note in zip(words, notes, strict=True))


def test_the_oldest_torch_stands_in_the_metadata() -> None:
    assert install_hint("train").strip("`").split()[-1] == f"'torch>={'.'.join(map(str, doctor.OLDEST_TORCH))}'"


def test_a_compiler_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "old-c++"
    compiler.write_text("#!/bin/sh\necho 'old-c++ (GCC) 4.8.5 20150623'\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    status, findings = visit()
    assert status == 1 and "is older than version 11 and does not know C++20" in findings["compiler"]


@pytest.mark.parametrize(
    "broken, words",
    [
        ("lib/libtorch_cpu.so", "has no"),
        ("include/torch/csrc/api/include/torch/torch.h", "has no"),
        ("include/torch/headeronly/version.h", "cannot be compiled and linked"),
        ("other version", "does not run: error: the headers, of version 2.1.0, are not those of the libraries"),
    ],
)
def test_torch_that_cannot_be_built_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, words: str
) -> None:
    real = environment.package_folder("torch", "torch")
    for name in ("include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/torch.h"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text((real / name).read_text())
    shutil.copytree(real / "lib", tmp_path / "lib", copy_function=os.symlink)
    if broken == "other version":
        header = tmp_path / "include/torch/headeronly/version.h"
        parts = [f"#define TORCH_VERSION_{part}" for part in ("MAJOR 2", "MINOR 1", "PATCH 0", "ABI_TAG 0")]
        told = '#define TORCH_VERSION "2.1.0"\n#define TORCH_ABI_VERSION (2ull << 56 | 1ull << 48)'
        header.write_text("\n".join([*parts, told, ""]))
    else:
        (tmp_path / broken).unlink()
    monkeypatch.setattr(doctor, "package_folder", lambda module, distribution: tmp_path)
    status, findings = visit()
    wrong = [text for text in findings.values() if text.startswith("WRONG: ")]
    assert status == 1 and len(wrong) == 1 and words in wrong[0], findings
