"""Bands that are not the model's, imaginary branches that nobody hears of, files that phonopy does not take."""

import json
from pathlib import Path

import ase.io
import numpy as np
import phonopy
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.units import _amu
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.chemistry import phonons as phonons_module
from hesspot.chemistry.crystal import relaxed, require_crystal
from hesspot.chemistry.crystal_run import examine
from hesspot.chemistry.elastic import elastic_constants
from hesspot.chemistry.force_constants import crystal_derivatives
from hesspot.chemistry.phonon_report import notes
from hesspot.chemistry.phonons import phonons, smallest_exact
from hesspot.chemistry.surface import Surface
from hesspot.cli.main import app
from hesspot.distill.config import TestSection as Asked
from hesspot.distill.properties import Counted, differences, properties_of, reference_structure
from hesspot.errors import UserError
from hesspot.models.analytic import StillingerWeber
from hesspot.units import AMU_A2_PER_FS2, ENERGIES

#: THz: phonopy's displacements of 1e-3 Å, both ways; and constants of nature in phonopy of other digits.
FINITE, CONSTANTS = 1e-4, 1e-6
#: Of a sound velocity at 1/200 of the way to the zone's border, where the branch bends by the square.
BENT = 2e-4
#: Part of the heat capacity: three modes at Γ, of the mesh's some thousand, are at rest and left out.
OF_GAMMA = 1e-3
#: THz, and part of a constant, of the shipped model of copper.
COPPER, COPPER_ELASTIC = 0.05, 0.03
#: Å of displacements in phonopy's own way.
DISPLACEMENT = 1e-3


class Springs(torch.nn.Module):
    """Harmonic springs between atoms within the cutoff, of their length at rest."""

    elements: list[str]
    cutoff: float

    def __init__(self, stiffness: float, rest: float, cutoff: float) -> None:
        super().__init__()
        self.elements, self.cutoff = ["Cu"], cutoff
        self.stiffness, self.rest = stiffness, rest

    def forward(self, species, centers, neighbors, vectors):
        bonds = 0.25 * self.stiffness * (torch.linalg.vector_norm(vectors, dim=1) - self.rest) ** 2
        return torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, bonds)


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """A mesh of fewer points, for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phonons_module, "MESH", 40.0)
        yield


@pytest.fixture(scope="module")
def silicon(coarse):
    """Its cell, its derivatives and its phonons."""
    surface = Surface(StillingerWeber())
    cell = relaxed(surface, bulk("Si"), "cell", 1e-3)
    derivatives = crystal_derivatives(surface, cell, progress=False)
    return surface, derivatives, phonons(derivatives, [0.0, 300.0], None)


def test_springs_on_an_fcc_lattice_have_the_textbook_dispersion():
    """mω² = 8k sin²(qa/4) and 4k sin²(qa/4) along [100] (Ashcroft, Mermin, Solid State Physics, problem 22.1)."""
    a, k = 3.6, 2.0
    found = examine(Springs(k, a / 2**0.5, 0.8 * a), bulk("Cu", a=a, cubic=True), supercell=(2, 2, 2))
    (line,) = [line for line in found.phonons.lines if (line.start, line.end) == ("Γ", "X")]
    along = np.linspace(0.0, 1.0, len(line.points))  # of the way to X, where q = 2π/a
    root = np.sqrt(k / found.atoms.get_masses()[0] / AMU_A2_PER_FS2) * 1e3 / (2 * np.pi)
    sine = root * np.sin(0.5 * np.pi * along)
    expected = np.column_stack([2 * sine, 2 * sine, 8**0.5 * sine])
    np.testing.assert_allclose(line.frequencies, expected, atol=CONSTANTS * root)
    assert found.phonons.stable and len(found.atoms) == 1


def test_bands_are_those_of_phonopys_own_displacements(silicon):
    surface, _, found = silicon
    theirs = phonopy.Phonopy(found.phonopy.unitcell, np.diag(found.multiples), primitive_matrix=np.eye(3), log_level=0)
    theirs.generate_displacements(distance=DISPLACEMENT, is_plusminus=True)
    forces = []
    for each in theirs.supercells_with_displacements:
        forces.append(surface.attach(Atoms(each.symbols, each.positions, cell=each.cell, pbc=True)).get_forces())
    theirs.forces = forces
    theirs.produce_force_constants()
    theirs.run_band_structure([line.points for line in found.lines])
    for line, frequencies in zip(found.lines, theirs.band_structure.frequencies, strict=True):
        np.testing.assert_allclose(line.frequencies, frequencies, atol=FINITE)
    assert found.exact and found.highest > 15 and [line.start for line in found.lines][:2] == ["Γ", "X"]


def test_nothing_is_interpolated_in_the_supercell_that_is_taken(silicon):
    """Against the sum over all cells of the crystal, at points that no supercell holds."""
    _, derivatives, found = silicon
    assert (smallest_exact(derivatives) == found.multiples).all()
    phases = np.random.default_rng(5).uniform(-0.5, 0.5, (6, 3))
    for point in phases:
        matrix = np.zeros((2, 3, 2, 3), dtype=complex)
        turns = np.exp(2j * np.pi * derivatives.cells @ point)
        for first, second, block, turn in zip(
            derivatives.first, derivatives.second, derivatives.blocks, turns, strict=True
        ):
            matrix[first, :, second] += block * turn
        values = np.linalg.eigvalsh(matrix.reshape(6, 6)) / derivatives.atoms.get_masses()[0] / AMU_A2_PER_FS2
        mine = np.sqrt(values) * 1e3 / (2 * np.pi)
        np.testing.assert_allclose(found.phonopy.run_qpoints([point]).frequencies[0], mine, rtol=CONSTANTS)


def test_sound_goes_at_the_speed_of_the_elastic_constants(silicon):
    """ρv² = C11 and C44 along [100], where atoms in the cell relax."""
    _, derivatives, found = silicon
    constants = elastic_constants(derivatives, np.zeros((3, 3))).relaxed
    cell = derivatives.atoms
    density = cell.get_masses().sum() * _amu / (cell.get_volume() * 1e-30)
    q = 0.005 * np.array([0.5, 0.0, 0.5])  # towards X
    length = np.linalg.norm(q @ np.linalg.inv(cell.cell.array).T) * 1e10
    speeds = found.phonopy.run_qpoints([q]).frequencies[0][:3] * 1e12 / length
    expected = np.sqrt(np.array([constants[3, 3], constants[3, 3], constants[0, 0]]) * 1e9 / density)
    np.testing.assert_allclose(speeds, expected, rtol=BENT)


def test_thermodynamics_has_its_limits(silicon):
    _, derivatives, found = silicon
    cold, warm = found.thermodynamics
    mesh = found.phonopy.mesh
    mean = (mesh.frequencies.mean(axis=1) @ mesh.weights) / mesh.weights.sum()
    half_quantum = 0.5 * 4.135667696e-3 * mean  # eV, of h = 4.1357e-15 eV s
    assert cold.free_energy == pytest.approx(3 * half_quantum, rel=1e-4) and cold.entropy == 0
    hot = phonons(derivatives, [50000.0], [3, 3, 3]).thermodynamics[0]
    assert hot.heat_capacity == pytest.approx(3 * 8.617333262e-5, rel=OF_GAMMA)  # Dulong and Petit
    assert 0 < warm.entropy < hot.entropy
    states = np.trapezoid(found.dos[:, 1], found.dos[:, 0])
    assert states == pytest.approx(6, rel=0.01)


def test_charges_that_are_left_out_are_said(lj_model_file):
    """Of two elements alone, whichever way round the lattice vectors are."""
    salt = bulk("NaCl", "cesiumchloride", a=3.9)
    salt.symbols = ["Ar", "Ne"]
    salt.set_cell(salt.cell[[0, 2, 1]])
    found = examine(lj_model_file, salt, supercell=(2, 2, 2))
    assert found.atoms.cell.volume > 0 and found.elastic.clamped[0, 0] > 0.5
    assert sum(line.startswith("without Born charges") for line in notes(found)) == 1
    salt.info["charge"] = 1
    with pytest.raises(UserError, match=r"salt.* charge"):
        examine(lj_model_file, salt, "salt")


def test_isotopes_break_the_symmetry_of_the_mesh(tmp_path):
    """Two heavy atoms of four leave one axis of four: points of the mesh count as a mesh without symmetry has them."""
    a = 3.6
    cubic = bulk("Cu", a=a, cubic=True)
    cubic.set_masses([200.0, 150.0, 63.5, 63.5])
    found = examine(Springs(2.0, a / 2**0.5, 0.8 * a), cubic, supercell=(2, 2, 2), temperatures=[50.0])
    assert len(found.atoms) == 4
    ours = found.phonons.phonopy
    ours.run_mesh(ours.mesh.mesh_numbers, is_mesh_symmetry=False)
    ours.run_thermal_properties(temperatures=[50.0], cutoff_frequency=phonons_module.IMAGINARY)
    entropy = ours.thermal_properties.entropy[0] * 1e-3 * ENERGIES["kj/mol"] / 4
    assert found.phonons.thermodynamics[0].entropy == pytest.approx(entropy, rel=1e-9)
    found.phonons.save(tmp_path / "isotopes.yaml")
    loaded = phonopy.load(tmp_path / "isotopes.yaml", log_level=0)
    assert sorted(loaded.primitive.masses) == sorted(cubic.get_masses())


def test_imaginary_branches_are_said():
    """Compressed springs on a simple cubic lattice buckle: mω² = 2k Σᵢ (1 − cos qᵢa) (δᵢₐ + (1 − δᵢₐ)(a − r₀)/a), which
    for motion along x is deepest at (0, ½, ½)."""
    a, rest, k = 2.5, 2.6, 2.0
    lattice = Atoms("Cu", cell=[a] * 3, pbc=True)
    found = examine(Springs(k, rest, 3.0), lattice, relax="positions", supercell=(4, 4, 4))
    deepest = np.sqrt(8 * k * (rest - a) / a / found.atoms.get_masses()[0] / AMU_A2_PER_FS2) * 1e3 / (2 * np.pi)
    assert found.phonons.lowest == pytest.approx(-deepest, rel=CONSTANTS)
    assert found.phonons.where == "at M (0.5, 0.5, 0)" and not found.phonons.stable
    (told,) = [line for line in notes(found) if line.startswith("NOT dynamically stable")]
    assert f"{deepest:.3f} THz" in told and "% of the modes of the zone are imaginary" in told
    assert any(line.startswith("NOT elastically stable") for line in notes(found)) == (not found.elastic.stable)


def test_a_supercell_that_cannot_be_afforded_is_refused(silicon, monkeypatch):
    _, derivatives, _ = silicon
    monkeypatch.setattr(phonons_module, "LARGEST", 50)
    with pytest.raises(UserError, match=r"with 54 atoms is needed, and at most 50 .* such as --supercell 2 2 2"):
        phonons(derivatives, [300.0], None)
    assert not phonons(derivatives, [300.0], [2, 2, 2]).exact


def test_what_is_no_free_crystal_is_refused():
    with pytest.raises(UserError, match=r"slab is not periodic in three directions \(pbc T T F\)"):
        require_crystal(Atoms("Cu", cell=[3, 3, 3], pbc=[True, True, False]), "slab")
    with pytest.raises(UserError, match=r"x has constraints \(FixAtoms\)"):
        require_crystal(Atoms("Cu", cell=[3, 3, 3], pbc=True, constraint=FixAtoms([0])), "x")


def test_a_crystal_under_forces_is_refused():
    surface = Surface(StillingerWeber())
    moved = bulk("Si")
    moved.positions[1] += 0.1
    with pytest.raises(UserError, match=r"its largest force is .* eV/Å, .*relax it with --relax positions"):
        relaxed(surface, moved, "none", 1e-3)
    moved = relaxed(surface, moved, "positions", 1e-3)
    np.testing.assert_allclose(moved.cell, bulk("Si").cell, atol=1e-12)
    np.testing.assert_array_equal(relaxed(surface, moved, "none", 1e-3).positions, moved.positions)


def test_the_shipped_copper_is_that_of_its_teacher():
    """As its page says: phonons and elastic constants of effective-medium theory."""
    asked = Asked(phonons=[4, 4, 4], elastic=True)
    cell = reference_structure(bulk("Cu"), Counted(EMT()))
    teacher = properties_of(EMT(), cell, asked)
    found = differences(properties_of(HesspotCalculator("shipped:copper"), cell, asked), teacher)
    assert found.phonons is not None and found.phonons < COPPER and found.highest > 8
    assert found.elastic is not None and found.elastic < COPPER_ELASTIC


def test_the_command_writes_all_that_it_is_asked_for(lj_model_file: Path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bulk("Ar", a=5.3, cubic=True).write("ar.cif")
    files = {"json": "a.json", "phonopy": "a.yaml", "plot": "a.png", "html": "a.html", "relaxed": "a.xyz"}
    options = [word for name, file in files.items() for word in (f"--{name}", file)]
    words = ["phonons", str(lj_model_file), "ar.cif", "--supercell", "2", "2", "2", "-t", "50", *options]
    out = CliRunner().invoke(app, words, catch_exceptions=False).output
    assert "Ar, Fm-3m (225): primitive cell of 1 atom" in out and "too small for them" in out
    told = json.loads(Path("a.json").read_text())
    assert told["stable"] and told["thermodynamics_per_atom"][0]["temperature"] == 50
    loaded = phonopy.load("a.yaml", log_level=0)
    loaded.run_band_structure([np.array(line["points"]) for line in told["path"]])
    for line, frequencies in zip(told["path"], loaded.band_structure.frequencies, strict=True):
        np.testing.assert_allclose(line["frequencies"], frequencies, atol=1e-5)
    assert told["path"][0]["frequencies"][-1][-1] > 1
    assert len(ase.io.read("a.xyz")) == 1 and Path("a.png").stat().st_size > 1e4
    assert "Elastic constants" in Path("a.html").read_text()
