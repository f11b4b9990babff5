"""Risk: an archive of the sources, as pip builds from, that lacks some of them."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("hesspot", "ipi_driver", "lammps_plugin")
BUILT = ("*.so", "__pycache__", "*.egg-info")


def test_every_source_is_in_the_archive(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(*BUILT))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    sources = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and path.name[0] != "."}
    assert "ipi_driver/native/edges.cpp" in sources
    ended = subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=copy, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "skipping" not in ended.stderr
    (archive,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert sources <= held, sources - held
