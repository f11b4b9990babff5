"""Risk: an archive of the sources, as pip builds from, that lacks some of them."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What is of use in a checkout alone.
LEFT_OUT = {".ci/run", ".gitignore", "MANIFEST.in"}


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).exists()}


def test_every_source_is_in_the_archive(tracked: set[str], tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    assert "ipi_driver/native/edges.cpp" in tracked
    ended = subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=copy, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "skipping" not in ended.stderr
    (archive,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {member.name.partition("/")[2]: member.size for member in opened.getmembers() if member.isfile()}
    assert tracked - LEFT_OUT <= set(held), tracked - LEFT_OUT - set(held)
    assert held["hesspot/models/shipped/water.pt"] == (ROOT / "hesspot/models/shipped/water.pt").stat().st_size
    assert not [name for name in held if name.endswith((".so", ".pyc"))]


def test_conda_asks_for_the_same_packages() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    asked = [line.replace("matplotlib", "matplotlib-base") for line in project["dependencies"]]
    (torch,) = (line.replace("torch", "pytorch") for line in project["optional-dependencies"]["train"])
    recipe = (ROOT / "conda" / "meta.yaml").read_text()
    run = recipe.partition("  run:\n")[2].partition("\ntest:")[0]
    listed = [line.replace(" ", "") for line in re.findall(r"^    - (.*)$", run, re.MULTILINE)]
    assert listed == [f"python{project['requires-python']}", *asked, torch]
