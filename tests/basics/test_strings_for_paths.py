"""Risk: a function that takes a Path and fails with a raw error where a user gives a string."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from hesspot.data.convert import convert
from hesspot.data.readers import Options
from hesspot.errors import UserError
from hesspot.ipi.gle import read_matrices
from hesspot.ipi.inputs import write_start
from hesspot.ipi.launch import run_ipi
from hesspot.ipi.run_script import write_run_script
from hesspot.lammps.run import check_script, run_lammps
from hesspot.lammps.structure import write_data
from hesspot.reference.labelling import label_file
from hesspot.study.config import read_study
from hesspot.study.run import run_study
from hesspot.training.checkpoint import load_checkpoint
from hesspot.training.config import read_config
from ipi_driver.template import read_template


@pytest.fixture
def folder(tmp_path) -> str:
    molecule("H2O").write(tmp_path / "water.xyz")
    return str(tmp_path)


def test_files_are_written(folder):
    np.testing.assert_array_equal(write_data(f"{folder}/water.data", molecule("H2O"), ["H", "O"]), np.eye(3))
    write_start(f"{folder}/start.xyz", molecule("H2O"))
    write_run_script(folder, {"here": f"{folder}/model.pt"})
    assert f"{folder}/model.pt" in Path(folder, "run.sh").read_text()
    assert len(read_template(f"{folder}/start.xyz")) == 3


@pytest.mark.lammps
def test_lammps_runs_in_a_folder(folder):
    assert "Total wall time" in run_lammps("print hello\n", workdir=folder).stdout
    assert Path(folder, "in.lammps").read_text() == "print hello\n"


MISSING = {
    "script": lambda folder: check_script(f"{folder}/none"),
    "matrices": lambda folder: read_matrices(f"{folder}/none", 6, 300.0),
    "checkpoint": lambda folder: load_checkpoint(f"{folder}/none"),
    "configuration": lambda folder: read_config(f"{folder}/none"),
    "study": lambda folder: read_study(f"{folder}/none"),
    "template": lambda folder: read_template(f"{folder}/none"),
    "i-PI's input": lambda folder: run_ipi(f"{folder}/none", f"{folder}/m.pt", f"{folder}/water.xyz", folder),
    "data": lambda folder: convert([f"{folder}/none"], Options()),
    "structures": lambda folder: label_file(f"{folder}/none", f"{folder}/out.h5", None),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_told(folder, what):
    with pytest.raises(UserError, match=f"{folder}/none.* does not exist"):
        MISSING[what](folder)


def test_a_study_goes_to_a_folder_of_that_name(folder):
    """No further than its first check, which needs the folder's path."""
    with pytest.raises(UserError, match="--jobs 0 runs nothing"):
        run_study(None, folder, jobs=0)
