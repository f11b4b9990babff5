"""Risk: in ASE's LAMMPSlib, which keeps one LAMMPS for all structures, a caught error spoils what follows."""

import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from lammps_runs import ENERGY_TOLERANCE, FORCE_TOLERANCE, expected
from structures import water_crystal

from hesspot.lammps.environment import find_environment
from hesspot.lammps.run import lammps_environ

pytestmark = pytest.mark.lammps

#: The same sums in float32, in another order: eV and eV/Å, of energies below 1 eV.
SINGLE_TOLERANCE = 1e-5

PROGRAM = """
import sys
import ase.io
import numpy as np
from ase.calculators.lammpslib import LAMMPSlib

model, style, sentence, *elements = sys.argv[1:]

def calculator():
    return LAMMPSlib(
        lmpcmds=[f"pair_style hesspot {style}", f"pair_coeff * * {model} {' '.join(elements)}"],
        atom_types={symbol: number for number, symbol in enumerate(elements, 1)},
        keep_alive=True,
        extra_cmd_args=["-screen", "none"],
    )

def values(calc, name):
    atoms = ase.io.read(name + ".traj")
    return [np.array(calc.get_property(name, atoms)) for name in ("energy", "energies", "forces", "stress")]

calc, found = calculator(), {"first": values(calculator(), "right"), "fewer first": values(calculator(), "fewer")}
for attempt, name in enumerate(["right", "wrong", "wrong", "right", "wrong", "fewer", "right"]):
    try:
        found[f"{attempt} {name}"] = values(calc, name)
        assert name != "wrong", "a value for what cannot be calculated"
    except Exception as caught:
        # one rank ends by itself: no word of a rank that stops the others, which would be given time to be read
        assert name == "wrong" and sentence in str(caught) and "on proc" not in str(caught), caught
np.savez("found.npz", **{f"{key}/{k}": value for key, parts in found.items() for k, value in enumerate(parts)})
"""


def crystal() -> Atoms:
    atoms = water_crystal() * (2, 1, 1)
    atoms.rattle(0.02, seed=8)
    return atoms


def argon() -> Atoms:
    atoms = bulk("Ar", cubic=True, a=5.3) * 3
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize(
    ("file", "atoms", "elements", "style", "distance", "sentence", "tolerance"),
    [
        ("house_model_file", crystal(), "O H", "max_edges 1000", 2e-4, "are on one place", None),
        ("committee_file", crystal(), "O H", "threads 2", 2e-4, "are on one place", None),
        ("lj_model_file", argon(), "Ar", "precision single max_edges 1000", 2e-3, "not a finite", SINGLE_TOLERANCE),
    ],
)
def test_after_a_caught_error_values_are_right(
    tmp_path: Path,
    plugin: Path,
    request: pytest.FixtureRequest,
    file: str,
    atoms: Atoms,
    elements: str,
    style: str,
    distance: float,
    sentence: str,
    tolerance: float | None,
) -> None:
    model = request.getfixturevalue(file)
    wrong = atoms.copy()
    wrong.positions[-1] = wrong.positions[-2] + [distance, 0, 0]
    structures = {"right": atoms, "wrong": wrong, "fewer": atoms[: len(atoms) // 2]}
    for name, structure in structures.items():
        ase.io.write(tmp_path / f"{name}.traj", structure)
    (tmp_path / "program.py").write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, "program.py", str(model), style, sentence, *elements.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=lammps_environ(find_environment(), plugin),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = np.load(tmp_path / "found.npz")
    for key in found.files:
        attempt, part = key.split("/")
        first = "fewer first" if "fewer" in attempt else "first"
        np.testing.assert_allclose(found[key], found[f"{first}/{part}"], atol=tolerance or FORCE_TOLERANCE, rtol=0)
    for name, key in (("right", "6 right"), ("fewer", "5 fewer")):
        answer = expected(model, structures[name])
        atol = tolerance or ENERGY_TOLERANCE
        np.testing.assert_allclose(found[f"{key}/0"], answer.energy[0], atol=atol, rtol=0)
        np.testing.assert_allclose(found[f"{key}/1"], answer.atom_energies, atol=atol, rtol=0)
        np.testing.assert_allclose(found[f"{key}/2"], answer.forces, atol=tolerance or FORCE_TOLERANCE, rtol=0)
