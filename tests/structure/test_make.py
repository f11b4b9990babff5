"""Risk: a changed source that `make` takes for built, so that tests and users run what was there before."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("hesspot", "ipi_driver")
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".cpp", ".h") or path.name == "CMakeLists.txt"
)
BUILT, CHANGED = 2_000_000_000, 2_000_000_100


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what it looks at, all older than the mark of a finished installation."""
    for name in ("Makefile", "pyproject.toml", "setup.py", "constraints.txt", *SOURCES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
        os.utime(tmp_path / name, (BUILT - 1, BUILT - 1))
    mark = tmp_path / ".venv" / ".installed"
    mark.parent.mkdir()
    mark.touch()
    os.utime(mark, (BUILT, BUILT))
    return tmp_path


def up_to_date(checkout: Path, *variables: str) -> bool:
    ended = subprocess.run(["make", "-q", "install", *variables], cwd=checkout, capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode == 0


def test_every_source_is_known_to_make(checkout: Path) -> None:
    assert {"ipi_driver/native/edges.h", "hesspot/kernel/team.h", "hesspot/kernel/CMakeLists.txt"} <= set(SOURCES)
    assert up_to_date(checkout)
    for name in ("setup.py", "pyproject.toml", *SOURCES):
        os.utime(checkout / name, (CHANGED, CHANGED))
        assert not up_to_date(checkout), f"{name} is newer than what was built, and make builds nothing"
        os.utime(checkout / name, (BUILT - 1, BUILT - 1))
    assert up_to_date(checkout)


def test_another_torch_is_installed(checkout: Path) -> None:
    (checkout / ".venv" / ".torch").write_text("torch==2.13.0\n")
    assert up_to_date(checkout)
    assert not up_to_date(checkout, "TORCH=torch==2.14.1")
    assert not up_to_date(checkout, "TORCH_INDEX=https://example.org/cpu")


def test_compiler_flags_stand_once() -> None:
    """One CMakeLists.txt has the instruction sets and the flags of the kernels, for Python and for the plugin."""
    skipped = {".venv", "build", ".git", "demo-out"}
    texts = {
        path
        for path in ROOT.rglob("*")
        if path.suffix in (".py", ".txt", ".toml") or path.name == "Makefile"
        if not skipped & set(path.relative_to(ROOT).parts) and path != Path(__file__)
    }
    assert [path for path in texts if "mavx" in (text := path.read_text()) or "fno-signed-zeros" in text] == [
        ROOT / "hesspot" / "kernel" / "CMakeLists.txt"
    ]
