"""Risk: a frame that is read before it is whole, or with atoms, units or boxes of another."""

import re
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import units
from trajectories import Step, dump_text, waters

from hesspot.errors import UserError
from hesspot.monitor.frames import Frame
from hesspot.monitor.trajectory import Source, Trajectory

#: Å, eV/Å: twelve digits are written of numbers up to ten.
PRINTED = 1e-10


@pytest.fixture(scope="module")
def steps(house_model_file: Path) -> list[Step]:
    return waters(house_model_file)


def all_frames(path: Path, **options: object) -> list[Frame]:
    return list(Trajectory(Source(path, **options)).frames(follow=False))


def assert_frames(frames: list[Frame], steps: list[Step]) -> None:
    assert [frame.step for frame in frames] == [step.step for step in steps]
    for frame, step in zip(frames, steps, strict=True):
        np.testing.assert_array_equal(frame.numbers, step.atoms.numbers)
        np.testing.assert_array_equal(frame.ids, 11 + 3 * np.arange(len(step.atoms)))
        np.testing.assert_allclose(frame.positions, step.atoms.positions, atol=PRINTED)
        np.testing.assert_allclose(frame.cell, step.atoms.cell.array, atol=PRINTED)
        np.testing.assert_allclose(frame.forces, step.forces, atol=PRINTED)
        np.testing.assert_allclose(frame.velocities, step.velocities, atol=PRINTED)


@pytest.mark.parametrize(
    "columns, elements",
    [
        ("id element x y z fx fy fz vx vy vz", None),
        ("fx fy fz type zs ys xs vx vy vz id", ["O", "H"]),
    ],
)
def test_dumps_are_read_as_ase_reads_them(tmp_path: Path, steps: list[Step], columns: str, elements: list[str]) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump_text(steps, columns))
    frames = all_frames(path, elements=elements)
    assert_frames(frames, steps)
    for frame, atoms in zip(frames, ase.io.read(path, ":", format="lammps-dump-text"), strict=True):
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=PRINTED)
        np.testing.assert_allclose(frame.cell, atoms.cell.array, atol=PRINTED)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=PRINTED)
        np.testing.assert_array_equal(frame.pbc, atoms.pbc)


def test_extended_xyz_is_read_as_ase_writes_it(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "run.xyz"
    written = []
    for step in steps:
        atoms = step.atoms.copy()
        atoms.set_velocities(step.velocities / units.fs)
        atoms.arrays["forces"] = step.forces
        atoms.info |= {"step": step.step, "energy": 1.5}
        written.append(atoms)
    ase.io.write(path, written, format="extxyz", columns=["symbols", "positions", "momenta", "forces"])
    for frame, step in zip(all_frames(path), steps, strict=True):
        assert (frame.step, frame.energy) == (step.step, 1.5)
        np.testing.assert_allclose(frame.positions, step.atoms.positions, atol=1e-7)  # eight decimals are written
        np.testing.assert_allclose(frame.forces, step.forces, atol=1e-7)
        np.testing.assert_allclose(frame.velocities, step.velocities, atol=1e-7)


@pytest.mark.ipi
@pytest.mark.parametrize("mode, units_", [("xyz", "angstrom"), ("xyz", "atomic_unit"), ("ase", "automatic")])
def test_files_of_ipi_are_read_as_it_writes_them(tmp_path: Path, steps: list[Step], mode: str, units_: str) -> None:
    """By i-PI's own writer, from its atomic units."""
    pytest.importorskip("ipi")
    from ipi.engine.atoms import Atoms
    from ipi.engine.cell import Cell
    from ipi.utils.io import print_file

    paths = {what: tmp_path / what for what in ("positions", "forces", "velocities")}
    bohr, time = units.Bohr, units._aut * 1e15
    ase_units = mode == "ase"
    for what, path in paths.items():
        with path.open("w") as stream:
            for step in steps:
                values = {
                    "positions": step.atoms.positions / bohr,
                    "forces": step.forces / (units.Ha / bohr),
                    "velocities": step.velocities / (bohr / time),
                }[what]
                atoms, cell = Atoms(len(values)), Cell()
                atoms.names[:], atoms.q[:] = step.atoms.get_chemical_symbols(), values.ravel()
                cell.h = step.atoms.cell.array.T / bohr
                print_file(
                    mode,
                    atoms,
                    cell,
                    stream,
                    title=f"Step: {step.step:10d}  Bead:   {0:5d} ",
                    key=what,
                    dimension={"positions": "length", "forces": "force", "velocities": "velocity"}[what],
                    units="automatic" if ase_units else {"positions": units_}.get(what, "atomic_unit"),
                    cell_units="automatic" if ase_units else units_,
                )
    frames = all_frames(paths["positions"], forces=paths["forces"], velocities=paths["velocities"])
    assert [frame.step for frame in frames] == [step.step for step in steps]
    digits = 1e-7 if ase_units else 1e-4  # eight decimals, or six digits of numbers up to twenty
    for frame, step in zip(frames, steps, strict=True):
        np.testing.assert_allclose(frame.positions, step.atoms.positions, atol=digits)
        np.testing.assert_allclose(frame.cell, step.atoms.cell.array, atol=digits)
        np.testing.assert_allclose(
            frame.forces, step.forces, atol=1e-6 if ase_units else 1e-5 * np.abs(step.forces).max()
        )
        np.testing.assert_allclose(frame.velocities, step.velocities, rtol=0, atol=1e-6)
        assert frame.states_units


def test_centroids_have_no_forces_to_compare(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "run.xyz"
    path.write_text(
        "1\n# CELL(abcABC): 9 9 9 90 90 90 Step: 0 Bead: 0 f_centroid{atomic_unit} cell{angstrom}\nH 0 0 0\n"
    )
    with pytest.raises(UserError, match="holds i-PI's f_centroid, which is not looked at"):
        all_frames(path)


def test_units_real_are_those_of_lammps(tmp_path: Path, steps: list[Step]) -> None:
    kcal, fs = units.kcal / units.mol, 1e3  # ASE's units, and ps/fs
    real = [Step(s.step, s.atoms, s.forces / kcal, s.velocities / fs) for s in steps]
    path = tmp_path / "run.dump"
    path.write_text(dump_text(real, head="ITEM: UNITS\nreal\n"))
    for frame, step in zip(all_frames(path), steps, strict=True):
        np.testing.assert_allclose(frame.forces, step.forces, rtol=1e-6)  # ASE's constants are of 2014
        np.testing.assert_allclose(frame.velocities, step.velocities, rtol=1e-9)
    path.write_text(dump_text(real))
    np.testing.assert_allclose(all_frames(path, units="real")[0].forces, steps[0].forces, rtol=1e-6)


def test_no_frame_is_read_before_it_is_whole(tmp_path: Path, steps: list[Step]) -> None:
    """The file grows by pieces of every length; the watch looks after each."""
    content = dump_text(steps).encode()
    path = tmp_path / "run.dump"
    path.write_bytes(content[:1])
    grown = 1

    def grow(_: float) -> None:
        nonlocal grown
        grown += 97
        path.write_bytes(content[:grown])

    frames = []
    for frame in Trajectory(Source(path)).frames(follow=True, patience=2.0, wait=grow):
        frames.append(frame)
        assert grown >= len(content) * len(frames) // len(steps) - len(steps), "the frame was there"
    assert_frames(frames, steps)


def test_a_reader_goes_on_where_another_ended(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump_text(steps))
    first = Trajectory(Source(path))
    reading = first.frames(follow=False)
    next(reading), next(reading)
    assert_frames(list(Trajectory(Source(path), first.places, 2).frames(follow=False)), steps[2:])


def test_a_frame_that_is_cut_off_at_the_end_is_left_out(
    tmp_path: Path, steps: list[Step], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump_text(steps)[:-40])
    assert_frames(all_frames(path), steps[:-1])
    assert "the last frame of" in (told := capsys.readouterr().err) and "cut off after 8 of 9 atoms" in told


DAMAGED: dict[str, tuple[Callable[[str], str], str]] = {
    "cut in the middle": (
        lambda text: text[:700] + text[text.index("ITEM: TIMESTEP", 900) :],
        "cut off after 2 of 9 atoms, in the middle of the file",
    ),
    "no dump": (lambda text: text.replace("ITEM: TIMESTEP", "TIMESTEP", 1), "is no frame"),
    "no number": (lambda text: text.replace("ITEM: NUMBER OF ATOMS\n9", "ITEM: NUMBER OF ATOMS\nnine"), "head"),
    "no positions": (lambda text: text.replace(" x y z ", " c_1 c_2 c_3 "), "dump the columns x y z"),
    "types alone": (lambda text: re.sub(" [OH] ", " 1 ", text.replace("id element", "id type")), "--elements O,H"),
    "units lj": (lambda text: "ITEM: UNITS\nlj\n" + text, "units lj, which are not eV"),
    "no id": (lambda text: text.replace("id element", "c_1 element"), "no column id"),
    "no element": (lambda text: text.replace(" O ", " Ow "), "'Ow' in the place of an element"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_wrong_with_a_dump_is_said_in_one_sentence(tmp_path: Path, steps: list[Step], kind: str) -> None:
    damage, word = DAMAGED[kind]
    path = tmp_path / "run.dump"
    path.write_text(damage(dump_text(steps)))
    with pytest.raises(UserError) as said:
        all_frames(path)
    assert word in str(said.value) and str(path) in str(said.value) and "\n" not in str(said.value)


def test_a_file_of_another_run_is_noticed(tmp_path: Path, steps: list[Step]) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump_text(steps))
    reading = Trajectory(Source(path)).frames(follow=True)
    next(reading), next(reading)
    path.write_text(dump_text(steps[:1])[:50])
    with pytest.raises(UserError, match="has become shorter"):
        next(reading)
