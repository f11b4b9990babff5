"""Ways to make structures from one: each gives one more structure with every call, none with atoms on top of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Any

import ase
import numpy as np
from ase.build import surface
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.mep import NEB
from ase.units import fs

from hesspot.analysis.harmonic_samples import SOFTEST, sample_modes
from hesspot.errors import UserError
from hesspot.neighbors import find_edges
from hesspot.reference.force_lines import central_difference

#: Of the sum of covalent radii: no pair of atoms is brought nearer, but where close contacts are asked for.
NEAREST = 0.7
#: Of the nearest pair of the structure itself, where that is nearer.
STILL_NEARER = 0.9
#: Å, root mean square, between which the displacements of rattled structures lie, where no largest one is given.
RATTLED = 0.02, 0.25
#: Largest component of a strain, and of its isotropic part.
STRAIN = 0.04
VOLUME = 0.06
#: The same of cells whose atoms stay in their places: small, since elastic constants are slopes at no strain.
DEFORMED = 0.02
#: Of a neighbour's distance and of the sum of covalent radii, to which close contacts and dimers come.
CONTACT = 0.55, 0.95
DIMER = 0.5, 2.5
#: Å, what counts as a neighbour that an atom is pushed to, over the sum of covalent radii.
NEIGHBOR = 1.4
#: Planes of surfaces; Å, the least thickness of layers, and of the empty space between them.
PLANES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
THICKNESS, VACUUM = 8.0, 12.0
#: cm⁻¹, as `SOFTEST`, of crystals, which have no torsions.
SOFT_CRYSTAL = 30.0
#: Å, of the differences of forces that give normal modes.
SHIFT = 0.01
#: Tries before a way is given up for a structure.
TRIES = 200
#: fs, of dynamics with and without hydrogen; 1/fs, of its thermostat; steps between two structures.
TIMESTEPS = 0.5, 2.0
FRICTION = 0.02
BETWEEN = 40

#: A structure, random numbers, and the largest amplitude of displacements, Å.
Way = Callable[[ase.Atoms, np.random.Generator, float], ase.Atoms]


def rattled(atoms: ase.Atoms, rng: np.random.Generator, amplitude: float = RATTLED[1]) -> ase.Atoms:
    """Normal displacements whose root mean square lies between `RATTLED[0]` and `amplitude` (Å).

    Atom by atom drawn again where two come too near.
    """
    size, least = rng.uniform(RATTLED[0], amplitude), min(NEAREST, STILL_NEARER * nearest_pair(atoms))
    moved = atoms.copy()
    for atom in rng.permutation(len(atoms)):
        place = moved.positions[atom].copy()
        for _ in range(TRIES):
            moved.positions[atom] = place + size * rng.normal(size=3)
            if nearest_pair(moved) > least:
                break
        else:
            moved.positions[atom] = place
    return moved


def strained(atoms: ase.Atoms, rng: np.random.Generator, amplitude: float = RATTLED[1]) -> ase.Atoms:
    """A cell under a random strain with up to `VOLUME` in each length, whose atoms are rattled."""
    _need_cell(atoms, "strain")
    shear = rng.uniform(-STRAIN, STRAIN, (3, 3))
    strain = 0.5 * (shear + shear.T) + rng.uniform(-VOLUME, VOLUME) * np.eye(3)
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return rattled(moved, rng, amplitude)


def deformed(atoms: ase.Atoms, rng: np.random.Generator, amplitude: float = RATTLED[1]) -> ase.Atoms:
    """A cell under a random strain with components up to `DEFORMED`, whose atoms are carried along."""
    _need_cell(atoms, "deform")
    shear = rng.uniform(-DEFORMED, DEFORMED, (3, 3))
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (shear + shear.T)), scale_atoms=True)
    return moved


def vacant(atoms: ase.Atoms, rng: np.random.Generator, amplitude: float = RATTLED[1]) -> ase.Atoms:
    """A cell without one of its atoms, rattled."""
    _need_cell(atoms, "vacancy")
    if len(atoms) < 2:
        raise UserError("a cell of one atom has no vacancy; give a larger one, or leave --way vacancy out")
    left = atoms.copy()
    del left[int(rng.integers(len(left)))]
    return rattled(left, rng, amplitude)


def slab(atoms: ase.Atoms, rng: np.random.Generator, amplitude: float = RATTLED[1]) -> ase.Atoms:
    """Layers along a random plane of low indices, with empty space between them, rattled."""
    _need_cell(atoms, "surface")
    plane = PLANES[int(rng.integers(len(PLANES)))]
    one = surface(atoms, plane, 1, periodic=True)
    layers = int(np.ceil(THICKNESS / abs(one.cell.volume / np.linalg.norm(np.cross(one.cell[0], one.cell[1])))))
    cut = surface(atoms, plane, layers, vacuum=0.5 * VACUUM, periodic=True)
    return rattled(ase.Atoms(cut.numbers, cut.positions, cell=cut.cell, pbc=True), rng, amplitude)


def path(ends: Sequence[ase.Atoms], count: int) -> Iterator[tuple[int, ase.Atoms]]:
    """Points of paths from each structure to the next, `count` in all, with the number of the former.

    Image-dependent pair potentials put them between (Smidstrup et al., J. Chem. Phys. 140, 214106, 2014).
    """
    pairs = [
        number
        for number, (one, other) in enumerate(pairwise(ends))
        if np.array_equal(one.numbers, other.numbers) and np.allclose(one.cell.array, other.cell.array)
    ]
    if not pairs:
        raise UserError(
            "--way path goes from a start structure to the next of the same atoms, in the same order and cell, and "
            "there are no two such; give both ends, or leave it out"
        )
    for place, number in enumerate(pairs):
        share = count * (place + 1) // len(pairs) - count * place // len(pairs)
        if not share:
            continue
        images = [ends[number].copy() for _ in range(share + 1)] + [ends[number + 1].copy()]
        NEB(images, method="improvedtangent").interpolate("idpp", mic=bool(ends[number].pbc.any()))
        yield from ((number, image) for image in images[1:-1])


def harmonic(
    atoms: ase.Atoms, count: int, calculator: Any, temperatures: list[float], rng: np.random.Generator
) -> Iterator[ase.Atoms]:
    """Thermal samples of the harmonic modes, at the temperatures in turn.

    From central differences of the calculator's forces, 6n of them for n atoms; a structure that is not at a minimum
    is taken as if it were.
    """
    moved = atoms.copy()
    moved.calc = calculator

    def forces_at(positions: np.ndarray) -> np.ndarray:
        moved.positions = positions
        return np.array(moved.get_forces())

    units = np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)
    hessian = np.array([central_difference(forces_at, atoms.positions, unit, SHIFT).ravel() for unit in units])
    softest = SOFT_CRYSTAL if atoms.pbc.all() else SOFTEST
    for number in range(count):
        temperature = temperatures[number % len(temperatures)]
        yield sample_modes(atoms, 0.5 * (hessian + hessian.T), temperature, rng, softest)


def contact(
    atoms: ase.Atoms,
    rng: np.random.Generator,
    amplitude: float = RATTLED[1],
    between: tuple[float, float] = CONTACT,
) -> ase.Atoms:
    """One atom pushed towards a neighbour, to a part of their distance that is drawn; no other is displaced."""
    centers, neighbors, vectors = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, _reach(atoms))
    own = centers != neighbors
    if not own.any():
        raise UserError("a structure whose atoms have no neighbours has no close contact; leave --way contact out")
    edge = rng.choice(np.flatnonzero(own))
    moved = atoms.copy()
    moved.positions[centers[edge]] += (1.0 - rng.uniform(*between)) * vectors[edge]
    return moved


def dimers(atoms: ase.Atoms, count: int) -> Iterator[ase.Atoms]:
    """Pairs of the structure's elements in empty space, at distances from `DIMER` of the sum of their radii on."""
    pairs = list(combinations_with_replacement(sorted(set(atoms.numbers.tolist())), 2))
    for number in range(count):
        one, other = pairs[number % len(pairs)]
        part = (number // len(pairs)) / max((count - 1) // len(pairs), 1)
        distance = (covalent_radii[one] + covalent_radii[other]) * DIMER[0] * (DIMER[1] / DIMER[0]) ** part
        yield ase.Atoms([one, other], [[0.0, 0.0, 0.0], [0.0, 0.0, distance]])


def thermal(
    atoms: ase.Atoms, count: int, calculator: Any, temperatures: list[float], rng: np.random.Generator
) -> Iterator[ase.Atoms]:
    """Every `BETWEEN`-th step of Langevin dynamics at rising temperatures, `count` in all."""
    moving = atoms.copy()
    moving.calc = calculator
    timestep = TIMESTEPS[0] if 1 in moving.numbers else TIMESTEPS[1]
    for number, temperature in enumerate(temperatures):
        MaxwellBoltzmannDistribution(moving, temperature_K=temperature, rng=rng)
        dynamics = Langevin(
            moving, timestep * fs, temperature_K=temperature, friction=FRICTION / fs, fixcm=False, rng=rng
        )
        for _ in range(count * (number + 1) // len(temperatures) - count * number // len(temperatures)):
            dynamics.run(BETWEEN)
            if not np.isfinite(moving.positions).all():
                return
            frame = moving.copy()
            frame.arrays.pop("momenta", None)
            yield frame


#: Those that need no calculator and draw one structure at a time.
WAYS: dict[str, Way] = {
    "rattle": rattled,
    "strain": strained,
    "deform": deformed,
    "vacancy": vacant,
    "surface": slab,
    "contact": contact,
}


def nearest_pair(atoms: ase.Atoms) -> float:
    """The least distance over the sum of covalent radii, images included; infinity where none is near."""
    centers, neighbors, vectors = find_edges(atoms.positions, atoms.cell.array, atoms.pbc, _reach(atoms))
    radii = covalent_radii[atoms.numbers]
    ratios = np.linalg.norm(vectors, axis=1) / (radii[centers] + radii[neighbors])
    return float(ratios.min(initial=np.inf))


def _reach(atoms: ase.Atoms) -> float:
    return 2.0 * NEIGHBOR * float(covalent_radii[atoms.numbers].max())


def _need_cell(atoms: ase.Atoms, way: str) -> None:
    if not atoms.pbc.all():
        raise UserError(
            f"--way {way} is for structures that are periodic in all directions, and {atoms.symbols} is not; leave it "
            "out"
        )
