"""Risk: lines of a run that are not where its motion is, of another mode, or broadened by what is no vibration."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from hesspot.analysis.spectrum import autocorrelation, peak
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.vibrations import Vibrations, vibrations
from hesspot.cli.main import main
from hesspot.errors import UserError
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings
from hesspot.monitor.run_files import run_files
from hesspot.monitor.run_spectrum import Reading, RunSpectrum, run_spectrum
from hesspot.monitor.trajectory import Source
from hesspot.units import AMU_A2_PER_FS2, ATOMIC_TIME, BOHR, BOLTZMANN, SPEED_OF_LIGHT

#: cm⁻¹; what beginnings over periods that are not whole leave of a line's place.
LINE = 0.3
#: cm⁻¹; of a Gaussian of 20 cm⁻¹ with a point each 5 cm⁻¹.
SPLINE = 0.01
#: cm⁻¹, of a width that is zero: the root of a difference of squares.
NO_WIDTH = 3.0
#: Part of a temperature, whose mean is over periods that are not whole.
KELVIN = 0.02
#: Of a share at the nearest point of the curves, a tenth of a line's width away.
SHARE = 0.05
#: cm⁻¹; anharmonicity at 2 K.
COLD = 0.5

WIDTH, INTERVAL, STRIDE = 40.0, 2.0, 200


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface("shipped:grown")


@pytest.fixture(scope="module")
def formaldehyde(surface) -> Vibrations:
    return vibrations(surface, molecule("H2CO"))


def motion(found: Vibrations, kelvins: np.ndarray, turning: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities of harmonic modes of such temperatures in a molecule that turns (rad/fs)."""
    random = np.random.default_rng(3)
    times = INTERVAL * np.arange(count)
    omega = 2.0 * np.pi * SPEED_OF_LIGHT * found.frequencies
    speed = np.sqrt(2.0 * BOLTZMANN * kelvins / AMU_A2_PER_FS2)
    phases = omega * times[:, None] + random.uniform(0, 2 * np.pi, len(omega))
    root = np.sqrt(np.repeat(found.atoms.get_masses(), 3))
    ways = (speed / omega * np.sin(phases) @ found.point.modes.vectors / root).reshape(count, -1, 3)
    velocities = (speed * np.cos(phases) @ found.point.modes.vectors / root).reshape(count, -1, 3)
    masses = found.atoms.get_masses()
    positions = found.atoms.positions - masses @ found.atoms.positions / masses.sum() + ways
    velocities = velocities + np.cross(turning, positions)
    angle, axis = np.linalg.norm(turning), turning / max(np.linalg.norm(turning), 1e-300)
    cross = np.cross(np.eye(3), axis)
    for k, time in enumerate(times):
        turned = np.eye(3) + np.sin(angle * time) * cross + (1.0 - np.cos(angle * time)) * cross @ cross
        positions[k], velocities[k] = positions[k] @ turned.T, velocities[k] @ turned.T
    return positions, velocities


def write_dump(path: Path, atoms: Atoms, positions: np.ndarray, velocities: np.ndarray, stride: int = STRIDE) -> Source:
    """LAMMPS's, in units metal."""
    with path.open("w") as file:
        for k, (places, speeds) in enumerate(zip(positions, velocities, strict=True)):
            file.write(f"ITEM: TIMESTEP\n{k * stride}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\n")
            file.write("ITEM: BOX BOUNDS ff ff ff\n" + 3 * "-50 50\n")
            file.write("ITEM: ATOMS id element x y z vx vy vz\n")
            for number, row in enumerate(np.hstack([places, 1e3 * speeds]), 1):
                file.write(f"{number} {atoms.symbols[number - 1]} {' '.join(f'{x:.12g}' for x in row)}\n")
    return Source(path)


def spectrum_of(source: Source, found: Vibrations) -> RunSpectrum:
    reading = Reading(INTERVAL / STRIDE, width=WIDTH)
    return run_spectrum(source, reading, found.atoms, found.point.modes)


@pytest.mark.parametrize("name", ["H2CO", "HCN"])
def test_each_mode_has_its_line_in_a_molecule_that_turns(name, surface, tmp_path):
    found = vibrations(surface, molecule(name))
    kelvins = 1e-6 * (1.0 + np.arange(len(found.frequencies)))
    across = np.linalg.svd(found.atoms.positions - found.atoms.positions.mean(0))[2][1]
    positions, velocities = motion(found, kelvins, 0.02 * across, 1200)
    spectrum = spectrum_of(write_dump(tmp_path / "dump", found.atoms, positions, velocities), found)
    assert len(spectrum.blocks) == 2
    for mode, line in enumerate(spectrum.lines):
        assert line.place == pytest.approx(found.frequencies[mode], abs=LINE)
        assert line.width < NO_WIDTH
    np.testing.assert_allclose(spectrum.mode_temperatures[0], kelvins, rtol=KELVIN)
    for frequency in found.frequencies:
        weights = kelvins * np.exp(-0.5 * ((frequency - found.frequencies) / WIDTH) ** 2)
        np.testing.assert_allclose(spectrum.shares(frequency), weights / weights.sum(), atol=SHARE)
    assert spectrum.mean.sum() * (spectrum.frequencies[1] - spectrum.frequencies[0]) == pytest.approx(1.0, abs=0.01)


def test_a_cold_run_of_the_model_has_harmonic_lines(surface, formaldehyde, tmp_path):
    atoms = surface.attach(formaldehyde.atoms)
    signs = np.resize([1.0, -1.0], len(formaldehyde.frequencies))
    speed = np.sqrt(BOLTZMANN * 4.0 / AMU_A2_PER_FS2)  # half of it becomes potential energy
    weighted = (signs * speed) @ formaldehyde.point.modes.vectors
    atoms.set_velocities((weighted / np.sqrt(np.repeat(atoms.get_masses(), 3))).reshape(-1, 3) / fs)
    frames: list[tuple[np.ndarray, np.ndarray]] = []
    run = VelocityVerlet(atoms, timestep=0.5 * fs)
    run.attach(lambda: frames.append((atoms.get_positions(), atoms.get_velocities() * fs)), interval=4)
    run.run(4 * 715)
    source = write_dump(tmp_path / "dump", atoms, *map(np.array, zip(*frames, strict=True)), stride=4)
    spectrum = run_spectrum(source, Reading(0.5, width=1.5 * WIDTH), formaldehyde.atoms, formaldehyde.point.modes)
    places = [line.place for line in spectrum.lines]
    np.testing.assert_allclose(places, formaldehyde.frequencies, atol=COLD)
    np.testing.assert_allclose(spectrum.mode_temperatures[0], 2.0, rtol=3 * KELVIN)


def test_the_command_reads_a_folder_of_ipi(formaldehyde, tmp_path, monkeypatch, capsys):
    """Files as i-PI 3.3.1 writes them, in atomic units and periodic; `start.xyz` says that it is a molecule."""
    run = tmp_path / "run"
    write_case("trpmd", formaldehyde.atoms, ["shipped:grown"], run, RunSettings(timestep=0.5, velocities_every=4))
    assert "v_centroid" in (run / "input.xml").read_text() and "stride='4'" in (run / "input.xml").read_text()
    kelvins = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 3.0])
    positions, velocities = motion(formaldehyde, kelvins, np.array([0.0, 0.0, 0.02]), 1200)
    for name, quantity, values in (
        ("xc", "x_centroid", positions / BOHR),
        ("vc", "v_centroid", velocities * ATOMIC_TIME / BOHR),
    ):
        with (run / f"simulation.{name}.xyz").open("w") as file:
            for k, frame in enumerate(values):
                head = (
                    f"# CELL(abcABC): 188.9 188.9 188.9 90. 90. 90.  Step: {4 * k}  Bead: 0 {quantity}{{atomic_unit}}"
                )
                file.write(f"4\n{head}  cell{{atomic_unit}}\n")
                for symbol, row in zip(formaldehyde.atoms.symbols, frame, strict=True):
                    file.write(f"{symbol} {' '.join(f'{x:.10e}' for x in row)}\n")
    shutil.copytree(run, tmp_path / "other")
    words = [str(run), "--model", "shipped:grown", "--against", str(tmp_path / "other"), "--width", str(WIDTH)]
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "csv", "html")]
    monkeypatch.setattr(sys, "argv", ["hesspot", "spectrum", *words, *files])
    with pytest.raises(SystemExit, match="0"):
        main()
    told = json.loads((tmp_path / "json").read_text())
    for name in ("run", "other"):
        places = [line["place"] for line in told["runs"][name]["lines"]]
        stretched = np.arcsin(np.pi * SPEED_OF_LIGHT * 0.5 * np.array(told["harmonic"])) / (
            np.pi * SPEED_OF_LIGHT * 0.5
        )  # where exact motion lies if it is taken for that of velocity Verlet
        np.testing.assert_allclose(2 * np.array(told["harmonic"]) - stretched, places, atol=1.0)
        assert len(told["runs"][name]["peaks"]) >= 4
    out = capsys.readouterr().out
    assert "C–O stretch" in out and "other: 2 blocks" in out
    assert "C–O stretch" in (tmp_path / "html").read_text()
    curves = np.loadtxt(tmp_path / "csv", delimiter=",")
    assert curves.shape[1] == 3 + 6


def test_bad_runs_get_one_sentence(formaldehyde, tmp_path):
    positions, velocities = motion(formaldehyde, np.ones(6), np.zeros(3), 40)
    dump = write_dump(tmp_path / "dump", formaldehyde.atoms, positions, velocities)
    text = dump.trajectory.read_text()
    with pytest.raises(UserError, match=r"has 0.08 ps, and lines of --width 40 .* run longer, or pass --width \d+"):
        spectrum_of(dump, formaldehyde)
    with pytest.raises(UserError, match="that are not those of CHOH"):
        run_spectrum(dump, Reading(0.01), Atoms("CHOH", positions=np.eye(4, 3)))
    with pytest.raises(UserError, match=r"frame each 20 fs, which shows frequencies up to 834 .* each 4.5 fs or more"):
        run_spectrum(dump, Reading(0.1), formaldehyde.atoms, formaldehyde.point.modes)
    dump.trajectory.write_text(text.replace("TIMESTEP\n600\n", "TIMESTEP\n700\n"))
    with pytest.raises(UserError, match="a frame of step 700 after one of step 400, and 200 steps lay between"):
        spectrum_of(dump, formaldehyde)
    dump.trajectory.write_text(text.replace("vx vy vz", "fx fy fz"))
    with pytest.raises(UserError, match="has no velocities, which a spectrum is made of: dump vx vy vz"):
        spectrum_of(dump, formaldehyde)
    with pytest.raises(UserError, match="pass --timestep"):
        run_files(dump.trajectory, timestep=None)
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"input.xml does not exist; give a folder that `hesspot ipi-input` wrote"):
        run_files(tmp_path / "run", timestep=None)
    write_case("nve", formaldehyde.atoms, ["shipped:grown"], tmp_path / "other", RunSettings())
    with pytest.raises(UserError, match="--velocities-every 2"):
        run_files(tmp_path / "other", timestep=None)
    with pytest.raises(UserError, match="--units is for files"):
        run_files(tmp_path / "other", timestep=None, units="metal")
    for wrong in ({"timestep": 0.0}, {"timestep": 1.0, "width": -1.0}, {"timestep": 1.0, "discard": -1.0}):
        with pytest.raises(UserError, match="give"):
            Reading(**wrong)


def test_a_kind_of_run_without_dynamics_has_no_velocities(formaldehyde, tmp_path):
    with pytest.raises(UserError, match="--velocities-every 2 is for spectra, and instanton has no dynamics"):
        write_case("instanton", formaldehyde.atoms, ["shipped:grown"], tmp_path / "x", RunSettings(velocities_every=2))


def test_autocorrelation_is_the_sum_over_all_beginnings():
    series = np.random.default_rng(0).standard_normal((50, 3))
    found = autocorrelation(series, 20)
    for lag in range(20):
        expected = (series[: 50 - lag] * series[lag:]).mean(0)
        np.testing.assert_allclose(found[:, lag], expected, atol=1e-12)  # rounding of the transform


def test_the_peak_of_a_gaussian():
    grid = np.arange(0.0, 400.0, 5.0)
    place, width = peak(grid, np.exp(-0.5 * ((grid - 123.4) / 20.0) ** 2))
    assert place == pytest.approx(123.4, abs=SPLINE)
    assert width == pytest.approx(20.0 * np.sqrt(8.0 * np.log(2.0)), abs=SPLINE)
