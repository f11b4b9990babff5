"""A reaction: its saddle point, the paths down from it, and the minima that they end in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import ase
import numpy as np

from hesspot.analysis.descent import steepest_descent
from hesspot.analysis.molecules import bonds, fragments, is_same_molecule
from hesspot.chemistry.band import highest_image
from hesspot.chemistry.stationary import StationaryPoint, find_minimum, find_saddle
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.thermochemistry import spin_of, wigner
from hesspot.electrons import stated_electrons
from hesspot.errors import UserError
from hesspot.structures import fixed_coordinates
from hesspot.units import BOLTZMANN, INVERSE_CM

#: Å amu^½ of a step down, and steps on one side at most.
STEP, POINTS = 0.1, 400

#: Å amu^½; a first step that goes up is tried again with a smaller one down to this.
SHORTEST = 0.01

#: Å; ends whose distances differ by less are one minimum.
SAME_MINIMUM = 0.01


@dataclass(frozen=True, eq=False)
class Known:
    """energy eV, forces (n, 3) eV/Å, Hessian (3n, 3n) eV/Å²."""

    energy: float
    forces: np.ndarray
    hessian: np.ndarray


@dataclass(frozen=True, eq=False)
class PathPoint:
    """arc: mass-weighted length from the saddle point, Å amu^½; energy: eV."""

    atoms: ase.Atoms
    arc: float
    energy: float
    forces: np.ndarray


@dataclass(frozen=True, eq=False)
class End:
    """A minimum that a path is to lead to."""

    name: str
    atoms: ase.Atoms


@dataclass(frozen=True, eq=False)
class Side:
    """One way down: its points, the saddle point not among them, and the minimum at its end."""

    name: str
    path: list[PathPoint]
    minimum: StationaryPoint


@dataclass(frozen=True, eq=False)
class Reaction:
    """saddle; sides: back and forth. elsewhere: what the path does not lead to, of the ends that were given."""

    saddle: StationaryPoint
    sides: tuple[Side, Side]
    elsewhere: tuple[str, ...] = ()

    @property
    def changes(self) -> str:
        """The bonds that differ between the two minima, with the atoms' numbers, in words."""
        back, forth = (bonds(side.minimum.atoms) for side in self.sides)
        symbols = self.saddle.atoms.symbols

        def names(pairs: set[tuple[int, int]]) -> str:
            return ", ".join(f"{symbols[a]}{a}–{symbols[b]}{b}" for a, b in sorted(pairs))

        words = [
            f"{names(pairs)} {verb}" for pairs, verb in ((back - forth, "breaks"), (forth - back, "forms")) if pairs
        ]
        return "; ".join(words) or "no bond breaks or forms"

    @property
    def points(self) -> tuple[StationaryPoint, StationaryPoint, StationaryPoint]:
        """Reactant, saddle point, product."""
        back, forth = self.sides
        return back.minimum, self.saddle, forth.minimum

    @property
    def imaginary(self) -> float:
        """|ν̃| of the imaginary mode, cm⁻¹."""
        return -float(self.saddle.modes.frequencies[0])

    @property
    def crossover(self) -> float:
        """ħω/(2πk), K: below, atoms tunnel rather than climb."""
        return INVERSE_CM * self.imaginary / (2.0 * np.pi * BOLTZMANN)

    def wigner(self, kelvin: float) -> float:
        """By which tunnelling raises a rate."""
        return wigner(self.imaginary, kelvin)


def reaction_over(
    surface: Surface,
    guess: ase.Atoms,
    ends: tuple[End, End] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Reaction:
    """The reaction over the saddle point next to `guess`; its sides in the order of `ends` where these are given."""
    saddle = find_saddle(surface, guess)
    tell(f"saddle point: {saddle.modes.frequencies[0]:.1f} cm⁻¹, largest force {saddle.force:.1g} eV/Å")
    sides = []
    for sign in (-1, 1):
        path = _down(surface, saddle, sign)
        minimum = find_minimum(surface, path[-1].atoms)
        sides.append(Side(_name(minimum.atoms), path, minimum))
        tell(f"path: {len(path)} points down to {sides[-1].name}, {minimum.energy - saddle.energy:.4f} eV")
    back, forth = sides
    if ends is None:
        return Reaction(saddle, (back, forth))
    if _fits(forth, back, ends) > _fits(back, forth, ends):
        back, forth = forth, back
    reached = [is_same_molecule(side.minimum.atoms, end.atoms) for side, end in zip((back, forth), ends, strict=True)]
    back, forth = (
        replace(side, name=end.name) if same else side
        for side, end, same in zip((back, forth), ends, reached, strict=True)
    )
    return Reaction(saddle, (back, forth), tuple(end.name for end, same in zip(ends, reached, strict=True) if not same))


def reaction_between(
    surface: Surface,
    reactant: ase.Atoms,
    product: ase.Atoms,
    images: int = 9,
    tell: Callable[[str], None] = lambda text: None,
    names: tuple[str, str] = ("reactant", "product"),
) -> Reaction:
    """The reaction over the highest saddle point of a band between two structures, which are relaxed first.

    UserError for ends that have other atoms, another order of them, another cell, or that relax to one minimum.
    """
    _check_ends(reactant, product)
    ends = (find_minimum(surface, reactant), find_minimum(surface, product))
    if np.abs(_distances(ends[0].atoms) - _distances(ends[1].atoms)).max(initial=0.0) < SAME_MINIMUM:
        raise UserError(
            f"reactant and product of {reactant.symbols} relax to the same minimum with this model; give other ends, "
            "or a guess of the saddle point"
        )
    guess = highest_image(surface, ends[0].atoms, ends[1].atoms, images, tell)
    given = (End(names[0], ends[0].atoms), End(names[1], ends[1].atoms))
    return reaction_over(surface, guess, given, tell)


def _check_ends(reactant: ase.Atoms, product: ase.Atoms) -> None:
    if sorted(reactant.numbers) != sorted(product.numbers):
        raise UserError(
            f"the reactant is {reactant.symbols} and the product {product.symbols}; both ends must have the same atoms"
        )
    differ = np.flatnonzero(reactant.numbers != product.numbers)
    if len(differ):
        atom = int(differ[0])
        raise UserError(
            f"atom {atom} is {reactant.symbols[atom]} in the reactant and {product.symbols[atom]} in the product; give "
            "both with their atoms in the same order"
        )
    if (reactant.pbc != product.pbc).any() or not np.allclose(reactant.cell.array, product.cell.array):
        raise UserError("reactant and product have different cells; give both in one cell")
    for what, said in (
        ("masses", lambda atoms, _: atoms.get_masses().tolist()),
        ("held coordinates", lambda atoms, name: fixed_coordinates(atoms, f"the {name}").tolist()),
        ("charges or multiplicities", _electrons),
    ):
        if said(reactant, "reactant") != said(product, "product"):
            raise UserError(f"reactant and product state different {what}; give both the same in their files")


def _electrons(atoms: ase.Atoms, name: str) -> tuple[int, float]:
    """Charge and spin: what is stated, else none and the lowest."""
    return stated_electrons(atoms, f"the {name}")[0] or 0, spin_of(atoms)


def _distances(atoms: ase.Atoms) -> np.ndarray:
    return np.asarray(atoms.get_all_distances(mic=bool(atoms.pbc.any())))


def _fits(back: Side, forth: Side, ends: tuple[End, End]) -> tuple[int, float]:
    """How well two sides are the two ends: how many are, and then how nearly with the same atoms in the same places."""
    pairs = [(side.minimum.atoms, end.atoms) for side, end in zip((back, forth), ends, strict=True)]
    reached = [pair for pair in pairs if is_same_molecule(*pair)]
    return len(reached), -sum(float(np.abs(_distances(a) - _distances(b)).max(initial=0.0)) for a, b in reached)


def _down(surface: Surface, saddle: StationaryPoint, sign: int) -> list[PathPoint]:
    """The steepest-descent path; UserError if it does not go down."""

    def evaluate(_: int, atoms: ase.Atoms, __: Known | None) -> Known:
        energy, forces = surface.energy_and_forces(atoms)
        return Known(energy, forces, surface.hessian(atoms))

    step = STEP
    top = Known(saddle.energy, np.zeros((len(saddle.atoms), 3)), saddle.hessian)
    while step > SHORTEST:
        points: list[PathPoint] = []
        last, arc = saddle.atoms, 0.0
        for here in steepest_descent(saddle.atoms, top, sign, step, POINTS, evaluate):
            moved = (here.atoms.positions - last.positions) * np.sqrt(saddle.modes.masses)[:, None]
            last, arc = here.atoms, arc + float(np.linalg.norm(moved))
            points.append(PathPoint(here.atoms, arc, here.known.energy, here.known.forces))
        if points:
            return points
        step /= 2
    raise UserError(
        f"the path down from the saddle point of {saddle.atoms.symbols} does not go down: its barrier is thinner than "
        f"{SHORTEST} Å amu^½; it is none to speak of"
    )


def _name(atoms: ase.Atoms) -> str:
    """Formulas of the molecules, as in `CO + H2`; of all atoms where the structure is periodic."""
    if atoms.pbc.any():
        return str(atoms.symbols)
    count = Counter(str(part.get_chemical_formula()) for part in fragments(atoms))
    return " + ".join(name if n == 1 else f"{n} {name}" for name, n in sorted(count.items()))
