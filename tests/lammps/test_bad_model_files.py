"""Risk: a model file that is not what it says runs, or stops one rank only; every run here has two ranks."""

from pathlib import Path

import pytest
from ase.build import molecule
from bent_files import KINDS, bent, of_another_kernel
from lammps_runs import run_failing, run_succeeding

from hesspot.lammps.run import error_of
from hesspot.lammps.structure import write_data

pytestmark = pytest.mark.lammps

SCRIPT = """units metal
read_data structure.data
pair_style hesspot {options}
pair_coeff * * "{model}" H O
run 0
print "energy $(pe:%.12g)"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    atoms = molecule("H2O")
    atoms.center(5.0)
    write_data(tmp_path / "structure.data", atoms, ["H", "O"])
    return tmp_path


@pytest.mark.parametrize(("kind", "words"), KINDS.items())
def test_all_ranks_end_with_one_sentence(folder: Path, house_model_file: Path, kind: str, words: str) -> None:
    model = bent(house_model_file, folder, kind)
    output = run_failing(folder, SCRIPT.format(options="", model=model.name))
    message = error_of(output)
    assert words in message and "bent.pt" in message, output
    assert output.count("ERROR") == 1 and "not on all ranks" not in output


def energy(output: str) -> float:
    return float(output.rpartition("energy ")[2].split()[0])


def test_another_version_of_the_kernel_runs_by_torchscript_aloud(folder: Path, house_model_file: Path) -> None:
    later = of_another_kernel(house_model_file, folder / "later.pt")
    output = run_failing(folder, SCRIPT.format(options="backend kernel", model=later))
    reason = "the packed weights are for version 99 of the kernel, and this is version "
    assert f"cannot be evaluated by the kernel: {reason}" in error_of(output)
    assert output.count("ERROR") == 1
    output = run_succeeding(folder, SCRIPT.format(options="", model=later), 2)
    assert f"by TorchScript on cpu ({reason}" in output
    usual = run_succeeding(folder, SCRIPT.format(options="", model=house_model_file), 2)
    assert "by the kernel (" in usual
    assert energy(output) == pytest.approx(energy(usual), abs=1e-9)  # eV, rounding
