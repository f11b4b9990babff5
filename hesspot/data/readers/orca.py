"""ORCA's files of one job, joined by their stem and their geometries. No library reads them all.

`NAME.hess` has the Hessian, `NAME.engrad` energy and gradient, `NAME.property.txt` (and its twin of `orca_2json`,
`NAME.property.json`) energies, gradients, charge and multiplicity of every geometry of the job, the JSON the Hessian,
too, and `NAME.out` the level of theory as well. What two of them say of one geometry must be the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.contents import head_of, program_of
from hesspot.data.readers.frames import require_frequencies
from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of, without_ghosts, without_held_atoms
from hesspot.errors import UserError
from hesspot.units import BOHR

#: bohr; `.engrad` has seven decimals, `.out` six.
SAME_GEOMETRY = 1e-5
#: Hartree, Hartree/bohr, Hartree/bohr²: what is printed of one calculation differs less, if it was done twice, too.
SAME_LABELS = {"energy": 1e-6, "gradient": 1e-5, "hessian": 1e-5}

#: Endings of ORCA's own files, and of what any program may write.
OWN = (".hess", ".property.json", ".property.txt", ".engrad")
ENDINGS = (*OWN, ".out", ".log")

#: Words of a line of keywords (`! …`) that are none of the level of theory: jobs, convergence, output, machines.
_NOT_OF_THE_LEVEL = re.compile(
    r"(?:(?:loose|normal|tight|verytight)?opt|optts|copt|zopt|numgrad|engrad|(?:num|an)?freq|sp|energy|irc|neb.*|scants|md"
    r"|(?:sloppy|loose|normal|strong|tight|verytight|extreme)scf|scfconv\d+|(?:very)?slowconv|(?:no)?(?:soscf|trah|autostart|diis|kdiis)"
    r"|(?:no)?usesym|nmr|pal\d+|(?:mini|small|normal|large)print|print\w+|keep\w+|xyzfile|bohrs|angs|moread|noiter|[ur]hf|[ur]ks|rohf|roks)"
)


@dataclass
class _Part:
    """What one file says of one geometry: symbols or numbers (n,), (n, 3) bohr, Hartree, amu."""

    file: Path
    atoms: list[Any]
    positions: np.ndarray
    energy: Any = None
    gradient: Any = None
    hessian: Any = None
    masses: Any = None
    frequencies: Any = None
    charge: Any = None
    multiplicity: Any = None
    level: str = ""
    note: str = ""

    def ghosts(self) -> np.ndarray:
        return np.array([str(atom) == "0" or str(atom).endswith(":") for atom in self.atoms])

    @cached_property
    def numbers(self) -> np.ndarray:
        """(n,) atomic numbers; 0 of a ghost atom."""
        ghosts = self.ghosts()
        numbers = np.zeros(len(ghosts), dtype=np.int64)
        atoms = [atom for atom, ghost in zip(self.atoms, ghosts, strict=True) if not ghost]
        digits = all(str(atom).isdigit() for atom in atoms)
        numbers[~ghosts] = numbers_of([int(atom) for atom in atoms] if digits else atoms, str(self.file))
        return numbers


def stem_of(path: Path) -> Path | None:
    """The name of the job that a file is of, None for a file that is not read here."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.with_name(path.name[: -len(ending)])
    return None


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The geometries of a job, with what each of its files says of them; any of the files may be missing."""
    stem = stem_of(path)
    if stem is None:
        raise UserError(f"{path} is none of ORCA's files {', '.join(ENDINGS)}: give one of them")
    found = {ending: file for ending in ENDINGS if (file := stem.with_name(stem.name + ending)).is_file()}
    found |= {path.name[len(stem.name) :].lower(): path}
    joined: list[_Part] = []
    for ending in sorted(found, key=_READERS_IN_ORDER.index):
        if ending in (".out", ".log") and found[ending] != path and program_of(head_of(found[ending])) != "ORCA":
            continue
        _join(joined, _READERS[ending](found[ending]), single=ending in (".hess", ".engrad"))
    if not joined:
        raise UserError(f"{path} has no geometry with labels: is it of ORCA, and has it ended normally?")
    for i, part in enumerate(joined):
        name = stem.name if len(joined) == 1 else f"{stem.name}_{i}"
        raw = Raw(
            f"structure {name} of {part.file}",
            part.numbers,
            part.positions,
            name,
            ATOMIC,
            energy=part.energy,
            gradient=part.gradient,
            hessian=part.hessian,
            masses=part.masses,
            charge=part.charge,
            multiplicity=part.multiplicity,
            system=None if len(joined) == 1 else stem.name,
            level=part.level,
            notes=(part.note,) if part.note else (),
        )
        if raw.energy is None and not part.note:
            raw.notes += (f"it has no energy: put {stem.name}.out or {stem.name}.property.txt of the job beside it",)
        raw = without_held_atoms(without_ghosts(raw, part.ghosts()))
        if raw.hessian is not None and part.frequencies is not None:
            require_frequencies(raw.place, raw.numbers, part.positions, raw.hessian, part.frequencies, part.masses)
        raw.masses = None if raw.masses is None else isotopes(raw.numbers, np.asarray(raw.masses))
        yield raw


def _join(joined: list[_Part], parts: list[_Part], single: bool) -> None:
    """Add what a file says to the geometries that others have; UserError where they contradict each other.

    A file of a single geometry must be of one that the others have, too.
    """
    others = [part for part in joined if part.file != (parts[0].file if parts else None)]
    for part in parts:
        shifts = [_shift(part, other) for other in joined]
        same = [
            other for other, shift in zip(joined, shifts, strict=True) if shift is not None and shift < SAME_GEOMETRY
        ]
        if same:
            _merge(same[-1], part)
        elif single and others:
            known = [shift for shift in shifts if shift is not None]
            if not known:
                raise UserError(f"{part.file} and {others[0].file} are of different molecules: rename one")
            raise UserError(
                f"{part.file} and {others[0].file} are of geometries that differ by {min(known):.2g} bohr: "
                "run both at one geometry, or rename one"
            )
        else:
            joined.append(part)


def _shift(part: _Part, other: _Part) -> float | None:
    """Largest difference of coordinates in bohr, None for other atoms."""
    if len(part.atoms) != len(other.atoms) or (part.numbers != other.numbers).any():
        return None
    return float(np.abs(part.positions - other.positions).max())


def _merge(whole: _Part, more: _Part) -> None:
    """Fill in what is missing of a geometry; UserError for two values of one label."""
    for field in fields(_Part):
        old, new = getattr(whole, field.name), getattr(more, field.name)
        if field.name in ("file", "atoms", "positions", "level", "note"):
            continue
        if old is None or (new is not None and more.file == whole.file):  # a file evaluates a geometry again
            setattr(whole, field.name, new)
        elif new is not None and field.name != "masses":
            difference = float(np.abs(np.asarray(old, dtype=float) - np.asarray(new, dtype=float)).max())
            if difference > SAME_LABELS.get(field.name, 0.0):
                raise UserError(
                    f"{whole.file} and {more.file} differ in the {field.name} of one geometry by {difference:.2g} "
                    "(atomic units): they are of two calculations, rename one"
                )
    whole.level, whole.note = whole.level or more.level, whole.note or more.note
    if more.file.name.lower().endswith(".hess"):
        whole.positions = more.positions  # twelve decimals


def _read_engrad(path: Path) -> list[_Part]:
    words = [word for line in path.read_text().splitlines() if not line.startswith("#") for word in line.split()]
    try:
        n = int(words[0])
        energy, gradient = float(words[1]), np.array(words[2 : 2 + 3 * n], dtype=np.float64).reshape(n, 3)
        table = np.array(words[2 + 3 * n :]).reshape(n, 4)
        positions = table[:, 1:].astype(np.float64)
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} is no .engrad file of ORCA, or it is truncated: run the job again") from error
    return [_Part(path, table[:, 0].tolist(), positions, energy, gradient)]


def _read_hess(path: Path) -> list[_Part]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("$"):
            current = sections.setdefault(line[1:].strip(), [])
        elif line.strip():
            current.append(line)
    try:
        atoms = [line.split() for line in sections["atoms"][1:]]
        n = int(sections["atoms"][0])
        positions = np.array([words[-3:] for words in atoms], dtype=np.float64).reshape(n, 3)
        masses = np.array([words[-4] for words in atoms], dtype=np.float64)
        hessian = _read_matrix(sections["hessian"])
        multiplicity = int(sections["multiplicity"][0]) if "multiplicity" in sections else None
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(f"{path} is no .hess file of ORCA, or it is truncated: run the job again") from error
    symbols = ["".join(words[:-4]) for words in atoms]
    part = _Part(path, symbols, positions, hessian=hessian, masses=masses, multiplicity=multiplicity)
    if float(sections.get("frequency_scale_factor", ["1.0"])[0]) == 1.0:
        rows = [line.split() for line in sections.get("vibrational_frequencies", [])[1:]]
        part.frequencies = np.array([row[1] for row in rows if len(row) == 2], dtype=np.float64)
    return [part]


def _read_matrix(lines: list[str]) -> np.ndarray:
    """A matrix in blocks of columns, each under the numbers of its columns; ValueError where some are missing."""
    size = int(lines[0])
    matrix = np.full((size, size), np.nan)
    for start in range(1, len(lines), size + 1):
        columns = [int(word) for word in lines[start].split()]
        rows = [line.split() for line in lines[start + 1 : start + 1 + size]]
        matrix[np.ix_([int(row[0]) for row in rows], columns)] = [[float(word) for word in row[1:]] for row in rows]
    if np.isnan(matrix).any():
        raise ValueError("elements are missing")
    return matrix


def _read_json(path: Path) -> list[_Part]:
    try:
        content = json.loads(path.read_text())
        return [_part(path, geometry, content.get("Calculation_Info", {})) for geometry in content["Geometries"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} has no Geometries as ORCA 6 writes them, or it is truncated: remove it and give "
            f"{path.name.removesuffix('.json')}.txt or the .out"
        ) from error


def _part(path: Path, geometry: Mapping[str, Any], job: Mapping[str, Any]) -> _Part:
    """What the properties of one geometry say, under the names of ORCA's JSON."""
    coordinates = geometry["Geometry"]["Coordinates"]
    unit = 1.0 if coordinates.get("Units", "a.u.").lower() in ("a.u.", "bohr") else 1.0 / BOHR
    atoms = [row[0] for row in coordinates["Cartesians"]]
    positions = np.array([row[1:4] for row in coordinates["Cartesians"]], dtype=np.float64) * unit
    info = {**job, **geometry.get("Calculation_Info", {})}
    single = geometry.get("Single_Point_Data", {})
    part = _Part(path, atoms, positions, single.get("FinalEnergy"))
    part.charge, part.multiplicity = info.get("Charge"), info.get("Mult")
    gradients = geometry.get("Nuclear_Gradient", [])
    if len(gradients) == 1:
        part.gradient = np.array(gradients[0]["grad"], dtype=np.float64).reshape(-1, 3)
    elif gradients:
        part.note = f"{len(gradients)} gradients of one geometry ({', '.join(g['Method'] for g in gradients)}) not read"
    if "Hessian" in geometry:
        part.hessian = np.array(geometry["Hessian"]["HESSIAN"], dtype=np.float64)
    if single.get("Converged") is False:
        raise UserError(f"{path} has an energy that did not converge: converge it, or leave the job out")
    excited = [energy for energy in geometry.get("Energy", []) if "CIS" in energy.get("Method", "")]
    if excited and part.gradient is None and part.hessian is None:
        (ground,) = np.ravel(next(e["totalEnergy"] for e in geometry["Energy"] if e["Method"] == "SCF"))
        part.energy = float(ground) + float(geometry.get("VdW_Correction", {}).get("vdW", 0.0))
        part.note = "it is of excited states: the energy is the ground state's"
    elif excited:
        part.note = "energy and derivatives are of an excited state: give its level of theory with --level"
    return part


#: Blocks of `.property.txt` that lie under a common name in the JSON.
_NESTED = {"_Energy": "Energy", "_Energies": "Energy", "_Nuc_Gradient": "Nuclear_Gradient"}
_PROPERTY = re.compile(r'\s*&(?P<name>\w+)(?:\s*\[&Type "(?P<type>\w+)"(?P<more>[^\]]*)\])?(?P<rest>.*)$')


def _read_property_txt(path: Path) -> list[_Part]:
    """ORCA 6's text, brought into the form of its JSON."""
    lines = path.read_text().splitlines()
    geometries: dict[int, dict[str, Any]] = {}
    job: dict[str, Any] = {}
    try:
        at = 0
        while at < len(lines):
            line = lines[at]
            at += 1
            if not line.startswith("$") or line.startswith("$End"):
                continue
            name, values = line[1:].strip(), dict[str, Any]()
            while not lines[at].startswith("$End"):
                key, value, at = _read_property(lines, at)
                if key:
                    values[key] = value
            at += 1
            _place(name, values, geometries.setdefault(int(values.get("GeometryIndex", 0)), {}), job)
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(
            f"{path} is no .property.txt of ORCA 6, or it is truncated: remove it, give the .out"
        ) from error
    return [_part(path, geometry, job) for _, geometry in sorted(geometries.items()) if "Geometry" in geometry]


def _place(name: str, values: dict[str, Any], geometry: dict[str, Any], job: dict[str, Any]) -> None:
    if name == "Calculation_Info":
        job |= values
    elif name == "Geometry":
        geometry[name] = {"Coordinates": values["CartesianCoordinates"]}
    elif name in ("Single_Point_Data", "VdW_Correction"):
        geometry[name] = values
    elif name == "Hessian" and "HESSIAN" in {key.upper() for key in values}:
        geometry[name] = {"HESSIAN": next(value for key, value in values.items() if key.upper() == "HESSIAN")}
    elif name != "DFT_Energy":
        for ending, common in _NESTED.items():
            if name.endswith(ending):
                geometry.setdefault(common, []).append({"Method": name.removesuffix(ending), **values})


def _read_property(lines: list[str], at: int) -> tuple[str, Any, int]:
    """Name and value of the property that begins on a line, and where the next one begins."""
    match = _PROPERTY.match(lines[at])
    if match is None:
        return "", None, at + 1
    kind, rest, more = match["type"], match["rest"].split(), match["more"] or ""
    sizes = re.search(r"&Dim ?\((\d+),(\d+)\)", more)
    rows, columns = (int(sizes[1]), int(sizes[2])) if sizes else (0, 0)
    at += 1
    if kind == "Coordinates":
        values = [line.split() for line in lines[at : at + rows]]
        units = re.search(r'&Units "(.*?)"', more)
        found = {"Cartesians": [[words[0], *map(float, words[1:4])] for words in values]}
        return match["name"], found | ({"Units": units[1]} if units else {}), at + rows
    if kind in ("ArrayOfDoubles", "ArrayOfIntegers", "ArrayOfBooleans"):
        array = np.full((rows, columns), np.nan)
        done = 0
        while done < columns:  # blocks of columns, under a line of their numbers and one that is empty
            numbers = [int(word) for word in lines[at].split()]
            table = [line.split() for line in lines[at + 1 : at + 3 + rows] if line.strip()][:rows]
            if kind != "ArrayOfBooleans":
                array[np.ix_([int(row[0]) for row in table], numbers)] = [[float(w) for w in row[1:]] for row in table]
            at += 1 + rows + (0 if lines[at + 1].strip() else 1)
            done += len(numbers)
        return match["name"], array.tolist(), at
    if kind == "String":
        return match["name"], " ".join(rest).strip('"'), at
    if kind == "Boolean":
        return match["name"], rest[0] == "true", at
    if kind == "Double":
        return match["name"], float(rest[0]), at
    return match["name"], int(rest[0]) if kind in ("Integer", None) and rest else None, at


def _read_out(path: Path) -> list[_Part]:
    """Every geometry with its energy and gradient, as printed."""
    lines = path.read_text(errors="replace").splitlines()
    parts: list[_Part] = []
    charge = multiplicity = None
    words: list[str] = []
    ground = None
    try:
        for at, line in enumerate(lines):
            if (keywords := re.match(r"\|\s*\d+>\s*!(.*)", line)) is not None:
                words += keywords[1].split("#")[0].split()
            elif line.startswith("CARTESIAN COORDINATES (A.U.)"):
                rows = _table(lines, at + 3)
                atoms = [row[1] if float(row[2]) else 0 for row in rows]
                parts.append(_Part(path, atoms, np.array([row[-3:] for row in rows], dtype=np.float64)))
                ground = None
            elif line.startswith(" Total Charge "):
                charge = int(line.split()[-1])
            elif line.startswith(" Multiplicity  "):
                multiplicity = int(line.split()[-1])
            elif not parts:
                continue
            elif line.startswith("CARTESIAN GRADIENT"):
                parts[-1].gradient = np.array([row[-3:] for row in _table(lines, at + 3)], dtype=np.float64)
            elif re.match(r"\s+E\(SCF\)\s+=", line):
                ground = float(line.split()[2])
            elif line.startswith("FINAL SINGLE POINT ENERGY"):
                if "not fully converged" in line.lower():
                    raise UserError(f"{path} has an energy that did not converge: converge it, or leave the job out")
                parts[-1].energy = float(line.split()[-1])
                if ground is not None and parts[-1].energy > ground:  # of the first root
                    parts[-1].note = "it is of excited states: energies of .out are theirs, and left out"
                    parts[-1].energy = None
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} is no output of ORCA that can be read, or it is truncated: run it again") from error
    level = " ".join(word for word in words if not _NOT_OF_THE_LEVEL.fullmatch(word.lower()))
    for part in parts:
        part.charge, part.multiplicity, part.level = charge, multiplicity, level
        part.gradient = None if part.note else part.gradient
    return [part for part in parts if part.energy is not None or part.gradient is not None or part.note]


def _table(lines: list[str], at: int) -> list[list[str]]:
    """The rows of words that begin on a line, up to an empty one."""
    rows = []
    while at < len(lines) and lines[at].strip():
        rows.append(lines[at].split())
        at += 1
    return rows


_READERS: dict[str, Callable[[Path], list[_Part]]] = {
    ".property.json": _read_json,
    ".property.txt": _read_property_txt,
    ".out": _read_out,
    ".log": _read_out,
    ".engrad": _read_engrad,
    ".hess": _read_hess,
}
#: Files of all geometries come first, so that those of one find theirs.
_READERS_IN_ORDER = tuple(_READERS)
