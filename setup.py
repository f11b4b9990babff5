"""Builds the kernel of the house model and the loops of the i-PI driver; everything else is in pyproject.toml."""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("hesspot/kernel")
FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-pthread",
]
AVX2 = ["-mavx2", "-mfma"]
#: The kernel is compiled once for each instruction set, and picks one when it runs.
VARIANTS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS |= {"avx2": AVX2, "avx512": [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]}


class BuildKernel(build_ext):
    """Compiles the kernel's source several times with flags of its own."""

    def build_extension(self, ext: Extension) -> None:
        if ext.sources:
            return super().build_extension(ext)
        objects = []
        for name, flags in VARIANTS.items():
            objects += self.compiler.compile(
                [str(SOURCES / "house_kernel.cpp")],
                output_dir=str(Path(self.build_temp) / name),
                macros=[("HESSPOT_INSTRUCTIONS", name)],
                extra_postargs=[*FLAGS, *flags],
            )
        objects += self.compiler.compile(
            [str(SOURCES / name) for name in ("house.cpp", "block.cpp", "python.cpp")],
            output_dir=self.build_temp,
            macros=[("HESSPOT_X86", "1")] if len(VARIANTS) > 1 else [],
            extra_postargs=FLAGS,
        )
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(ext.name), target_lang="c++", libraries=["stdc++"]
        )


setup(
    ext_modules=[
        Extension("hesspot.kernel._house", sources=[], depends=[str(p) for p in SOURCES.glob("*.[hc]*")]),
        Extension(
            "ipi_driver.native._steps",
            sources=["ipi_driver/native/edges.cpp", "ipi_driver/native/fast_lane.cpp"],
            depends=["ipi_driver/native/edges.h"],
            extra_compile_args=FLAGS,
            language="c++",
        ),
    ],
    cmdclass={"build_ext": BuildKernel},
)
