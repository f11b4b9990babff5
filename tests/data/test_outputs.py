"""Risk: an energy of another method, a gradient of another geometry, a Hessian in another frame or in another order."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from test_program_files import Springs, is_springs, read

from hesspot.data.readers import recognise
from hesspot.errors import UserError
from hesspot.units import BOHR, HARTREE_PER_BOHR

#: Relative: outputs have some six to eight decimals.
PRINTED = 1e-5


def atoms(values: np.ndarray, row: Callable[[int, str, int, Sequence[float]], str]) -> str:
    known = zip(("O", "H", "H"), (8, 1, 1), values, strict=True)
    return "".join(row(i, symbol, number, numbers) + "\n" for i, (symbol, number, numbers) in enumerate(known, 1))


def columns(values: Sequence[float], decimals: int = 8, width: int = 18) -> str:
    return "".join(f"{x:{width}.{decimals}f}" for x in values)


def triangle(matrix: np.ndarray, width: int, row: Callable[[int, Sequence[float]], str], title: str) -> str:
    """Lower triangle in blocks of columns."""
    text = ""
    for start in range(0, len(matrix), width):
        text += title
        for i in range(start, len(matrix)):
            text += row(i, matrix[i, start : min(i + 1, start + width)]) + "\n"
        text += "\n"
    return text


LABELS = ("O", "x"), ("O", "y"), ("O", "z"), ("H", "x"), ("H", "y"), ("H", "z"), ("H", "x"), ("H", "y"), ("H", "z")


def gaussian(points: Sequence[Springs], between: str = "", turn: np.ndarray | None = None) -> str:
    """Input orientation, standard orientation (turned by `turn`), energy, and forces in the first of them."""
    text = " Entering Gaussian System, Link 0=g16\n Charge =  0 Multiplicity = 1\n"
    for point in points:
        for name, frame in (("Input", np.eye(3)), ("Standard", turn)):
            if frame is not None:
                rows = atoms(
                    point.positions @ frame * BOHR, lambda i, s, z, x: f"{i:7d}{z:11d}           0    " + columns(x)
                )
                text += f"                         {name} orientation:\n ---\n h\n h\n ---\n{rows} ---\n"
        text += f" SCF Done:  E(RB3LYP) =  {point.energy():.9f}     A.U. after   10 cycles\n{between}"
        rows = atoms(-point.gradient(), lambda i, s, z, f: f"{i:7d}{z:9d}    " + columns(f, 9, 15))
        rows = rows.replace("    ", "   ", 0)
        text += " Center     Atomic                   Forces (Hartrees/Bohr)\n Number     Number              X\n"
        text += f" {'-' * 66}\n{rows} {'-' * 66}\n"
    return text + " Normal termination of Gaussian 16\n"


def nwchem(points: Sequence[Springs]) -> str:
    text = "          Northwest Computational Chemistry Package (NWChem) 7.0.2\n"
    for point in points:
        rows = atoms(point.positions * BOHR, lambda i, s, z, x: f"{i:5d} {s}            {z:10.4f}" + columns(x, 8, 15))
        text += (
            ' Geometry "geometry" -> "geometry"\n -----\n\n Output coordinates in angstroms\n\n No. Tag\n ----\n' + rows
        )
        text += f"\n         Total DFT energy =   {point.energy():.12f}\n"
        rows = atoms(
            np.hstack([point.positions, point.gradient()]), lambda i, s, z, x: f"{i:4d} {s}   " + columns(x, 6, 11)
        )
        text += (
            "                         DFT ENERGY GRADIENTS\n\n    atom               coordinates\n       x y z\n"
            + rows
            + "\n"
        )
    last = points[-1]
    masses = np.array([15.99491, 1.007825, 1.007825])
    rows = atoms(
        last.positions, lambda i, s, z, x: f"    {s}{i:9d}" + "".join(f"{v:15.7E}" for v in (*x, masses[i - 1]))
    )
    rows = rows.replace("E", "D")
    roots = np.sqrt(np.repeat(masses, 3) / 1000)
    weighted = last.hessian() / np.outer(roots, roots)
    block = triangle(
        weighted,
        10,
        lambda i, x: f"{i + 1:5d}" + "".join(f"{v:13.5E}" for v in x).replace("E", "D"),
        "\n\n               1            2\n   ----- -----\n",
    )
    text += " ---------------------------- Atom information ----------------------------\n  atom  #  X Y Z mass\n"
    text += (
        f" ---\n{rows} ---\n\n          MASS-WEIGHTED NUCLEAR HESSIAN (Hartree/Bohr/Bohr/Kamu)\n          ----\n{block}"
    )
    return text + " Total times  cpu:        0.5s     wall:        0.5s\n"


def gamess(points: Sequence[Springs]) -> str:
    text = (
        "         *         GAMESS VERSION = 30 SEP 2018 (R1)          *\n TOTAL NUMBER OF ATOMS             =    3\n"
    )
    for point in points:
        rows = atoms(point.positions, lambda i, s, z, x: f" {s}           {z:.1f}" + columns(x, 10, 18))
        text += f" ATOM      ATOMIC                      COORDINATES (BOHR)\n           CHARGE         X\n{rows}\n"
        text += f" FINAL RHF ENERGY IS     {point.energy():.10f} AFTER  10 ITERATIONS\n"
        rows = atoms(point.gradient(), lambda i, s, z, g: f"    {i} {s}      " + columns(g, 9))
        text += f" UNITS ARE HARTREE/BOHR    E'X               E'Y               E'Z \n{rows}\n"
    hessian = points[-1].hessian()
    names = {0: "  1   O            ", 3: "  2   H            ", 6: "  3   H            "}
    block = ""
    for start in (0, 6):
        block += "\n                    1    2\n                    O    H\n                      X        Y\n"
        for i in range(start, 9):
            values = columns(hessian[i, start : start + 6], 6, 9)
            block += names.get(i, " " * 19) + "XYZ"[i % 3] + values + "\n"
    text += f"          CARTESIAN FORCE CONSTANT MATRIX\n          -------------------------------\n{block}\n"
    return text + " EXECUTION OF GAMESS TERMINATED NORMALLY\n"


def dalton(points: Sequence[Springs]) -> str:
    text = "             Dalton - An Electronic Structure Program\n\n"
    text += "                    Isotopic Masses\n             ----\n\n"
    text += "           O          15.994915\n           H  _1       1.007825\n           H  _2       1.007825\n\n"
    (point,) = points
    text += f"@    Final HF energy:            {point.energy():.12f}\n"
    lines = [
        f"   {s}  : {3 * i - 2:4d}  x {x[0]:15.10f}   {3 * i - 1:4d}  y {x[1]:15.10f}   {3 * i:4d}  z {x[2]:15.10f}\n"
        for i, (s, x) in enumerate(zip("OHH", point.positions, strict=True), 1)
    ]
    text += "  Cartesian Coordinates (a.u.)\n  ----\n\n  Total number of coordinates:    9\n" + "".join(lines) + "\n"
    rows = atoms(point.gradient(), lambda i, s, z, g: f" {s}       " + columns(g, 10))
    text += f"                             Molecular gradient (au)\n               -----\n\n{rows}\n"
    block = triangle(
        point.hessian(),
        6,
        lambda i, x: f" {LABELS[i][0]}    {LABELS[i][1]}" + columns(x, 6, 12),
        "\n           O    x\n\n",
    )
    text += f"                              Molecular Hessian (au)\n       -----\n{block}\n"
    return text + " >>>> Total wall time used in DALTON: 1 second\n"


def qchem(points: Sequence[Springs]) -> str:
    text = "                  Welcome to Q-Chem\n"
    for point in points:
        rows = atoms(point.positions * BOHR, lambda i, s, z, x: f"{i:5d}      {s}  " + columns(x, 10))
        text += (
            f"             Standard Nuclear Orientation (Angstroms)\n    I     Atom           X\n ----\n{rows} ----\n"
        )
        text += f" Total energy in the final basis set =      {point.energy():.10f}\n"
        text += " Gradient of SCF Energy\n            1           2           3\n"
        text += "".join(f"    {i + 1}" + columns(row, 7, 12) + "\n" for i, row in enumerate(point.gradient().T)) + "\n"
    hessian = points[-1].hessian()
    text += " Hessian of the SCF Energy\n"
    for start in (0, 6):
        part = hessian[:, start : start + 6]
        text += " " * 9 + "".join(f"{start + k + 1:12d}" for k in range(part.shape[1])) + "\n"
        text += "".join(f"{i + 1:5d}" + columns(row, 7, 12) + "\n" for i, row in enumerate(part))
    return text + "\n Total job time:  1.0s(wall), 1.0s(cpu) \n"


PROGRAMS = {"Gaussian": gaussian, "NWChem": nwchem, "GAMESS": gamess, "DALTON": dalton, "Q-Chem": qchem}


@pytest.fixture
def points() -> list[Springs]:
    return [Springs(Springs.positions * scale) for scale in (1.1, 1.05, 1.0)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_label_goes_to_its_geometry(tmp_path: Path, points: list[Springs], program: str) -> None:
    path = tmp_path / "job.txt"
    points = points[2:] if program == "DALTON" else points
    path.write_text(PROGRAMS[program](points))
    assert recognise(path) == "output"
    records = read(path)
    assert len(records) == len(points)
    for record, point in zip(records[:-1], points[:-1], strict=True):
        is_springs(record, point, "energy forces", PRINTED)
    assert {record.system for record in records} == ({"job"} if len(points) > 1 else {""})
    last = "energy forces" if program == "Gaussian" else "energy forces hessian"
    is_springs(records[-1], points[-1], last, PRINTED)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_gaussian_prints_forces_in_another_frame_than_the_standard_one(tmp_path: Path, points: list[Springs]) -> None:
    turn = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    for record, point in zip(read(write(tmp_path / "a.log", gaussian(points, turn=turn))), points, strict=True):
        is_springs(record, point, "energy forces", PRINTED)
    alone = gaussian(points[:1], turn=turn).replace("Input orientation", "Other orientation")
    with pytest.raises(UserError, match="another orientation than its coordinates"):
        read(write(tmp_path / "b.log", alone))


def test_the_energy_is_that_of_the_highest_method(tmp_path: Path, points: list[Springs]) -> None:
    (point,) = points[2:]
    low = " SCF Done:  E(RHF) =  -70.1     A.U. after   10 cycles\n"
    text = gaussian([point]).replace(
        f" SCF Done:  E(RB3LYP) =  {point.energy():.9f}     A.U. after   10 cycles\n", "{}"
    )
    energy = f"{point.energy():.11E}".replace("E", "D")
    perturbed = " E2 =    -0.1000000000D+00 EUMP2 =    -0.71000000000D+02\n"
    fourth = " UMP4(SDTQ)=  -0.7200000000000D+02\n"
    doubles = " DE(Corr)= -0.2             E(CORR)=     -71.5\n"
    for lines in (
        f"{low} E2 =    -0.1000000000D+00 EUMP2 =    {energy}\n",
        f"{low}{perturbed}{fourth}{doubles} T5(CCSD)= -0.1D-02\n CCSD(T)= {energy}\n",
        f"{low} E2(B2PLYPD3) =    -0.1D+00 E(B2PLYPD3) =    {energy}\n",
        f"{low} ONIOM: extrapolated energy =   {point.energy():.12f}\n",
        f" >>>>>>>>>> Convergence criterion not met.\n{low} SCF Done:  E(RHF) =  {point.energy():.9f}     A.U. after\n",
    ):
        (record,) = read(write(tmp_path / "job.log", text.format(lines)))
        is_springs(record, point, "energy forces", PRINTED)


def test_gaussians_archive_has_the_energy_of_methods_that_are_not_printed_otherwise(
    tmp_path: Path, points: list[Springs], capsys: pytest.CaptureFixture[str]
) -> None:
    energy = points[0].energy()
    archive = " 1\\1\\GINC-X\\SP\\RCISD\\STO-3G\\H2O1\\\\Version=G16\\HF=-1.0\\MP2=-70.5,-71.5\\CIS\n"
    archive += f" D={energy:.7f}\\RMSD=1e-9\\\\@\n\n"
    low = gaussian(points[:1]).replace(f"{energy:.9f}", "-70.9")
    (record,) = read(write(tmp_path / "job.log", low + archive))
    is_springs(record, points[0], "energy forces", PRINTED)
    for record in read(write(tmp_path / "scan.log", gaussian(points) + archive)):
        assert record.energy is None and record.forces is not None
    assert "all are left out" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    "lines",
    [
        " !RHF STATE  1.1 Energy               -70.1\n !MP2 total energy       -71.0\n !MP4(SDTQ) total energy  {}\n",
        " !RHF STATE 1.1 Energy   -70.1\n !MRCI STATE  1.1 Energy     {}\n !MRCI STATE  2.1 Energy   -70.2\n",
        " !RKS STATE  1.1 Energy               {}\n",
    ],
)
def test_molpro(tmp_path: Path, points: list[Springs], lines: str) -> None:
    """The Hessian is of the atoms in the order of the input, geometry and energy of those that symmetry orders."""
    (point,) = points[2:]
    order = [2, 0, 1]
    symbols, charges = np.array(["O", "H", "H"]), np.array([8, 1, 1])
    rows = "".join(
        f"{i:4d}  {symbols[k]}    {charges[k]:6.2f}" + columns(point.positions[k], 9, 15) + "\n"
        for i, k in enumerate(order, 1)
    )
    text = "                              ***  PROGRAM SYSTEM MOLPRO  ***\n"
    text += f" ATOMIC COORDINATES\n\n NR  ATOM\n\n{rows}\n"
    text += lines.format(f"{point.energy():.12f}")
    block = triangle(
        point.hessian(),
        5,
        lambda i, x: f"           G{'XYZ'[i % 3]}{i // 3}       " + columns(x, 7, 12),
        "      GX1         GY1\n",
    ).replace("\n\n", "\n")
    text += f" Force Constants (Second Derivatives of the Energy) in [a.u.]\n{block}\n\n"
    text += " Atomic Coordinates\n\n  Nr  Atom\n\n"
    text += atoms(point.positions, lambda i, s, z, x: f"{i:4d}   {s}  {z:7.2f}" + columns(x, 9, 15))
    (record,) = read(write(tmp_path / "job.out", text + "\n Molpro calculation terminated\n"))
    is_springs(record, point, "energy hessian", PRINTED)


def test_psi4_puts_triples_in_the_place_of_the_energy_without(tmp_path: Path, points: list[Springs]) -> None:
    (point,) = points[:1]
    text = "          Psi4: An Open-Source Ab Initio Electronic Structure Package\n"
    text += "                               Psi4 1.7 release\n\n  ==> Geometry <==\n\n"
    text += "    Molecular point group: c1\n    Full point group: C1\n\n"
    text += "    Geometry (in Angstrom), charge = 0, multiplicity = 1:\n\n"
    text += "       Center              X                  Y                   Z\n    ------------   -----\n"
    text += atoms(point.positions * BOHR, lambda i, s, z, x: f"         {s:5}" + columns(x, 12, 18)) + "\n"
    text += "      * CCSD total energy                     =  -71.0\n"
    text += f"      * CCSD(T) total energy                  =  {point.energy():.12f}\n"
    text += "*** Psi4 exiting successfully. Buy a developer a beer!\n"
    (record,) = read(write(tmp_path / "job.out", text))
    is_springs(record, point, "energy", PRINTED)


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("NWChem", " CCSD(2)_T total energy / hartree =       {}\n"),
        ("Q-Chem", " QCISD         total energy  =   {} au\n"),
        ("GAMESS", "          CISD  STATE 1  ENERGY=   {}\n"),
        ("DALTON", "@    Final CASSCF energy:    {}\n"),
    ],
)
def test_energies_of_methods_that_cclib_does_not_read_are_no_scf_energies(
    tmp_path: Path, points: list[Springs], program: str, line: str
) -> None:
    text = PROGRAMS[program](points[2:])
    end = text.rindex("\n", 0, -1) + 1
    higher = line.format("-76.51234567")
    path = write(tmp_path / "job.out", text[:end] + higher + text[end:])
    with pytest.raises(UserError, match=r"energy -76\.51234567 Hartree, which cclib does not read, and -76\.\d+ of"):
        read(path)
    for same in (line.format(f"{points[2].energy():.10f}"), higher.lower().replace("energy", "corr. energy")):
        write(path, text[:end] + same + text[end:])
        is_springs(read(path)[0], points[2], "energy forces hessian", PRINTED)


@pytest.mark.filterwarnings("ignore")
def test_energies_of_two_methods_at_one_geometry_are_left_out(
    tmp_path: Path, points: list[Springs], capsys: pytest.CaptureFixture[str]
) -> None:
    text = qchem(points[:1])
    start = text.index(" Total energy in")
    (record,) = read(
        write(tmp_path / "job.out", text[:start] + " Total energy in the final basis set = -3.0\n" + text[start:])
    )
    is_springs(record, points[0], "forces hessian", PRINTED)
    assert "its energies differ by 73 Hartree and are left out" in capsys.readouterr().err.replace("\n", " ")


def test_displaced_geometries_that_are_not_printed_are_left_out(
    tmp_path: Path, points: list[Springs], capsys: pytest.CaptureFixture[str]
) -> None:
    text = qchem(points[2:])
    steps = [Springs(points[2].positions + shift) for shift in np.eye(9).reshape(9, 3, 3)[:4] * 0.01]
    displaced = ""
    for step in steps:
        own = qchem([step])
        displaced += own[own.index(" Total energy") : own.index(" Hessian of")]
    start = text.index(" Hessian of")
    (record,) = read(write(tmp_path / "job.out", text[:start] + displaced + text[start:]))
    is_springs(record, points[2], "hessian", PRINTED)
    assert "5 energies or gradients of geometries that are not printed" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lambda p: gaussian(p).replace("Normal", "Error"), "did not end normally"),
        (lambda p: gaussian(p).replace("      1           0", "     -2           0"), "is periodic"),
        (lambda p: gamess(p) + " SCF IS UNCONVERGED, TOO MANY ITERATIONS\n", "SCF that did not converge"),
        (lambda p: nwchem(p) + "     Calculation failed to converge\n", "SCF that did not converge"),
        (lambda p: " Entering Gaussian System\n Normal termination of Gaussian\n", r"formchk makes an \.fchk"),
        (lambda p: "                 |                           x T B                           |\n", "xtbout.json"),
        (lambda p: " dscf (node) : TURBOMOLE rev. V7.5\n", "control, coord, gradient"),
    ],
)
def test_refused(tmp_path: Path, points: list[Springs], text: Callable[[list[Springs]], str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(write(tmp_path / "job.out", text(points)))


def test_a_name_of_ase_does_not_go_around(tmp_path: Path, points: list[Springs]) -> None:
    path = write(tmp_path / "job.log", gaussian(points).replace("Normal", "Error"))
    with pytest.raises(UserError, match="did not end normally"):
        read(path, file_format="gaussian-out")


def test_ghost_atoms_are_no_atoms(tmp_path: Path, points: list[Springs]) -> None:
    text = qchem(points[:1]).replace("    3      H", "    3     GH").split(" Hessian of")[0]
    (record,) = read(write(tmp_path / "job.out", text + " Total job time:  1.0s(wall)\n"))
    assert record.numbers.tolist() == [8, 1]
    wanted = -points[0].gradient()[:2] * HARTREE_PER_BOHR
    np.testing.assert_allclose(record.forces, wanted, atol=PRINTED * np.abs(wanted).max())
