"""Outputs of quantum chemistry programs, through cclib, which knows their layouts.

cclib gives lists of geometries, energies and gradients of different lengths. Here its parsers are watched line by line,
so that each energy and each gradient goes to the geometry that was printed before it; what cannot be told is left out
with a warning, or refused. The energy is that of the highest method: coupled cluster before Møller-Plesset before SCF.
"""

import logging
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.console import warn
from hesspot.data.readers import output_blocks
from hesspot.data.readers.contents import head_of, program_of
from hesspot.data.readers.frames import require_frame, require_frequencies
from hesspot.data.readers.options import Options, Units
from hesspot.data.readers.raw import Raw, isotopes, numbers_of, without_ghosts, without_held_atoms
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

#: Å; a geometry that is printed again is the same one.
SAME_GEOMETRY = 1e-5
#: Å; programs print a geometry in two places with different numbers of digits.
SAME_PLACE = 1e-4
#: Hartree; energies of one geometry that differ by more are of two methods or of displaced geometries.
SAME_ENERGY = 1e-5
#: Geometries in Å, all else in Hartree and bohr.
_UNITS = Units(HARTREE, 1.0, HARTREE_PER_BOHR, HARTREE_PER_BOHR2)

#: Programs whose outputs have no total energies or whose derivatives stand in other files, and what to do instead.
_ELSEWHERE = {
    "ORCA": "rename it to end with .out, and leave --format out",
    "Turbomole": "give the folder with its files control, coord, gradient, energy, hessian",
    "XTB": "give the folder with gradient, hessian, g98.out and xtbout.json (xtb --grad, --hess, --json write them)",
    "ADF": "ADF's output has bonding energies to fragments, and no derivatives: compute with another program",
    "GAMESSUK": "cclib reads no derivatives of it, and misreads correlated energies: compute with another program",
    "MOPAC": "MOPAC's output has heats of formation, which are no total energies: compute with tblite or DFT",
}
#: What programs print although they end normally.
_UNCONVERGED = {
    "NWChem": rb"Calculation failed to converge",
    "QChem": rb"Convergence failure|SCF failed to converge",
    "GAMESS": rb"SCF IS UNCONVERGED",
    "Psi4": rb"Could not converge SCF",
    "Molpro": rb"No convergence",
}
#: Ends of complete outputs that cclib 1.8 does not look for.
_ENDINGS = {"Molpro": rb"Molpro calculation terminated", "Molcas": rb"Happy landing|_RC_ALL_IS_WELL_"}
#: Lines with the whole energy where cclib has parts of it: dispersion, double hybrids, layers.
_TOTALS = {
    "Gaussian": re.compile(r"^ E2\([^)]*\) =.*E\([^)]*\) = *(\S+)|^ ONIOM: extrapolated energy = *(\S+)"),
}
#: Blocks of cclib that fail for newer versions of a program, and have nothing that is needed.
_SKIPPED = {"Molpro": ("_parse_orbitals",)}
#: The energies that Molpro prints at the end of each program, of the lowest state.
_MOLPRO = re.compile(r" !(\S+)(?: STATE\s+1\.1| total)? energy\s+(-?\d+\.\d+)", re.IGNORECASE)
#: The energies in the archive at the end of Gaussian's outputs, of all methods up to the one that was asked for.
_ARCHIVE = re.compile(
    rb"\\(?:HF|MP2|MP3|MP4[A-Z]*|MP5|CISD|QCISD(?:\(T\))?|CCD|CCSD(?:\(T\))?|BD(?:\(T\))?)=(?:-?\d+\.\d+,)*(-?\d+\.\d+)"
)

#: Correlated methods in lines with an energy, and what is no total energy of the method asked for among these lines.
_CORRELATED = re.compile(
    rb"\b(?:RI-?)?(?:MP[2-5]|Q?CISD|CID|FCI|CCS?DT?|CC[23]|MRCI|MCSCF|CASSCF|CASPT2|NEVPT2)\b[^\n]*", re.IGNORECASE
)
_NO_TOTAL = re.compile(rb"SCS|SOS|spin|corr(?:elation|ection|\.) *energy|\[T\]|iter", re.IGNORECASE)
_TOTAL = re.compile(rb"energy.*?\s(-\d+\.\d{5,})|E?\([A-Z0-9()]+\) *= *(-\d+\.\d{5,})", re.IGNORECASE)
#: Part of the energy by which correlation changes it at most.
_CORRELATION = 0.05


#: What is taken from cclib when it has read everything; all else is noted as it comes.
_KEPT = ("atomnos", "atommasses", "natom", "charge", "mult", "metadata", "vibfreqs")


@dataclass
class _Point:
    positions: np.ndarray | None
    numbers: np.ndarray | None = None
    scf: list[float] = field(default_factory=list)
    perturbed: float | None = None
    coupled: float | None = None
    total: float | None = None
    gradient: np.ndarray | None = None
    hessian: np.ndarray | None = None
    excited: bool = False

    def has_labels(self) -> bool:
        return self.energy() is not None or self.gradient is not None or self.hessian is not None

    def energy(self) -> float | None:
        """Hartree, of the highest method; None where there is none, or several of the same method."""
        for value in (self.total, self.coupled, self.perturbed):
            if value is not None:
                return value
        return self.scf[-1] if self.scf and not self.is_ambiguous() else None

    def is_ambiguous(self) -> bool:
        return bool(self.scf) and max(self.scf) - min(self.scf) > SAME_ENERGY


class _Record:
    """The geometries of an output in their order, with the labels that were printed after each."""

    def __init__(self, program: str, path: Path) -> None:
        self.program, self.path = program, path
        self.points: list[_Point] = []
        self.ignore_scf = False
        self.coupled = 0.0
        self.lists: dict[str, tuple[Any, int]] = {}

    def geometry(self, positions: Any) -> None:
        positions = np.asarray(positions, dtype=np.float64)
        if self.points:
            last = self.points[-1]
            if last.positions is not None and _same(last.positions, positions):
                return
            if last.positions is None and len(self.points) == 1 and last.gradient is None:
                last.positions = positions  # DALTON prints the first geometry after its energy
                return
            if not last.has_labels():
                self.points.pop()
        self.points.append(_Point(positions))

    def open(self) -> _Point:
        """The point that a new energy belongs to: after a gradient without a new geometry it is one of its own."""
        if not self.points or self.points[-1].gradient is not None:
            self.points.append(_Point(None))
        return self.points[-1]

    def scf(self, energy: float) -> None:
        if self.ignore_scf:
            self.ignore_scf = False
            return
        last = self.points[-1] if self.points else None
        if last is not None and last.gradient is not None and last.scf and abs(last.scf[-1] - energy) < SAME_ENERGY:
            return
        self.open().scf.append(energy)

    def gradient(self, values: Any) -> None:
        point = self.points[-1] if self.points else _Point(None)
        if point.gradient is not None:
            if np.shape(point.gradient) == np.shape(values) and np.allclose(point.gradient, values, atol=1e-7):
                return
            point = self.open()
        if point.excited:
            raise UserError(
                f"{self.path} has gradients of an excited state, which are no labels of the ground state: leave it out"
            )
        point.gradient = np.asarray(values, dtype=np.float64)

    def hessian(self, values: Any) -> None:
        placed = [point for point in self.points if point.positions is not None]
        if placed:
            placed[-1].hessian = np.asarray(values, dtype=np.float64)

    def reorder(self, numbers: np.ndarray, positions: np.ndarray) -> None:
        """Molpro's Hessian is of atoms in the order of the input, its other blocks in one of symmetry."""
        point, there = self.points[-1], positions * BOHR
        if point.positions is not None and point.positions.shape == there.shape:
            distances = np.linalg.norm(there[:, None] - point.positions, axis=2)
            if point.gradient is not None and distances.min(axis=1).max() < SAME_PLACE:
                point.gradient = point.gradient[distances.argmin(axis=1)]
            if distances.min(axis=1).max() < SAME_PLACE:
                point.numbers, point.positions = numbers, there

    def placed(self) -> list[_Point]:
        """Points with a geometry. Others that follow one have been displaced from it: of it only the Hessian stays."""
        kept = []
        lost = 0
        for i, point in enumerate(self.points):
            follows = i + 1 < len(self.points) and self.points[i + 1].positions is None
            if point.positions is None:
                lost += 1
                continue
            if follows:
                lost += 1
                point = _Point(point.positions, hessian=point.hessian)
            kept.append(point)
        if lost:
            warn(f"{self.path}: {lost} energies or gradients of geometries that are not printed are left out")
        return kept


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Every geometry of an output that has an energy, a gradient or a Hessian."""
    program = program_of(head_of(path))
    if program is None:
        raise UserError(f"{path} is no output of a program that is known: name its format with --format")
    if program in _ELSEWHERE:
        raise UserError(f"{path} is an output of {program}, from which no labels are read: {_ELSEWHERE[program]}")
    _require_converged(path, program)
    data, points = _parse(path, program)
    if not (getattr(data, "metadata", {}).get("success") or _has(path, _ENDINGS.get(program))):
        raise UserError(f"{path} did not end normally, its program failed or was stopped: run it again or leave it out")
    points = [point for point in points if point.has_labels()]
    if not points:
        raise UserError(
            f"{path} has no energies, gradients or Hessians that cclib reads from {program}: {_remedy(program)}"
        )
    if program == "Gaussian":
        _compare_with_archive(path, points)
    elif program != "Molpro":
        _require_highest(path, points)
    without = sum(point.gradient is None and point.hessian is None for point in points)
    if without:
        warn(f"{path}: {without} of {len(points)} geometries have an energy alone; {_remedy(program)}")
    for i, point in enumerate(points):
        place = f"geometry {i} of {path}" if len(points) > 1 else f"structure {path.stem} of {path}"
        raw = _raw(point, data, place, f"{path.stem}_{i}" if len(points) > 1 else path.stem)
        raw.system = path.stem if len(points) > 1 else None
        yield raw


def _compare_with_archive(path: Path, points: list[_Point]) -> None:
    """Take the energy of Gaussian's archive where it is of a method that cclib does not know, such as CISD."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        start = view.rfind(b"\n 1\\1\\")
        text = b"" if start < 0 else re.sub(rb"\r?\n ", b"", view[start : view.find(b"\\@", start)])
    energies = _ARCHIVE.findall(text)
    energy = points[-1].energy()
    if not energies or energy is None or abs(float(energies[-1]) - energy) < SAME_ENERGY:
        return
    if len(points) == 1:
        points[0].total = float(energies[-1])
        return
    warn(f"{path}: the last energy is {energies[-1].decode()} in the archive, {energy:.8f} before it: all are left out")
    for point in points:
        point.scf, point.perturbed, point.coupled, point.total = [], None, None, None


def _require_highest(path: Path, points: list[_Point]) -> None:
    """UserError if the last correlated energy of the output is none that was read: cclib does not know every method."""
    energies = [energy for point in points if (energy := point.energy()) is not None]
    last: tuple[str, float] | None = None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for match in _CORRELATED.finditer(view):
            line = view[view.rfind(b"\n", 0, match.start()) + 1 : match.end()]
            if _NO_TOTAL.search(line) is None and (total := _TOTAL.search(line)) is not None:
                value = float(total[1] or total[2])
                if any(abs(value - energy) < _CORRELATION * abs(energy) for energy in energies):
                    last = match[0].split()[0].decode(), value
    if last is not None and all(abs(last[1] - energy) > SAME_ENERGY for energy in energies):
        raise UserError(
            f"{path} has the {last[0]} energy {last[1]:.8f} Hartree, which cclib does not read, and {energies[-1]:.8f} "
            "of another method: write its structures as extended XYZ with the energy that their forces belong to"
        )


def _remedy(program: str) -> str:
    if program == "Gaussian":
        return "a .log holds no Hessian and few forces, formchk makes an .fchk of the .chk that has both"
    return "print gradients or Hessians in it"


def _require_converged(path: Path, program: str) -> None:
    if _has(path, _UNCONVERGED.get(program)):
        raise UserError(f"{path} has an SCF that did not converge: converge it, or leave it out")


def _has(path: Path, pattern: bytes | None) -> bool:
    if pattern is None:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return re.search(pattern, view) is not None


def _parse(path: Path, program: str) -> tuple[Any, list[_Point]]:
    """What cclib reads, and the points of the output."""
    try:
        import cclib.parser
        from cclib.parser.data import ccData
        from cclib.parser.utils import convertor
    except ImportError as error:
        raise UserError(f"outputs of programs need the package cclib: {install_hint('readers')}") from error
    record = _Record(program, path)
    hartree = convertor(1.0, "hartree", "eV")
    parser: Any = getattr(cclib.parser, program)

    def extract(self: Any, inputfile: Any, line: str) -> None:
        if not _own_block(self, inputfile, line, record):
            parser.extract(self, inputfile, line)
            _watch(self, line, record, hartree)

    def after_parsing(self: Any) -> None:
        for name in set(vars(self)) & set(ccData._attrlist) - set(_KEPT):
            delattr(self, name)  # the record has it, and lists of unequal length make cclib fail

    skipped = {name: lambda self, *arguments: None for name in _SKIPPED.get(program, ())}
    watched = type(program, (parser,), {"extract": extract, "after_parsing": after_parsing, **skipped})
    job = watched(str(path), loglevel=logging.CRITICAL)
    try:
        data = job.parse()
    except UserError:
        raise
    except Exception as error:  # cclib raises whatever its parsing runs into
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{path} is of a {program} that cclib cannot read ({reason}), or it is damaged: "
            + (_remedy(program) if program == "Gaussian" else "write its structures as extended XYZ with their labels")
        ) from error
    finally:
        job.inputfile.close()
    return data, record.placed()


def _own_block(parser: Any, lines: Any, line: str, record: _Record) -> bool:
    """Whether a line begins a block that is read here, and not by cclib."""
    title, n = line.strip(), getattr(parser, "natom", 0) or len(getattr(parser, "atomnos", []))
    program = record.program
    if program == "GAMESS" and title == "CARTESIAN FORCE CONSTANT MATRIX":
        record.hessian(output_blocks.triangle(lines, 3 * n, 6))
    elif program == "GAMESS" and title.startswith("UNITS ARE HARTREE/BOHR"):
        record.gradient(output_blocks.gradient(lines, n))
    elif program == "GAMESS" and title == "GRADIENT (HARTREE/BOHR)":
        record.gradient(output_blocks.charged_gradient(lines, n))
    elif program == "DALTON" and title == "Molecular Hessian (au)":
        record.hessian(output_blocks.triangle(lines, 3 * n, 6))
    elif program == "DALTON" and title == "Molecular gradient (au)":
        with suppress(ValueError):  # that of symmetry coordinates has other rows
            record.gradient(output_blocks.gradient(lines, n))
    elif program == "NWChem" and "MASS-WEIGHTED NUCLEAR HESSIAN" in title:
        roots = np.sqrt(np.repeat(parser.atommasses, 3))
        record.hessian(output_blocks.triangle(lines, 3 * n, 10) * np.outer(roots, roots) / 1000)
    elif program == "Molpro" and title.startswith("Force Constants"):
        record.hessian(output_blocks.triangle(lines, 3 * n, 5))
    elif program == "Molpro" and (match := _MOLPRO.match(line)) is not None:
        if match[1] in ("RHF", "UHF", "RKS", "UKS"):
            record.scf(float(match[2]))
        else:
            record.open().total = float(match[2])
    elif program == "Molpro" and title == "Atomic Coordinates" and record.points:
        record.reorder(*output_blocks.charged_positions(lines, n))
    elif program == "NWChem" and "ENERGY GRADIENTS" in title:
        positions, gradient = output_blocks.placed_gradient(lines, n)
        last = record.points[-1] if record.points else None
        if last is not None and last.positions is None and last.gradient is None:
            last.positions = positions * BOHR
        else:
            _replace_or_begin(record, positions * BOHR)
        record.gradient(gradient)
    else:
        return False
    return True


def _replace_or_begin(record: _Record, positions: np.ndarray) -> None:
    """NWChem prints a geometry with eight decimals, and again with six beside its gradient."""
    last = record.points[-1] if record.points else None
    if last is None or last.positions is None or np.shape(last.positions) != positions.shape:
        record.geometry(positions)
    elif np.abs(last.positions - positions).max() > SAME_PLACE:
        last.positions = positions if last.gradient is None else last.positions
        if last.gradient is not None:
            record.geometry(positions)


def _watch(parser: Any, line: str, record: _Record, hartree: float) -> None:
    """Note what has come to cclib's lists with this line."""
    gaussian = record.program == "Gaussian"
    if gaussian and "Convergence criterion not met" in line:
        record.ignore_scf = True  # another algorithm goes on from here, whose energy follows
    frames = "inputcoords" if gaussian and hasattr(parser, "inputcoords") else "atomcoords"
    for positions in _new(parser, frames, record):
        record.geometry(positions)
    for energy in _new(parser, "scfenergies", record):
        record.scf(energy / hartree)
    if _new(parser, "etenergies", record) and record.points:
        record.points[-1].excited = True
    orders = getattr(parser, "mpenergies", [])  # [MP2, MP3, …] of each geometry
    if _new(parser, "mpenergies", record) or (len(orders) and _grown("orders", orders[-1], record)):
        record.open().perturbed = float(np.ravel(orders[-1])[-1]) / hartree
    coupled = getattr(parser, "ccenergies", [])
    triples = len(coupled) and coupled[-1] != record.coupled  # in the place of the energy without them
    if (_new(parser, "ccenergies", record) or triples) and record.points:
        record.coupled = coupled[-1]
        record.open().coupled = coupled[-1] / hartree
    if gaussian and getattr(parser, "ccenergy", None) is not None and record.points:
        record.points[-1].coupled = parser.ccenergy
        parser.ccenergy = None
    pattern = _TOTALS.get(record.program)
    if pattern is not None and (match := pattern.match(line)) is not None:
        value = next(group for group in match.groups() if group is not None)
        record.open().total = float(value.replace("D", "E"))
    for gradient in _new(parser, "grads", record):
        record.gradient(-np.asarray(gradient) if gaussian else gradient)
    if hasattr(parser, "hessian") and _grown("hessian", parser.hessian, record):
        record.hessian(parser.hessian)


def _new(parser: Any, name: str, record: _Record) -> list[Any]:
    """The items that have come to a list of cclib's since the last line."""
    values = getattr(parser, name, [])
    known, before = record.lists.get(name, (None, 0))
    return list(values[before if known is values else 0 :]) if _grown(name, values, record) else []


def _grown(name: str, values: Any, record: _Record) -> bool:
    """Whether a list is another one than before, or longer."""
    known, before = record.lists.get(name, (None, 0))
    size = np.size(values) if np.ndim(values) == 0 else len(values)
    record.lists[name] = values, size
    return size > (before if known is values else 0)


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.abs(first - second).max(initial=0.0) < SAME_GEOMETRY)


def _raw(point: _Point, data: Any, place: str, name: str) -> Raw:
    assert point.positions is not None
    numbers = np.asarray(data.atomnos if point.numbers is None else point.numbers)
    if (numbers == -2).any():  # Gaussian's translation vectors
        raise UserError(f"{place} is periodic, which cclib does not read of Gaussian: leave it out")
    if point.positions.shape != (len(numbers), 3):
        raise UserError(
            f"{place} has {len(point.positions)} positions of {len(numbers)} atoms: dummy atoms are not read"
        )
    if point.is_ambiguous() and point.energy() is None:
        warn(f"{place}: its energies differ by {max(point.scf) - min(point.scf):.2g} Hartree and are left out")
    masses = getattr(data, "atommasses", None)
    masses = None if masses is None or np.size(masses) != len(numbers) else np.asarray(masses, dtype=np.float64)
    raw = Raw(
        place,
        numbers,
        point.positions,
        name,
        _UNITS,
        masses=masses,
        charge=getattr(data, "charge", None),
        multiplicity=getattr(data, "mult", None),
        energy=point.energy(),
        gradient=point.gradient,
        hessian=point.hessian,
        level=_level(data.metadata),
    )
    raw = without_held_atoms(raw)
    require_frame(place, point.positions / BOHR, raw.gradient, raw.hessian)
    raw = without_ghosts(raw, numbers == 0)
    raw.numbers = numbers_of(raw.numbers, place)
    frequencies = getattr(data, "vibfreqs", None)
    if raw.hessian is not None and frequencies is not None:
        require_frequencies(place, raw.numbers, point.positions / BOHR, raw.hessian, frequencies, masses)
    raw.masses = None if raw.masses is None else isotopes(raw.numbers, raw.masses)
    return raw


def _level(metadata: dict[str, Any]) -> str:
    method = metadata.get("functional") or next(iter(metadata.get("methods", [])[-1:]), "")
    basis = metadata.get("basis_set", "")
    return f"{method}/{basis}" if method and basis else ""
