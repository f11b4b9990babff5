"""Risk: labels of ORCA's files that are joined across geometries or calculations, or that stay without an energy."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record, shipped
from hesspot.data.convert import convert
from hesspot.data.readers import Options, recognise
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

LEVEL = "RI B3LYP D3BJ def2-SVP"
SYMBOLS = {1: "H", 6: "C", 8: "O"}
MASSES = {1: 1.008, 6: 12.011, 8: 15.999}

#: eV: 1e-9 Hartree; eV/Å: outputs have nine decimals of gradients; Å: six decimals of coordinates in bohr.
ENERGY, FORCE, PLACE = 1e-6, 1e-6, 1e-6


@pytest.fixture(scope="module")
def steps() -> list[Record]:
    """Three geometries of formaldehyde with energies, forces and Hessians, away from stationary points."""
    return Dataset.read(shipped.path("small_chno")).select(system="H2CO", kind="nms").records[:3]


def hess(path: Path, record: Record, more: str = "", atoms: str = "") -> Path:
    size = 3 * len(record)
    text = "\n$orca_hessian_file\n\n$act_energy\n        0.000000\n\n" + more + f"$hessian\n{size}\n"
    for start in range(0, size, 5):
        columns = range(start, min(start + 5, size))
        text += "".join(f"{k:19d}" for k in columns) + "\n"
        for i in range(size):
            row = record.hessian[i, list(columns)] / HARTREE_PER_BOHR2
            text += f"{i:6d}" + "".join(f"{x:19.10E}" for x in row) + "\n"
    text += f"\n$atoms\n{len(record)}\n" + (atoms or "".join(_row(z, r, mass=True) for z, r in _atoms(record)))
    path.write_text(text + "\n$end\n")
    return path


def _atoms(record: Record) -> list:
    return list(zip(record.numbers, record.positions / BOHR, strict=True))


def _row(z: int, position: np.ndarray, mass: bool = False) -> str:
    x = "".join(f"{value:20.12f}" for value in position)
    return f" {SYMBOLS[z]:4}{f'{MASSES[z]:12.5f}' if mass else ''}{x}\n"


def engrad(path: Path, record: Record) -> Path:
    gradient = "".join(f"{x:21.12f}\n" for x in -record.forces.ravel() / HARTREE_PER_BOHR)
    atoms = "".join(f"{z:5d}" + "".join(f"{x:14.7f}" for x in r) + "\n" for z, r in _atoms(record))
    path.write_text(
        f"#\n# Number of atoms\n#\n {len(record)}\n#\n# Energy\n#\n{record.energy / HARTREE:22.12f}\n#\n# Gradient\n#\n"
        f"{gradient}#\n# Atoms\n#\n{atoms}"
    )
    return path


def out(path: Path, records: list[Record], charge: int = 0, multiplicity: int = 1, last: str = "") -> Path:
    text = "                                 * O   R   C   A *\n\n                   INPUT FILE\n"
    text += "|  1> ! RI B3LYP D3BJ def2-SVP TightSCF Opt Freq PAL4 # as ever\n|  2> * xyz 0 1\n"
    for record in records:
        text += (
            "\nCARTESIAN COORDINATES (A.U.)\n----------------------------\n  NO LB      ZA    FRAG     MASS  X Y Z\n"
        )
        for i, (z, r) in enumerate(_atoms(record)):
            text += f"{i:4d} {SYMBOLS[z]:5}{z:7.4f}    0 {MASSES[z]:9.3f}" + "".join(f"{x:12.6f}" for x in r) + "\n"
        text += f"\n Total Charge           Charge          ....{charge:5d}\n"
        text += f" Multiplicity           Mult            ....{multiplicity:5d}\n"
        text += f"\nFINAL SINGLE POINT ENERGY {record.energy / HARTREE:22.12f}\n"
        text += "\n------------------\nCARTESIAN GRADIENT\n------------------\n\n"
        for i, (z, g) in enumerate(zip(record.numbers, -record.forces / HARTREE_PER_BOHR, strict=True)):
            text += f"{i + 1:4d}   {SYMBOLS[z]}   :" + "".join(f"{x:15.9f}" for x in g) + "\n"
        text += "\n"
    path.write_text(text + last + "\n                             ****ORCA TERMINATED NORMALLY****\n")
    return path


def geometry_of(record: Record, hessian: bool) -> dict:
    cartesians = [[SYMBOLS[z], *map(float, r)] for z, r in _atoms(record)]
    gradient = [[float(x)] for x in -record.forces.ravel() / HARTREE_PER_BOHR]
    scf = record.energy / HARTREE + 1e-3  # without dispersion
    content = {
        "Geometry": {"Coordinates": {"Cartesians": cartesians, "Type": "Cartesians", "Units": "a.u."}, "NAtoms": 4},
        "Energy": [{"Method": "SCF", "totalEnergy": [[scf]]}],
        "VdW_Correction": {"vdW": -1e-3},
        "Single_Point_Data": {"Converged": True, "FinalEnergy": record.energy / HARTREE},
        "Nuclear_Gradient": [{"Method": "SCF", "grad": gradient}],
    }
    if hessian:
        content["Hessian"] = {"HESSIAN": (record.hessian / HARTREE_PER_BOHR2).tolist()}
    return content


def property_json(path: Path, records: list[Record], change: Callable[[dict], object] = lambda g: None) -> Path:
    geometries = [geometry_of(record, record is records[-1]) for record in records]
    change(geometries[-1])
    path.write_text(json.dumps({"Calculation_Info": {"Charge": 0, "Mult": 1}, "Geometries": geometries}))
    return path


def _array(name: str, values: np.ndarray) -> str:
    rows, columns = values.shape
    text = f'   &{name} [&Type "ArrayOfDoubles", &Dim ({rows},{columns})] "in columns"\n'
    for start in range(0, columns, 8):
        chosen = range(start, min(start + 8, columns))
        text += "".join(f"{k:58d}" if k == start else f"{k:28d}" for k in chosen) + "\n"
        text += "\n"
        for i in range(rows):
            text += f"{i:<33d}" + "".join(f"{values[i, k]:28.16e}" for k in chosen) + "\n"
    return text


def property_txt(path: Path, records: list[Record]) -> Path:
    text = '*****\n$Calculation_Status\n   &GeometryIndex 1\n   &Status [&Type "String"] "NORMAL TERMINATION"\n$End\n'
    for k, record in enumerate(records, 1):
        rows = "".join(_row(z, r) for z, r in _atoms(record))
        text += (
            f'$Geometry\n   &GeometryIndex {k}\n   &NAtoms [&Type "Integer"] 4\n   &CartesianCoordinates '
            f'[&Type "Coordinates", &Dim(4,4), &Units "Bohr"] \n{rows}$End\n'
            f'$SCF_Nuc_Gradient\n   &GeometryIndex {k}\n   &Method [&Type "String"] "SCF"\n'
            + _array("grad", -record.forces.reshape(-1, 1) / HARTREE_PER_BOHR)
            + f"$End\n$CIS_Absorption\n   &GeometryIndex {k}\n{_array('States', np.zeros((3, 11)))}$End\n"
            + f'$Single_Point_Data\n   &GeometryIndex {k}\n   &FinalEnergy [&Type "Double"]   '
            f'{record.energy / HARTREE:.16e}  "Final"\n   &Converged [&Type "Boolean"] true\n$End\n'
        )
    text += (
        '$Calculation_Info\n   &GeometryIndex 1\n   &Mult [&Type "Integer"] 1\n   &Charge [&Type "Integer"] 0\n$End\n'
    )
    path.write_text(text)
    return path


def read(*paths: Path, level: str | None = None) -> Dataset:
    return convert(paths, Options(), level=level, check_units=False)


def same(found: Record, expected: Record, hessian: bool = False) -> None:
    assert found.numbers.tolist() == expected.numbers.tolist()
    assert found.energy == pytest.approx(expected.energy, abs=ENERGY)
    np.testing.assert_allclose(found.positions, expected.positions, atol=PLACE)
    if found.forces is not None:
        np.testing.assert_allclose(found.forces, expected.forces, atol=FORCE)
    assert (found.hessian is not None) == hessian
    if hessian:
        np.testing.assert_allclose(found.hessian, expected.hessian, atol=1e-6)


BESIDE: dict[str, Callable[[Path, list[Record]], Path]] = {
    "engrad": lambda folder, records: engrad(folder / "job.engrad", records[-1]),
    "out": lambda folder, records: out(folder / "job.out", records[-1:]),
    "property.txt": lambda folder, records: property_txt(folder / "job.property.txt", records[-1:]),
    "property.json": lambda folder, records: property_json(folder / "job.property.json", records[-1:]),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_a_hessian_finds_its_energy_in_every_file_beside_it(
    kind: str, steps: list[Record], tmp_path: Path, capsys
) -> None:
    path = hess(tmp_path / "job.hess", steps[-1])
    alone = read(path)
    assert alone[0].energy is None
    assert "put job.out or job.property.txt of the job beside it" in capsys.readouterr().err
    other = BESIDE[kind](tmp_path, steps)
    for sources in ([path], [other, path], [path, other]):
        (record,) = dataset = read(*sources)
        same(record, steps[-1], hessian=True)
        assert record.forces is not None
        assert dataset.level_of_theory == (LEVEL if kind == "out" else "")
        assert (record.charge, record.multiplicity) == ((None, None) if kind == "engrad" else (0, 1))
    if kind != "out":
        assert recognise(other) == "orca"
        same(read(other)[0], steps[-1], hessian=True)


def test_all_files_of_a_job_at_once(steps: list[Record], tmp_path: Path) -> None:
    paths = [make(tmp_path, steps) for make in BESIDE.values()] + [hess(tmp_path / "job.hess", steps[-1])]
    (record,) = read(*paths)
    same(record, steps[-1], hessian=True)


@pytest.mark.parametrize("kind", ["out", "property.txt", "property.json"])
def test_every_step_of_an_optimisation_is_a_record(kind: str, steps: list[Record], tmp_path: Path) -> None:
    writers = {"out": out, "property.txt": property_txt, "property.json": property_json}
    writers[kind](tmp_path / f"job.{kind}", steps)
    found = read(hess(tmp_path / "job.hess", steps[-1]))
    assert [record.name for record in found] == ["job_0", "job_1", "job_2"]
    assert {record.system for record in found} == {"job"}
    for record, expected in zip(found, steps, strict=True):
        same(record, expected, hessian=expected is steps[-1])
        assert record.forces is not None


@pytest.mark.parametrize("kind", BESIDE)
def test_files_of_other_geometries_and_molecules_are_refused(kind: str, steps: list[Record], tmp_path: Path) -> None:
    BESIDE[kind](tmp_path, steps)
    with pytest.raises(UserError, match="of geometries that differ by"):
        read(hess(tmp_path / "job.hess", steps[0]))
    water = Dataset.read(shipped.path("small_chno")).select(system="H2O", kind="nms").records[0]
    with pytest.raises(UserError, match="of different molecules"):
        read(hess(tmp_path / "job.hess", water))


def test_files_of_other_calculations_are_refused(steps: list[Record], tmp_path: Path) -> None:
    out(tmp_path / "job.out", steps[-1:])
    path = property_json(
        tmp_path / "job.property.json",
        steps[-1:],
        lambda geometry: geometry["Single_Point_Data"].update(FinalEnergy=steps[-1].energy / HARTREE + 1e-4),
    )
    with pytest.raises(UserError, match=r"differ in the energy of one geometry by 0\.0001"):
        read(path)


def test_charge_and_multiplicity(steps: list[Record], tmp_path: Path) -> None:
    out(tmp_path / "job.out", steps[-1:], charge=1, multiplicity=2)
    (record,) = read(hess(tmp_path / "job.hess", steps[-1], more="$multiplicity\n  2\n\n"))
    assert (record.charge, record.multiplicity) == (1, 2)
    with pytest.raises(UserError, match="differ in the multiplicity"):
        read(hess(tmp_path / "job.hess", steps[-1], more="$multiplicity\n  1\n\n"))


def test_another_programs_output_beside_it_is_not_read(steps: list[Record], tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(" Entering Gaussian System, Link 0=g16\n")
    engrad(tmp_path / "job.engrad", steps[-1])
    same(read(hess(tmp_path / "job.hess", steps[-1]))[0], steps[-1], hessian=True)


def test_excited_states_do_not_pass_for_the_ground_state(steps: list[Record], tmp_path: Path, capsys) -> None:
    def excite(geometry: dict) -> None:
        geometry["Energy"].append({"Method": "TDA/CIS", "totalEnergy": [[-100.0]]})
        geometry["Single_Point_Data"]["FinalEnergy"] = -100.0
        for key in ("Nuclear_Gradient", "Hessian"):
            del geometry[key]

    same(read(property_json(tmp_path / "td.property.json", steps[-1:], excite))[0], steps[-1])
    assert "the energy is the ground state's" in capsys.readouterr().err
    ground = steps[-1].energy / HARTREE
    last = f"    E(SCF)  =  {ground:16.9f} Eh\n\nFINAL SINGLE POINT ENERGY {ground + 0.2:22.12f}\n"
    out(tmp_path / "job.out", steps[-1:], last=last)
    (record,) = read(hess(tmp_path / "job.hess", steps[-1]))
    assert record.energy is None
    assert "energies of .out are theirs, and left out" in capsys.readouterr().err


def test_what_did_not_converge_is_refused(steps: list[Record], tmp_path: Path) -> None:
    words = "FINAL SINGLE POINT ENERGY (Wavefunction not fully converged!)  -100.0\n"
    out(tmp_path / "job.out", steps[-1:], last=words)
    with pytest.raises(UserError, match="did not converge"):
        read(hess(tmp_path / "job.hess", steps[-1]))

    def diverge(geometry: dict) -> None:
        geometry["Single_Point_Data"]["Converged"] = False

    with pytest.raises(UserError, match="did not converge"):
        read(property_json(tmp_path / "b.property.json", steps, diverge))


def test_ghost_atoms_are_no_atoms(steps: list[Record], tmp_path: Path, capsys) -> None:
    def haunt(geometry: dict) -> None:
        geometry["Geometry"]["Coordinates"]["Cartesians"][-1][0] = "H:"
        del geometry["Hessian"]
        geometry["Calculation_Info"] = {"Mult": 2}

    (record,) = read(property_json(tmp_path / "job.property.json", steps[-1:], haunt))
    assert record.numbers.tolist() == steps[-1].numbers[:3].tolist()
    np.testing.assert_allclose(record.forces, steps[-1].forces[:3], atol=FORCE)
    assert "ghost atoms 3 are left out" in capsys.readouterr().err


def test_frequencies_are_the_programs(tmp_path: Path) -> None:
    """cm⁻¹; ORCA's masses are rounded means, which are kept where they are not ASE's."""
    minimum = Dataset.read(shipped.path("small_chno")).select(system="H2CO", kind="minimum").records[0]
    engrad(tmp_path / "job.engrad", minimum)
    (record,) = read(hess(tmp_path / "job.hess", minimum))
    atoms = minimum.atoms_only()
    atoms.set_masses([MASSES[z] for z in minimum.numbers])
    printed = normal_modes(atoms, minimum.hessian).frequencies
    np.testing.assert_allclose(normal_modes(record.atoms_only(), record.hessian).frequencies, printed, atol=0.1)


@pytest.mark.parametrize(("factor", "scale"), [(1.0, None), (0.96, 0.96), (0.96, None)])
def test_a_hessian_of_other_frequencies_than_printed_is_refused(
    factor: float, scale: float | None, steps: list[Record], tmp_path: Path
) -> None:
    atoms = steps[-1].atoms_only()
    atoms.set_masses([MASSES[z] for z in steps[-1].numbers])
    values = [*np.zeros(6), *factor * normal_modes(atoms, steps[-1].hessian).frequencies]
    more = "$vibrational_frequencies\n12\n" + "".join(f"{i:5d}{value:16.6f}\n" for i, value in enumerate(values)) + "\n"
    more += "" if scale is None else f"$frequency_scale_factor\n{scale:12.6f}\n\n"
    path = hess(engrad(tmp_path / "job.engrad", steps[-1]).with_suffix(".hess"), steps[-1], more=more)
    if factor == 1.0 or scale is not None:
        same(read(path)[0], steps[-1], hessian=True)
    else:
        with pytest.raises(UserError, match=r"frequencies differ by .* from those"):
            read(path)


@pytest.mark.parametrize("name", ["job.property.json", "job.property.txt"])
def test_truncated_files_give_one_sentence(name: str, steps: list[Record], tmp_path: Path) -> None:
    path = (property_json if name.endswith("json") else property_txt)(tmp_path / name, steps)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="truncated") as error:
        read(path)
    assert "\n" not in str(error.value)
