"""Risk: Hessians and gradients of other programs arrive turned, scaled, or of another structure than beside them."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Record
from hesspot.data.convert import convert
from hesspot.data.readers import Options, recognise
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

#: Relative: files have ten decimals.
PRINTED = 1e-8
#: cm⁻¹ of frequencies against printed ones.
FREQUENCY = 0.1


class Springs:
    """A water-like molecule of springs and one angle: energy, gradient and Hessian in Hartree and bohr, exact."""

    numbers = np.array([8, 1, 1])
    positions = np.array([[0.1, -0.2, 0.3], [0.2, 1.3, -0.7], [-0.4, -1.5, -0.9]])
    pairs = ((0, 1, 0.45, 1.75), (0, 2, 0.45, 1.75), (1, 2, 0.08, 2.8))
    energy0 = -76.3

    def __init__(self, positions: np.ndarray | None = None) -> None:
        if positions is not None:
            self.positions = positions

    def energy(self) -> float:
        return self.energy0 + sum(0.5 * k * (self._length(i, j)[1] - r0) ** 2 for i, j, k, r0 in self.pairs)

    def _length(self, i: int, j: int) -> tuple[np.ndarray, float]:
        d = self.positions[i] - self.positions[j]
        return d, float(np.linalg.norm(d))

    def gradient(self) -> np.ndarray:
        g = np.zeros((3, 3))
        for i, j, k, r0 in self.pairs:
            d, r = self._length(i, j)
            g[i] += k * (r - r0) * d / r
            g[j] -= k * (r - r0) * d / r
        return g

    def hessian(self) -> np.ndarray:
        h = np.zeros((3, 3, 3, 3))
        for i, j, k, r0 in self.pairs:
            d, r = self._length(i, j)
            block = k * np.outer(d, d) / r**2 + k * (1 - r0 / r) * (np.eye(3) - np.outer(d, d) / r**2)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                h[a, :, b] += sign * block
        return h.reshape(9, 9)

    def frequencies(self) -> np.ndarray:
        return normal_modes(Atoms("OHH", self.positions * BOHR), self.hessian() * HARTREE_PER_BOHR2).frequencies


@pytest.fixture
def springs() -> Springs:
    return Springs()


def read(path: Path, **keywords: object) -> list[Record]:
    return convert([path], Options(), check_units=False, **keywords).records


def is_springs(record: Record, springs: Springs, labels: str, tolerance: float = PRINTED) -> None:
    """`labels` are those that the record has, and no others."""
    assert record.numbers.tolist() == springs.numbers.tolist()
    expected = {
        "positions": springs.positions * BOHR,
        "energy": springs.energy() * HARTREE,
        "forces": -springs.gradient() * HARTREE_PER_BOHR,
        "hessian": springs.hessian() * HARTREE_PER_BOHR2,
    }
    for key, wanted in expected.items():
        found = getattr(record, key)
        assert (found is not None) == (key == "positions" or key in labels.split()), key
        if found is not None:
            np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max(), err_msg=key)


# QCSchema


def qcschema(springs: Springs, driver: str, **changes: object) -> dict[str, object]:
    results = {"energy": springs.energy(), "gradient": springs.gradient().ravel(), "hessian": springs.hessian().ravel()}
    names = ("energy", "gradient", "hessian")
    known = {f"return_{key}": np.asarray(results[key]).tolist() for key in names[: names.index(driver) + 1]}
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "symbols": ["O", "H", "H"],
            "geometry": springs.positions.ravel().tolist(),
            "molecular_charge": 1,
            "molecular_multiplicity": 2,
            "fix_com": True,
            "fix_orientation": True,
        },
        "driver": driver,
        "model": {"method": "b3lyp", "basis": "def2-svp"},
        "keywords": {},
        "properties": {"calcinfo_natom": 3, **known},
        "return_result": known[f"return_{driver}"],
        "success": True,
        "provenance": {"creator": "springs"},
    } | changes


def write_json(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("driver", ["energy", "gradient", "hessian"])
def test_qcschema(tmp_path: Path, springs: Springs, driver: str) -> None:
    path = write_json(tmp_path / "water.json", qcschema(springs, driver))
    assert recognise(path) == "qcschema"
    (record,) = read(path)
    is_springs(record, springs, {"energy": "energy", "gradient": "energy forces"}.get(driver, "energy forces hessian"))
    assert (record.charge, record.multiplicity) == (1, 2)
    assert convert([path], Options(), check_units=False).level_of_theory == "b3lyp/def2-svp"


def test_qcschema_of_version_2(tmp_path: Path, springs: Springs) -> None:
    import qcelemental.models as models

    result = models.AtomicResult(**qcschema(springs, "hessian")).convert_v(2)
    path = tmp_path / "water.json"
    path.write_text(result.model_dump_json())
    is_springs(read(path)[0], springs, "energy forces hessian")


def test_every_point_of_a_qcschema_optimization(tmp_path: Path, springs: Springs) -> None:
    points = [Springs(springs.positions * scale) for scale in (1.1, 1.05, 1.0)]
    trajectory = [qcschema(point, "gradient") for point in points]
    document = {"schema_name": "qcschema_optimization_output", "success": True, "trajectory": trajectory}
    for record, point in zip(read(write_json(tmp_path / "opt.json", document)), points, strict=True):
        is_springs(record, point, "energy forces")
    for record, point in zip(read(write_json(tmp_path / "list.json", trajectory)), points, strict=True):
        is_springs(record, point, "energy forces")


def test_qcschema_is_refused(tmp_path: Path, springs: Springs) -> None:
    good = qcschema(springs, "hessian")
    turn = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    turned = (springs.positions @ turn).ravel().tolist()
    ghost = {**good["molecule"], "real": [True, True, False], "molecular_charge": 0}
    failed = {"schema_name": "qcschema_failed_operation", "success": False, "error": {"error_message": "no SCF"}}
    for change, words in (
        ({"success": False, "error": {"error_type": "x", "error_message": "no SCF"}}, "no SCF"),
        ({"molecule": {**good["molecule"], "geometry": turned}}, "another orientation"),
        ({"molecule": ghost}, "Hessian with the ghost atoms 2 in it"),
        ({"driver": "properties", "properties": {}, "return_result": {}}, "without an energy"),
        ({"return_result": (springs.hessian() + 0.3 * np.eye(9)).ravel().tolist()}, r"rows sum to 0\.3"),
        ({"return_result": [1.0]}, r"Hessian of shape \(1, 1\)"),
        ({"model": "b3lyp"}, "not what QCSchema defines"),
    ):
        with pytest.raises(UserError, match=words):
            read(write_json(tmp_path / "water.json", good | change))
    with pytest.raises(UserError, match="no SCF"):
        read(write_json(tmp_path / "failed.json", failed))


# TURBOMOLE and xtb


def coord(positions: np.ndarray) -> str:
    rows = zip(positions, "ohh", strict=True)
    return "".join(f"{x:20.14f}{y:20.14f}{z:20.14f}      {symbol}\n" for (x, y, z), symbol in rows)


def gradient_file(points: list[Springs]) -> str:
    cycles = []
    for i, point in enumerate(points, 1):
        rows = "".join("".join(f"{x:22.13E}" for x in row).replace("E", "D") + "\n" for row in point.gradient())
        title = f"  cycle = {i:6d}    SCF energy = {point.energy():18.10f}   |dE/dxyz| =  0.1\n"
        cycles.append(title + coord(point.positions) + rows)
    return "$grad          cartesian gradients\n" + "".join(cycles) + "$end\n"


def numbered(matrix: np.ndarray) -> str:
    """TURBOMOLE's rows: number of the row, number of the line in it, five elements."""
    lines = []
    for i, row in enumerate(matrix, 1):
        parts = (row[k : k + 5] for k in range(0, len(row), 5))
        lines += [f"{i:2d}{j:3d}" + "".join(f"{x:15.10f}" for x in part) for j, part in enumerate(parts, 1)]
    return "\n".join(lines) + "\n"


def vibspectrum(frequencies: np.ndarray) -> str:
    head = "$vibrational spectrum\n#  mode     symmetry     wave number\n"
    rigid = "".join(f"{i:6d}            {0.0:16.2f}         0.00000        -       -\n" for i in range(1, 7))
    rows = (f"{i:6d}        a   {f:16.2f}         1.00000       YES     YES\n" for i, f in enumerate(frequencies, 7))
    return head + rigid + "".join(rows) + "$end\n"


def test_turbomole_joins_what_lies_in_a_folder(tmp_path: Path, springs: Springs) -> None:
    points = [Springs(springs.positions * 1.1), springs]
    (tmp_path / "gradient").write_text(gradient_file(points))
    (tmp_path / "coord").write_text("$coord\n" + coord(springs.positions) + "$end\n")
    (tmp_path / "control").write_text(
        "$title\n$coord    file=coord\n$grad    file=gradient\n$eht charge=1 unpaired=1\n$hessian (projected)\n"
        + numbered(springs.hessian() * 0.5)
        + "$nprhessian file=second\n$end\n"
    )
    (tmp_path / "second").write_text("$nprhessian\n" + numbered(springs.hessian()) + "$end\n")
    (tmp_path / "vibspectrum").write_text(vibspectrum(springs.frequencies()))
    for path in (tmp_path, tmp_path / "gradient", tmp_path / "control"):
        assert recognise(path) == "turbomole"
        first, second = read(path)
        is_springs(first, points[0], "energy forces")
        is_springs(second, springs, "energy forces hessian")
        assert (second.charge, second.multiplicity) == (1, 2)


def test_xtb(tmp_path: Path, springs: Springs) -> None:
    rows = springs.hessian().ravel().reshape(-1, 1)
    lines = ["".join(f"{x:15.10f}" for x in rows[k : k + 5, 0]) for k in range(0, 81, 5)]
    (tmp_path / "hessian").write_text("$hessian\n" + "\n".join(lines) + "\n")
    (tmp_path / "xtbout.json").write_text(json.dumps({"total energy": springs.energy(), "method": "GFN2-xTB"}))
    with pytest.raises(UserError, match="without its geometry"):
        read(tmp_path)
    atoms = "".join(
        f"{i:5d}{z:11d}             0     " + "".join(f"{x:12.6f}" for x in position) + "\n"
        for i, (z, position) in enumerate(zip(springs.numbers, springs.positions * BOHR, strict=True), 1)
    )
    head = " Entering Gaussian System\n Gaussian 98:\n frequency output generated by the xtb code\n"
    (tmp_path / "g98.out").write_text(head + "                Standard orientation:\n" + atoms)
    (tmp_path / "vibspectrum").write_text(vibspectrum(springs.frequencies()))
    in_six_decimals = 1e-6
    for path in (tmp_path, tmp_path / "hessian", tmp_path / "g98.out"):
        (record,) = read(path)
        is_springs(record, springs, "energy hessian", in_six_decimals)
    (tmp_path / "xtbopt.xyz").write_text(xyz(springs.positions * 1.1) + xyz(springs.positions))
    (record,) = read(tmp_path)
    is_springs(record, springs, "energy hessian")
    found = normal_modes(record.atoms_only(), record.hessian).frequencies
    np.testing.assert_allclose(found, springs.frequencies(), atol=FREQUENCY)
    (tmp_path / "vibspectrum").write_text(vibspectrum(springs.frequencies() * 1.05))
    with pytest.raises(UserError, match="frequencies differ"):
        read(tmp_path)


def xyz(positions: np.ndarray) -> str:
    rows = zip("OHH", positions * BOHR, strict=True)
    return "3\n\n" + "".join(f"{symbol} {x:.12f} {y:.12f} {z:.12f}\n" for symbol, (x, y, z) in rows)


def test_files_of_one_job_are_one_source(tmp_path: Path, springs: Springs) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gradient").write_text(gradient_file([springs]))
        (tmp_path / name / "hessian").write_text("$hessian\n" + numbered(springs.hessian()) + "$end\n")
    records = convert(sorted(tmp_path.glob("*/*")), Options(), check_units=False).records
    assert [record.name for record in records] == ["a", "b"]
    is_springs(records[1], springs, "energy forces hessian")


def test_turbomole_energies_with_correlation(tmp_path: Path, springs: Springs) -> None:
    (tmp_path / "coord").write_text("$coord\n" + coord(springs.positions) + "$end\n")
    columns = "$energy      SCF               SCFKIN            SCFPOT"
    scf = springs.energy() + 0.25
    (tmp_path / "energy").write_text(f"{columns}   MP2\n     1 {scf:.11f} 1.0 2.0 -.25000000000\n$end\n")
    is_springs(read(tmp_path)[0], springs, "energy")
    (tmp_path / "energy").write_text(f"{columns}\n     1 {scf:.11f} 1.0 2.0\n$end\n")
    (tmp_path / "control").write_text("$ricc2\n  mp3\n$end\n")
    with pytest.raises(UserError, match=r"without the correlation"):
        read(tmp_path)


def test_a_hessian_of_other_coordinates_is_refused(tmp_path: Path, springs: Springs) -> None:
    (tmp_path / "hessian").write_text("$hessian\n" + numbered(springs.hessian()) + "$end\n")
    (tmp_path / "coord").write_text("$coord\n" + coord(springs.positions[:, ::-1]) + "$end\n")
    with pytest.raises(UserError, match="another orientation"):
        read(tmp_path)


# phonopy


def crystal_hessian(atoms: Atoms, k: float = 3.0, reach: float = 3.2) -> np.ndarray:
    """Springs of `k` eV/Å² at rest between all atoms within `reach` Å: (n, n, 3, 3)."""
    first, second, vectors = neighbor_list("ijD", atoms, reach)
    constants = np.zeros((len(atoms), len(atoms), 3, 3))
    for i, j, d in zip(first, second, vectors, strict=True):
        block = k * np.outer(d, d) / (d @ d)
        constants[i, j] -= block
        constants[i, i] += block
    return constants


def salt(calculator: str | None = None, length: float = 1.0, constant: float = 1.0) -> object:
    """A calculation of phonopy in units of `length` Å and `constant` eV/Å²."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    atoms = bulk("NaCl", "rocksalt", a=5.6)
    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array / length, positions=atoms.positions / length)
    phonon = Phonopy(cell, np.diag([2, 2, 2]), primitive_matrix=np.eye(3), calculator=calculator)
    crystal = phonon.supercell
    there = Atoms(crystal.numbers, crystal.positions * length, cell=crystal.cell * length, pbc=True)
    phonon.force_constants = crystal_hessian(there) / constant
    return phonon


def is_salt(record: Record) -> None:
    assert len(record) == 16 and record.pbc.all() and (record.energy, record.forces) == (None, None)
    wanted = np.transpose(crystal_hessian(record.atoms_only()), (0, 2, 1, 3)).reshape(48, 48)
    np.testing.assert_allclose(record.hessian, wanted, atol=PRINTED)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("file", ["FORCE_CONSTANTS", "force_constants.hdf5", "phonopy_params.yaml", "phonopy.yaml"])
def test_phonopy(tmp_path: Path, file: str, compact: bool) -> None:
    from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5

    phonon = salt()
    chosen = phonon.primitive.p2s_map
    constants = phonon.force_constants[chosen] if compact else phonon.force_constants
    crystal = tmp_path / ("phonopy.yaml" if file != "phonopy_params.yaml" else file)
    phonon.save(crystal, settings={"force_constants": file == "phonopy_params.yaml"})
    if file in ("FORCE_CONSTANTS", "phonopy.yaml"):
        write_FORCE_CONSTANTS(constants, tmp_path / "FORCE_CONSTANTS", p2s_map=chosen)
    elif file != "phonopy_params.yaml":
        write_force_constants_to_hdf5(constants, tmp_path / file, p2s_map=chosen)
    assert recognise(tmp_path / file) == "phonopy"
    is_salt(read(tmp_path / file)[0])


@pytest.mark.parametrize(
    ("calculator", "length", "constant"),
    [
        ("qe", BOHR, HARTREE / 2 / BOHR**2),
        ("wien2k", BOHR, HARTREE / 2000 / BOHR**2),
        ("siesta", BOHR, 1 / BOHR),
        ("cp2k", 1.0, HARTREE / BOHR),
    ],
)
def test_phonopy_in_the_units_of_a_program(tmp_path: Path, calculator: str, length: float, constant: float) -> None:
    salt(calculator, length, constant).save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    is_salt(read(tmp_path / "phonopy.yaml")[0])


def test_force_constants_need_their_crystal(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_CONSTANTS

    phonon = salt()
    write_FORCE_CONSTANTS(phonon.force_constants, tmp_path / "FORCE_CONSTANTS")
    with pytest.raises(UserError, match=r"put phonopy_params\.yaml, phonopy\.yaml or phonopy_disp\.yaml beside it"):
        read(tmp_path / "FORCE_CONSTANTS")
    other = Path(tmp_path / "phonopy.yaml")
    phonon.save(other, settings={"force_constants": False})
    (tmp_path / "alone").mkdir()
    with pytest.raises(UserError, match="neither force constants nor forces"):
        read(Path(shutil.copy(other, tmp_path / "alone")))
    write_FORCE_CONSTANTS(phonon.force_constants[:8, :8], tmp_path / "FORCE_CONSTANTS")
    with pytest.raises(UserError, match="of different calculations"):
        read(tmp_path / "FORCE_CONSTANTS")


# dpdata and iodata


def test_deepmd_in_one_hdf5_file(tmp_path: Path) -> None:
    """As DeePMD-kit lays it out, a Hessian beside the usual arrays."""
    rng = np.random.default_rng(3)
    points = [Springs(Springs.positions + 0.1 * rng.normal(size=(3, 3))) for _ in range(3)]
    path = tmp_path / "set.hdf5"
    with h5py.File(path, "w") as file:
        for name, own in (("a/one", points[:2]), ("two", points[2:])):
            group = file.create_group(name)
            group["type.raw"], group["type_map.raw"] = [1, 0, 0], np.array([b"H", b"O"])
            group["nopbc"] = True
            arrays = {
                "coord": [point.positions.ravel() * BOHR for point in own],
                "energy": [point.energy() * HARTREE for point in own],
                "force": [-point.gradient().ravel() * HARTREE_PER_BOHR for point in own],
                "hessian": [point.hessian().ravel() * HARTREE_PER_BOHR2 for point in own],
            }
            for key, values in arrays.items():
                group[f"set.000/{key}.npy"] = np.array(values)
    assert recognise(path) == "deepmd-hdf5"
    records = read(path)
    assert [record.name for record in records] == ["a/one/set.000/0", "a/one/set.000/1", "two/set.000/0"]
    for record, point in zip(records, points, strict=True):
        is_springs(record, point, "energy forces hessian")
    with h5py.File(path, "a") as file:
        del file["two/type_map.raw"]
    with pytest.raises(UserError, match=r"group two of .* has no type_map\.raw"):
        read(path)


CP2K = """ DBCSR| Multiplication driver                                               XSMM
 CP2K| version string:                                          CP2K version 9.1
 CELL| Vector a [angstrom]:       8.000     0.000     0.000    |a| =       8.000
 CELL| Vector b [angstrom]:       0.000     9.000     0.000    |b| =       9.000
 CELL| Vector c [angstrom]:       0.000     1.000     7.000    |c| =       7.071
  1. Atomic kind: O1                                    Number of atoms:       1
  2. Atomic kind: H                                     Number of atoms:       2

  Atom  Kind  Element       X           Y           Z          Z(eff)       Mass

{atoms}
 POISSON| Periodicity                                                        {periodic}
{scf}

 ENERGY| Total FORCE_EVAL ( QS ) energy (a.u.):            {energy:.15f}

 # Atom   Kind   Element          X              Y              Z
{forces} SUM OF ATOMIC FORCES           0.00000000     0.00000000    -0.00000000     0.00000000
"""


def cp2k(springs: Springs, periodic: str = "XYZ", scf: str = "  *** SCF run converged in    47 steps ***") -> str:
    known = list(zip((1, 2, 2), ("O", "H", "H"), (8, 1, 1), strict=True))
    rows = "".join(
        f"{i:8d}{kind:6d} {s:2} {z:3d}" + "".join(f"{v:14.8f}" for v in x) + f"{z:10.2f}{1.0:10.4f}\n"
        for i, ((kind, s, z), x) in enumerate(zip(known, springs.positions * BOHR, strict=True), 1)
    )
    forces = "".join(
        f"{i:7d}{kind:7d}      {s:2}" + "".join(f"{v:15.8f}" for v in f) + "\n"
        for i, ((kind, s, _), f) in enumerate(zip(known, -springs.gradient(), strict=True), 1)
    )
    return CP2K.format(atoms=rows, forces=forces, periodic=periodic, scf=scf, energy=springs.energy())


def test_cp2k(tmp_path: Path, springs: Springs) -> None:
    in_eight_decimals = 1e-6
    path = tmp_path / "job.log"
    path.write_text(cp2k(springs))
    assert recognise(path) == "cp2k"
    (record,) = read(path)
    is_springs(record, springs, "energy forces", in_eight_decimals)
    np.testing.assert_array_equal(record.cell, [[8, 0, 0], [0, 9, 0], [0, 1, 7]])
    assert record.pbc.all()
    path.write_text(cp2k(springs, "NONE"))
    assert not read(path)[0].pbc.any()
    for text, words in (
        (cp2k(springs, scf="  *** SCF run NOT converged ***"), "did not converge"),
        (cp2k(springs) + " ENERGY| Total FORCE_EVAL ( QS ) energy (a.u.):   -1.0\n", "2 energies of CP2K"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read(path)


def test_the_punch_file_of_gamess(tmp_path: Path, springs: Springs) -> None:
    known = list(zip(("O", "H", "H"), (8.0, 1.0, 1.0), strict=True))
    text = (
        " $DATA\n".lstrip()
        + "water\nC1       0\n"
        + "".join(f"{s:2}         {z:4.1f}\n" for s, z in known)
        + " $END      \n"
    )
    text += (
        " COORDINATES OF SYMMETRY UNIQUE ATOMS (ANGS)\n   ATOM   CHARGE       X              Y              Z\n ---\n"
    )
    rows = zip(known, springs.positions * BOHR, strict=True)
    text += "".join(f" {s}           {z:4.1f}" + "".join(f"{v:18.11f}" for v in x) + "\n" for (s, z), x in rows)
    rows = zip(known, springs.gradient(), strict=True)
    text += f" $GRAD\nE={springs.energy():20.10f}  GMAX=       0.1  GRMS=       0.1\n".replace("E=", "E= ")
    text += (
        "".join(f"{s}           {z:4.1f}" + "".join(f"{v:20.10E}" for v in g) + "\n" for (s, z), g in rows) + " $END\n"
    )
    text += f" $HESS\nENERGY IS {springs.energy():20.10f}\n"
    for i, row in enumerate(springs.hessian(), 1):
        for j, start in enumerate(range(0, 9, 5), 1):
            text += f"{i:2d}{j:3d}" + "".join(f"{v:15.8E}" for v in row[start : start + 5]) + "\n"
    text += " $END\nATOMIC MASSES\n    15.99491     1.00782     1.00782\n"
    path = tmp_path / "job.dat"
    path.write_text(text)
    assert recognise(path) == "gamess-dat"
    is_springs(read(path)[0], springs, "energy forces hessian", 1e-7)
    path.write_text(text.replace("C1 ", "CS "))
    with pytest.raises(UserError, match="give the output of the job"):
        read(path)
