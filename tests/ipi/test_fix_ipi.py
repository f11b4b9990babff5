"""LAMMPS on several ranks as i-PI's driver, against hesspot-ipi."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import ase
import ase.build
import numpy as np
import pytest

from hesspot.ipi.inputs import write_start
from hesspot.ipi.launch import run_ipi
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import write_data

pytestmark = [pytest.mark.ipi, pytest.mark.lammps]

EXAMPLE = Path(__file__).parents[2] / "examples/ipi/fix-ipi"
STEPS = 5

#: s; a run that takes longer hangs.
PATIENCE = 200.0

#: Part of an energy: fix ipi has 8 digits of the Boltzmann constant of before 2019 in the place of Hartree's.
CONSTANTS = 3e-6


def test_lammps_on_two_ranks_gives_ipi_what_the_driver_gives(house, tmp_path):
    """The example's own files, with another model and 8 molecules across the border of the ranks."""
    atoms = ase.build.molecule("H2CO", cell=[5.0] * 3, pbc=True).repeat(2)
    atoms.rattle(0.05, seed=1)
    write_start(tmp_path / "start.xyz", atoms)
    write_data(tmp_path / "atoms.data", atoms, ["H", "C", "O"])
    address = f"hesspot-test-{os.getpid()}"
    xml = (EXAMPLE / "input.xml").read_text().replace("<address>water", f"<address>{address}")
    xml = re.sub("<total_steps>.*?<", f"<total_steps>{STEPS}<", xml).replace("mode='nvt'", "mode='nve'")
    xml = xml.replace(">0.5</timestep>", ">3</timestep>")  # so that forces show in the energies
    (tmp_path / "input.xml").write_text(re.sub("<thermostat.*</thermostat>", "", xml))
    program = shutil.which("i-pi", path=sysconfig.get_path("scripts"))
    variables = {"model": str(house), "elements": "H C O", "data": "atoms.data", "address": address}
    arguments = [word for name, value in variables.items() for word in ("-var", name, value)]
    with subprocess.Popen([program, "input.xml"], cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        try:
            while not Path(f"/tmp/ipi_{address}").exists():
                assert server.poll() is None
            ended = run_lammps(EXAMPLE / "in.ipi", 2, tmp_path, ["-log", "none", *arguments])
            assert server.wait(PATIENCE) == 0, ended.stdout
        finally:
            server.kill()
    assert "Got EXIT message" in ended.stdout
    table = np.loadtxt(tmp_path / "simulation.out")
    (tmp_path / "driver").mkdir()
    shutil.copy(tmp_path / "start.xyz", tmp_path / "driver")
    run_ipi(tmp_path / "input.xml", house, tmp_path / "start.xyz", tmp_path / "driver", timeout=PATIENCE)
    wanted = np.loadtxt(tmp_path / "driver/simulation.out")
    assert len(table) == STEPS + 1
    potential = wanted[:, 5]
    assert np.ptp(potential) > 100 * CONSTANTS * np.abs(potential).max()
    np.testing.assert_allclose(table[:, 5], potential, rtol=0, atol=CONSTANTS * np.abs(potential).max())
