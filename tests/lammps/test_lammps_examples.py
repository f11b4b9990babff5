"""The example inputs run as they are, and conserve what they should."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import constants

from hesspot.lammps import run_lammps
from hesspot.lammps.curvature_run import run_curvature
from hesspot.structures import read_structures
from hesspot.units import SQRT_EV_PER_A2_AMU

pytestmark = pytest.mark.lammps

EXAMPLES = Path(__file__).parents[2] / "examples" / "lammps"

#: The error of the total energy in velocity Verlet falls with the square of the timestep; a force that is not the
#: gradient of the energy leaves an error that does not fall.
ORDER = 4.0

#: Frequencies from the exact Hessian and from differences (1/cm): truncation of dynamical_matrix, whose eigenvalues are
#: good to about 1e-5 of the largest.
DIFFERENCES = 5.0

#: Changes of the conserved quantity, and of the potential energy beside it, over 100 steps of 0.02 fs, eV.
ENTHALPY, EXCHANGED = 0.05, 1.0

#: LAMMPS prints six digits, and has constants of its own.
PRINTED = 1e-4


def run_example(name: str, folder: Path, model: Path, *arguments: str, ranks: int = 2) -> str:
    for file in EXAMPLES.iterdir():
        (folder / file.name).write_text(file.read_text())
    ended = run_lammps(folder / name, ranks, folder, ["-log", "none", "-var", "model", str(model), *arguments])
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def variables(**values: object) -> list[str]:
    return [word for name, value in values.items() for word in ("-var", name, str(value))]


def table(output: str, first: str) -> np.ndarray:
    """The rows of the last thermodynamic table, whose first columns are named `first`."""
    rows = output.split(first)[-1].split("\n", 1)[1].split("Loop time")[0].splitlines()
    return np.array([row.split() for row in rows if row.strip()[:1].isdigit()], dtype=float)


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
    found = run_curvature(
        "modes",
        tmp_path / "in.frequencies",
        tmp_path / "modes.npz",
        workdir=tmp_path,
        arguments=["-var", "model", str(house_model_file)],
        capture=True,
    )
    assert found.returncode == 0, found.stdout
    expected = np.sqrt(values[6:]) * SQRT_EV_PER_A2_AMU
    np.testing.assert_allclose(np.load(tmp_path / "modes.npz")["frequencies"], expected, atol=DIFFERENCES, rtol=0)


def test_liquid_water_is_repeated(tmp_path: Path, house_model_file: Path) -> None:
    output = run_example("in.water", tmp_path, house_model_file, *variables(repeat=2, steps=10, dt=1e-5))
    assert "1536 atoms" in output
    radius, density = np.loadtxt(tmp_path / "rdf.txt", skiprows=4)[:, 1:3].T
    assert 2.5 < radius[density.argmax()] < 3.1, "oxygen's first neighbours in water"


def test_constant_pressure_conserves_its_enthalpy(tmp_path: Path, house_model_file: Path) -> None:
    output = run_example("in.npt", tmp_path, house_model_file, *variables(steps=100, dt=2e-5))
    rows = table(output, "Step          Temp")
    change = abs(rows[-1] - rows[0])
    assert change[2] > EXCHANGED and change[4] > 0
    assert change[-1] < ENTHALPY


def test_thermal_conductivity_is_the_integral_of_the_flux(tmp_path: Path, house_model_file: Path) -> None:
    """Units and sums of the script's variable, from the correlations that LAMMPS wrote and SI constants."""
    sizes = variables(equilibrate=10, steps=80, sample=2, points=10, dt=1e-5)
    output = run_example("in.conductivity", tmp_path, house_model_file, *sizes)
    told = float(re.findall(r"thermal conductivity: (\S+) W", output)[0])
    last = np.loadtxt((tmp_path / "flux.txt").read_text().splitlines()[-10:])
    temperature = table(output, "Step          Temp")[-1, 3]
    side = float(re.findall(r"(\S+) xlo xhi", (tmp_path / "water.data").read_text())[0])
    integral = np.trapezoid(last[:, 3:6], dx=2e-5, axis=0).mean()  # (eV Å/ps)² ps
    factor = constants.e**2 * 1e-20 / 1e-24 * 1e-12 / (constants.k * temperature**2 * (side * 1e-10) ** 3)
    np.testing.assert_allclose(told, factor * integral, rtol=PRINTED)


def test_nudged_elastic_band_of_seven_images(tmp_path: Path, house_model_file: Path) -> None:
    partitions = ["-partition", "7x1", "-plog", "none", "-pscreen", "none"]
    run_example("in.neb", tmp_path, house_model_file, *variables(steps=10), *partitions, ranks=7)
    hydrogen = []
    for image in range(7):
        element, *place = (tmp_path / f"image.{image}.xyz").read_text().splitlines()[2].split()
        assert element == "H"
        hydrogen.append([float(word) for word in place])
    assert np.diff(np.array(hydrogen)[:, 0]).min() > 0, "the hydrogen goes from carbon to nitrogen"


def test_a_committee_stops_a_run(tmp_path: Path, committee_file: Path) -> None:
    output = run_example("in.halt", tmp_path, committee_file, *variables(limit=0.01, steps=100, dt=1e-5))
    assert table(output, "Step          Temp")[-1, 0] == 20
    assert "192 atoms" in (tmp_path / "last.data").read_text()
    frames = read_structures(tmp_path / "doubt.xyz")
    assert len(frames) >= 1
    assert all(frame.symbols.formula.count() == {"O": 64, "H": 128} and frame.pbc.all() for frame in frames)
