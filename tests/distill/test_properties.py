"""Risk: phonons, elastic constants and frequencies that are not the calculator's, so that errors mean nothing."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.phonons import Phonons
from ase.units import GPa, _c, invcm
from ase.vibrations import Vibrations

from hesspot.distill import properties
from hesspot.distill.config import TestSection as Settings
from hesspot.distill.properties import Counted, Properties, differences, properties_of, reference_structure

#: THz and cm⁻¹: other displacements, 0.01 Å in the place of 0.02, along a soft bend too.
ANHARMONIC_THZ, ANHARMONIC_CM = 0.03, 15.0
#: Of a constant: energies of strains up to 1 % have a cubic part.
ELASTIC = 0.01


@pytest.fixture(scope="module")
def copper() -> ase.Atoms:
    return reference_structure(bulk("Cu", cubic=True) * (2, 1, 1), Counted(EMT()))


def test_the_reference_is_the_relaxed_primitive_cell(copper: ase.Atoms) -> None:
    assert len(copper) == 1
    copper.calc = EMT()
    # eV/Å³: a force of 1e-3 eV/Å on the cell's filter over the volume of an atom
    assert np.abs(copper.get_stress()).max() < 1e-3


def test_phonons_are_those_of_ase(copper: ase.Atoms, tmp_path) -> None:
    """At the points of the path that the supercell holds: elsewhere both interpolate, in ways of their own."""
    found = properties_of(EMT(), copper, Settings(phonons=[4, 4, 4]))
    ours, path = np.array(found.phonons), copper.cell.bandpath(npoints=properties.POINTS)
    assert found.path == path.path and ours.shape == (properties.POINTS, 3) and found.calls == 1
    held = np.flatnonzero(np.abs(4 * path.kpts - np.round(4 * path.kpts)).max(axis=1) < 1e-9)
    theirs = Phonons(copper, EMT(), supercell=(4, 4, 4), delta=0.01, name=str(tmp_path / "phonons"))
    theirs.run()
    theirs.read(acoustic=True)
    energies = theirs.band_structure(path.kpts[held])
    np.testing.assert_allclose(ours[held], energies / invcm * 100 * _c * 1e-12, atol=ANHARMONIC_THZ)
    assert len(held) > 5 and ours.max() > 5


def test_elastic_constants_are_curvatures_of_the_energy(copper: ase.Atoms) -> None:
    found = np.array(properties_of(EMT(), copper, Settings(elastic=True)).elastic)

    def energy(strain: np.ndarray) -> float:
        moved = copper.copy()
        moved.set_cell(copper.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        moved.calc = EMT()
        return float(moved.get_potential_energy())

    uniaxial, shear = np.diag([1.0, 0, 0]), np.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])
    for strain, constant in ((uniaxial, found[0, 0]), (shear, found[3, 3])):
        step = 5e-3
        curvature = (energy(step * strain) - 2 * energy(0 * strain) + energy(-step * strain)) / step**2
        assert constant == pytest.approx(curvature / copper.get_volume() / GPa, rel=ELASTIC)


def test_cells_that_do_not_relax_have_no_elastic_constants(monkeypatch, capsys) -> None:
    """Atoms that are held back would make them too stiff."""
    hcp = reference_structure(bulk("Cu", "hcp", a=2.55, c=4.2), Counted(EMT()))
    assert len(hcp) == 2 and properties_of(EMT(), hcp, Settings(elastic=True)).elastic is not None
    monkeypatch.setattr(properties, "STEPS", 0)
    monkeypatch.setattr(properties, "RELAXED", 1e-9)
    assert properties_of(EMT(), hcp, Settings(elastic=True)).elastic is None
    told = capsys.readouterr().err
    assert "Cu2 strained by 0.005 does not relax" in told and "with EMT, so that there are no elastic" in told


def test_frequencies_are_those_of_ase(tmp_path) -> None:
    water = reference_structure(molecule("H2O"), Counted(EMT()))
    found = properties_of(EMT(), water, Settings(frequencies=True))
    assert found.calls == 18
    water.calc = EMT()
    BFGS(water, logfile=None).run(fmax=1e-3)
    vibrations = Vibrations(water, name=str(tmp_path / "water"), delta=0.01)
    vibrations.run()
    np.testing.assert_allclose(found.frequencies, vibrations.get_frequencies().real[-3:], atol=ANHARMONIC_CM)


def test_differences_are_told_in_their_units() -> None:
    teacher = Properties(phonons=[[1.0, 2.0]], elastic=np.diag([100.0] * 5 + [1.0]).tolist(), frequencies=[100.0])
    student = Properties(phonons=[[1.3, 2.4]], elastic=np.diag([103.0] * 5 + [2.0]).tolist(), frequencies=[90.0])
    found = differences(student, teacher)
    assert found.phonons == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2)) and found.highest == 2.0
    assert found.elastic == pytest.approx(0.03) and found.frequencies == pytest.approx(10.0)
