"""TURBOMOLE's data groups and xtb's files in the same layout: ``coord``, ``gradient``, ``energy``, ``hessian``.

Every point of ``gradient`` is a structure with its energy; a Hessian belongs to the coordinates beside it. What lies in
a folder together is one calculation. All numbers are in Hartree and bohr.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from hesspot.data.readers.frames import require_frame, require_frequencies
from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, numbers_of
from hesspot.errors import UserError
from hesspot.units import BOHR

#: Files that both programs write beside `control`, or without one.
FILES = ("control", "coord", "xtbopt.coord", "gradient", "energy", "hessian", "nprhessian", "vibspectrum")
#: bohr; xtb writes geometries with six decimals in Å.
SAME_GEOMETRY = 1e-5

_NUMBER = re.compile(r"[-+]?\d*\.\d+(?:[EeDd][-+]?\d+)?")
_CYCLE = re.compile(r"cycle =\s*\d+\s+(.*?)energy =\s*(\S+)")


@dataclass
class _Point:
    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    gradient: np.ndarray


def read(path: Path, options: Options) -> Iterator[Raw]:
    """Structures of one calculation, of which `path` is the folder or any file."""
    folder = path if path.is_dir() else path.parent
    groups = _groups(folder, path)
    name = folder.resolve().name
    points = _points(groups.get("grad", []), folder)
    hessian, geometry = _hessian(groups), _geometry(groups, folder)
    if hessian is not None:
        if geometry is None and len(points) == 1:
            geometry = points[0].numbers, points[0].positions
        if geometry is None:
            raise UserError(
                f"{folder} has a Hessian without its geometry: add coord, xtbopt.xyz or xtb's g98.out to it"
            )
        if hessian.size != 9 * len(geometry[0]) ** 2:
            raise UserError(
                f"{folder} has a Hessian of {hessian.size} numbers, {len(geometry[0])} atoms need "
                f"{9 * len(geometry[0]) ** 2}: it is truncated, or of another molecule than the coordinates"
            )
    elif not points and geometry is None:
        raise UserError(f"{folder} has neither coord nor gradient: give the folder of one calculation")
    last = points[-1] if points else None
    joined = geometry is None or (
        last is not None and last.numbers.tolist() == geometry[0].tolist() and _near(last.positions, geometry[1])
    )
    found = []
    for i, point in enumerate(points):
        raw = Raw(f"cycle {i + 1} of {folder}", point.numbers, point.positions, name, ATOMIC)
        raw.energy, raw.gradient = point.energy, point.gradient
        raw.hessian = hessian if joined and point is last else None
        found.append(raw)
    if geometry is not None and not (points and joined) and (hessian is not None or not points):
        raw = Raw(f"structure {name} of {folder}", *geometry, name, ATOMIC, hessian=hessian)
        raw.energy = _energy(groups, folder, raw.place)
        if raw.energy is None and hessian is None:
            raise UserError(f"{folder} has coordinates only: add energy, gradient or hessian to it")
        found.append(raw)
    for i, raw in enumerate(found):
        raw.name, raw.system = (f"{name}_{i}", name) if len(found) > 1 else (name, None)
        raw.charge, raw.multiplicity = _electrons(groups, folder)
        raw.level = _level(folder)
        _check(raw, groups)
        yield raw


def _check(raw: Raw, groups: dict[str, list[str]]) -> None:
    require_frame(raw.place, raw.positions, raw.gradient, raw.hessian)
    rows = [line.split() for line in groups.get("vibrational spectrum", []) if not line.startswith("#")]
    printed = [float(next(word for word in row[1:] if "." in word)) for row in rows if len(row) > 2]
    if raw.hessian is not None and printed:
        require_frequencies(raw.place, raw.numbers, raw.positions, raw.hessian, np.array(printed), None)


def _groups(folder: Path, path: Path) -> dict[str, list[str]]:
    """Lines of the data groups in a folder's files; those of `control` that stand in other files are read there."""
    names = [folder / name for name in FILES]
    if path.is_file():
        names.insert(0, path)
    groups: dict[str, list[str]] = {}
    others: list[Path] = []
    for file in names:
        if file.is_file():
            _read_groups(file, groups, others)
    for file in others:
        if file.is_file() and file.name not in FILES:
            _read_groups(file, groups, [])
    return groups


def _read_groups(file: Path, groups: dict[str, list[str]], others: list[Path]) -> None:
    current: list[str] = []
    for line in file.read_text(errors="replace").splitlines():
        if not line.startswith("$"):
            current.append(line)
            continue
        title = re.sub(r"\(.*?\)", "", line[1:]).split("file=")
        key = title[0].strip()
        if (first := key.split(" ")[0]) in ("coord", "grad", "energy", "hessian", "nprhessian"):
            key = first
        if len(title) > 1:
            if not title[1].strip().startswith("uff"):  # a force field's, to begin with
                others.append(file.parent / title[1].split()[0])
            continue
        current = []
        if key.startswith("energy"):
            current.append(line)
        if key != "end":
            groups.setdefault(key, current)


def _points(lines: list[str], folder: Path) -> list[_Point]:
    starts = [i for i, line in enumerate(lines) if _CYCLE.search(line)]
    points = []
    for start, end in pairwise([*starts, len(lines)]):
        match = _CYCLE.search(lines[start])
        assert match is not None
        if "ex" in match[1].lower():
            raise UserError(f"{folder} has gradients of an excited state ({match[1].strip()}): leave it out")
        rows = [line.split() for line in lines[start + 1 : end] if line.strip()]
        atoms = [row for row in rows if len(row) >= 4]
        forces = [_NUMBER.findall(line) for line in lines[start + 1 : end] if len(line.split()) < 4 and line.strip()]
        try:
            numbers = numbers_of([row[3].capitalize() for row in atoms], str(folder))
            positions = np.array([_floats(row[:3]) for row in atoms])
            gradient = np.array([_floats(row) for row in forces]).reshape(len(atoms), 3)
            points.append(_Point(numbers, positions, _floats([match[2]])[0], gradient))
        except (ValueError, IndexError) as error:
            raise UserError(f"{folder} has a gradient that is truncated or damaged: compute it again") from error
    return points


def _hessian(groups: dict[str, list[str]]) -> np.ndarray | None:
    """As it stands; the one without projection if both are there. Row numbers are whole, elements are not."""
    lines = groups.get("nprhessian") or groups.get("hessian")
    if lines is None:
        return None
    return np.array(_floats([number for line in lines for number in _NUMBER.findall(line)]))


def _geometry(groups: dict[str, list[str]], folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Numbers and positions (n, 3) in bohr of a Hessian or an energy: what xtb wrote with it, else `coord`."""
    written = _from_g98(folder / "g98.out")
    rows = [line.split() for line in groups.get("coord", []) if len(line.split()) >= 4]
    given = None
    if rows:
        positions = np.array([_floats(row[:3]) for row in rows])
        given = numbers_of([row[3].capitalize() for row in rows], str(folder)), positions
    for file in sorted(folder.glob("*.xyz")):
        if written is not None and given is None:
            given = _from_xyz(file, written)
    if written is None:
        return given if given is not None else _from_xyz(folder / "xtbopt.xyz", None)
    return given if given is not None and len(given[0]) == len(written[0]) and _near(given[1], written[1]) else written


def _from_g98(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The geometry at which xtb computed its Hessian."""
    if not file.is_file():
        return None
    rows = [line.split() for line in file.read_text().splitlines()]
    atoms = [row for row in rows if len(row) == 6 and row[2] == "0" and "." in row[5]]
    return np.array([int(row[1]) for row in atoms]), np.array([_floats(row[3:]) for row in atoms]) / BOHR


def _from_xyz(file: Path, like: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The last geometry of a file, None if it is another one than `like`: xtb's own file has more digits."""
    if not file.is_file():
        return None
    lines = file.read_text(errors="replace").splitlines()
    try:
        n = int(lines[0])
        rows = [line.split() for line in lines[-n:]]
        found = numbers_of([row[0] for row in rows], str(file)), np.array([_floats(row[1:4]) for row in rows]) / BOHR
    except (ValueError, IndexError, UserError):
        return None
    if like is not None and (found[0].tolist() != like[0].tolist() or not _near(found[1], like[1])):
        return None
    return found


def _near(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and bool(np.abs(first - second).max() < SAME_GEOMETRY)


def _energy(groups: dict[str, list[str]], folder: Path, place: str) -> float | None:
    """The last energy: of xtb's JSON, or of `energy`, where correlation stands in a column of its own."""
    report = folder / "xtbout.json"
    if report.is_file():
        try:
            return float(json.loads(report.read_text())["total energy"])
        except (ValueError, KeyError) as error:
            raise UserError(f"{report} has no 'total energy', or it is truncated: run xtb again with --json") from error
    title, *rows = [line for line in groups.get("energy", []) if line.strip()] or [""]
    if not rows:
        return None
    columns = title.split()[1:]
    values = _floats(rows[-1].split()[1:])
    if len(columns) > 4 or len(values) < max(1, len(columns)):
        raise UserError(f"{place} has an energy in the columns {' '.join(columns)}, which are not known: take it out")
    if len(columns) == 3 and {"ricc2", "rir12"} & set(groups):
        raise UserError(f"{place} has an energy without the correlation of its $ricc2: take the file energy out")
    return sum(values[i] for i in (0, 3) if i < max(1, len(columns)))


def _electrons(groups: dict[str, list[str]], folder: Path) -> tuple[int | None, int | None]:
    """Charge and multiplicity from xtb's `.CHRG` and `.UHF`, or TURBOMOLE's `$eht`; closed shells are singlets."""
    charge = _whole(folder / ".CHRG")
    unpaired = _whole(folder / ".UHF")
    for key in groups:
        if key.startswith("eht") and (match := re.search(r"charge=\s*(-?\d+)", key)):
            charge = int(match[1])
        if key.startswith("eht") and (match := re.search(r"unpaired=\s*(\d+)", key)):
            unpaired = int(match[1])
    return charge, None if unpaired is None else unpaired + 1


def _whole(file: Path) -> int | None:
    words = file.read_text().split() if file.is_file() else []
    return int(words[0]) if words and re.fullmatch(r"-?\d+", words[0]) else None


def _level(folder: Path) -> str:
    report = folder / "xtbout.json"
    try:
        return str(json.loads(report.read_text()).get("method", "")) if report.is_file() else ""
    except ValueError:
        return ""


def _floats(words: list[str]) -> list[float]:
    return [float(word.replace("D", "E").replace("d", "e")) for word in words]
