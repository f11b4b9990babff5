"""Risk: atom types of LAMMPS taken for atomic numbers, which makes hydrogen and helium of whatever it was."""

from collections.abc import Callable
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.data.convert import convert
from hesspot.data.readers import Options
from hesspot.errors import UserError
from hesspot.ipi.inputs import read_beads
from hesspot.structures import read_structure, read_structures
from ipi_driver.template import read_template

WATER = [[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]]
FORCES = [[0.0, 0.0, 1.0], [0.0, 0.5, -0.5], [0.0, -0.5, -0.5]]


def dump(path: Path, more: str = "", values: tuple[str, str] = ("", ""), frames: int = 1) -> Path:
    head = "ITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS ff ff ff\n-5 5\n-5 5\n-5 5\n"
    text = ""
    for step in range(frames):
        text += f"ITEM: TIMESTEP\n{step}\n{head}ITEM: ATOMS id type{more} x y z fx fy fz\n"
        for i, type_ in enumerate((1, 2, 2)):
            numbers = " ".join(map(str, (*WATER[i], *FORCES[i])))
            text += f"{i + 1} {type_}{values[type_ - 1]} {numbers}\n"
    path.write_text(text)
    return path


def data_file(path: Path, sections: str = "") -> Path:
    atoms = "".join(f"{i + 1} {1 if i == 0 else 2} {x} {y} {z}\n" for i, (x, y, z) in enumerate(WATER))
    path.write_text(
        "water\n\n3 atoms\n2 atom types\n-5 5 xlo xhi\n-5 5 ylo yhi\n-5 5 zlo zhi\n\n"
        f"{sections}Atoms  # atomic\n\n{atoms}"
    )
    return path


def xyz(path: Path) -> Path:
    rows = "".join(f"{1 if i == 0 else 2} {x} {y} {z}\n" for i, (x, y, z) in enumerate(WATER))
    path.write_text(f"3\nAtoms. Timestep: 0\n{rows}")
    return path


TYPED: dict[str, Callable[[Path], Path]] = {
    "dump": lambda folder: dump(folder / "water.lammpstrj"),
    "masses": lambda folder: dump(folder / "water.dump", " mass", (" 15.999", " 3.024")),
    "xyz": lambda folder: xyz(folder / "water.xyz"),
    "data": lambda folder: data_file(folder / "water.data"),
    "heavy hydrogen": lambda folder: data_file(folder / "water.data", "Masses\n\n1 15.999\n2 3.024\n\n"),
}
DOORS: dict[str, Callable[..., Atoms]] = {
    "structure": lambda path, elements: read_structure(path, elements=elements),
    "structures": lambda path, elements: read_structures(path, elements)[0],
    "beads": lambda path, elements: read_beads(path, elements)[0],
    "template": lambda path, elements: read_template(path, elements),
    "convert": lambda path, elements: convert([path], Options(elements=elements))[0].atoms_only(),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", TYPED)
def test_types_are_refused_and_named(kind: str, door: str, tmp_path: Path) -> None:
    path = TYPED[kind](tmp_path)
    with pytest.raises(UserError, match=r"in the order of the types, as in --elements O,H"):
        DOORS[door](path, None)
    atoms = DOORS[door](path, ["O", "H"])
    assert str(atoms.symbols) == "OH2"
    np.testing.assert_allclose(atoms.positions - atoms.positions[0], np.array(WATER) - WATER[0], atol=1e-8)
    with pytest.raises(UserError, match="'Q', which is no element"):
        DOORS[door](path, ["Q", "H"])
    with pytest.raises(UserError, match=r"type.* 2( is in the file)?, and --elements names 1"):
        DOORS[door](path, ["O"])


@pytest.mark.parametrize("door", DOORS)
def test_elements_are_not_named_where_the_file_says_them(door: str, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", Atoms("OH2", WATER))
    labels = "Atom Type Labels\n\n1 O\n2 H\n\n"
    for path in (
        tmp_path / "a.xyz",
        dump(tmp_path / "b.dump", " element", (" O", " H")),
        data_file(tmp_path / "c.data", labels),
        data_file(tmp_path / "d.data", "Masses\n\n1 15.999\n2 1.008 # H\n\n"),
    ):
        assert str(DOORS[door](path, None).symbols) == "OH2"
        with pytest.raises(UserError, match="leave --elements out"):
            DOORS[door](path, ["O", "H"])


def test_every_frame_of_a_dump_has_its_forces(tmp_path: Path) -> None:
    for record in convert([dump(tmp_path / "a.dump", frames=3)], Options(elements=["O", "H"])):
        np.testing.assert_allclose(record.forces, FORCES)
        assert record.numbers.tolist() == [8, 1, 1]


def test_commands_take_elements(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.dump")
    commands = {
        "data convert": ["data", "convert", str(path), "--out", str(tmp_path / "a.h5")],
        "label": ["label", str(path), "--out", str(tmp_path / "b.h5"), "--program", "tblite", "--no-hessian"],
    }
    pytest.importorskip("tblite")
    for words in commands.values():
        refused = CliRunner().invoke(app, words)
        assert isinstance(refused.exception, UserError) and "--elements O,H" in str(refused.exception)
        done = CliRunner().invoke(app, [*words, "--elements", "O,H"])
        assert done.exit_code == 0, done.output
        with h5py.File(words[words.index("--out") + 1]) as file:
            assert file["numbers"][:].tolist() == [8, 1, 1]
    assert Dataset.read(tmp_path / "b.h5")[0].energy < -100.0  # of water, eV; helium and hydrogen have -60


def test_a_system_of_deepmd_without_a_map_takes_elements(tmp_path: Path) -> None:
    (tmp_path / "set.000").mkdir()
    (tmp_path / "type.raw").write_text("0 1 1")
    (tmp_path / "nopbc").touch()
    np.save(tmp_path / "set.000/coord.npy", np.reshape(WATER, (1, 9)))
    with pytest.raises(UserError, match="--elements O,H in the order of the types"):
        convert([tmp_path], Options())
    assert convert([tmp_path], Options(elements=["O", "H"]))[0].numbers.tolist() == [8, 1, 1]
    (tmp_path / "type_map.raw").write_text("O H")
    with pytest.raises(UserError, match="leave --elements out"):
        convert([tmp_path], Options(elements=["O", "H"]))


@pytest.mark.parametrize("command", ["ipi-input", "ipi-hessian"])
def test_commands_for_ipi_name_types(command: str) -> None:
    assert "--elements" in CliRunner().invoke(app, [command, "--help"]).output
