"""Risk: an input with the name of a shipped model that runs with another one, or that stops without a remedy."""

from pathlib import Path

import ase
import pytest
from ase.build import molecule
from lammps_runs import run_failing, run_succeeding

from hesspot.calculators import HesspotCalculator
from hesspot.lammps import run_lammps
from hesspot.lammps.structure import write_data
from hesspot.models.shipped import path

ENERGY = 1e-9  #: eV, of another order of sums
SCRIPT = """units metal
boundary f f f
read_data water.data
pair_style hesspot
pair_coeff * * {model} H O
run 0
print "energy $(pe:%.12f)"
{more}
"""


@pytest.fixture
def water(tmp_path: Path) -> ase.Atoms:
    atoms = molecule("H2O")
    write_data(tmp_path / "water.data", atoms, ["H", "O"])
    return atoms


def test_a_name_is_the_file(water: ase.Atoms, tmp_path: Path) -> None:
    """Also after a restart, which keeps the file's path."""
    more = "write_restart r\nclear\nread_restart r\nrun 0\nprint 'again $(pe:%.12f)'"
    output = run_succeeding(tmp_path, SCRIPT.format(model="shipped:water", more=more), ranks=2)
    told = {line.split()[0]: line.split()[1] for line in output.splitlines() if line.startswith(("energy", "again"))}
    energy = HesspotCalculator(path("water")).get_potential_energy(water)
    assert float(told["energy"]) == pytest.approx(energy, abs=ENERGY)
    assert float(told["again"]) == pytest.approx(energy, abs=ENERGY)
    assert str(path("water")) in output


def test_what_no_name_stands_for(water: ase.Atoms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run_failing(tmp_path, SCRIPT.format(model="shipped:watr", more=""))
    assert "there is no shipped model watr in" in output and "; shipped are " in output and "water" in output
    monkeypatch.setenv("HESSPOT_MODELS", str(tmp_path))
    assert "shipped are none" in run_lammps(SCRIPT.format(model="shipped:water", more=""), workdir=tmp_path).stdout
