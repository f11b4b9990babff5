"""Long i-PI runs against statistics that are known exactly, at the run's own number of beads and time step."""

import ase
import numpy as np
import pytest
from ipi_folders import OFFSET, Nothing, change, run_folder, write_well

from hesspot.analysis.ring_polymer import harmonic_sums
from hesspot.export import fingerprint_entry, write_model
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR

pytestmark = pytest.mark.ipi

#: Standard errors of a mean, from blocks, that it may be away from the exact value; and must be from wrong ones.
NEAR, FAR = 4.0, 6.0

#: Å: positions are printed with 8 digits behind the point.
STRAIGHT = 1e-6


def mean_and_error(values, blocks=20):
    """Mean and its standard error, from the scatter of consecutive blocks."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    return means.mean(), means.std(ddof=1) / np.sqrt(blocks)


@pytest.mark.parametrize(
    ("case", "n_beads", "timestep", "steps"), [("nvt", 1, 3.0, 3000), ("pimd", 8, 1.0, 1500), ("trpmd", 8, 2.0, 1000)]
)
def test_springs_have_the_exact_energies_of_their_time_step(springs, tmp_path, case, n_beads, timestep, steps):
    """Potential and centroid-virial kinetic energy of atoms on springs: classical and quantum, long time steps. The
    centroid of trpmd keeps the energy it starts with, so that only the kinetic energy, which it is not in, is exact."""
    model, atoms, k = springs
    temperature = 300.0
    settings = RunSettings(temperature, n_beads, timestep, steps, stride=1, seed=5)
    write_case(case, atoms, [model], tmp_path, settings)
    if case != "trpmd":
        change(tmp_path, (">100</tau>", ">10</tau>"))
    run_folder(tmp_path)
    table = np.loadtxt(tmp_path / "simulation.out")[steps // 15 :]
    n, masses = len(atoms), atoms.get_masses()
    weights = 1.0 / (AMU_A2_PER_FS2 * np.sqrt(np.outer(masses, masses)))
    squares = np.repeat(np.linalg.eigvalsh(k * (n * np.eye(n) - np.ones((n, n))) * weights)[1:], 3)
    exact = harmonic_sums(squares, n_beads, temperature, timestep)
    continuous = harmonic_sums(squares, n_beads, temperature, 0.0)
    if case != "trpmd":
        mean, error = mean_and_error(table[:, 5])
        print(f"{case} V {mean:.5f} ± {error:.5f}, exact {exact[0]:.5f}, dt → 0 {continuous[0]:.5f} eV")
        assert abs(mean - exact[0]) < NEAR * error
    centroid = 1.5 * n * BOLTZMANN * temperature
    if n_beads == 1:
        assert np.abs(table[:, 4] - centroid).max() < 1e-5 * centroid  # i-PI's unit of temperature has 8 digits
    else:
        mean, error = mean_and_error(table[:, 4] - centroid)
        print(f"{case} K {mean:.5f} ± {error:.5f}, exact {exact[1]:.5f}, dt → 0 {continuous[1]:.5f} eV")
        assert abs(mean - exact[1]) < NEAR * error


def well_energy(x, k2, k4):
    return 0.5 * k2 * x**2 + k4 * x**4


def matrix_multiplication(k2, k4, mass, n_beads, temperature):
    """⟨V⟩ in eV of ½k₂x² + k₄x⁴ for P beads: Tr[V Kᴾ]/Tr[Kᴾ] with K on a grid of 0.005 Å (Thirumalai, Bruskin and
    Berne, J. Chem. Phys. 79, 5063, 1983, without their squaring)."""
    grid = np.arange(-1.5, 1.5, 0.005)
    kt = BOLTZMANN * temperature
    spring = mass * AMU_A2_PER_FS2 * (n_beads * kt / HBAR) ** 2  # eV/Å²
    energy = well_energy(grid, k2, k4)
    half = energy / 2
    kernel = np.exp(
        -(0.5 * spring * (grid[:, None] - grid) ** 2 + half[:, None] + half - energy.min()) / (n_beads * kt)
    )
    values, vectors = np.linalg.eigh(kernel)
    powers = (values / values[-1]) ** n_beads
    return (powers * (vectors**2 * energy[:, None]).sum(0)).sum() / powers.sum()


def test_a_quartic_oscillator_is_that_of_matrix_multiplication(tmp_path):
    """Twelve dimers in a quartic well with a small barrier: neither the classical nor the harmonic nor the exact
    quantum energy, but that of four beads."""
    k2, k4, k, n_dimers, n_beads, temperature, timestep, steps = -2.0, 40.0, 30.0, 12, 4, 300.0, 0.5, 3000
    atoms = write_well(tmp_path / "well.pt", k2, k4, k, n_dimers)
    settings = RunSettings(temperature, n_beads, timestep, steps, stride=1, seed=3)
    write_case("pimd", atoms, [tmp_path / "well.pt"], tmp_path / "run", settings)
    positions = "<trajectory filename='pos' stride='10' format='ase'>"
    change(tmp_path / "run", (">100</tau>", ">10</tau>"), (positions, positions.replace("'10'", "'5'")))
    run_folder(tmp_path / "run")
    vectors = np.stack([read_vectors(path) for path in sorted((tmp_path / "run").glob("simulation.pos_*"))])
    x = vectors[:, 40:, :, 0] - OFFSET[0]
    mean, error = mean_and_error(well_energy(x, k2, k4).mean((0, 2)))
    masses = atoms.get_masses()[:2]
    mass = masses.prod() / masses.sum()
    exact = matrix_multiplication(k2, k4, mass, n_beads, temperature)
    others = [matrix_multiplication(k2, k4, mass, beads, temperature) for beads in (1, 64)]
    print(f"V {mean:.5f} ± {error:.5f} eV, exact {exact:.5f}; classical {others[0]:.5f}, quantum {others[1]:.5f}")
    assert abs(mean - exact) < NEAR * error
    assert all(abs(mean - other) > FAR * error for other in others)


def read_positions(path):
    """(frames, atoms, 3) Å from i-PI's extended XYZ of one bead."""
    lines = path.read_text().splitlines()
    n_atoms = int(lines[0])
    assert "positions{ase}" in lines[1], lines[1]
    frames = []
    for first in range(0, len(lines), n_atoms + 2):
        frames.append([[float(word) for word in line.split()[1:4]] for line in lines[first + 2 : first + 2 + n_atoms]])
    return np.array(frames)


def read_vectors(path):
    """(frames, dimers, 3) Å, from the first atom of each dimer to the second."""
    positions = read_positions(path)
    return positions[:, 1::2] - positions[:, ::2]


def test_the_centroid_of_trpmd_is_free(tmp_path):
    """Atoms without forces: their centroids move in straight lines, whatever happens to the other modes."""
    gas = ase.Atoms("H4", 20.0 * np.eye(4, 3))
    model = Nothing()
    write_model(tmp_path / "nothing.pt", model, [fingerprint_entry(model, "gas", gas)])
    settings = RunSettings(300.0, 4, 0.5, 60, stride=1, seed=2)
    write_case("trpmd", gas, [tmp_path / "nothing.pt"], tmp_path / "run", settings)
    run_folder(tmp_path / "run")
    beads = np.stack([read_positions(path) for path in sorted((tmp_path / "run").glob("simulation.pos_*"))])
    centroid = beads.mean(0)
    assert np.abs(centroid[-1] - centroid[0]).max() > 0.1
    assert np.abs(np.diff(centroid, 2, axis=0)).max() < STRAIGHT
    assert np.abs(np.diff(beads - centroid, 2, axis=1)).max() > 1e4 * STRAIGHT
