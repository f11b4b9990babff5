"""The example inputs run as they are, and conserve what they should."""

from pathlib import Path

import numpy as np
import pytest

from hesspot.lammps import run_lammps

pytestmark = pytest.mark.lammps

EXAMPLES = Path(__file__).parents[2] / "examples" / "lammps"

#: The error of the total energy in velocity Verlet falls with the square of the timestep; a force that is not the
#: gradient of the energy leaves an error that does not fall.
ORDER = 4.0


def run_example(name: str, folder: Path, model: Path, *arguments: str) -> str:
    for file in EXAMPLES.iterdir():
        (folder / file.name).write_text(file.read_text())
    ended = run_lammps(folder / name, 2, folder, ["-log", "none", "-var", "model", str(model), *arguments])
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def energy_error(folder: Path, model: Path, dt: float, steps: int) -> float:
    """The largest change of the total energy, eV, over a run of `steps` steps of `dt` ps."""
    folder.mkdir()
    output = run_example("in.nve", folder, model, "-var", "steps", str(steps), "-var", "dt", str(dt))
    table = output.split("TotEng", 1)[1].split("Loop time")[0]
    rows = np.array([line.split() for line in table.splitlines() if line.split()], dtype=float)
    assert rows[-1, 0] == steps
    return float(abs(rows[:, 4] - rows[0, 4]).max())


def test_nve_conserves_energy_to_second_order(tmp_path: Path, house_model_file: Path) -> None:
    coarse = energy_error(tmp_path / "coarse", house_model_file, 2e-4, 100)
    fine = energy_error(tmp_path / "fine", house_model_file, 1e-4, 200)
    assert 0.8 * ORDER < coarse / fine < 1.25 * ORDER, (coarse, fine)


def test_hessian_of_the_minimum_has_six_rigid_modes(tmp_path: Path, house_model_file: Path) -> None:
    run_example("in.hessian", tmp_path, house_model_file)
    matrix = np.fromfile(tmp_path / "dynamical_matrix.bin").reshape(12, 12)
    values = np.sort(np.linalg.eigvalsh(0.5 * (matrix + matrix.T)))
    assert abs(values[:6]).max() < 1e-3 * values[6], values
