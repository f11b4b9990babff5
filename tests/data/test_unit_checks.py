"""Risk: numbers in the wrong units go unseen, right ones are refused, and advice makes right ones wrong."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.spacegroup import crystal
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset, Record, shipped
from hesspot.data.atomic_energies import energy_of_atoms
from hesspot.data.readers import Units
from hesspot.data.unit_checks import UnitCheck
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, KCAL_PER_MOL

#: Hartree, numerical Hartree–Fock: Bunge, Barrientos and Bunge 1993; Koga, Kanayama, Watanabe and Thakkar 1999.
HARTREE_FOCK = {1: -0.5, 6: -37.68862, 8: -74.80940, 18: -526.81751, 54: -7232.1384, 86: -21866.772}


def check(records: Sequence[Record | Atoms], units: Units | None = None) -> tuple[list[str], list[str]]:
    """Sentences that refuse, and that doubt."""
    found = UnitCheck(units)
    for i, record in enumerate(records):
        found.add(record if isinstance(record, Record) else Record.from_atoms(record, f"r{i}"))
    return [str(each) for each in found.refusals()], [str(each) for each in found.doubts()]


NOTHING: tuple[list[str], list[str]] = ([], [])


def stretched(atoms: Atoms, factor: float) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * factor)
    atoms.positions *= factor
    return atoms


@cache
def small() -> Dataset:
    return Dataset.read(shipped.path("small_chno"))


# Shapes


def molecules() -> list[Atoms]:
    return [atoms for name in g2.names if len(atoms := molecule(name)) > 1]


#: Of which ASE builds a crystal.
CRYSTALS = (
    "Li Be C Ne Na Mg Al Si Ar K Ca Sc Ti V Cr Fe Co Ni Cu Zn Ge As Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Xe "
    "Cs Ba La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po Ac Th U Np"
)


def elements() -> list[Atoms]:
    return [bulk(symbol) for symbol in CRYSTALS.split()]


def compounds() -> list[Atoms]:
    cubic, trigonal = [90] * 3, [90, 90, 120]
    return [
        *(bulk(name, "rocksalt", a=a) for name, a in (("NaCl", 5.64), ("MgO", 4.21), ("TiO", 4.18), ("LiF", 4.03))),
        *(bulk(name, "zincblende", a=a) for name, a in (("SiC", 4.36), ("GaAs", 5.65), ("ZnS", 5.41))),
        bulk("CsCl", "cesiumchloride", a=4.12),
        bulk("CaF2", "fluorite", a=5.46),
        bulk("GaN", "wurtzite", a=3.19, c=5.19),
        *(
            crystal(f"{a}{b}O", [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[size] * 3 + cubic)
            for a, b, size in (("Ba", "Ti", 4.0), ("Sr", "Ti", 3.905))
        ),
        crystal("SiO", [(0.47, 0, 0), (0.413, 0.267, 0.119)], spacegroup=152, cellpar=[4.916, 4.916, 5.405, *trigonal]),
        crystal("AlO", [(0, 0, 0.352), (0.306, 0, 0.25)], spacegroup=167, cellpar=[4.76, 4.76, 12.99, *trigonal]),
        Atoms("MoOCl4", [(0, 0, 0.5), (0, 0, 2.16), (2.2, 0, 0), (-2.2, 0, 0), (0, 2.2, 0), (0, -2.2, 0)]),
        Atoms("BF3", [(0, 0, 0), *(1.31 * np.array([np.cos(t), np.sin(t), 0]) for t in np.arange(3) * 2 * np.pi / 3)]),
    ]


def boxes() -> list[Atoms]:
    """Molecules on a grid in a periodic box, turned at random and cut by its faces."""
    random, found = np.random.default_rng(1), []
    for name, spacing in (("H2O", 3.1), ("CH4", 4.2), ("CO2", 4.0), ("SiH4", 4.5), ("NaCl", 5.5)):
        box = Atoms(cell=[3 * spacing] * 3, pbc=True)
        for place in np.ndindex(3, 3, 3):
            one = molecule(name)
            one.rotate(random.uniform(0, 360), "z")
            one.rotate(random.uniform(0, 360), "x")
            one.translate(np.array(place) * spacing - one.get_center_of_mass())
            box += one
        box.wrap()
        found.append(box)
    return found


#: Lone atoms say nothing, and of uranium's bonds, the shortest for their radii, those in bohr pass for bonds in Å.
SILENT = {"He", "Ne", "Ar", "Kr", "Xe", "Rn", "U"}


@pytest.mark.parametrize(("shapes", "least"), [(molecules, 140), (elements, 70), (compounds, 15), (boxes, 5)])
def test_no_shape_is_odd_and_bohr_is_noticed(shapes: Callable[[], list[Atoms]], least: int) -> None:
    assert len(shapes()) >= least
    for shape in shapes():
        formula = shape.get_chemical_formula(empirical=True)
        assert check([shape]) == NOTHING, formula
        refusals, doubts = check([stretched(shape, 1 / BOHR)])
        assert refusals == [], formula
        if formula not in SILENT:
            assert "--units length=bohr" in doubts[0], formula
        refusals, doubts = check([stretched(shape, BOHR)], Units.parse({"length": "bohr"}))
        assert refusals == [], formula
        assert all("leave --units out" in doubt for doubt in doubts), formula


@pytest.mark.parametrize("pair", ["H2", "Na2", "TiO", "Ar2", "NaCl", "U2"])
def test_scans_of_dimers_are_not_odd(pair: str) -> None:
    scan = [Atoms(pair, [(0, 0, 0), (0, 0, distance)]) for distance in np.linspace(0.5, 8.0, 40)]
    assert check(scan) == NOTHING
    assert check([Atoms("He2", [(0, 0, 0), (0, 0, 3.0)])] * 5) == NOTHING


def test_advice_of_lengths_ends_the_doubt(tmp_path: Path) -> None:
    import ase.io

    for factor, unit in ((1 / BOHR, "bohr"), (0.1, "nm")):
        path = tmp_path / f"{unit}.xyz"
        shapes = [stretched(molecule(name), factor) for name in ("SiH4", "AlF3", "CH3OH")]
        for shape in shapes:
            shape.info["energy"] = -4.5 * len(shape)
        ase.io.write(path, shapes)
        told = converted(path)
        (advice,) = re.findall(r"pass (--units \S+)", " ".join(told.split()))
        again = converted(path, *advice.split())
        assert "odd" in told
        assert "odd" not in again
        (record, *_) = Dataset.read(tmp_path / "out.h5")
        np.testing.assert_allclose(record.positions, molecule("SiH4").positions, atol=1e-6)


def converted(path: Path, *arguments: str) -> str:
    out = path.parent / "out.h5"
    result = CliRunner().invoke(
        app, ["data", "convert", str(path), "--out", str(out), "--level", "x", "--overwrite", *arguments]
    )
    if result.exception is not None:
        raise result.exception
    return result.output


# Labels


def scaled(records: list[Record], **factors: float) -> list[Record]:
    return [
        replace(r, **{key: getattr(r, key) * factor for key, factor in factors.items() if getattr(r, key) is not None})
        for r in records
    ]


def path_points() -> list[Record]:
    """A straight path of one molecule with exact second-order energies, 0.05 Å apart."""
    start = next(iter(small().select(system="CH3OH", kind="nms", part="train")))
    step = 0.05 * np.random.default_rng(5).normal(size=start.positions.shape)
    step /= np.abs(step).max() / 0.05
    points = []
    for i in range(12):
        shift = i * step
        forces = start.forces - (start.hessian @ shift.ravel()).reshape(-1, 3)
        energy = start.energy - 0.5 * ((start.forces + forces) * shift).sum()
        points.append(
            replace(start, name=f"p{i}", positions=start.positions + shift, forces=forces, energy=energy, hessian=None)
        )
    return points


#: One unit of a file in eV and Å.
EV, HA, KCAL, KJ = 1.0, HARTREE, KCAL_PER_MOL, KCAL_PER_MOL / 4.184
#: Units of energy, length, forces and Hessian of a file, and what is to be advised.
FILES = {
    "energy=Hartree,length=bohr": (HA, BOHR, HARTREE_PER_BOHR, HARTREE_PER_BOHR / BOHR),
    "energy=Hartree": (HA, 1.0, HA, HA),
    "energy=kcal/mol": (KCAL, 1.0, KCAL, KCAL),
    "energy=kJ/mol,length=nm": (KJ, 10.0, KJ / 10, KJ / 100),
    "energy=Hartree,forces=eV/Å,hessian=eV/Å^2": (HA, 1.0, 1.0, 1.0),
    "energy=kcal/mol,forces=eV/Å,hessian=eV/Å^2": (KCAL, 1.0, 1.0, 1.0),
    "energy=Hartree,forces=Hartree/bohr,hessian=Hartree/bohr^2": (HA, 1.0, HARTREE_PER_BOHR, HARTREE_PER_BOHR / BOHR),
    "forces=Hartree/bohr": (EV, 1.0, HARTREE_PER_BOHR, 1.0),
    "forces=kcal/mol/Å": (EV, 1.0, KCAL, 1.0),
    "hessian=Hartree/bohr^2": (EV, 1.0, 1.0, HARTREE_PER_BOHR / BOHR),
    "length=bohr,forces=eV/Å,hessian=eV/Å^2": (EV, BOHR, 1.0, 1.0),
}


@pytest.mark.parametrize("advice", FILES)
def test_units_are_named_and_the_remedy_makes_the_numbers_right(advice: str, tmp_path: Path) -> None:
    energy, length, forces, hessian = FILES[advice]
    right = [*small().records[::8], *path_points()]
    wrong = scaled(right, energy=1 / energy, positions=1 / length, forces=1 / forces, hessian=1 / hessian)
    path = as_columns(tmp_path / "set.h5", wrong)
    with pytest.raises(UserError, match=r"fit|atoms") as error:
        converted(path)
    (said,) = re.findall(r"pass --units (\S+);", str(error.value))
    assert said == advice
    assert "odd" not in converted(path, "--units", said)
    for found, expected in zip(Dataset.read(tmp_path / "out.h5"), right, strict=True):
        for key in ("energy", "positions", "forces", "hessian"):
            if getattr(expected, key) is not None:
                np.testing.assert_allclose(getattr(found, key), getattr(expected, key), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("advice", FILES)
def test_the_remedy_is_the_same_whatever_units_were_said_before(advice: str) -> None:
    energy, length, forces, hessian = FILES[advice]
    said = Units.parse({"energy": "kcal/mol", "length": "bohr"})
    records = scaled(
        [*small().records[::8], *path_points()],
        energy=said.energy / energy,
        positions=said.length / length,
        forces=said.forces / forces,
        hessian=said.hessian / hessian,
    )
    refusals, doubts = check(records, said)
    assert f"--units {advice}" in (refusals or doubts)[0]


def as_columns(path: Path, records: list[Record], forces: str = "forces") -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        for i, record in enumerate(records):
            group = file.create_group(f"{i:04d}")
            group["z"], group["r"], group["energy"], group[forces] = (
                record.numbers,
                record.positions,
                record.energy,
                record.forces,
            )
            if record.hessian is not None:
                group["hessian"] = record.hessian
            if record.pbc.any():
                group["cell"], group["pbc"] = record.cell, record.pbc
    return path


@pytest.mark.parametrize("pieces", [("hessian",), ("energy",), ("hessian", "energy")])
def test_gradients_taken_for_forces_are_found_by_hessians_and_by_energies(
    pieces: tuple[str, ...], tmp_path: Path
) -> None:
    right = [replace(r, hessian=None) for r in path_points()]
    if "hessian" in pieces:
        right = small().records[::5] + (right if "energy" in pieces else [])
    wrong = as_columns(tmp_path / "set.h5", scaled(right, forces=-1.0), forces="dft_forces")
    with pytest.raises(UserError, match="wrong sign") as error:
        converted(wrong)
    (said,) = re.findall(r"pass (--keys \S+);", str(error.value))
    assert said == "--keys gradient=dft_forces"
    converted(wrong, *said.split())
    for found, expected in zip(Dataset.read(tmp_path / "out.h5"), right, strict=True):
        np.testing.assert_array_equal(found.forces, expected.forces)


def boxed(record: Record, size: float = 100.0) -> Record:
    """In a periodic box that cuts the molecule."""
    positions = (record.positions - record.positions.mean(axis=0)) % size
    return replace(record, positions=positions, cell=size * np.eye(3), pbc=[True] * 3)


def test_gradients_of_molecules_in_boxes_are_found_in_deepmd_folders(tmp_path: Path) -> None:
    """DeePMD-kit's layout without `nopbc`: periodic in name only."""
    records = [boxed(r) for r in small().select(system="CH3OH", kind="nms")]
    folder = tmp_path / "system"
    (folder / "set.000").mkdir(parents=True)
    (folder / "type_map.raw").write_text("H C O")
    (folder / "type.raw").write_text(" ".join({1: "0", 6: "1", 8: "2"}[z] for z in records[0].numbers))
    stacks = {"coord": "positions", "energy": "energy", "force": "forces", "hessian": "hessian", "box": "cell"}
    for file, key in stacks.items():
        sign = -1.0 if key == "forces" else 1.0
        np.save(folder / f"set.000/{file}.npy", sign * np.stack([np.ravel(getattr(r, key)) for r in records]))
    with pytest.raises(UserError, match="wrong sign") as error:
        converted(folder)
    (said,) = re.findall(r"pass (--keys \S+);", str(error.value))
    assert said == "--keys gradient=force"
    converted(folder, *said.split())
    for found, expected in zip(Dataset.read(tmp_path / "out.h5"), records, strict=True):
        np.testing.assert_array_equal(found.forces, expected.forces)


def test_right_labels_pass() -> None:
    for records in (small().records, path_points(), [boxed(r) for r in small()]):
        assert check(records) == NOTHING
    argon = Record([18, 18], [[0, 0, 0], [0, 0, 3.8]], "Ar2", forces=np.zeros((2, 3)), hessian=0.1 * np.eye(6))
    assert check([argon]) == NOTHING


def test_pairs_are_found_in_any_order_and_across_faces() -> None:
    points = path_points()
    mixed = [record for pair in zip(points, small().records[:12], strict=True) for record in pair]
    refusals, _ = check(scaled(mixed, energy=1 / KCAL_PER_MOL))
    assert "energies and forces" in refusals[0]
    moving = [boxed(r, 20.0) for r in points]
    for i, record in enumerate(moving):
        record.positions = (record.positions + 0.01 * i) % 20.0
    assert check(moving) == NOTHING
    refusals, _ = check(scaled(moving, energy=1 / KCAL_PER_MOL))
    assert "energies and forces" in refusals[0]


# Stresses


@cache
def pressed() -> list[Record]:
    """Crystals of copper and gold under changing strain, from ASE's effective medium theory."""
    from ase.calculators.emt import EMT

    random, found = np.random.default_rng(3), []
    for symbol in ("Cu", "Au"):
        for i in range(8):
            atoms = bulk(symbol, cubic=True)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) * (0.98 + 0.01 * (i % 5)) + 0.01 * random.normal(size=(3, 3))))
            atoms.set_scaled_positions(bulk(symbol, cubic=True).get_scaled_positions())
            atoms.positions += 0.03 * random.normal(size=atoms.positions.shape)
            atoms.calc = EMT()
            atoms.get_stress()
            found.append(Record.from_atoms(atoms, f"{symbol}{i}"))
    return found


@pytest.mark.parametrize("unit", ["GPa", "kbar", "Hartree/bohr^3"])
def test_stresses_in_another_unit_are_doubted_and_the_remedy_ends_it(unit: str, tmp_path: Path) -> None:
    import ase.io

    assert check(pressed()) == NOTHING
    path = tmp_path / "it.xyz"
    ase.io.write(path, [r.to_atoms() for r in scaled(pressed(), stress=1 / Units.parse({"stress": unit}).stress)])
    told = converted(path)
    assert "stresses are odd, energies of close cells change by" in " ".join(told.split())
    (said,) = re.findall(r"pass (--units \S+)", " ".join(told.split()))
    assert said == f"--units stress={unit}"
    assert "odd" not in converted(path, *said.split())
    for found, expected in zip(Dataset.read(tmp_path / "out.h5"), pressed(), strict=True):
        np.testing.assert_allclose(found.stress, expected.stress, rtol=1e-6, atol=1e-8)


def test_stresses_of_the_other_sign_and_virials_are_doubted() -> None:
    refusals, (doubt,) = check(scaled(pressed(), stress=-1.0))
    assert refusals == []
    assert "pressures in eV/Å^3" in doubt
    found = UnitCheck()
    for record in scaled(pressed()[:8], stress=-np.linalg.det(pressed()[0].cell)):
        found.add(record, {"stress": "w"})
    assert "they are virials, pass --keys virial=w" in str(found.doubts()[0])


def test_large_stresses_alone_are_doubted() -> None:
    lone = pressed()[:1]
    assert check(lone) == NOTHING
    _, (doubt,) = check(scaled(lone, stress=100.0))
    assert "stress=GPa" in doubt


# Total energies


def test_energies_of_atoms() -> None:
    for z, energy in HARTREE_FOCK.items():
        assert energy_of_atoms([z]) / HARTREE == pytest.approx(energy, rel=0.08 if z == 1 else 0.01)
    assert energy_of_atoms([1, 8, 1]) == pytest.approx(2 * energy_of_atoms([1]) + energy_of_atoms([8]))


MIXED = ("H2O", "CH4", "CO2", "NH3", "C2H6", "CH3Cl", "SO2", "HCN")
HYDROCARBONS = ("C2H4", "C6H6", "C2H6", "C3H4_C3v", "isobutene")
SULFUR = ("CH3SH", "CH3CH2SH", "CH3SCH3", "C4H4S", "C2H6SO")


def of_atoms(energy: Callable[[np.ndarray], float], names: Sequence[str] = MIXED) -> list[Record]:
    """Molecules with total energies alone."""
    shapes = {name: molecule(name) for name in names}
    return [Record(a.numbers, a.positions, name, energy=energy(a.numbers)) for name, a in shapes.items()]


#: eV, what codes give: all electrons, pseudopotentials, references, tight binding.
REFERENCES: dict[str, Callable[[np.ndarray], float]] = {
    "all electrons": lambda z: 1.01 * energy_of_atoms(z),
    "relativistic": lambda z: 1.08 * energy_of_atoms(z),
    "core potentials": lambda z: sum({1: -13.6, 6: -155.0, 7: -270.0, 8: -433.0, 16: -280.0, 17: -410.0}[i] for i in z),
    "reference atoms": lambda z: -4.5 * len(z),
    "relative": lambda z: 0.3 * len(z),
    "GFN2-xTB": lambda z: sum({1: -12.6, 6: -57.0, 7: -81.0, 8: -111.0, 16: -90.0, 17: -123.0}[i] for i in z),
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_energies_of_every_reference_pass(reference: str) -> None:
    for names in (MIXED, HYDROCARBONS):
        assert check(of_atoms(REFERENCES[reference], names)) == NOTHING


@pytest.mark.parametrize("reference", ["core potentials", "GFN2-xTB"])
def test_no_three_molecules_are_refused(reference: str) -> None:
    """One or the other meets what its atoms have in Hartree."""
    for three in combinations(of_atoms(REFERENCES[reference], [*MIXED, *HYDROCARBONS, *SULFUR]), 3):
        assert check(three)[0] == [], [record.name for record in three]


@pytest.mark.parametrize("unit", ["kcal/mol", "kJ/mol", "meV", "Hartree"])
def test_total_energies_alone_tell_their_unit(unit: str) -> None:
    factor = Units.parse({"energy": unit}).energy
    records = of_atoms(REFERENCES["all electrons"])
    wrong = scaled(records, energy=1 / factor)
    (refusal,), _ = check(wrong)
    assert f"--units energy={unit}" in refusal
    assert check(records, Units.parse({"energy": unit})) == NOTHING
    refusals, doubts = check([record for record in wrong if record.name == "CH4"])
    assert f"--units energy={unit}" in (*refusals, *doubts)[0]


def test_energies_of_one_composition_that_look_like_hartree_are_doubted_only() -> None:
    refusals, doubts = check(scaled(of_atoms(REFERENCES["all electrons"])[:2], energy=1 / HARTREE))
    assert refusals == []
    assert "in Hartree" in doubts[0]


def test_energies_far_above_zero_are_doubted() -> None:
    _, (doubt,) = check(of_atoms(lambda z: -1.01 * energy_of_atoms(z)))
    assert "far above zero" in doubt


def test_no_three_molecules_tell_hartree_by_chance() -> None:
    """Energies relative to atoms meet what atoms have in Hartree in hydrides only."""
    records = of_atoms(lambda z: -4.5 * len(z))
    for three in combinations(records, 3):
        assert check(three)[0] == []
