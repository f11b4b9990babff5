"""Risk: labels that arrive with other numbers than their files hold. Every format against known numbers."""

import json
import os
import pickle
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from ase.vibrations import VibrationsData
from typer.testing import CliRunner

from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.data import Dataset, Record, shipped
from hesspot.data.convert import convert
from hesspot.data.readers import FORMATS, Options, Units, read_labelled, recognise, rows
from hesspot.data.readers.convergence import require_converged
from hesspot.data.readers.pyscf import record_from_pyscf
from hesspot.errors import UserError
from hesspot.export.fingerprint import reference_of
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2, KCAL_PER_MOL

FILES = Path(__file__).parent / "files"

#: RHF/STO-3G of the water molecule of the files, Hartree and bohr, as PySCF 2.14 printed them.
WATER_ENERGY = -74.95790471688917
WATER_GRADIENT = [
    [-0.0065737659, -0.1001739544, -0.0649877518],
    [0.0016850822, 0.0344498564, -0.0056304746],
    [0.0048886836, 0.0657240980, 0.0706182264],
]
WATER_POSITIONS = [[0.02, -0.01, 0.10], [0.05, 0.80, -0.50], [-0.03, -0.75, -0.45]]  # Å
#: ∂²E/∂x_O∂x_O and ∂²E/∂y_O∂y_O.
WATER_HESSIAN = [-5.9294175480e-02, 9.9520435816e-01]

PRINTED = 2e-7  # relative: .fchk has nine digits, .engrad seven decimals of coordinates
FLOAT32 = 1e-6  # relative: HORM keeps single precision
CONVERGED = 1e-6  # Hartree/bohr²: two SCF and CPHF solutions, by PySCF's own solver for three atoms


def read(*paths: Path, options: Options | None = None, **keywords: object) -> list[Record]:
    return convert(paths, options or Options(), **keywords).records


def is_water(record: Record, tolerance: float = PRINTED) -> None:
    assert record.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(record.positions, WATER_POSITIONS, atol=3 * tolerance)
    np.testing.assert_allclose(record.energy, WATER_ENERGY * HARTREE, rtol=tolerance)
    np.testing.assert_allclose(record.forces, -np.array(WATER_GRADIENT) * HARTREE_PER_BOHR, atol=10 * tolerance)
    found = record.hessian[[0, 1], [0, 1]]
    np.testing.assert_allclose(found, np.array(WATER_HESSIAN) * HARTREE_PER_BOHR2, atol=100 * tolerance)


@pytest.fixture(scope="module")
def samples() -> list[Record]:
    """Six structures of the shipped set, away from stationary points, of three to five atoms."""
    small = Dataset.read(shipped.path("small_chno"))
    return [r for s in ("H2O", "H2CO", "CH4") for r in small.select(system=s, kind="nms").records[:2]]


def same_labels(record: Record, expected: Record, tolerance: float = 1e-10) -> None:
    assert record.numbers.tolist() == expected.numbers.tolist()
    for key in ("positions", "energy", "forces", "hessian"):
        wanted = getattr(expected, key)
        np.testing.assert_allclose(
            getattr(record, key), wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=key
        )


# Programs


def test_fchk() -> None:
    (record,) = read(FILES / "water.fchk")
    is_water(record)
    assert convert([FILES / "water.fchk"], Options()).level_of_theory == "RHF STO-3G"


def test_orca_joins_hessian_and_gradient() -> None:
    for sources in ([".hess"], [".engrad"], [".hess", ".engrad"]):
        (record,) = read(*(FILES / f"water{suffix}" for suffix in sources))
        is_water(record)


def test_orca_takes_either_file_alone(tmp_path: Path) -> None:
    for suffix, known in ((".hess", [False, True]), (".engrad", [True, False])):
        path = tmp_path / f"{suffix[1:]}/water{suffix}"
        path.parent.mkdir()
        path.write_text((FILES / f"water{suffix}").read_text())
        (record,) = read(path)
        assert [record.forces is not None, record.hessian is not None] == known


def test_orca_of_two_geometries_is_refused(tmp_path: Path) -> None:
    (tmp_path / "water.hess").write_text((FILES / "water.hess").read_text())
    engrad = (FILES / "water.engrad").read_text()
    (tmp_path / "water.engrad").write_text(engrad.replace("0.0377945", "0.0477945"))
    with pytest.raises(UserError, match=r"differ by 0\.01 bohr"):
        read(tmp_path / "water.hess")


@pytest.mark.pyscf
def test_pyscf_from_memory_and_from_a_chkfile(tmp_path: Path) -> None:
    from pyscf import grad, gto, hessian, lib, scf

    mol = gto.M(atom=list(zip("OHH", WATER_POSITIONS, strict=True)), basis="sto-3g", verbose=0)
    mf = scf.RHF(mol).set(conv_tol=1e-12, chkfile=str(tmp_path / "water.chk")).run()
    gradient, second = grad.RHF(mf).kernel(), hessian.RHF(mf).kernel()
    record = record_from_pyscf(mf, gradient, second, name="water", kind="other", system="water")
    is_water(record, CONVERGED)
    assert (record.name, record.system) == ("water", "water")
    lib.chkfile.save(mf.chkfile, "gradient", gradient)
    lib.chkfile.save(mf.chkfile, "hessian", second)
    (stored,) = read(Path(mf.chkfile))
    same_labels(stored, record)
    (npz,) = read(_npz_of(mol, mf, gradient, second, tmp_path), options=_options(energy="Hartree", length="bohr"))
    same_labels(npz, record)
    mf.converged = False
    with pytest.raises(UserError, match="did not converge"):
        record_from_pyscf(mf)


@pytest.mark.pyscf
@pytest.mark.parametrize("name", ["GHOST-O", "ghost_H1", "X-H"])
def test_ghost_atoms_of_pyscf_are_no_atoms(name: str, tmp_path: Path) -> None:
    from pyscf import gto, lib, scf

    atoms = [*zip("OHH", WATER_POSITIONS, strict=True), (name, [0.0, 0.0, 4.0])]
    mol = gto.M(atom=atoms, basis="sto-3g", verbose=0)
    mf = scf.RHF(mol).set(conv_tol=1e-12, chkfile=str(tmp_path / "water.chk")).run()
    gradient = np.vstack([WATER_GRADIENT, np.zeros(3)])
    record = record_from_pyscf(mf, gradient, name="water")
    assert record.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(record.forces, -np.array(WATER_GRADIENT) * HARTREE_PER_BOHR)
    lib.chkfile.save(mf.chkfile, "gradient", gradient)
    (stored,) = read(Path(mf.chkfile))
    np.testing.assert_array_equal(stored.positions, record.positions)
    with pytest.raises(UserError, match="Hessian with the ghost atoms 3 in it"):
        record_from_pyscf(mf, gradient, np.zeros((4, 4, 3, 3)), name="water")


def _npz_of(mol, mf, gradient, second, folder: Path) -> Path:  # the recipe of docs/converting-data.md
    path = folder / "water.npz"
    np.savez(
        path,
        numbers=mol.atom_charges(),
        positions=mol.atom_coords(),
        energy=mf.e_tot,
        gradient=gradient,
        hessian=second,
    )
    return path


def _options(keys: dict[str, str] | None = None, **units: str) -> Options:
    return Options(Units.parse(units) if units else None, keys or {})


# Extended XYZ


def written(path: Path, records: list[Record], hessian: str = "flat", key: str = "hessian") -> Path:
    frames = []
    for record in records:
        atoms, n = record.atoms_only(), len(record)
        atoms.calc = SinglePointCalculator(atoms, energy=record.energy, forces=record.forces)
        if hessian == "flat":
            atoms.info[key] = record.hessian.ravel()
        elif hessian == "per atom":
            atoms.arrays[key] = record.hessian.reshape(n, 9 * n)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")
    return path


XYZ_DIGITS = 1e-7  # ASE writes eight decimals of positions and forces
XYZ_DIGITS_ATOMIC = 1e-6  # … which are 50 times coarser in Hartree/bohr


@pytest.mark.parametrize(("layout", "key"), [("flat", "hessian"), ("flat", "Hess"), ("per atom", "dft_hessian")])
def test_extended_xyz(samples: list[Record], layout: str, key: str, tmp_path: Path) -> None:
    for i, record in enumerate(samples):  # one file each: the columns of arrays depend on the size
        (found,) = read(written(tmp_path / f"{i}.xyz", [record], layout, key))
        same_labels(found, record, XYZ_DIGITS)
        assert found.name == f"{i}_0"


def test_other_keys_and_units(samples: list[Record], tmp_path: Path) -> None:
    frames = []
    for record in samples:
        atoms = record.atoms_only()
        atoms.info |= {"DFT_E": record.energy / HARTREE, "h": record.hessian.ravel() / HARTREE_PER_BOHR2}
        atoms.info |= {"energy_mm": 1.0}
        atoms.arrays["dE"] = -record.forces / HARTREE_PER_BOHR
        atoms.positions /= BOHR
        frames.append(atoms)
    ase.io.write(tmp_path / "au.xyz", frames, format="extxyz")
    arguments = ["--keys", "energy=DFT_E,gradient=dE,hessian=h", "--units", "energy=Hartree,length=bohr"]
    out = tmp_path / "set.h5"
    result = CliRunner().invoke(app, ["data", "convert", str(tmp_path / "au.xyz"), "--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    for found, record in zip(Dataset.read(out), samples, strict=True):
        same_labels(found, record, XYZ_DIGITS_ATOMIC)


def test_reference_keys_and_two_that_differ(samples: list[Record], tmp_path: Path) -> None:
    path = tmp_path / "set.xyz"
    atoms = samples[0].atoms_only()
    atoms.info["REF_energy"] = -1.5
    atoms.arrays["dft_forces"] = samples[0].forces
    ase.io.write(path, atoms, format="extxyz")
    (record,) = read(path)
    np.testing.assert_allclose(record.forces, samples[0].forces, atol=XYZ_DIGITS)
    assert record.energy == -1.5
    atoms.calc = SinglePointCalculator(atoms, energy=-2.0)
    ase.io.write(path, atoms, format="extxyz")
    with pytest.raises(UserError, match="--keys energy=REF_energy"):
        read(path)
    assert [read(path, options=_options({"energy": key}))[0].energy for key in ("REF_energy", "energy")] == [-1.5, -2.0]


def test_stress_and_virial_of_a_crystal(tmp_path: Path) -> None:
    crystal = bulk("Si", cubic=True)
    stress = np.array([[1.0, 0.1, 0.2], [0.1, 2.0, 0.3], [0.2, 0.3, 3.0]]) * 1e-2
    results = {"energy": -1.0, "forces": np.zeros((8, 3)), "stress": full_3x3_to_voigt_6_stress(stress)}
    one, two = crystal.copy(), crystal.copy()
    one.calc = SinglePointCalculator(one, **results)
    two.info["virial"] = -stress * crystal.get_volume()
    ase.io.write(tmp_path / "crystal.xyz", [one, two], format="extxyz")
    for record in read(tmp_path / "crystal.xyz"):
        np.testing.assert_allclose(record.stress, stress, rtol=1e-6)
        assert record.pbc.all()


def test_three_atoms_with_the_blocks_of_atoms_first(samples: list[Record], tmp_path: Path) -> None:
    water = samples[0]
    blocks = water.hessian.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3)
    atoms = water.atoms_only()
    for hessian in (blocks, water.hessian.reshape(3, 3, 3, 3)):
        atoms.info["hessian"] = hessian
        ase.io.write(tmp_path / "water.traj", atoms)
        (record,) = read(tmp_path / "water.traj")
        np.testing.assert_array_equal(record.hessian, water.hessian)


# Folders and databases


def deepmd_system(
    folder: Path, records: list[Record], labels: tuple[str, ...] = ("energy", "forces", "hessian")
) -> None:
    (folder / "set.000").mkdir(parents=True)
    (folder / "type_map.raw").write_text("H C O\n")
    types = [{1: 0, 6: 1, 8: 2}[z] for z in records[0].numbers]
    (folder / "type.raw").write_text("\n".join(map(str, types)))
    (folder / "nopbc").touch()
    for label in ("positions", *labels):
        values = np.stack([np.ravel(getattr(record, label)) for record in records])
        np.save(folder / f"set.000/{ {'positions': 'coord', 'forces': 'force'}.get(label, label) }.npy", values)


def test_deepmd_folders(samples: list[Record], tmp_path: Path) -> None:
    water, methane = samples[:2], samples[4:]
    for name, records in (("water", water), ("sub/methane", methane)):
        deepmd_system(tmp_path / name, records)
    found = read(tmp_path)
    assert [record.system for record in found] == ["sub/methane"] * 2 + ["water"] * 2
    for record, expected in zip(found, [*methane, *water], strict=True):
        same_labels(record, expected)
    same_labels(read(tmp_path / "water")[1], water[1])


def test_deepmd_boxes(tmp_path: Path) -> None:
    crystal = bulk("Si", cubic=True)
    (tmp_path / "set.000").mkdir()
    (tmp_path / "type_map.raw").write_text("Si")
    (tmp_path / "type.raw").write_text(" ".join("0" * 8))
    np.save(tmp_path / "set.000/coord.npy", crystal.positions.reshape(1, -1))
    np.save(tmp_path / "set.000/virial.npy", np.diag([1.0, 2.0, 3.0]).reshape(1, -1))
    with pytest.raises(UserError, match=r"no box\.npy"):
        read(tmp_path)
    np.save(tmp_path / "set.000/box.npy", crystal.cell.array.reshape(1, -1))
    (record,) = read(tmp_path)
    np.testing.assert_allclose(np.diag(record.stress), [-x / crystal.get_volume() for x in (1.0, 2.0, 3.0)])
    np.testing.assert_array_equal(record.cell, crystal.cell.array)


@pytest.fixture
def fake_torch_geometric():
    """Modules with the classes that samples are pickled as; they are gone when the samples are read."""
    lmdb = pytest.importorskip("lmdb")
    module = types.ModuleType("torch_geometric.data.data")

    class GlobalStorage:
        def __init__(self, mapping: dict) -> None:
            self._mapping = mapping

    class Data:
        def __init__(self, **fields: object) -> None:
            self.__dict__["_store"] = GlobalStorage(fields)
            self._store._parent = self

    for cls in (Data, GlobalStorage):
        cls.__module__, cls.__qualname__ = module.__name__, cls.__name__
        setattr(module, cls.__name__, cls)
    names = ["torch_geometric", "torch_geometric.data", module.__name__]
    sys.modules.update(dict.fromkeys(names, module))

    def write(path: Path, samples: list[object]) -> Path:
        samples = [sample(Data) if callable(sample) else sample for sample in samples]
        with lmdb.open(str(path), subdir=False, map_size=1 << 22) as store, store.begin(write=True) as transaction:
            for i, sample in enumerate(samples):
                transaction.put(str(i).encode(), pickle.dumps(sample))
            transaction.put(b"length", pickle.dumps(len(samples)))
        for name in names:
            sys.modules.pop(name, None)
        return path

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_lmdb_without_torch_geometric(samples: list[Record], fake_torch_geometric, tmp_path: Path) -> None:
    def sample(record: Record, reaction: float):
        single = {key: torch.tensor(getattr(record, key), dtype=torch.float32) for key in ("forces", "hessian")}
        one_hot = torch.eye(5, dtype=torch.int64)[[[1, 6, 7, 8].index(z) for z in record.numbers]]
        return lambda data: data(
            pos=torch.tensor(record.positions, dtype=torch.float32),
            one_hot=one_hot,
            energy=torch.tensor(record.energy, dtype=torch.float64),
            forces=single["forces"],
            hessian=single["hessian"].ravel(),
            rxn=torch.tensor(reaction),
        )

    path = fake_torch_geometric(tmp_path / "horm.lmdb", [sample(record, 1.0) for record in samples])
    found = read(path)
    assert "torch_geometric" not in sys.modules
    for record, expected in zip(found, samples, strict=True):
        same_labels(record, expected, FLOAT32)
    assert found[3].name == "horm_3"
    assert [record.system for record in found] == ["H2O", "H2O", "CH2O", "CH2O", "CH4", "CH4"]  # a constant is no group
    assert len(read(tmp_path, limit=2)) == 2


def test_reactions_of_lmdb_that_differ_are_groups(samples: list[Record], fake_torch_geometric, tmp_path: Path) -> None:
    def sample(i: int):
        record = samples[i // 3]
        fields = {"pos": torch.tensor(record.positions), "z": torch.tensor(record.numbers), "rxn": torch.tensor(i // 2)}
        return lambda data: data(**fields, energy=record.energy + i, charge=-2, spin=1)

    path = fake_torch_geometric(tmp_path / "horm.lmdb", [sample(i) for i in range(6)])
    found = read(path)
    assert [record.system for record in found] == [f"rxn {i // 2}" for i in range(6)]
    assert {(record.charge, record.multiplicity) for record in found} == {(-2, 1)}
    assert read(path, options=_options({"system": "spin"}))[0].system == "spin 1"


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_lmdb_runs_no_code(fake_torch_geometric, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = fake_torch_geometric(tmp_path / "bad.lmdb", [lambda data: data(pos=torch.eye(3), x=Malicious(trap))])
    with pytest.raises(UserError, match=r"sample 0 of .*refused.*mkdir"):
        read(path)
    assert not trap.exists()


# Columns


def columns_of(records: list[Record]) -> dict[str, np.ndarray]:
    """Stacked arrays, filled up with atoms of number 0 and NaN."""
    width = max(map(len, records))
    arrays = {
        "atomic_numbers": np.zeros((len(records), width), dtype=np.int64),
        "coordinates": np.full((len(records), width, 3), np.nan),
        "energies": np.array([record.energy for record in records]),
        "forces": np.full((len(records), width, 3), np.nan),
        "hessian": np.full((len(records), 3 * width, 3 * width), np.nan),
    }
    for i, record in enumerate(records):
        n = len(record)
        arrays["atomic_numbers"][i, :n] = record.numbers
        arrays["coordinates"][i, :n] = record.positions
        arrays["forces"][i, :n] = record.forces
        arrays["hessian"][i, : 3 * n, : 3 * n] = record.hessian
    return arrays


def test_stacked_columns_are_cut_to_size(samples: list[Record], tmp_path: Path) -> None:
    arrays = columns_of(samples)
    np.savez(tmp_path / "set.npz", **arrays)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for key, values in arrays.items():
            file[f"data/{key}"] = values
    for name in ("set.npz", "set.h5"):
        for record, expected in zip(read(tmp_path / name), samples, strict=True):
            same_labels(record, expected)


def test_one_group_for_each_structure_with_a_map(samples: list[Record], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for i, record in enumerate(samples):
            group = file.create_group(f"reactions/{i:03d}/ts")
            group["species"] = np.array([b"HXXXXCNO"[z - 1 : z] for z in record.numbers])
            group["geo"] = record.positions
            group.attrs["energy"] = record.energy / KCAL_PER_MOL
            group["f"] = record.forces / KCAL_PER_MOL
            group["h"] = record.hessian.reshape(len(record), 3, len(record), 3) / KCAL_PER_MOL
    arguments = ["--map", "positions=geo,forces=f,hessian=h", "--units", "energy=kcal/mol", "--level", "x"]
    out = tmp_path / "out.h5"
    result = CliRunner().invoke(app, ["data", "convert", str(tmp_path / "set.h5"), "--out", str(out), *arguments])
    assert result.exit_code == 0, result.output
    found = Dataset.read(out)
    for record, expected in zip(found, samples, strict=True):
        same_labels(record, expected)
    assert found[2].name == "reactions/002/ts"


def test_ragged_columns(samples: list[Record], tmp_path: Path) -> None:
    flat = {key: np.concatenate([getattr(r, key) for r in samples]) for key in ("numbers", "positions", "forces")}
    flat["energy"] = np.array([record.energy for record in samples])
    flat["hessian"] = np.concatenate([record.hessian.ravel() for record in samples])
    np.savez(tmp_path / "flat.npz", natoms=[len(record) for record in samples], **flat)
    with h5py.File(tmp_path / "ragged.h5", "w") as file:
        file["energy"] = flat["energy"]
        for key in ("numbers", "positions", "forces", "hessian"):
            kind = h5py.vlen_dtype(np.int64 if key == "numbers" else np.float64)
            rows = file.create_dataset(key, (len(samples),), dtype=kind)
            for i, record in enumerate(samples):
                rows[i] = np.ravel(getattr(record, key))
    for name in ("flat.npz", "ragged.h5"):
        for record, expected in zip(read(tmp_path / name), samples, strict=True):
            same_labels(record, expected)


def test_own_datasets_are_joined(samples: list[Record], tmp_path: Path) -> None:
    for name in ("a", "b"):
        Dataset(samples, "one level").write(tmp_path / f"{name}.h5")
    joined = convert([tmp_path / "a.h5", tmp_path / "b.h5"], Options())
    assert joined.level_of_theory == "one level"
    assert [record.name for record in joined][6] == f"{samples[0].name}_2"
    same_labels(joined[7], samples[1])


# Recognition and bad input


def test_formats_are_recognised(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.chk", "w") as file:
        file["mol"] = json.dumps({})
    Dataset([Record([1], [[0, 0, 0]], "h")], "").write(tmp_path / "b.h5")
    (tmp_path / "c.xyz").touch()
    names = {
        "a.chk": "pyscf",
        "b.h5": "hesspot",
        "c.xyz": "ase",
        "d.npz": "columns",
        "e.fchk": "fchk",
        "f.hess": "orca",
    }
    assert {name: recognise(tmp_path / name) for name in names} == names


WATER = molecule("H2O")


def bad_xyz(path: Path, **info: object) -> Path:
    atoms = WATER.copy()
    atoms.info.update(info)
    ase.io.write(path, atoms, format="extxyz")
    return path


def half(path: Path, name: str) -> Path:
    whole = (FILES / name).read_bytes()
    target = path / name
    target.write_bytes(whole[: len(whole) * 3 // 4])
    return target


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "none.xyz", "does not exist"),
        (lambda p: _touched(p / "empty.xyz"), "is empty"),
        (lambda p: _touched(p / "x.unknown", "?"), "--format"),
        (lambda p: _touched(p / "bad.xyz", "3\n\nO 0 0 0\nH 0"), "truncated"),
        (lambda p: bad_xyz(p / "a.xyz", hessian=np.zeros(45)), r"structure 0 of .*triangle"),
        (lambda p: bad_xyz(p / "a.xyz", hessian=np.zeros(16)), r"need \(9, 9\)"),
        (lambda p: bad_xyz(p / "a.xyz", hessian=np.arange(81.0)), "asymmetric"),
        (lambda p: bad_xyz(p / "a.xyz", energy=np.nan), r"structure 0 of .*NaN"),
        (lambda p: bad_xyz(p / "a.xyz", hessian=np.full(81, np.inf)), "infinity in its Hessian"),
        (lambda p: bad_xyz(p / "a.xyz", kind="ts", config_type="other word"), "leave one of them out"),
        (lambda p: half(p, "water.fchk"), "truncated"),
        (lambda p: half(p, "water.engrad"), "truncated"),
        (lambda p: half(p, "water.hess"), "truncated"),
        (lambda p: _touched(p / "a.fchk", "title\nlevel\n"), "formchk"),
        (lambda p: _touched(p / "a.h5", "text"), "not HDF5"),
        (lambda p: _touched(p / "a.npz", "text"), "cannot be read as NPZ"),
        (lambda p: _npz(p / "a.npz", x=np.eye(3)), "no numbers and positions under a usual name: it has x"),
        (lambda p: _npz(p / "a.npz", z=["O", "Q"], r=np.eye(3)[:2]), "element 'Q'"),
        (lambda p: _npz(p / "a.npz", z=[1, 1], r=np.zeros((2, 3))), "apart"),
        (lambda p: _npz(p / "a.npz", z=[1, 1], r=np.eye(3)[:2], forces=np.zeros(9)), "forces of shape"),
        (lambda p: _npz(p / "a.npz", z=[8, 200], r=np.eye(3)[:2]), "atomic number 200"),
        (lambda p: _npz(p / "a.npz", z=[8], Z=[8], r=np.eye(3)[:1]), "--keys numbers="),
        (lambda p: p, r"neither of LMDB files nor of DeePMD-kit|without files"),
        (lambda p: _touched(p / "water.fchk", "").parent, r"folder of 1 \.fchk files.*as in .*/\*\.fchk"),
    ],
)
def test_bad_sources_give_one_sentence(make, words: str, tmp_path: Path) -> None:
    source, out = make(tmp_path), tmp_path / "out.h5"
    result = CliRunner().invoke(app, ["data", "convert", str(source), "--out", str(out)])
    assert isinstance(result.exception, UserError), result.exception
    assert "\n" not in str(result.exception)
    with pytest.raises(UserError, match=words):
        raise result.exception
    assert not out.exists()


def _touched(path: Path, text: str = "") -> Path:
    path.write_text(text)
    return path


def _npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--units", "energy=calories"], "energy=calories"),
        (["--units", "hessian=eV/Å"], "not known"),
        (["--units", "mass=amu"], "mass=amu"),
        (["--keys", "forces"], "NAME=VALUE"),
        (["--keys", "hesian=H"], "hesian=H"),
        (["--keys", "forces=nothing"], "no 'nothing' for forces"),
        (["--part", "all"], "train, valid, test"),
        (["--kind", "ts"], "minimum"),
        (["--split", "1,2"], "sum to 1"),
        (["--split-by", "structure"], "no use without --split"),
        (["--seed", "1"], "no use without --split"),
        (["--split", "0.8,0.1,0.1", "--part", "test"], "give one"),
        (["--format", "nonsense"], "cannot be read|--format"),
    ],
)
def test_bad_options_give_one_sentence(samples: list[Record], arguments: list[str], words: str, tmp_path: Path) -> None:
    source = written(tmp_path / "set.xyz", samples)
    result = CliRunner().invoke(app, ["data", "convert", str(source), "--out", str(tmp_path / "o.h5"), *arguments])
    assert isinstance(result.exception, UserError), result.exception
    with pytest.raises(UserError, match=words):
        raise result.exception


@pytest.mark.parametrize("name", ["a.fchk", "a.hess", "a.engrad", "a.chk", "own.h5"])
@pytest.mark.parametrize("field", sorted({"energy", "hessian", "positions", "charge"}))
def test_keys_that_a_format_has_no_use_for_are_refused(name: str, field: str, tmp_path: Path) -> None:
    if name == "a.chk":
        with h5py.File(tmp_path / name, "w") as file:
            file["mol"] = "{}"
    elif name == "own.h5":
        Dataset([Record([1], [[0, 0, 0]], "h")], "").write(tmp_path / name)
    else:
        (tmp_path / name).write_bytes((FILES / f"water{Path(name).suffix}").read_bytes())
    with pytest.raises(UserError, match=f"--keys {field}=nonsense has no use: leave --keys out"):
        read(tmp_path / name, options=_options({field: "nonsense"}))


@pytest.mark.parametrize(
    ("name", "field", "taken"),
    [
        ("x.xyz", "positions", "energy, forces"),
        ("system", "numbers", "positions, energy"),
        ("x.lmdb", "counts", "numbers"),
    ],
)
def test_fields_that_a_format_has_in_one_place_take_no_keys(name: str, field: str, taken: str, tmp_path: Path) -> None:
    if name == "system":
        (tmp_path / name).mkdir()
        (tmp_path / name / "type.raw").touch()
    else:
        _touched(tmp_path / name, "1\n\nH 0 0 0\n")
    with pytest.raises(UserError, match=f"--keys {field}=r has no use: give keys of {taken}"):
        read(tmp_path / name, options=_options({field: "r"}))


def test_gradients_under_the_name_of_forces(samples: list[Record], tmp_path: Path) -> None:
    """The remedy that the unit check names, in every format that takes keys."""
    record = replace(samples[0], forces=-samples[0].forces)
    paths = {"forces": [written(tmp_path / "set.xyz", [record]), tmp_path / "set.npz"], "force": [tmp_path / "system"]}
    np.savez(paths["forces"][1], **columns_of([record]))
    deepmd_system(paths["force"][0], [record])
    for name, sources in paths.items():
        for source in sources:
            with pytest.raises(UserError, match=f"--keys gradient={name};"):
                read(source)
            (found,) = read(source, options=_options({"gradient": name}))
            same_labels(found, samples[0], XYZ_DIGITS)


def test_what_is_not_read_is_told(samples: list[Record], tmp_path: Path, capsys) -> None:
    source = written(tmp_path / "set.xyz", samples[:2])
    text = source.read_text().replace("forces:R:3", "ccsd_total_gradient:R:3").replace(" energy=", " my_energy=")
    source.write_text(text)
    assert read(source)[0].forces is None
    told = "ccsd_total_gradient, my_energy not read, --keys FIELD=NAME reads what is a label (2 structures)"
    assert capsys.readouterr().err == f"warning: {source}: {told}\n"
    np.savez(tmp_path / "set.npz", **columns_of(samples), scf=np.zeros(6))
    read(tmp_path / "set.npz")
    assert "scf not read" in capsys.readouterr().err


@pytest.mark.parametrize("symbols", [["CL", "h"], ["cl", "H"], [b"Cl", b"H "]])
def test_symbols_in_any_case(symbols: list, tmp_path: Path) -> None:
    (record,) = read(_npz(tmp_path / "a.npz", z=symbols, r=[[0, 0, 0], [0, 0, 1.3]]))
    assert record.numbers.tolist() == [17, 1]


@pytest.mark.parametrize("layout", ["stacked", "flat", "group", "deepmd", "xyz"])
def test_charge_and_spin_of_every_layout(layout: str, tmp_path: Path) -> None:
    stated = {"q": np.array([1, -1]), "multiplicity": np.array([2, 2])}
    numbers, positions = np.array([8, 1, 1]), np.array(WATER_POSITIONS)
    path, keys = tmp_path / "it.npz", {"charge": "q"}
    if layout == "stacked":
        np.savez(path, z=numbers, r=[positions] * 2, **stated)
    elif layout == "flat":
        np.savez(path, z=np.tile(numbers, 2), r=np.tile(positions, (2, 1)), counts=[3, 3], **stated)
    elif layout == "group":
        path = tmp_path / "it.h5"
        with h5py.File(path, "w") as file:
            for i in range(2):
                group = file.create_group(str(i))
                group["z"], group["r"] = numbers, positions
                group.attrs["q"], group.attrs["spin"] = stated["q"][i], 1  # 2S
    elif layout == "deepmd":
        path = tmp_path / "system"
        deepmd_system(path, [Record(numbers, positions, "it")] * 2, labels=())
        for key, values in stated.items():
            np.save(path / f"set.000/{key}.npy", values)
        keys["multiplicity"] = "multiplicity"
    else:
        path = tmp_path / "it.xyz"
        frames = [Record(numbers, positions, "it").atoms_only() for _ in range(2)]
        for i, atoms in enumerate(frames):
            atoms.info |= {key: int(values[i]) for key, values in stated.items()} | {"charge": 0}
        ase.io.write(path, frames)
    found = read(path, options=_options(keys))
    assert [(record.charge, record.multiplicity) for record in found] == [(1, 2), (-1, 2)]


@pytest.mark.parametrize("layout", ["npz", "lmdb"])
def test_a_cell_makes_a_structure_periodic_where_nothing_else_is_said(
    layout: str, fake_torch_geometric, tmp_path: Path
) -> None:
    crystal = bulk("Si", cubic=True)
    arrays = {"pos": crystal.positions, "z": crystal.numbers, "energy": -1.0, "cell": crystal.cell.array[None]}
    path = tmp_path / f"a.{layout}"
    if layout == "npz":
        np.savez(path, **arrays)
    else:
        fake_torch_geometric(path, [lambda data: data(**{key: torch.tensor(value) for key, value in arrays.items()})])
    (record,) = read(path)
    assert record.pbc.all()
    np.testing.assert_allclose(record.cell, crystal.cell.array)
    assert not read(path, options=_options({"cell": "none"}))[0].pbc.any()


def test_charges_of_atoms_are_no_total_charge(tmp_path: Path) -> None:
    arrays = {"z": [[8, 1, 1]] * 2, "r": [WATER_POSITIONS] * 2}
    with pytest.raises(UserError, match=r"charge of shape \(2, 3\).*not one of each of 2 structures"):
        read(_npz(tmp_path / "a.npz", **arrays, charge=np.zeros((2, 3))))
    with pytest.raises(UserError, match="multiplicity 2 with 10 electrons"):
        read(_npz(tmp_path / "a.npz", **arrays, charge=[0, 0], multiplicity=[1, 2]))


def test_units_of_a_format_that_has_its_own_are_refused() -> None:
    with pytest.raises(UserError, match="leave --units out"):
        read(FILES / "water.fchk", options=_options(energy="eV"))


def test_two_levels_of_theory_need_a_word(tmp_path: Path) -> None:
    other = tmp_path / "other.fchk"
    other.write_text((FILES / "water.fchk").read_text().replace("STO-3G", "6-31G "))
    with pytest.raises(UserError, match=r"RHF STO-3G and RHF 6-31G, whose energies"):
        read(FILES / "water.fchk", other)
    joined = convert([FILES / "water.fchk", other], Options(), level="RHF STO-3G")
    assert [record.properties["level_of_theory"] for record in joined] == ["RHF STO-3G", "RHF 6-31G"]


#: cm⁻¹; away from a minimum the projection of rotations shifts stretches by less, and the bend by more.
PROJECTED = 1.0
HEAVY = [15.999, 2.014, 3.016]


def test_isotopes_of_extended_xyz_reach_the_frequencies(tmp_path: Path) -> None:
    (plain,) = read(FILES / "water.fchk")
    atoms = plain.to_atoms()
    atoms.info["hessian"] = plain.hessian.ravel()
    atoms.set_masses(HEAVY)
    ase.io.write(tmp_path / "heavy.xyz", atoms)
    text = (tmp_path / "heavy.xyz").read_text()
    (tmp_path / "column.xyz").write_text(text.replace("masses:R:1", "mass:R:1"))
    lines = text.replace("masses:R:1", "weights:R:1").splitlines()
    (tmp_path / "symbols.xyz").write_text("\n".join([*lines[:3], "D" + lines[3][1:], "T" + lines[4][1:]]) + "\n")
    data = VibrationsData.from_2d(atoms, plain.hessian)
    expected = np.sort(data.get_frequencies().real)[-2:]
    for name in ("heavy.xyz", "column.xyz", "symbols.xyz"):
        (record,) = read(tmp_path / name)
        np.testing.assert_array_equal(record.masses, HEAVY)
        found = normal_modes(record.atoms_only(), record.hessian).frequencies
        np.testing.assert_allclose(found[1:], expected, atol=PROJECTED)
        assert np.abs(found - normal_modes(plain.atoms_only(), plain.hessian).frequencies).max() > 100 * PROJECTED
        reference = reference_of(replace(record, kind="minimum"))
        np.testing.assert_allclose(reference.frequencies, found)


def test_isotopes_of_other_programs_are_kept_and_usual_masses_are_none(tmp_path: Path) -> None:
    for name in ("water.fchk", "water.hess"):
        (record,) = read(FILES / name)
        assert record.masses is None
    hess = (FILES / "water.hess").read_text()
    changed = [line.replace("1.0080", "2.0140") if line.split()[:1] == ["H"] else line for line in hess.splitlines()]
    (tmp_path / "heavy.hess").write_text("\n".join(changed) + "\n")
    (record,) = read(tmp_path / "heavy.hess")
    np.testing.assert_array_equal(record.masses[1:], [2.014, 2.014])
    fchk = (FILES / "water.fchk").read_text().splitlines()
    at = next(i for i, line in enumerate(fchk) if line.startswith("Current cartesian"))
    fchk[at:at] = [f"{'Real atomic weights':43}R   N=           3", "  1.59949146E+01  2.01410178E+00  1.00782504E+00"]
    (tmp_path / "heavy.fchk").write_text("\n".join(fchk) + "\n")
    (record,) = read(tmp_path / "heavy.fchk")
    np.testing.assert_allclose(record.masses, [15.9949146, 2.01410178, 1.00782504])


def test_masses_in_arrays_are_cut_and_unpadded(samples: list[Record], tmp_path: Path) -> None:
    width = max(len(record) for record in samples)
    numbers, masses = np.zeros((6, width), dtype=int), np.zeros((6, width))
    positions, energy = np.zeros((6, width, 3)), np.array([record.energy for record in samples])
    for i, record in enumerate(samples):
        n = len(record)
        numbers[i, :n], positions[i, :n], masses[i, :n] = record.numbers, record.positions, record.numbers + 1.5
    np.savez(tmp_path / "stacked.npz", z=numbers, r=positions, masses=masses, energy=energy)
    flat = {"z": numbers[numbers > 0], "r": positions[numbers > 0], "mass": masses[numbers > 0], "energy": energy}
    np.savez(tmp_path / "flat.npz", **flat, counts=[len(record) for record in samples])
    for name in ("stacked.npz", "flat.npz"):
        for record in read(tmp_path / name):
            np.testing.assert_array_equal(record.masses, record.numbers + 1.5)


def test_forces_that_a_constraint_has_set_to_zero_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "whole.xyz").write_text(
        "2\nenergy=-1 Properties=species:S:1:pos:R:3:move_mask:L:1:forces:R:3\nO 0 0 0 F 1 0 0\nH 0 0 1 T -1 0 0\n"
    )
    (record,) = read(tmp_path / "whole.xyz", check_units=False)
    np.testing.assert_array_equal(record.forces[0], [1, 0, 0])
    (tmp_path / "zero.xyz").write_text((tmp_path / "whole.xyz").read_text().replace("F 1 0 0", "F 0 0 0"))
    with pytest.raises(UserError, match=r"structure 0 of .*zero.xyz has forces of zero on the atoms that a constraint"):
        read(tmp_path / "zero.xyz", check_units=False)


@pytest.mark.parametrize(("suffix", "expected"), [("xyz", (-1, 3)), ("h5", (-1, 3)), ("fchk", (-1, 2))])
def test_charge_and_multiplicity_are_kept(suffix: str, expected: tuple[int, int], tmp_path: Path) -> None:
    file = tmp_path / f"it.{suffix}"
    record = Record(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 1.0]]), "it", energy=-1.0, charge=-1, multiplicity=3)
    if suffix == "h5":
        Dataset([record], "none").write(file)
    elif suffix == "xyz":
        ase.io.write(file, record.to_atoms())
    else:
        stated = f"{'Charge':43}I{-1:17}\n{'Multiplicity':43}I{2:17}\n"
        text = (FILES / "water.fchk").read_text()
        file.write_text(re.sub(r"^Charge .*\n", stated, text, flags=re.MULTILINE))
    (raw,) = read_labelled(file, Options())
    assert (raw.record().charge, raw.record().multiplicity) == expected


# What ASE reads of programs

VASPRUN = """<?xml version="1.0"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.3.0 </i></generator>
 <kpoints><varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>
 <parameters><separator name="electronic"><i name="EDIFF">0.00001</i><i type="int" name="NELM">{nelm}</i></separator>
 </parameters>
 <atominfo><array name="atoms"><set><rc><c>Al</c><c>1</c></rc><rc><c>Al</c><c>1</c></rc></set></array></atominfo>
 <structure name="initialpos"><crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.6</v></varray></structure>
 <calculation>
  <scstep><energy><i name="e_fr_energy">-7.4</i><i name="e_0_energy">-7.3</i></energy></scstep>
  <scstep><energy><i name="e_fr_energy">{last}</i><i name="e_0_energy">-7.3</i></energy></scstep>
  <structure><crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v></varray></crystal>
   <varray name="positions"><v>0 0 0</v><v>0.5 0.5 0.6</v></varray></structure>
  <varray name="forces"><v>0 0 0.3</v><v>0 0 -0.3</v></varray>
  <energy><i name="e_fr_energy">{last}</i><i name="e_0_energy">-7.3</i></energy>
 </calculation>
</modeling>
"""


def test_the_energy_is_the_one_that_forces_derive_from(tmp_path: Path) -> None:
    """VASP prints the free energy, whose derivatives the forces are, and its limit without smearing, E(σ→0)."""
    path = tmp_path / "vasprun.xml"
    path.write_text(VASPRUN.format(nelm=60, last=-7.5))
    assert read(path)[0].energy == pytest.approx(-7.5, abs=1e-12)
    assert read(path, options=Options(keys={"energy": "energy"}))[0].energy == pytest.approx(-7.3, abs=1e-12)


def test_an_scf_that_did_not_converge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text(VASPRUN.format(nelm=2, last=-7.5))
    with pytest.raises(UserError, match=r"SCF that did not converge \(ionic step 1\)"):
        read(path)
    path.write_text(VASPRUN.format(nelm=2, last=-7.400001))
    assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (["   NELM   =     60;", "-- Iteration      1(   7)  --", "-- aborting loop because EDIFF is reached --"], []),
        (["   NELM   =     7;", "-- Iteration      1(   7)  --", "-- aborting loop because EDIFF is reached --"], []),
        (["   NELM   =     7;", "-- Iteration      1(   7)  --", "-- Iteration      2(   3)  --"], [1]),
        (["-- Iteration      4(  60)  --", "-- aborting loop EDIFF was not reached (unconverged) --"], [4]),
    ],
)
def test_ionic_steps_of_an_outcar(tmp_path: Path, lines: list[str], bad: list[int]) -> None:
    path = tmp_path / "OUTCAR"
    path.write_text("\n".join(lines) + "\n")
    if not bad:
        require_converged(path, "vasp-out")
        return
    with pytest.raises(UserError, match=rf"ionic step {bad[0]}\)"):
        require_converged(path, "vasp-out")


def test_an_unknown_file_is_told_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "notes.dat"
    path.write_text("nothing that anyone reads\n")
    with pytest.raises(
        UserError, match=r"no format that is known: --format names one of hesspot, fchk, .*, or one of ASE's"
    ):
        read(path)


def test_a_dump_of_lammps_has_forces_and_no_energy(tmp_path: Path) -> None:
    """ASE gives it the energy 0."""
    (tmp_path / "it.lammpstrj").write_text(
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 9\n0 9\n0 9\n"
        "ITEM: ATOMS id type element x y z fx fy fz\n1 1 O 0 0 0 0.5 0 0\n2 2 H 0 0 1 -0.5 0 0\n"
    )
    (record,) = read(tmp_path / "it.lammpstrj")
    assert record.energy is None
    np.testing.assert_array_equal(record.forces, [[0.5, 0, 0], [-0.5, 0, 0]])


def test_an_unknown_name_of_a_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--format fchkk is not known: use one of hesspot, fchk, .* or one of ASE's"):
        read(FILES / "water.fchk", file_format="fchkk")


def test_the_help_names_every_format() -> None:
    told = CliRunner().invoke(app, ["data", "convert", "--help"], env={"COLUMNS": "300"}).output
    assert ", ".join(FORMATS) in " ".join(told.replace("│", " ").split())


@pytest.mark.parametrize("compressed", [False, True])
def test_large_arrays_of_numpy_are_read_in_pieces(compressed: bool, tmp_path: Path, monkeypatch) -> None:
    """Stacked, and of DeePMD's .npy; cut ones are told."""
    rng = np.random.default_rng(0)
    frames, n = 7, 3
    start = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    hessian = rng.normal(size=(frames, 3 * n, 3 * n))
    arrays = {
        "positions": start + 0.01 * rng.normal(size=(frames, n, 3)),
        "hessian": hessian + hessian.transpose(0, 2, 1),
        "energy": rng.normal(size=frames) - 2079.0,
    }
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", numbers=[8, 1, 1], **arrays)
    folder = tmp_path / "water"
    (folder / "set.000").mkdir(parents=True)
    for name, text in {"type.raw": "0 1 1", "type_map.raw": "O H", "nopbc": ""}.items():
        (folder / name).write_text(text)
    for name, key in {"coord": "positions", "hessian": "hessian", "energy": "energy"}.items():
        np.save(folder / "set.000" / f"{name}.npy", arrays[key].reshape(frames, -1))
    whole = [read(path, check_units=False) for path in (tmp_path / "a.npz", folder)]
    monkeypatch.setattr(rows, "WHOLE", 0)
    monkeypatch.setattr(rows, "BLOCK", 2000)
    for path, expected in zip((tmp_path / "a.npz", folder), whole, strict=True):
        found = read(path, check_units=False)
        assert len(found) == frames
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            np.testing.assert_array_equal(one.positions, other.positions)
            np.testing.assert_array_equal(one.hessian, other.hessian)
            np.testing.assert_array_equal(one.hessian, arrays["hessian"][i])
            assert one.energy == other.energy
    file = folder / "set.000" / "hessian.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"hessian\.npy is truncated"):
        read(folder, check_units=False)


@pytest.mark.parametrize("layout", ["flat.npz", "flat.h5", "deepmd.hdf5"])
def test_what_lies_flat_or_in_hdf5_is_read_in_pieces(
    samples: list[Record], layout: str, tmp_path: Path, monkeypatch
) -> None:
    """No piece is larger than is asked for, and of pieces that begin anywhere all structures are as they were."""
    monkeypatch.setattr(rows, "WHOLE", 0)
    monkeypatch.setattr(rows, "BLOCK", 2000)
    path, keys, expected = tmp_path / layout, {}, samples
    if layout == "deepmd.hdf5":
        expected, keys = samples[4:], {"gradient": "force"}
        with h5py.File(path, "w") as file:
            file["type.raw"], file["type_map.raw"], file["nopbc"] = expected[0].numbers - 1, list("H....CNO"), True
            for name, of in (("coord", "positions"), ("energy", "energy"), ("force", "forces"), ("hessian", "hessian")):
                values = np.stack([np.ravel(getattr(record, of)) for record in expected])
                file[f"set.000/{name}.npy"] = -values if name == "force" else values
    else:
        flat = {
            of: np.concatenate([np.ravel(getattr(record, of)) for record in samples])
            for of in ("numbers", "positions", "energy", "forces", "hessian")
        }
        flat["positions"], flat["counts"] = flat["positions"].reshape(-1, 3), np.array([len(r) for r in samples])
        if path.suffix == ".npz":
            np.savez(path, **flat)
        else:
            with h5py.File(path, "w") as file:
                file.update(flat)
    taken: list[int] = []
    take = rows.Blocks.rows

    def note(self: rows.Blocks, first: int, last: int) -> np.ndarray:
        found = take(self, first, last)
        taken.append(self._block.nbytes)
        return found

    monkeypatch.setattr(rows.Blocks, "rows", note)
    found = read(path, check_units=False, options=Options(keys=keys))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        same_labels(one, other)
    assert max(taken) <= max(2000, max(record.hessian.nbytes for record in expected))


def test_flat_arrays_of_other_lengths_are_refused(tmp_path: Path) -> None:
    start = np.tile([[0, 0, 0], [0, 0, 0.74]], (2, 1))
    for name, values, told in (
        ("forces", np.zeros((3, 3)), r"forces of .* has the shape \(3, 3\): the counts need 12 numbers"),
        ("hessian", np.zeros(71), r"hessian of .* has the shape \(71,\): the counts need 72 numbers"),
        ("energy", np.zeros(1), r"has 2 structures but energy of shape \(1,\)"),
    ):
        np.savez(tmp_path / "it.npz", z=[1] * 4, r=start, counts=[2, 2], **{name: values})
        with pytest.raises(UserError, match=told):
            read(tmp_path / "it.npz")
