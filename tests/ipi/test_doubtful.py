"""Risk: structures in doubt that are labelled with other elements or in another unit, or lost with an earlier part."""

import json
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.units import Bohr, Hartree

from hesspot.errors import UserError
from hesspot.ipi.doubtful import write_frames
from hesspot.structures import read_structures

#: Å: extended XYZ has 8 digits behind the point.
PRINTED = 1e-8


def kept(*structures: ase.Atoms) -> str:
    """As i-PI 3.3 writes it: `json.dumps` of each, one behind the other; its cells have lattice vectors as columns."""
    return "".join(
        json.dumps(
            {
                "position": (atoms.positions / Bohr).ravel().tolist(),
                "cell": (atoms.cell.array.T / Bohr).ravel().tolist(),
                "uncertainty": 0.01,
            }
        )
        for atoms in structures
    )


@pytest.fixture
def crystal(tmp_path: Path) -> ase.Atoms:
    cell = [[4.0, 0, 0], [1.0, 4.2, 0], [0.3, 0.2, 4.4]]
    atoms = ase.Atoms("OH", [[0.1, 0.2, 0.3], [1.0, 0.4, 0.2]], cell=cell, pbc=True)
    atoms.set_masses([15.999, 2.014])
    atoms.info = {"charge": -1, "name": "start"}
    ase.io.write(tmp_path / "start.xyz", atoms, format="extxyz")
    return atoms


def moved(atoms: ase.Atoms, seed: int) -> ase.Atoms:
    other = atoms.copy()
    other.rattle(0.1, seed=seed)
    other.set_cell(other.cell.array * (1 + 0.01 * seed))
    return other


def test_all_parts_of_a_run_are_there_once(crystal: ase.Atoms, tmp_path: Path) -> None:
    frames = [moved(crystal, seed) for seed in range(1, 5)]
    (tmp_path / "#simulation.doubtful#0#").write_text(kept(frames[0]))
    (tmp_path / "#simulation.doubtful#1#").write_text(kept(frames[0], frames[1]))
    (tmp_path / "simulation.doubtful").write_text(kept(frames[2], frames[3]) + kept(frames[0])[:50])
    out = tmp_path / "doubtful.xyz"
    assert write_frames(tmp_path / "simulation.doubtful", tmp_path / "start.xyz", out) == 4
    read = read_structures(out)
    for frame, expected in zip(read, frames, strict=True):
        assert str(frame.symbols) == str(expected.symbols) and frame.pbc.all()
        np.testing.assert_allclose(frame.positions, expected.positions, rtol=0, atol=PRINTED)
        np.testing.assert_allclose(frame.cell.array, expected.cell.array, rtol=0, atol=PRINTED)
        np.testing.assert_allclose(frame.get_masses(), [15.999, 2.014])
        assert frame.info["charge"] == -1 and "name" not in frame.info
        assert frame.info["energy_deviation"] == pytest.approx(0.01 * Hartree)


def test_no_doubt_leaves_no_file(crystal: ase.Atoms, tmp_path: Path) -> None:
    (tmp_path / "simulation.doubtful").write_text("")
    assert write_frames(tmp_path / "simulation.doubtful", tmp_path / "start.xyz", tmp_path / "out.xyz") == 0
    assert not (tmp_path / "out.xyz").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2\n\nO 0 0 0\nH 0 0 1\n", "no output of <active_output>"),
        ('{"a": 1}', "no output of <active_output>"),
        (kept(ase.Atoms("H3", np.eye(3))), "3 atoms and 2"),
        (None, "does not exist"),
    ],
)
def test_bad_input(text: str | None, words: str, crystal: ase.Atoms, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "simulation.doubtful").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        write_frames(tmp_path / "simulation.doubtful", tmp_path / "start.xyz", tmp_path / "out.xyz")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.xyz").exists()
