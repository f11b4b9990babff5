"""Builds the kernels and the loops of the i-PI driver by their CMakeLists.txt; everything else is in pyproject.toml.

The variable HESSPOT_PLUGINS names a folder of LAMMPS plugins, as `wheels/plugins.py` makes it, for the wheel to bring.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

#: What an installed package has in hesspot/share: the pages and examples of the checkout, without figures and models.
SHARED = {"docs": ("*.md",), "examples": ("*.md", "*.py", "*.yaml", "*.xml", "*.xyz", "*.data", "in.*", "*.c")}


def program(name: str) -> str:
    """Beside this Python, as pip installs it, or on the PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        sys.exit(f"{name}, which builds hesspot's C++ parts, was not found; install it with `pip install {name}`")
    return found


class BuildWithCMake(build_ext):
    """The one source of an extension is its CMakeLists.txt; the target has its last name."""

    def build_extension(self, ext: Extension) -> None:
        name, build = ext.name.rpartition(".")[2], Path(self.build_temp).absolute() / ext.name
        cmake, ninja = program("cmake"), program("ninja")
        configure = [
            cmake,
            "-G",
            "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={ninja}",
            "-S",
            str(Path(ext.sources[0]).parent),
            "-B",
            str(build),
        ]
        for command in (configure, [cmake, "--build", str(build), "--target", name]):
            if subprocess.run(command).returncode:
                sys.exit(f"`{' '.join(command)}` failed; g++ 11 or clang++ 16, or newer, builds hesspot's C++ parts")
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".part")
        shutil.copyfile(build / f"{name}.so", partial)
        partial.replace(target)  # a process that has the old one open keeps it

    def get_ext_filename(self, fullname: str) -> str:
        """These are libraries for ctypes, the same for each version of Python."""
        return str(Path(*fullname.split("."))) + ".so"


class BuildWithPages(build_py):
    """Adds what lies beside the packages in a checkout, and the plugins that were built for the wheel."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, target in self._beside():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def _beside(self) -> list[tuple[Path, Path]]:
        package = Path(self.build_lib) / "hesspot"
        files = [
            (file, package / "share" / file)
            for folder, patterns in SHARED.items()
            for pattern in patterns
            for file in sorted(Path(folder).rglob(pattern))
        ]
        if plugins := os.environ.get("HESSPOT_PLUGINS"):
            found = [file for file in sorted(Path(plugins).rglob("*")) if file.is_file()]
            if not found:
                sys.exit(
                    f"HESSPOT_PLUGINS={plugins} holds no plugin; make them with `python wheels/plugins.py {plugins}`"
                )
            files += [(file, package / "lammps" / "prebuilt" / file.relative_to(plugins)) for file in found]
        return files


class WheelForEveryPython(bdist_wheel):
    """The compiled parts are libraries for ctypes, so that one wheel serves all versions of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


def extension(name: str) -> Extension:
    folder = Path(*name.split(".")[:-1])
    depends = [str(path) for suffix in ("cpp", "h") for path in folder.glob(f"*.{suffix}")]
    return Extension(name, sources=[str(folder / "CMakeLists.txt")], depends=depends)


setup(
    ext_modules=[extension("hesspot.kernel._kernels"), extension("ipi_driver.native._steps")],
    cmdclass={"build_ext": BuildWithCMake, "build_py": BuildWithPages, "bdist_wheel": WheelForEveryPython},
)
