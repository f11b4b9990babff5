"""Risk: labels from another place of the file than was asked for, of another calculation, or two that contradict."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from hesspot.data import Record
from hesspot.data.convert import convert, convert_to
from hesspot.data.readers import Options
from hesspot.errors import UserError

FORCES = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
POSITIONS = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.8]])
STRESS = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]]) * 1e-2
#: Eight decimals are printed.
PRINTED = 1e-7

WATER = molecule("H2O")


def read(path: Path, keys: dict[str, str] | None = None, **keywords: object) -> list[Record]:
    return convert([path], Options(keys=keys or {}), check_units=False, **keywords).records


def advice(error: UserError) -> list[dict[str, str]]:
    """What a sentence says to pass with --keys: each alternative."""
    (text,) = re.findall(r"--keys (.*?)(?:,? which.*)?$", str(error))
    return [dict([item.split("=", 1)]) for item in text.split(" or ")]


def hydrogen(path: Path, results: dict, info: dict | None = None, arrays: dict | None = None) -> Path:
    atoms = Atoms("H2", POSITIONS)
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info.update(info or {})
    atoms.arrays.update(arrays or {})
    ase.io.write(path, atoms, format="extxyz")
    return path


def crystal(path: Path, **info: object) -> Path:
    atoms = bulk("Si", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, stress=STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    atoms.info.update({key: value * atoms.get_volume() for key, value in info.items()})
    ase.io.write(path, atoms, format="extxyz")
    return path


@pytest.mark.parametrize("layout", ["xyz", "npz", "deepmd"])
def test_forces_are_gradients_where_the_user_says_so(layout: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{layout}"
    if layout == "xyz":
        hydrogen(path, {"energy": -1.0, "forces": FORCES})
    elif layout == "npz":
        np.savez(path, z=[[1, 1]], r=POSITIONS[None], energy=[-1.0], forces=FORCES[None])
    else:
        (path / "set.000").mkdir(parents=True)
        for name, text in (("type_map.raw", "H"), ("type.raw", "0 0"), ("nopbc", "")):
            (path / name).write_text(text)
        for key, values in {"coord": POSITIONS, "energy": np.array([-1.0]), "force": FORCES}.items():
            np.save(path / f"set.000/{key}.npy", values.reshape(1, -1))
    key = "force" if layout == "deepmd" else "forces"
    for name in (key, key.upper(), *(["force.npy"] if layout == "deepmd" else [])):
        np.testing.assert_allclose(read(path, {"gradient": name})[0].forces, -FORCES, atol=PRINTED)
    np.testing.assert_allclose(read(path)[0].forces, FORCES, atol=PRINTED)
    assert read(path, {"forces": "none"})[0].forces is None
    with pytest.raises(UserError, match="no 'nonsense' for energy"):
        read(path, {"energy": "nonsense"})


def test_a_given_key_is_found_in_every_frame_whatever_its_case(tmp_path: Path) -> None:
    frames = [Atoms("H2", POSITIONS, info={key: -1.0}) for key in ("my_E", "MY_e")]
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    assert [record.energy for record in read(tmp_path / "a.xyz", {"energy": "My_E"})] == [-1.0, -1.0]


def test_a_limit_reads_no_structure_more(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("1\nenergy=-13\nH 0 0 0\n1\nenergy=-13\nH 0 0\n")
    assert len(read(path, limit=1)) == 1
    for limit in (2, None):
        with pytest.raises(UserError, match="cannot be read"):
            read(path, limit=limit)
    with pytest.raises(UserError, match="--limit 0 takes no structure"):
        read(path, limit=0)


@pytest.mark.parametrize(
    ("factor", "words"),
    [(-1.0, "opposite sign"), (1.0 / 160.21766, "by a factor of 160"), (8.0, "by a factor of 0.125")],
)
def test_stress_and_virial_that_contradict_are_refused(factor: float, words: str, tmp_path: Path) -> None:
    path = crystal(tmp_path / "a.xyz", virial=-STRESS * factor)
    with pytest.raises(UserError, match=words) as error:
        read(path)
    expected = {"stress": STRESS, "virial": STRESS * factor}
    assert [list(each) for each in advice(error.value)] == [["stress"], ["virial"]]
    for keys in advice(error.value):
        np.testing.assert_allclose(read(path, keys)[0].stress, expected[next(iter(keys))], rtol=1e-5)


def test_stress_and_virial_that_agree_to_what_is_printed_are_read(tmp_path: Path) -> None:
    same = crystal(tmp_path / "same.xyz", virial=-(STRESS + 5e-5))
    np.testing.assert_allclose(read(same)[0].stress, STRESS, rtol=1e-5)


def test_forces_and_gradient_that_contradict_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, z=[[1, 1]], r=POSITIONS[None], forces=FORCES[None], gradient=FORCES[None])
    with pytest.raises(UserError, match="opposite sign") as error:
        read(path)
    found = [read(path, keys)[0].forces for keys in advice(error.value)]
    np.testing.assert_array_equal(found, [FORCES, -FORCES])


def test_labels_of_another_calculation_than_the_energy_are_named(tmp_path: Path) -> None:
    path = crystal(tmp_path / "quip.xyz")
    text = path.read_text()
    path.write_text(text.replace("energy=-1.0", "dft_energy=-1.0 gap_energy=-2.0"))
    with pytest.raises(UserError, match=r"its stress under stress, .* of dft_energy") as error:
        read(path, {"energy": "dft_energy"})
    (keys,) = advice(error.value)
    (record,) = read(path, {"energy": "dft_energy"} | keys)
    assert record.stress is None
    path = hydrogen(
        tmp_path / "two.xyz",
        {"energy": -3.0, "forces": FORCES},
        {"mace_energy": -1.0},
        {"mace_forces": 2 * FORCES},
    )
    with pytest.raises(UserError, match="under forces, which is not of the calculation of mace_energy") as error:
        read(path, {"energy": "mace_energy"})
    (keys,) = advice(error.value)
    np.testing.assert_allclose(read(path, {"energy": "mace_energy"} | keys)[0].forces, 2 * FORCES)
    assert read(path, {"energy": "energy"})[0].energy == -3.0


def test_other_energies_of_one_calculation_are_no_other_calculation(tmp_path: Path) -> None:
    path = hydrogen(tmp_path / "a.xyz", {"forces": FORCES}, {"total_energy": -1.0, "free_energy": -1.1})
    (record,) = read(path)
    assert (record.energy, record.forces is None) == (-1.0, False)


def test_a_set_without_any_label_is_not_written(tmp_path: Path) -> None:
    """As MD17's arrays were, under names that were not known; with them named, they are read."""
    shape, numbers = WATER.positions, WATER.numbers
    np.savez(tmp_path / "it.npz", z=numbers, R=shape[None], total=[-2079.0], f_all=np.zeros((1, 3, 3)))
    with pytest.raises(UserError, match=r"no energy, no forces and no Hessian is read of .*it\.npz: say where"):
        convert_to(tmp_path / "out.h5", [tmp_path / "it.npz"], Options())
    assert not (tmp_path / "out.h5").exists()
    (record,) = convert_to(
        tmp_path / "out.h5", [tmp_path / "it.npz"], Options(keys={"energy": "total", "forces": "f_all"})
    )
    assert record.energy == -2079.0 and record.forces is not None
    text = (Path(__file__).parent / "files" / "water.fchk").read_text()
    (tmp_path / "it.fchk").write_text(text[: text.index("SCF Energy")])
    with pytest.raises(UserError, match=r"is read of .*it\.fchk: give files of calculations that have them"):
        convert_to(tmp_path / "out.h5", [tmp_path / "it.fchk"], Options())


def test_published_layouts(tmp_path: Path) -> None:
    """MD17 (z, R, E, F), rMD17 (nuclear_charges, coords, …), SPICE (conformations), rows of 3n numbers."""
    shapes = np.stack([WATER.positions + 0.01 * i for i in range(4)])
    energy, forces = np.arange(4.0), np.full((4, 3, 3), 0.25)
    for z, r, e, f in (
        ("z", "R", "E", "F"),
        ("nuclear_charges", "coords", "energies", "forces"),
        ("atomic_numbers", "conformations", "energy", "forces"),
    ):
        np.savez(tmp_path / "it.npz", **{z: WATER.numbers, r: shapes, e: energy[:, None], f: forces})
        np.savez(
            tmp_path / "rows.npz", **{z: WATER.numbers, r: shapes.reshape(4, 9), e: energy, f: forces.reshape(4, 9)}
        )
        for name in ("it", "rows"):
            records = convert([tmp_path / f"{name}.npz"], Options(), check_units=False).records
            for i, record in enumerate(records):
                np.testing.assert_array_equal(record.positions, shapes[i])
                np.testing.assert_array_equal(record.forces, forces[i])
                assert record.energy == i


def test_names_that_change_within_a_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = [WATER.copy(), WATER.copy()]
    frames[0].info["REF_energy"], frames[1].info["energy_dft"] = -1.0, -2.0
    ase.io.write(tmp_path / "it.xyz", frames)
    convert([tmp_path / "it.xyz"], Options(), check_units=False)
    told = "energy of some structures are under REF_energy and of others under energy_dft"
    assert told in " ".join(capsys.readouterr().err.split())
