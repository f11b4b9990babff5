"""Gaussian's formatted checkpoint file, which Q-Chem writes, too.

Libraries that read it want orbitals too, or turn energies into eV with constants of their own; what is needed here
is a few labelled arrays, all in Hartree and bohr, all in the orientation of the coordinates.

A file of an optimisation, a scan or a reaction path has the geometries that it went through, with energies (to 1e-6
Hartree) and gradients. One of them is the Hessian's, which need not be the last: it is found by the sum rule of
rotations, H·(e×r) = e×g, which only the right gradient and geometry keep. Q-Chem writes the geometries one after the
other, without energies: the one before the Hessian is its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hesspot.data.readers.frames import require_frequencies
from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of, without_ghosts, without_held_atoms
from hesspot.data.sum_rules import rotational_defect
from hesspot.errors import UserError

_WANTED = (
    "Atomic numbers",
    "Nuclear charges",
    "Current cartesian coordinates",
    "Translation vectors",
    "Real atomic weights",
    "Charge",
    "Multiplicity",
    "SCF Energy",
    "CIS Energy",
    "ETran state values",
    "Total Energy",
    "Nuclear derivative order",
    "Cartesian Gradient",
    "Cartesian Force Constants",
    "Vib-LE2Fix",
    "Vib-AtMass",
    "Vib-E2",
    "IRC Reference Energy",
    "Optimization Reference Energy",
)
#: Among the entries: how many geometries the file has.
_GEOMETRIES = "geometries"
_POINT = re.compile(r"(IRC|Opt) point +(\d+) (Results for each geome|Geometries|Gradient at each geome)")
#: Jobs, as line 2 names them, that move from point to point.
_MOVING = re.compile(r"(F|P)?(OPT|TS|SADDLE|SCAN|IRC)|LST", re.IGNORECASE)
#: Method of an excited state: RTD-B3LYP-FC (Gaussian 09), RB3LYP TD-FC (Gaussian 16).
_TD = re.compile(r"^(R|U|RO)TD-(.+?)(-FC)?(?=\s)|\sTD(A)?(-FC)?(?=\s)")

#: Numbers that are kept of each vibration; the first of them, of all vibrations, are frequencies in cm⁻¹.
VIBRATION = 14
#: bohr; points have the digits of the coordinates.
SAME_PLACE = 1e-6
#: Hartree; energies of points are rounded to 1e-6.
SAME_ENERGY = 1e-5
#: Hartree/bohr, of the sum rule of rotations: grids of DFT make 2e-3, a step of an optimisation 2e-2 and more.
SAME_GEOMETRY = 5e-3


@dataclass
class _Point:
    """A geometry that a job went through: (n, 3) bohr, Hartree, (n, 3) Hartree/bohr."""

    positions: np.ndarray
    energy: Any
    gradient: Any
    kind: str | None = None


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The structures of a file: the points that the job went through, and the last one with all that the file has."""
    lines = path.read_text(errors="replace").splitlines()
    entries = _entries(lines, path)
    for label in ("Atomic numbers", "Current cartesian coordinates"):
        if label not in entries:
            raise UserError(f"{path} has no {label!r}: it is no formatted checkpoint file, make it with formchk")
    if np.any(entries.get("Translation vectors", 0)):
        raise UserError(f"{path} is of a periodic calculation, of which only molecules are read: leave it out")
    numbers = entries["Atomic numbers"]
    n = len(numbers)
    ghosts = (numbers < 1) | (entries.get("Nuclear charges", numbers) == 0)
    masses = entries.get("Vib-AtMass", entries.get("Real atomic weights"))
    hessian = entries.get("Cartesian Force Constants")
    hessian = None if hessian is None else _full(hessian, n, path)
    energy, level, notes = _energy(lines, entries)
    if (others := int(entries.get(_GEOMETRIES, 1)) - 1) > 0:
        notes.append(f"{others} geometries without energies are left out, as Q-Chem writes them: its output has both")
    current = _Point(_rows(entries["Current cartesian coordinates"], n, path), energy, None)
    current.gradient = _gradient(entries, current.positions, hessian, path)
    points, told = _points(entries, current, n, lines[1][:10], path)
    notes += told
    place = None if hessian is None else _place_of(hessian, points, entries, lines[1][:10])
    if hessian is not None and place is None:
        notes.append("the Hessian belongs to none of its geometries (sum rule of rotations) and is left out")
    for i, point in enumerate(points):
        name = path.stem if len(points) == 1 else f"{path.stem}_{i}"
        raw = Raw(
            f"structure {name} of {path}",
            numbers,
            point.positions,
            name,
            ATOMIC,
            energy=point.energy,
            gradient=point.gradient,
            charge=None if "Charge" not in entries else int(entries["Charge"]),
            multiplicity=None if "Multiplicity" not in entries else int(entries["Multiplicity"]),
            masses=masses,
            hessian=hessian if place is point else None,
            kind=point.kind,
            system=None if len(points) == 1 else path.stem,
            level=level,
            notes=tuple(notes) if i == 0 else (),
        )
        raw = without_held_atoms(without_ghosts(raw, ghosts))
        raw.numbers = numbers_of(raw.numbers, raw.place)
        if raw.hessian is not None and "Vib-E2" in entries and lines[1][:10].strip().upper() == "FREQ":
            printed = entries["Vib-E2"][: len(entries["Vib-E2"]) // int(entries.get("Vib-LE2Fix", VIBRATION))]
            require_frequencies(raw.place, raw.numbers, point.positions, raw.hessian, printed, raw.masses)
        raw.masses = None if raw.masses is None else isotopes(raw.numbers, raw.masses)
        yield raw


def _energy(lines: list[str], entries: dict[str, Any]) -> tuple[float | None, str, list[str]]:
    """Energy, level of theory, and what was left aside.

    Of a job that looks at excited states the energy is the ground state's, unless derivatives belong to the other one.
    """
    level = " ".join(lines[1][10:].split())
    if level.split(" ")[0].upper() in ("R", "U", "RO"):  # Q-Chem says no more than this of the method
        level = ""
    total, ground = entries.get("Total Energy"), entries.get("SCF Energy")
    total, ground = (value or None for value in (total, ground))  # zero where there is none
    method_is_td = _TD.search(f"{level} ") is not None
    excited = method_is_td or "CIS Energy" in entries or "ETran state values" in entries
    if total is None and ground is None:
        return None, level, ["it has no energy"]
    if not excited or (total is not None and ground is not None and total <= ground):
        return (ground if total is None else total), level, []
    if any(np.any(entries.get(key, 0)) for key in ("Cartesian Gradient", "Cartesian Force Constants")):
        return total, level, ["energy and derivatives are of an excited state, and so is its level of theory"]
    words = _TD.sub(lambda td: f"{td[1]}{td[2]}" if td[1] else "", f"{level} ").split()
    words = [re.sub(r"^(R|U|RO)CIS(-FC)?$", r"\1HF", word) for word in words]
    return ground, " ".join(words), ["it is of excited states: the energy is the ground state's, as `SCF Energy`"]


def _gradient(entries: dict[str, Any], positions: np.ndarray, hessian: np.ndarray | None, path: Path) -> Any:
    """(n, 3), or None for the zeros that stand where no gradient was calculated.

    They are a gradient only of a single atom, or if the Hessian of this geometry says so.
    """
    if "Cartesian Gradient" not in entries:
        return None
    gradient = _rows(entries["Cartesian Gradient"], len(positions), path)
    if len(positions) == 1 or gradient.any():
        return gradient
    agrees = hessian is not None and hessian.any() and _defect(positions, gradient, hessian) < SAME_GEOMETRY
    return gradient if agrees and entries.get("Nuclear derivative order", 2) > 0 else None


def _points(entries: dict[str, Any], current: _Point, n: int, job: str, path: Path) -> tuple[list[_Point], list[str]]:
    """All geometries, the current one last, and what was left aside."""
    points = []
    found = {(match[1], int(match[2])) for label in entries if (match := _POINT.match(label))}
    for prefix, number in sorted(found):
        start = f"{prefix} point {number:7d} "
        reference = entries.get({"Opt": "Optimization", "IRC": "IRC"}[prefix] + " Reference Energy", 0.0)
        try:
            results, geometries, gradients = (
                entries[start + what].reshape(-1, size)
                for what, size in (
                    ("Results for each geome", 2),
                    ("Geometries", 3 * n),
                    ("Gradient at each geome", 3 * n),
                )
            )
        except (KeyError, ValueError) as error:
            raise UserError(f"{path} has not all numbers of {start.strip()!r}: it is damaged") from error
        kind = "irc" if prefix == "IRC" else None
        for (energy, _), positions, gradient in zip(results, geometries, gradients, strict=True):
            points.append(_Point(positions.reshape(n, 3), energy + reference, gradient.reshape(n, 3), kind))
    same = [point for point in points if np.abs(point.positions - current.positions).max() < SAME_PLACE]
    if same and current.energy is not None and abs(same[-1].energy - current.energy) > SAME_ENERGY:
        return [current], [f"{len(points)} geometries are of an earlier job at another level, and left out"]
    if points and not same and not _MOVING.match(job.strip()):
        return [current], [f"{len(points)} geometries are of an earlier job, and left out"]
    if points:
        current.kind = points[-1].kind
    if same and current.gradient is None:
        current.gradient = same[-1].gradient
    return [point for point in points if not any(point is each for each in same)] + [current], []


def _place_of(hessian: np.ndarray, points: list[_Point], entries: dict[str, Any], job: str) -> _Point | None:
    """The point whose Hessian it is: the last one of a job that calculates it, else the one whose sum rule it keeps."""
    moving = _MOVING.match(job.strip()) is not None
    if len(points) == 1 or entries.get("Nuclear derivative order", 1 if moving else 2) == 2:
        return points[-1]
    known = [point for point in points if point.gradient is not None]
    defects = [_defect(point.positions, point.gradient, hessian) for point in known]
    if not known or min(defects) > SAME_GEOMETRY:
        return None
    return known[int(np.argmin(defects))]


def _defect(positions: np.ndarray, gradient: Any, hessian: np.ndarray) -> float:
    return rotational_defect(positions, -gradient, hessian)


def _entries(lines: list[str], path: Path) -> dict[str, Any]:
    """Values of the wanted labels (columns 1 to 40), numbers as they stand or arrays of the N that follow."""
    entries: dict[str, Any] = {}
    for i, line in enumerate(lines):
        label = line[:40].strip()
        if line[:1].isspace() or (label not in _WANTED and not _POINT.match(label)):
            continue
        words = line[44:].split()
        try:
            if words[0] != "N=":
                entries[label] = _float(words[0])
                continue
            count = int(words[1])
            values: list[float] = []
            for following in lines[i + 1 :]:
                if len(values) >= count:
                    break
                values += [_float(word) for word in following.split()]
        except (ValueError, IndexError) as error:
            raise UserError(f"{path} has no numbers under {label!r}: it is truncated or damaged") from error
        if len(values) != count:
            raise UserError(f"{path} has {len(values)} of {count} numbers of {label!r}: it is truncated")
        if label == "Current cartesian coordinates":
            entries[_GEOMETRIES] = entries.get(_GEOMETRIES, 0) + 1
            if "Cartesian Force Constants" in entries:
                continue
        entries[label] = np.array(values)
    return entries


def _float(word: str) -> float:
    """A number as Fortran writes it: 1.0D+00, and 1.0-100 where the exponent has three digits."""
    try:
        return float(word)
    except ValueError:
        return float(re.sub(r"(?<=\d)[dD]?(?=[+-]\d+$)", "e", word))


def _rows(values: np.ndarray, n: int, path: Path) -> np.ndarray:
    if values.size != 3 * n:
        raise UserError(f"{path} has {values.size} numbers where its {n} atoms need three each: it is damaged")
    return values.reshape(n, 3)


def _full(triangle: np.ndarray, n: int, path: Path) -> np.ndarray:
    """(3n, 3n) of Gaussian's lower triangle, row by row."""
    size = 3 * n
    if len(triangle) != size * (size + 1) // 2:
        raise UserError(f"{path} has {len(triangle)} force constants, which do not fit to {n} atoms: it is damaged")
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T
