"""Risk: numbers of a formatted checkpoint file that belong to another structure or surface than the record's."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ase.data import atomic_masses_common

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record, shipped
from hesspot.data.convert import convert
from hesspot.data.readers import Options
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

PRINTED = 1e-8  # relative: nine digits
POINT_ENERGY = 1e-6 * HARTREE  # energies of points are rounded so
SAME_FREQUENCY = 0.1  # cm⁻¹
FILES = Path(__file__).parent / "files"


@pytest.fixture(scope="module")
def path_of_water() -> list[Record]:
    """Four geometries of one molecule with energies, forces and Hessians, away from stationary points."""
    return Dataset.read(shipped.path("small_chno")).select(system="H2O", kind="nms").records[:4]


def entry(label: str, value: object) -> str:
    if isinstance(value, (int, float)):
        return f"{label:43}I{value:17d}\n" if isinstance(value, int) else f"{label:43}R{value:27.15E}\n"
    values = np.ravel(value)
    whole = values.dtype.kind in "iu"
    per_line = 6 if whole else 5
    lines = [
        "".join(f"{x:12d}" if whole else f"{x:16.8E}" for x in values[i : i + per_line])
        for i in range(0, len(values), per_line)
    ]
    return "\n".join([f"{label:43}{'I' if whole else 'R'}   N={len(values):12d}", *lines]) + "\n"


def entries_of(record: Record, **more: object) -> dict[str, object]:
    """What Gaussian writes of one structure; `more` entries replace these, None takes one away."""
    lower = np.tril_indices(3 * len(record))
    entries: dict[str, object] = {
        "Charge": 0,
        "Multiplicity": 1,
        "Atomic numbers": record.numbers,
        "Nuclear charges": record.numbers.astype(float),
        "Current cartesian coordinates": record.positions / BOHR,
        "Real atomic weights": atomic_masses_common[record.numbers],
        "SCF Energy": record.energy / HARTREE,
        "Total Energy": record.energy / HARTREE,
        "Cartesian Gradient": -record.forces / HARTREE_PER_BOHR,
        "Cartesian Force Constants": record.hessian[lower] / HARTREE_PER_BOHR2,
    }
    entries |= {label.replace("_", " "): value for label, value in more.items()}
    return {label: value for label, value in entries.items() if value is not None}


def points_of(prefix: str, records: list[Record], reference: float = 0.0) -> dict[str, object]:
    start = f"{prefix} point {1:7d} "
    results = [[round(record.energy / HARTREE - reference, 6), 0.1 * i] for i, record in enumerate(records)]
    return {
        start + "Results for each geome": results,
        start + "Geometries": [record.positions / BOHR for record in records],
        start + "Gradient at each geome": [-record.forces / HARTREE_PER_BOHR for record in records],
    }


def written(path: Path, entries: Mapping[str, object], job: str = "Freq", method: str = "RB3LYP") -> Path:
    text = "".join(entry(label, value) for label, value in entries.items())
    path.write_text(f"a title\n{job:10}{method:60}6-31G(d)\n{text}")
    return path


def read(path: Path) -> list[Record]:
    return convert([path], Options(), check_units=False).records


def same(found: Record, expected: Record, *labels: str, energy: float = 1e-6) -> None:
    assert abs(found.energy - expected.energy) < energy
    for label in labels:
        wanted = getattr(expected, label)
        np.testing.assert_allclose(getattr(found, label), wanted, rtol=0, atol=PRINTED * np.abs(wanted).max() + 1e-8)


def test_zeros_of_a_single_point_are_no_gradient(path_of_water: list[Record], tmp_path: Path) -> None:
    water = path_of_water[0]
    zeros = entries_of(water, Cartesian_Gradient=np.zeros(9), Cartesian_Force_Constants=None)
    for job in ("SP", "Freq"):
        (record,) = read(written(tmp_path / f"{job}.fchk", zeros, job))
        assert record.forces is None
        same(record, water, "positions")


def test_a_gradient_of_zero_that_the_hessian_confirms_is_one(path_of_water: list[Record], tmp_path: Path) -> None:
    water = path_of_water[0]
    turns = np.concatenate(
        [np.cross(axis, water.positions - water.positions.mean(0)).ravel()[None] for axis in np.eye(3)]
    )
    kernel = np.linalg.qr(turns.T)[0]
    outside = np.eye(9) - kernel @ kernel.T
    stationary = outside @ water.hessian @ outside  # as at a minimum, rotations cost nothing
    force_constants = stationary[np.tril_indices(9)] / HARTREE_PER_BOHR2
    entries = entries_of(water, Cartesian_Gradient=np.zeros(9), Cartesian_Force_Constants=force_constants)
    (record,) = read(written(tmp_path / "minimum.fchk", entries))
    assert not record.forces.any()
    entries |= {"Cartesian Force Constants": water.hessian[np.tril_indices(9)] / HARTREE_PER_BOHR2}
    (record,) = read(written(tmp_path / "other.fchk", entries))
    assert record.forces is None


def test_a_single_atom_has_forces_of_zero(tmp_path: Path) -> None:
    atom = Record([2], [[0, 0, 0]], "He", energy=-78.0, forces=np.zeros((1, 3)), hessian=np.zeros((3, 3)))
    (record,) = read(written(tmp_path / "he.fchk", entries_of(atom), "SP"))
    assert not record.forces.any()


def test_ghost_atoms_are_no_atoms(path_of_water: list[Record], tmp_path: Path, capsys) -> None:
    water = path_of_water[0]
    two = Record(
        np.tile(water.numbers, 2),
        np.concatenate([water.positions, water.positions + 3.0]),
        "two",
        energy=water.energy,
        forces=np.concatenate([water.forces, np.ones((3, 3))]),
        hessian=np.eye(18),
    )
    charges = np.concatenate([water.numbers, np.zeros(3)]).astype(float)
    entries = entries_of(two, Nuclear_charges=charges, Cartesian_Force_Constants=None)
    (record,) = read(written(tmp_path / "ghosts.fchk", entries, "Force"))
    assert record.numbers.tolist() == water.numbers.tolist()
    same(record, water, "positions", "forces")
    assert "ghost atoms 3, 4, 5 are left out" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"Hessian with the ghost atoms 3, 4, 5 in it"):
        read(written(tmp_path / "hessian.fchk", entries_of(two, Nuclear_charges=charges)))


def test_cores_of_potentials_are_no_ghosts(path_of_water: list[Record], tmp_path: Path) -> None:
    (record,) = read(
        written(tmp_path / "ecp.fchk", entries_of(path_of_water[0], Nuclear_charges=np.array([6.0, 1, 1])))
    )
    assert record.numbers.tolist() == path_of_water[0].numbers.tolist()


@pytest.mark.parametrize(("prefix", "reference"), [("Opt", -70.0), ("IRC", 0.0)])
@pytest.mark.parametrize("of", [0, 2, 3])
def test_every_point_is_a_record_and_one_has_the_hessian(
    prefix: str, reference: float, of: int, path_of_water: list[Record], tmp_path: Path
) -> None:
    last = path_of_water[-1]
    hessian = path_of_water[of].hessian[np.tril_indices(9)] / HARTREE_PER_BOHR2
    entries = entries_of(last, Cartesian_Force_Constants=hessian) | points_of(prefix, path_of_water, reference)
    if reference:
        entries["Optimization Reference Energy"] = reference
    found = read(written(tmp_path / "path.fchk", entries, "FOpt"))
    assert [record.name for record in found] == [f"path_{i}" for i in range(4)]
    assert {record.system for record in found} == {"path"}
    assert {record.kind for record in found} == {"irc" if prefix == "IRC" else "other"}
    for i, (record, expected) in enumerate(zip(found, path_of_water, strict=True)):
        same(record, expected, "positions", "forces", energy=1e-6 if i == 3 else POINT_ENERGY)
        assert (record.hessian is not None) == (i == of)
    same(found[of], path_of_water[of], "hessian", energy=POINT_ENERGY)


def test_a_hessian_of_no_point_is_left_out(path_of_water: list[Record], tmp_path: Path, capsys) -> None:
    entries = entries_of(path_of_water[3], Cartesian_Force_Constants=np.tri(9)[np.tril_indices(9)])
    entries |= points_of("Opt", path_of_water)
    assert all(record.hessian is None for record in read(written(tmp_path / "opt.fchk", entries, "FOpt")))
    assert "the Hessian belongs to none of its geometries" in capsys.readouterr().err


@pytest.mark.parametrize(("moved", "words"), [(0.0, "earlier job at another level"), (0.1, "earlier job")])
def test_points_of_an_earlier_job_are_left_out(
    moved: float, words: str, path_of_water: list[Record], tmp_path: Path, capsys
) -> None:
    last = path_of_water[-1]
    entries = entries_of(last) | points_of("Opt", path_of_water)
    entries["Total Energy"] = last.energy / HARTREE + 0.5
    entries["Current cartesian coordinates"] = (last.positions + moved) / BOHR
    (record,) = read(written(tmp_path / "sp.fchk", entries, "SP", "RMP2"))
    assert record.name == "sp"
    assert f"4 geometries are of an {words}" in capsys.readouterr().err


@pytest.mark.parametrize(("job", "rows", "gradient"), [("Freq", [0, 1, 2], True), ("Freq", [6, 7, 8], False)])
def test_a_hessian_with_rows_of_zeros_is_left_out(
    job: str, rows: list[int], gradient: bool, path_of_water: list[Record], tmp_path: Path, capsys
) -> None:
    water = path_of_water[0]
    hessian, forces = water.hessian.copy(), water.forces.copy()
    hessian[rows] = hessian[:, rows] = 0.0
    if not gradient:
        forces.ravel()[rows] = 0.0
    entries = entries_of(
        water,
        Cartesian_Force_Constants=hessian[np.tril_indices(9)] / HARTREE_PER_BOHR2,
        Cartesian_Gradient=-forces / HARTREE_PER_BOHR,
    )
    (record,) = read(written(tmp_path / "frozen.fchk", entries, job))
    assert record.hessian is None
    assert (record.forces is not None) == gradient
    assert f"rows of zeros (atoms {rows[0] // 3})" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["RTD-B3LYP-FC", "RB3LYP TD-FC", "UB3LYP TDA-FC"])
def test_excited_states(method: str, path_of_water: list[Record], tmp_path: Path) -> None:
    water = path_of_water[0]
    excited = {"Total Energy": water.energy / HARTREE + 0.25, "CIS Energy": water.energy / HARTREE + 0.25}
    single = entries_of(water, Cartesian_Gradient=np.zeros(9), Cartesian_Force_Constants=None) | excited
    dataset = convert([written(tmp_path / "td.fchk", single, "SP", method)], Options())
    same(dataset[0], water, "positions")
    assert dataset.level_of_theory == ("UB3LYP" if method.startswith("U") else "RB3LYP") + " 6-31G(d)"
    dataset = convert([written(tmp_path / "opt.fchk", entries_of(water) | excited, "Force", method)], Options())
    assert dataset[0].energy == pytest.approx(water.energy + 0.25 * HARTREE)  # as its gradient
    assert "TD" in dataset.level_of_theory


def test_qchem_says_energy_and_no_method(path_of_water: list[Record], tmp_path: Path) -> None:
    entries = entries_of(path_of_water[0], Total_Energy=None, Cartesian_Gradient=None)
    path = written(tmp_path / "q.FChk", entries, "FREQ")
    path.write_text(path.read_text().replace(f"{'RB3LYP':60}", f"{'R':30}"))
    dataset = convert([path], Options())
    same(dataset[0], path_of_water[0], "positions", "hessian")
    assert dataset.level_of_theory == ""


def test_periodic_files_are_refused(path_of_water: list[Record], tmp_path: Path) -> None:
    entries = entries_of(path_of_water[0]) | {"Translation vectors": 5.0 * np.eye(3)}
    with pytest.raises(UserError, match="periodic calculation"):
        read(written(tmp_path / "it.fchk", entries))


def test_frequencies_are_the_programs(path_of_water: list[Record], tmp_path: Path) -> None:
    """Gaussian takes the masses of the commonest isotopes."""
    water = path_of_water[0]
    (record,) = read(written(tmp_path / "it.fchk", entries_of(water)))
    atoms = water.atoms_only()
    usual = normal_modes(atoms, water.hessian).frequencies
    atoms.set_masses(atomic_masses_common[water.numbers])
    printed = normal_modes(atoms, water.hessian).frequencies
    found = normal_modes(record.atoms_only(), record.hessian).frequencies
    np.testing.assert_allclose(found, printed, atol=SAME_FREQUENCY)
    assert np.abs(usual - printed).max() > 3 * SAME_FREQUENCY


@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_a_hessian_of_other_frequencies_than_printed_is_refused(
    factor: float, path_of_water: list[Record], tmp_path: Path
) -> None:
    water = path_of_water[0]
    heavy = np.where(water.numbers == 1, 2.01410178, 15.9949146)  # of deuterium, as a job may ask for
    printed = factor * normal_modes(water.atoms_only(), water.hessian, heavy).frequencies
    entries = entries_of(water) | {"Vib-LE2Fix": 14, "Vib-AtMass": heavy, "Vib-E2": [*printed, *np.zeros(13 * 3)]}
    path = written(tmp_path / "it.fchk", entries)
    if factor != 1.0:
        with pytest.raises(UserError, match="frequencies differ by"):
            read(path)
        return
    (record,) = read(path)
    found = normal_modes(record.atoms_only(), record.hessian).frequencies
    np.testing.assert_allclose(found, printed, atol=SAME_FREQUENCY)


def test_numbers_of_fortran(path_of_water: list[Record], tmp_path: Path) -> None:
    gradient = -path_of_water[0].forces / HARTREE_PER_BOHR
    path = written(tmp_path / "it.fchk", entries_of(path_of_water[0], Cartesian_Gradient=gradient * [[1], [1], [0]]))
    text = path.read_text().replace(f"{0.0:16.8E}", "  1.12345678-101", 1).replace("-0.00000000E+00", " 0.00000000D+00")
    path.write_text(text)
    (record,) = read(path)
    np.testing.assert_allclose(record.forces[:2], path_of_water[0].forces[:2], atol=1e-6)


@pytest.mark.parametrize("before", [True, False])
def test_the_hessian_of_a_file_of_many_geometries_is_of_the_one_before_it(
    before: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Q-Chem writes anharmonic and moving jobs."""
    text = (FILES / "water.fchk").read_text()
    start = text.index("Current cartesian coordinates")
    other = entry("Current cartesian coordinates", 0.5 * np.arange(9))
    path = tmp_path / "many.fchk"
    path.write_text(text[:start] + other + text[start:] if before else text + other)
    (record,) = convert([path], Options()).records
    (expected,) = convert([FILES / "water.fchk"], Options()).records
    np.testing.assert_array_equal(record.positions, expected.positions)
    assert record.hessian is not None
    assert "1 geometries without energies are left out" in " ".join(capsys.readouterr().err.split())
