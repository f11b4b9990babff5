"""Inputs as they are written, without a run: what was asked for is in them, paths and couplings are exact."""

import re
import xml.etree.ElementTree as ElementTree

import ase.io
import numpy as np
import pytest
from ipi_folders import write_well

from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.ipi.cases import write_case
from hesspot.ipi.curvature import path_over_saddle
from hesspot.ipi.inputs import RunSettings
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR

#: Å: positions of extended XYZ have 8 digits behind the point.
PRINTED = 1e-7

K2 = -7.5  # eV/Å² along the well's barrier


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    path = tmp_path_factory.mktemp("well") / "well.pt"
    return path, write_well(path, k2=K2, k4=12.0, k=20.0)


def test_instantons_begin_below_the_crossover(well):
    """ħω/(2πk) of the reduced mass, to a part in a thousand on either side."""
    model, saddle = read_model(well[0]), well[1]
    masses = saddle.get_masses()
    omega = np.sqrt(-K2 / (masses.prod() / masses.sum()) / AMU_A2_PER_FS2)
    crossover = HBAR * omega / (2 * np.pi * BOLTZMANN)
    path_over_saddle(model, saddle, 0.999 * crossover, 10)
    with pytest.raises(UserError, match=f"below {crossover:.0f} K"):
        path_over_saddle(model, saddle, 1.001 * crossover, 10)


def test_the_first_path_is_a_cosine_over_the_saddle(well):
    model, saddle = read_model(well[0]), well[1]
    path = path_over_saddle(model, saddle, 100.0, 5, stretch=0.3)
    ways = np.array([bead.positions - saddle.positions for bead in path])
    light = int(saddle.get_masses().argmin())
    assert abs(np.abs(ways[0, light, 0]) - 0.3) < PRINTED
    np.testing.assert_allclose(ways[:, light, 0] / ways[0, light, 0], np.cos(np.linspace(0, np.pi, 5)), atol=PRINTED)
    assert np.abs(ways[:, :, 1:]).max() < PRINTED
    np.testing.assert_allclose(np.einsum("a,pax->px", saddle.get_masses(), ways), 0.0, atol=PRINTED)


def test_couplings_integrate_polynomials_exactly(water, tmp_path):
    """Gauss-Legendre: n couplings with their weights give ∫₀¹ λᵏ dλ = 1/(k + 1) up to k = 2n − 1."""
    model, atoms = water
    write_case("ti", atoms, [model], tmp_path / "run", RunSettings(points=3))
    text = (tmp_path / "run/input.xml").read_text()
    pairs = np.array(re.findall(r"lambda (\S+), weight in the integral (\S+) ", text), dtype=float)
    assert len(pairs) == 3
    for k in range(6):
        assert abs((pairs[:, 1] * pairs[:, 0] ** k).sum() - 1 / (k + 1)) < 1e-5
    systems = ElementTree.fromstring(text).findall("system")
    for (coupling, _), system in zip(pairs, systems, strict=True):
        weights = {force.get("forcefield"): float(force.get("weight")) for force in system.iter("force")}
        assert weights == pytest.approx({"harmonic": 1 - coupling, "hesspot": coupling}, abs=1e-6)


@pytest.mark.parametrize("case", ["nve", "nvt", "npt", "pimd", "trpmd"])
def test_what_is_asked_for_is_in_the_input(water, tmp_path, case):
    model, atoms = water
    atoms = atoms.copy()
    atoms.set_cell(50 * np.eye(3))
    atoms.pbc = True
    settings = RunSettings(
        temperature=217.0, beads=3, timestep=0.37, steps=321, stride=7, seed=11, pressure=55.0, barostat="flexible"
    )
    write_case(case, atoms, [model], tmp_path / "run", settings)
    root = ElementTree.parse(tmp_path / "run/input.xml").getroot()
    wanted = {
        "total_steps": 321, "prng/seed": 11, "ffsocket/batch_size": 3, "system/ensemble/temperature": 217.0,
        "system/initialize/velocities": 217.0, "system/motion/dynamics/timestep": 0.37,
        **({"system/ensemble/pressure": 55.0} if case == "npt" else {}),
    }  # fmt: skip
    assert {name: float(root.findtext(name)) for name in wanted} == wanted
    assert root.find("system/initialize").get("nbeads") == "3"
    assert [root.find("output/properties").get("stride"), root.get("safe_stride")] == ["7", "7"]
    mode = {"nve": "nve", "npt": "npt"}.get(case, "nvt")
    assert root.find("system/motion/dynamics").get("mode") == mode
    barostat = root.find("system/motion/dynamics/barostat")
    assert (barostat.get("mode") if barostat is not None else None) == ("flexible" if case == "npt" else None)
    units = {element.get("units") for element in root.iter() if element.tag in ("timestep", "tau")}
    assert units == {"femtosecond"}


def test_the_start_is_turned_as_a_whole(water, tmp_path):
    """A lattice that is not triangular: distances with images are kept, so are masses and momenta."""
    model, atoms = water
    atoms = atoms.copy()
    atoms.set_cell([[0.3, 9.0, 1.0], [9.0, 1.0, 0.5], [0.2, -0.4, 30.0]])  # left-handed
    atoms.pbc = True
    atoms.set_masses([16.0, 2.0, 3.0])
    atoms.set_momenta(np.arange(9.0).reshape(3, 3))
    assert np.linalg.det(atoms.cell.array) < 0
    write_case("nve", atoms, [model], tmp_path / "run", RunSettings())
    start = ase.io.read(tmp_path / "run/start.xyz")
    assert np.linalg.det(start.cell.array) > 0
    assert np.abs(np.triu(start.cell.array, 1)).max() == 0.0
    np.testing.assert_allclose(start.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=PRINTED)
    shifts = np.array(list(np.ndindex(9, 9, 9))) - 4
    images = [
        np.sort(np.linalg.norm(one.positions[1] - one.positions[0] + shifts @ one.cell.array, axis=1))[:50]
        for one in (start, atoms)
    ]
    np.testing.assert_allclose(*images, rtol=0, atol=10 * PRINTED)
    np.testing.assert_array_equal(start.get_masses(), atoms.get_masses())
    turned, stated = start.get_momenta(), atoms.get_momenta()
    np.testing.assert_allclose(turned @ turned.T, stated @ stated.T, atol=1e-5)
    np.testing.assert_allclose(turned @ np.diff(start.positions, axis=0).T, stated @ np.diff(atoms.positions, axis=0).T,
                               atol=1e-5)  # fmt: skip
