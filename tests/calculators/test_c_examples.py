"""Risk: programs on the C header that give other numbers than the calculator, or that no longer compile."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import ase
import numpy as np
import pytest
import torch

from hesspot.calculators import HesspotCalculator
from hesspot.compiled import KERNEL_SOURCES
from hesspot.contract import build_batch
from hesspot.derivatives import hvp
from hesspot.export import read_model
from hesspot.models.shipped import find_model

ROOT = Path(__file__).parents[2]
EXAMPLES, MODEL = ROOT / "examples" / "c", find_model("shipped:water")

#: Of both examples.
WATER = ase.Atoms("OHH", positions=[(0, 0, 0.119262), (0, 0.763239, -0.477047), (0, -0.763239, -0.477047)])
DIRECTION = np.array([(0, 0, 1), (0, 0.5, -0.25), (0.125, 0, 0)])


def library() -> Path:
    return Path(os.environ.get("HESSPOT_LIBRARIES") or KERNEL_SOURCES) / "_kernels.so"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    target = tmp_path_factory.mktemp("c") / "water"
    folder = str(library().parent)
    options = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I", str(KERNEL_SOURCES), "-L", folder]
    command = [*shlex.split(os.environ.get("CC", "cc")), str(EXAMPLES / "water.c"), *options]
    subprocess.run([*command, "-l:_kernels.so", f"-Wl,-rpath,{folder}", "-o", str(target)], check=True)
    script = [sys.executable, "-I", "-S", str(EXAMPLES / "water.py"), str(library())]  # no package is found
    return {"water.c": [str(target)], "water.py": script}


@pytest.mark.parametrize("name", ["water.c", "water.py"])
def test_the_numbers_are_the_calculators_to_the_last_bit(programs: dict[str, list[str]], name: str) -> None:
    output = subprocess.run([*programs[name], str(MODEL)], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output.splitlines()]
    numbers = {key: np.array([row[1:] for row in rows if row[0] == key], float) for key in ("energy", "force", "H.v")}

    atoms = WATER.copy()
    atoms.calc = HesspotCalculator(MODEL)
    assert numbers["energy"] == atoms.get_potential_energy()
    np.testing.assert_array_equal(numbers["force"], atoms.get_forces())
    loaded = read_model(MODEL, backend="kernel")
    batch = build_batch([atoms], loaded.elements, loaded.cutoff)
    np.testing.assert_array_equal(numbers["H.v"], hvp(loaded, batch, torch.from_numpy(DIRECTION)))
    assert np.abs(numbers["H.v"]).max() > 1.0


@pytest.mark.parametrize("name", ["water.c", "water.py"])
def test_a_bad_file_is_one_sentence(programs: dict[str, list[str]], name: str, tmp_path: Path) -> None:
    bent = tmp_path / "bent.pt"
    bent.write_bytes(MODEL.read_bytes()[:-100])
    ended = subprocess.run([*programs[name], str(bent)], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    assert "is truncated or damaged" in ended.stderr and len(ended.stderr.splitlines()) == 1
