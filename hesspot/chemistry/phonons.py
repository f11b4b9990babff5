"""Phonons of a crystal through phonopy (A. Togo et al., J. Phys.: Condens. Matter 35, 353001, 2023), from exact force
constants, along the path of seekpath (Y. Hinuma et al., Comput. Mater. Sci. 128, 140, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.geometry import minkowski_reduce

from hesspot.chemistry.crystal import as_lattice
from hesspot.chemistry.force_constants import CrystalDerivatives
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.units import ENERGIES

#: Atoms of the largest supercell that is made where none is asked for: with more phonopy takes minutes.
LARGEST = 6000

#: THz; deeper branches are imaginary, above are zero to rounding: what counts in the thermodynamics is above, too.
IMAGINARY = 0.01

#: Points on the path for each 1/Å, at least two for each line; length of phonopy's mesh, Å.
PER_INVERSE_LENGTH, MESH = 300.0, 100.0

#: Intervals of the density of states between the lowest and the highest frequency.
DOS_POINTS = 300

#: Å, how exactly the crystal has its symmetry after relaxation.
SYMMETRIC = 1e-5

_GREEK = {"GAMMA": "Γ", "SIGMA": "Σ", "LAMBDA": "Λ", "DELTA": "Δ"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, eq=False)
class Line:
    """One straight line of the path: names of its ends, points (k, 3) in units of the reciprocal lattice vectors,
    distances (k,) 1/Å along the whole path, frequencies (k, branches) THz, imaginary ones negative."""

    start: str
    end: str
    points: np.ndarray
    distances: np.ndarray
    frequencies: np.ndarray


@dataclass(frozen=True)
class Thermodynamics:
    """Harmonic, at fixed volume and per atom: free energy eV with the zero-point energy, entropy and heat capacity
    eV/K."""

    temperature: float
    free_energy: float
    entropy: float
    heat_capacity: float


@dataclass(frozen=True, eq=False)
class Phonons:
    """lines: the path; dos (k, 2): THz, and states per THz and cell, on a mesh of the whole zone; lowest: THz of the
    softest branch on path and mesh, imaginary negative; where: in words; unstable: the part of the mesh's modes that is
    imaginary; multiples (3,) and reach Å: of the supercell, and of the force constants; exact: whether the one holds
    the other; phonopy: its `Phonopy`, ready for more."""

    lines: list[Line]
    dos: np.ndarray
    thermodynamics: list[Thermodynamics]
    lowest: float
    where: str
    unstable: float
    multiples: np.ndarray
    reach: float
    exact: bool
    phonopy: Any

    @property
    def stable(self) -> bool:
        """Whether no branch is imaginary."""
        return self.lowest > -IMAGINARY

    def save(self, path: Path) -> None:
        """A file for phonopy, `phonopy-load FILE` and `phonopy.load`, with cells and force constants."""
        self.phonopy.save(path, settings={"force_constants": True, "force_sets": False, "displacements": False})

    @property
    def highest(self) -> float:
        """THz, on the path."""
        return max(float(line.frequencies.max()) for line in self.lines)


def phonons(derivatives: CrystalDerivatives, temperatures: Sequence[float], supercell: Sequence[int] | None) -> Phonons:
    """From the second derivatives of a primitive cell; temperatures in K.

    supercell: multiples of the lattice vectors; by default the smallest that holds all force constants without an
    image, so that nothing is interpolated. UserError for such a one with more than `LARGEST` atoms.
    """
    multiples = np.array(supercell) if supercell else smallest_exact(derivatives)
    phonon = _phonopy_of(derivatives, multiples)
    lines = _bands(phonon, derivatives.atoms)
    phonon.run_mesh(MESH)
    phonon.run_total_dos(freq_pitch=float(np.ptp(phonon.mesh.frequencies)) / DOS_POINTS)
    dos = np.column_stack([phonon.total_dos.frequency_points, phonon.total_dos.dos])
    phonon.run_thermal_properties(temperatures=list(temperatures), cutoff_frequency=IMAGINARY)
    lowest, where = _softest(phonon, lines)
    imaginary = (phonon.mesh.frequencies < -IMAGINARY).mean(axis=1)
    weights = phonon.mesh.weights
    return Phonons(
        lines=lines,
        dos=dos,
        thermodynamics=_thermodynamics(phonon, len(derivatives.atoms)),
        lowest=lowest,
        where=where,
        unstable=float(imaginary @ weights / weights.sum()),
        multiples=multiples,
        reach=derivatives.reach,
        exact=_shortest(derivatives.atoms, multiples) > 2.0 * derivatives.reach,
        phonopy=phonon,
    )


def smallest_exact(derivatives: CrystalDerivatives) -> np.ndarray:
    """Multiples (3,) of the lattice vectors for which no lattice vector of the supercell is shorter than twice the
    reach of the force constants; UserError above `LARGEST` atoms."""
    lengths = derivatives.atoms.cell.lengths()
    wanted = 2.0 * derivatives.reach
    multiples = np.ceil(wanted / lengths).astype(int)
    while _shortest(derivatives.atoms, multiples) <= wanted:
        multiples[np.argmin(multiples * lengths)] += 1
    n_atoms = len(derivatives.atoms) * int(multiples.prod())
    if n_atoms > LARGEST:
        raise UserError(
            f"the force constants of {derivatives.atoms.symbols} reach {derivatives.reach:.3g} Å, for which a "
            f"supercell of {' x '.join(map(str, multiples))} cells with {n_atoms} atoms is needed, and at most "
            f"{LARGEST} are made unasked; name a smaller one, such as --supercell 2 2 2, between whose q-points bands "
            "are interpolated"
        )
    return multiples


def _shortest(atoms: ase.Atoms, multiples: np.ndarray) -> float:
    """Å, the shortest lattice vector of the supercell."""
    reduced, _ = minkowski_reduce(atoms.cell.array * multiples[:, None])
    return float(np.linalg.norm(reduced, axis=1).min())


def _phonopy_of(derivatives: CrystalDerivatives, multiples: np.ndarray) -> Any:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ModuleNotFoundError as error:
        raise UserError(f"bands are made by phonopy; install it with {install_hint('phonons')}") from error
    atoms = derivatives.atoms
    cell = PhonopyAtoms(
        symbols=_symbols(atoms), cell=atoms.cell.array, positions=atoms.positions, masses=atoms.get_masses()
    )
    phonon = Phonopy(
        cell,
        np.diag(multiples),
        primitive_matrix=np.eye(3),
        symprec=SYMMETRIC,
        distinguish_symbol_index=True,
        log_level=0,
    )
    whose = np.array([phonon.supercell.u2u_map[each] for each in phonon.supercell.s2u_map])
    steps = (phonon.supercell.positions - cell.positions[whose]) @ np.linalg.inv(atoms.cell.array)
    cells = np.rint(steps).astype(int) % multiples
    phonon.force_constants = derivatives.folded(cells, phonon.primitive.p2s_map, whose, multiples)
    return phonon


def _symbols(atoms: ase.Atoms) -> list[str]:
    """Of an element with several masses `Cu1`, `Cu2`, …: phonopy's symmetry does not look at masses."""
    masses = atoms.get_masses()
    isotopes = {symbol: np.unique(masses[atoms.symbols == symbol]) for symbol in set(atoms.symbols)}
    return [
        symbol if len(isotopes[symbol]) == 1 else f"{symbol}{1 + int(np.searchsorted(isotopes[symbol], mass))}"
        for symbol, mass in zip(atoms.symbols, masses, strict=True)
    ]


def _bands(phonon: Any, atoms: ase.Atoms) -> list[Line]:
    try:
        import seekpath
    except ModuleNotFoundError as error:
        raise UserError(f"the path is chosen by seekpath; install it with {install_hint('phonons')}") from error
    found = seekpath.get_path_orig_cell(as_lattice(atoms), symprec=SYMMETRIC)
    corners = {name: np.array(point) for name, point in found["point_coords"].items()}
    reciprocal = np.linalg.inv(atoms.cell.array).T
    paths = []
    for start, end in found["path"]:
        length = np.linalg.norm((corners[end] - corners[start]) @ reciprocal)
        steps = np.linspace(0.0, 1.0, max(2, round(PER_INVERSE_LENGTH * length)))[:, None]
        paths.append(corners[start] + steps * (corners[end] - corners[start]))
    phonon.run_band_structure(paths)
    bands = phonon.band_structure
    return [
        Line(_label(start), _label(end), points, np.asarray(distances), np.asarray(frequencies))
        for (start, end), points, distances, frequencies in zip(
            found["path"], paths, bands.distances, bands.frequencies, strict=True
        )
    ]


def _label(name: str) -> str:
    letter, _, number = name.partition("_")
    return _GREEK.get(letter, letter) + number.translate(_SUBSCRIPTS)


def _softest(phonon: Any, lines: Sequence[Line]) -> tuple[float, str]:
    """The lowest frequency on path and mesh, THz, and where it is."""
    line = min(lines, key=lambda each: each.frequencies.min())
    on_path = float(line.frequencies.min())
    index = int(line.frequencies.min(axis=1).argmin())
    on_mesh = phonon.mesh.frequencies.min(axis=1)
    if on_mesh.min() < on_path - IMAGINARY:
        return float(on_mesh.min()), f"off the path, at {_point(phonon.mesh.qpoints[on_mesh.argmin()])}"
    point = _point(line.points[index])
    if index in (0, len(line.points) - 1):
        return on_path, f"at {line.end if index else line.start} {point}"
    return on_path, f"between {line.start} and {line.end}, at {point}"


def _point(point: np.ndarray) -> str:
    return f"({', '.join(f'{x:.3g}' for x in point + 0.0)})"


def _thermodynamics(phonon: Any, n_atoms: int) -> list[Thermodynamics]:
    found = phonon.thermal_properties
    unit = ENERGIES["kj/mol"] / n_atoms
    rows = zip(found.temperatures, found.free_energy, found.entropy, found.heat_capacity, strict=True)
    return [
        Thermodynamics(float(t), float(f) * unit, float(s) * 1e-3 * unit, float(c) * 1e-3 * unit) for t, f, s, c in rows
    ]
