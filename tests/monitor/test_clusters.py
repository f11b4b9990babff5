"""Risk: a cluster with broken molecules, or of another place; an error that is not the model's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from trajectories import Step, dump_text, waters

from hesspot.calculators import HesspotCalculator
from hesspot.data import Dataset
from hesspot.monitor.clusters import Cut, Uncut, cluster
from hesspot.monitor.frames import Frame, usual_masses
from hesspot.monitor.measured import jackknife
from hesspot.training.config import parse_config
from hesspot.training.loop import train

#: Å, of positions that were moved by lattice vectors.
ROUNDING = 1e-9


def frame_of(atoms: Atoms) -> Frame:
    n = len(atoms)
    masses = usual_masses(atoms.numbers)
    return Frame(7, np.arange(n), atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, masses)


def liquid() -> Atoms:
    """Waters in a skew box, folded into it, so that its faces cut molecules."""
    random = np.random.default_rng(0)
    atoms = Atoms(cell=[[9.0, 0, 0], [3.0, 9.0, 0], [-2.0, 1.0, 9.0]], pbc=True)
    for place in np.ndindex(3, 3, 3):
        water = molecule("H2O")
        water.rotate(random.uniform(0, 360), random.normal(size=3))
        water.positions += np.array(place) / 3 @ atoms.cell.array
        atoms += water
    atoms.wrap()
    return atoms


@pytest.mark.parametrize("atom", [0, 1, 40])
def test_molecules_stay_whole_and_are_those_around_the_atom(atom: int) -> None:
    atoms = liquid()
    unwrapped = atoms.copy()  # as a dump of xu yu zu has them
    unwrapped.positions[atom + 1 :: 2] += 5 * atoms.cell.array[0] - 3 * atoms.cell.array[2]
    found = cluster(frame_of(unwrapped), atom, Cut(4.0))
    assert found.numbers[0] == atoms.numbers[atom] and np.abs(found.positions[0]).max() == 0.0
    bonds = found.get_all_distances() + 9.0 * np.eye(len(found))
    for k, symbol in enumerate(found.symbols):
        assert (bonds[k] < 1.2).sum() == {"O": 2, "H": 1}[symbol]
    images = np.array([atoms.positions + np.array(n) @ atoms.cell.array for n in np.ndindex(5, 5, 5)])
    images = images - 2 * atoms.cell.array.sum(0) - atoms.positions[atom]
    within = images[np.linalg.norm(images, axis=2) <= 4.0]
    apart = np.linalg.norm(within[:, None] - found.positions, axis=2).min(1)
    assert apart.max() < ROUNDING, "all atoms and images within the radius are there"


def test_cut_bonds_end_in_hydrogen() -> None:
    diamond = frame_of(bulk("C", cubic=True) * (2, 2, 2))
    with pytest.raises(Uncut, match="goes on beyond 8 Å; take --cluster saturated"):
        cluster(diamond, 0, Cut(2.0))
    found = cluster(diamond, 0, Cut(2.0, "saturated"))
    assert str(found.symbols) == "C5H12", "neopentane"
    distances = found.get_all_distances() + 9.0 * np.eye(17)
    assert all((distances[k] < 1.6).sum() == 4 for k in range(5))
    assert all(1.0 < distances[k].min() < 1.15 for k in range(5, 17))


def test_the_whole_frame_keeps_its_box() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    found = cluster(frame_of(atoms), 3, Cut(way="frame"))
    assert found.pbc.all() and found.symbols[0] == atoms.symbols[3] and len(found) == 8
    np.testing.assert_allclose(found.get_distance(0, 1, mic=True), atoms.get_distance(3, 0, mic=True), atol=ROUNDING)


def test_what_cannot_be_cut_is_said() -> None:
    radical = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], cell=np.eye(3) * 20, pbc=True)
    with pytest.raises(Uncut, match="odd number of electrons"):
        cluster(frame_of(radical), 0, Cut())
    with pytest.raises(Uncut, match="more than 200; take a smaller --radius"):
        cluster(frame_of(liquid()), 0, Cut(8.0))


def test_isotopes_keep_their_masses() -> None:
    heavy = frame_of(liquid())
    heavy = replace(heavy, masses=np.where(heavy.numbers == 1, 2.014, heavy.masses))
    found = cluster(heavy, 0, Cut(1.0))
    np.testing.assert_allclose(sorted(found.get_masses()), [2.014, 2.014, 15.999], atol=1e-3)


def test_the_standard_error_is_that_of_the_mean_of_squares() -> None:
    """With one cluster in each group and a small scatter, that of the mean, over twice the root."""
    squares = 4.0 + 0.01 * np.random.default_rng(1).normal(size=200)
    found = jackknife(squares, np.arange(200))
    np.testing.assert_allclose(found.rmse, np.sqrt(squares.mean()))
    np.testing.assert_allclose(found.standard_error, squares.std(ddof=1) / np.sqrt(200) / (2 * found.rmse), rtol=1e-3)
    doubled = jackknife(np.repeat(squares, 2), np.repeat(np.arange(200), 2))
    np.testing.assert_allclose(doubled.standard_error, found.standard_error)
    assert jackknife(squares[:1], np.arange(1)).standard_error is None


def test_the_error_is_that_against_the_reference(
    tmp_path: Path, house_model_file: Path, other_model_file: Path, call
) -> None:
    """The reference is another model, asked through ASE; what it labels is a dataset to train on."""
    run: list[Step] = waters(house_model_file)
    forces = run[1].forces.copy()
    forces[3, 2] += 1.0
    (tmp_path / "run.dump").write_text(dump_text([run[0], replace(run[1], forces=forces), *run[2:]]))
    words = f"ase --calculator hesspot:HesspotCalculator --calculator-args model={other_model_file}"
    out = tmp_path / "out"
    given = ["--once", "--out", out, "--draw", "1", "--radius", "1", "--label", words]
    code, told, _ = call(house_model_file, tmp_path / "run.dump", *given)
    assert code == 3 and "error of the model against" in told
    found = json.loads((out / "errors.json").read_text())
    labels = Dataset.read(out / "labels.h5")
    assert (found["visited"]["clusters"], found["flagged"]["clusters"], len(labels)) == (4, 1, 5)
    mine, theirs = HesspotCalculator(house_model_file), HesspotCalculator(other_model_file)
    flagged = next(record for record in labels if record.name == "step100-atom20")
    atoms = flagged.atoms_only()
    assert atoms.symbols.formula.count() == {"O": 1, "H": 2}
    error = mine.get_forces(atoms) - theirs.get_forces(atoms)
    np.testing.assert_allclose(found["flagged"]["forces"]["rmse"], np.sqrt((error**2).mean()), rtol=1e-6)
    np.testing.assert_allclose(found["flagged"]["center"]["rmse"], np.sqrt((error[0] ** 2).mean()), rtol=1e-6)
    hessian = mine.get_hessian(atoms) - theirs.get_hessian(atoms)
    wrong = np.array([hessian @ v.ravel() for v in flagged.directions])
    np.testing.assert_allclose(found["flagged"]["products"]["rmse"], np.sqrt((wrong**2).mean()), rtol=1e-3)
    cut = mine.get_forces(atoms)[0] - mine.get_forces(run[1].atoms)[3]
    np.testing.assert_allclose(found["flagged"]["cut"]["rmse"], np.sqrt((cut**2).mean()), rtol=1e-6)
    shape = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]}
    config = parse_config(
        {
            "data": str(out / "labels.h5"),
            "model": shape,
            "mode": "efh",
            "optimizer": {"epochs": 1},
        },
        "a test",
    )
    assert train(config, tmp_path / "trained", show=False, final_table=False).epochs == 1


def test_bad_words_for_clusters_get_one_sentence(tmp_path: Path, house_model_file: Path, call) -> None:
    path = tmp_path / "run.dump"
    path.write_text(dump_text(waters(house_model_file, 1)))
    for words, sentence in [
        (["--cluster", "half"], "--cluster half is not known"),
        (["--label", "vasp"], "begins with no program of `hesspot label`"),
    ]:
        code, _, told = call(house_model_file, path, "--once", "--out", tmp_path / "out", *words)
        assert code == 1 and sentence in told and told.count("\n") == 1
        assert not (tmp_path / "out").exists()
