"""`hesspot lammps build | path | run`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.errors import UserError
from hesspot.lammps import build_plugin, find_environment
from hesspot.lammps.build import cache_folder, plugin_path

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


def test_key_depends_on_the_sources(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

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
