"""The dataset file: what is written comes back, and bad input gives one sentence."""

import json
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from hesspot.data import Dataset, Record
from hesspot.data.convert import convert
from hesspot.data.dataset_file import writing_dataset
from hesspot.data.readers import Options
from hesspot.data.stored_records import without_curvature
from hesspot.errors import UserError


def random_record(n: int, name: str, rng: np.random.Generator, **fields: object) -> Record:
    hessian = rng.normal(size=(3 * n, 3 * n))
    values: dict = dict(
        numbers=rng.choice([1, 6, 7, 8], n),
        positions=rng.uniform(-1, 1, (n, 3)) + 5 * np.arange(n)[:, None],
        name=name,
        energy=float(rng.normal()),
        forces=rng.normal(size=(n, 3)),
        hessian=hessian + hessian.T,
        properties={"cphf_residual": 1e-10, "note": "é"},
    )
    return Record(**(values | fields))


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(1)
    unlabelled = {"energy": None, "forces": None, "hessian": None}
    bare = random_record(3, "c", rng, part="test", kind="nms", system="x", **unlabelled)
    stress = rng.normal(size=(3, 3))
    periodic = Record.from_atoms(bulk("Si", cubic=True), name="si", part="valid", stress=stress + stress.T)
    vectors = {key: rng.normal(size=(2, 5, 3)) for key in ("directions", "products")}
    return Dataset(
        [
            random_record(4, "a", rng),
            random_record(1, "b", rng, hessian=None, kind="atom"),
            bare,
            periodic,
            random_record(5, "d", rng, hessian=None, **vectors),
        ],
        "B3LYP/6-31G(d)",
        {"program": "none", "numbers": [1, 2]},
    )


def same(a: Record, b: Record) -> None:
    arrays = ("numbers", "positions", "cell", "pbc", "energy", "forces", "hessian", "directions", "products", "stress")
    for key in arrays:
        left, right = getattr(a, key), getattr(b, key)
        assert (left is None) == (right is None), key
        if left is not None:
            np.testing.assert_array_equal(left, right, err_msg=key)
    for key in ("name", "part", "kind", "tag", "system", "properties"):
        assert getattr(a, key) == getattr(b, key)


def test_round_trip_is_exact(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    dataset.write(path)
    back = Dataset.read(path)
    assert len(back) == len(dataset)
    assert (back.level_of_theory, back.provenance) == (dataset.level_of_theory, dataset.provenance)
    for a, b in zip(dataset, back, strict=True):
        same(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["set.h5"]


def test_five_lines_of_plain_h5py_read_a_structure(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    dataset.write(path)
    with h5py.File(path) as f:
        i = list(f["name"].asstr()).index("a")
        a, h = f["atoms_ptr"][i : i + 2], f["hessian_ptr"][i : i + 2]
        numbers, positions = f["numbers"][slice(*a)], f["positions"][slice(*a)]
        lower = np.zeros((3 * len(numbers),) * 2)
        lower[np.tril_indices(len(lower))] = f["hessian"][slice(*h)]
        assert json.loads(f.attrs["units"])["hessian"] == "eV/Å²"
    np.testing.assert_array_equal(positions, dataset[0].positions)
    np.testing.assert_array_equal(lower, np.tril(dataset[0].hessian))


def test_select_and_elements(dataset: Dataset) -> None:
    assert [r.name for r in dataset.select(part="train")] == ["a", "b", "d"]
    assert [r.name for r in dataset.select(part="train", kind="atom")] == ["b"]
    assert [r.name for r in dataset.select(system="x")] == ["c"]
    assert len(dataset.select(system="nothing")) == 0
    assert Dataset([Record([8, 1, 6], np.eye(3), "m")], "").elements == ["H", "C", "O"]


def test_atoms_round_trip(dataset: Dataset) -> None:
    for record in dataset:
        same(record, Record.from_atoms(record.to_atoms()))


def test_from_atoms_takes_the_results_of_a_calculator() -> None:
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.ones((3, 3)))
    record = Record.from_atoms(atoms, name="w", part="valid")
    assert (record.energy, record.part, record.hessian) == (-3.0, "valid", None)
    np.testing.assert_array_equal(record.forces, 1.0)


def bad(**fields: object) -> Record:
    return random_record(2, str(fields.pop("name", "bad")), np.random.default_rng(2), **fields)


WRAPPED = Atoms("H2", [[0, 0, 0], [0, 0, 3]], cell=[3, 3, 3], pbc=True)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (bad(energy=np.nan), "NaN"),
        (bad(forces=np.full((2, 3), np.inf)), "infinity"),
        (bad(forces=np.zeros((3, 3))), "shape"),
        (bad(hessian=np.zeros((3, 3))), "Hessian of shape"),
        (bad(hessian=np.arange(36.0).reshape(6, 6)), "asymmetric"),
        (bad(positions=np.zeros((2, 3))), "apart"),
        (bad(numbers=[1, 0]), "atomic number 0"),
        (bad(part="training"), "train, valid, test"),
        (bad(kind="ts"), "saddle"),
        (bad(pbc=[True] * 3), "no lattice vector"),
        (bad(pbc=[True] * 3, cell=np.full((3, 3), 5.0)), "depend on each other"),
        (bad(masses=[1.0, 2.0, 3.0]), "masses of shape"),
        (bad(masses=[1.0, -2.0]), "mass -2 for atom 1"),
        (bad(name=""), "no name"),
        (Record([], np.zeros((0, 3)), "bad"), "no atoms"),
        (Record.from_atoms(WRAPPED, name="bad"), "apart"),
    ],
)
def test_bad_record_is_refused_and_nothing_is_written(record: Record, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        Dataset([record], "none").write(tmp_path / "set.h5")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_empty_and_duplicate_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no structures"):
        Dataset([], "none").write(tmp_path / "set.h5")
    with pytest.raises(UserError, match="two structures named 'bad'"):
        Dataset([bad(), bad()], "none").write(tmp_path / "set.h5")


def test_bad_files_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    with pytest.raises(UserError, match="does not exist"):
        Dataset.read(path)
    dataset.write(path)
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated"):
        Dataset.read(path)

    path.write_text("not HDF5")
    with pytest.raises(UserError, match="cannot be read"):
        Dataset.read(path)

    def damaged(key: str, value: object) -> None:
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            if key in file.attrs:
                file.attrs[key] = value
            else:
                file[key][...] = value

    for key, value, words in [
        ("format", "other", "not a hesspot dataset"),
        ("version", 5, "newer hesspot"),
        ("units", json.dumps({"energy": "Hartree"}), "convert"),
        ("atoms_ptr", 1, "does not fit"),
        ("forces", np.nan, "NaN"),
        ("part", "nowhere", "nowhere"),
    ]:
        damaged(key, value)
        with pytest.raises(UserError, match=words):
            Dataset.read(path)

    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["positions"]
    with pytest.raises(UserError, match="damaged"):
        Dataset.read(path)


def test_write_replaces_a_file_only_when_complete(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    dataset.write(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        Dataset(dataset.records, "none", {"not JSON": object()}).write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["set.h5"]
    with pytest.raises(UserError, match="folder"):
        dataset.write(tmp_path / "missing" / "set.h5")


def test_a_dataset_says_what_it_is_in_a_line():
    """Not its arrays, which are hundreds of kilobytes at a prompt or in a traceback."""
    record = Record([1, 1], [[0, 0, 0], [0, 0, 0.74]], "hydrogen", energy=-31.7, hessian=np.zeros((6, 6)))
    assert repr(record) == "<Record hydrogen: 2 atoms, train, other, energy hessian>"
    assert repr(Dataset([record] * 1000, "B3LYP")) == "<Dataset of 1000 structures, B3LYP>"


def test_an_open_file_gives_what_reading_gives(dataset: Dataset, tmp_path: Path) -> None:
    """In blocks, one by one, in any order, of selections, and after it was pickled."""
    path = tmp_path / "set.h5"
    dataset.write(path)
    opened = Dataset.open(path)
    assert (opened.level_of_theory, opened.provenance) == (dataset.level_of_theory, dataset.provenance)
    assert opened.elements == dataset.elements
    for a, b in zip(dataset, opened, strict=True):
        same(a, b)
    for i in (3, -1, 0, 4):
        same(dataset[i], opened[i])
        same(dataset[i], pickle.loads(pickle.dumps(opened))[i])
    with pytest.raises(IndexError):
        opened[len(dataset)]
    train = opened.select(part="train")
    assert [record.name for record in train] == [record.name for record in train.records[:]] == ["a", "b", "d"]
    assert all(record.hessian is None and record.products is None for record in without_curvature(opened.records))
    opened.write(path)  # over the file that is open
    for a, b in zip(dataset, Dataset.read(path), strict=True):
        same(a, b)


def test_an_open_file_refuses_a_bad_record_when_it_is_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    dataset.write(path)
    with h5py.File(path, "a") as file:
        file["forces"][0] = np.nan
    opened = Dataset.open(path)
    same(dataset[1], opened[1])
    with pytest.raises(UserError, match="NaN or infinity in its forces"):
        opened[0]


#: Of a set of 40 MB of Hessians; a block, what waits to be written and HDF5 take less, a set in memory far more.
STREAMED = 2**25


def test_a_set_is_written_and_read_without_being_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    big = random_record(60, "big", rng)
    tracemalloc.start()
    try:
        with writing_dataset(tmp_path / "set.h5") as writer:
            for i in range(160):
                writer.add(replace(big, name=str(i)))
        total = sum(record.hessian.nbytes for record in Dataset.open(tmp_path / "set.h5") if record.hessian is not None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 4e7 > STREAMED > peak


def test_a_tag_of_the_users_own_is_kept(dataset: Dataset, tmp_path: Path) -> None:
    """In the file, in ASE and in extended XYZ both ways; a file without tags can be read by what does not know them."""
    tagged = Dataset([replace(dataset[0], tag="liquid 300 K"), *dataset.records[1:]], "none")
    tagged.write(tmp_path / "set.h5")
    dataset.write(tmp_path / "plain.h5")
    for name, version in (("set.h5", 4), ("plain.h5", 2)):
        with h5py.File(tmp_path / name) as file:
            assert file.attrs["version"] == version
    found = Dataset.read(tmp_path / "set.h5")
    assert [record.tag for record in found.select(tag="liquid 300 K")] == ["liquid 300 K"]
    assert Record.from_atoms(found[0].to_atoms()).tag == "liquid 300 K"
    atoms = found[0].to_atoms()
    atoms.write(tmp_path / "one.xyz", format="extxyz")
    (back,) = convert([tmp_path / "one.xyz"], Options(), check_units=False)
    assert (back.kind, back.tag, back.system, back.energy) == ("other", "liquid 300 K", "", dataset[0].energy)


def test_masses_of_isotopes_are_kept(dataset: Dataset, tmp_path: Path) -> None:
    """They come back from the file, and a set without any stays readable by what does not know them."""
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 2.014, 3.016])
    heavy = Record.from_atoms(atoms, name="heavy")
    np.testing.assert_array_equal(Record.from_atoms(heavy.to_atoms()).masses, [15.999, 2.014, 3.016])
    Dataset([*dataset, heavy], "none").write(tmp_path / "set.h5")
    dataset.write(tmp_path / "plain.h5")
    for name, version in (("set.h5", 3), ("plain.h5", 2)):
        with h5py.File(tmp_path / name) as file:
            assert file.attrs["version"] == version
    found = Dataset.read(tmp_path / "set.h5")
    assert [record.masses is None for record in found] == [True] * len(dataset) + [False]
    np.testing.assert_array_equal(found[len(dataset)].atoms_only().get_masses(), [15.999, 2.014, 3.016])
