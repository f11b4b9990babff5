"""Ways to make structures from one: each gives one more structure with every call, none with atoms on top of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.units import fs

from hesspot.errors import UserError
from hesspot.neighbors import find_edges

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
