"""What a reader hands over: the arrays of one structure as they stand in its file, and the units that they are in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from hesspot.data.readers.options import Units
from hesspot.data.record import KINDS, Record
from hesspot.electrons import stated_electrons
from hesspot.errors import UserError

#: Part of the largest element: a Hessian that is less symmetric has its axes mixed up.
SYMMETRIC = 0.1
#: Part of a mass; other masses shift frequencies by more than 0.1 cm⁻¹.
SAME_MASS = 2e-5
#: Two labels of one thing differ by less: part of the largest element, and eV/Å or eV/Å³ for digits that are printed.
SAME_LABELS, PRINTED = 0.02, {"forces": 1e-3, "stress": 1e-4}
#: eV/Å²; less asymmetry is rounding and is not recorded.
ROUNDING = 1e-9


@dataclass(eq=False)
class Raw:
    """One structure of a file; `place` names both. Labels as in `Record`, in `units`.

    The Hessian may have any shape that `square_hessian` takes; `gradient` is −forces, `virial` −stress·volume;
    `charge`, `multiplicity` and `spin` are one number each, as in `hesspot.electrons`. `keys` are those that the labels
    stand under in the file, by field; `notes` say what of the file was left aside, and why. A kind that is none of
    `KINDS` is the user's own word, and becomes the tag.
    """

    place: str
    numbers: Any
    positions: Any
    name: str
    units: Units = field(default_factory=Units)
    cell: Any = None
    pbc: Any = None
    masses: Any = None
    charge: Any = None
    multiplicity: Any = None
    spin: Any = None
    energy: Any = None
    forces: Any = None
    gradient: Any = None
    hessian: Any = None
    directions: Any = None
    products: Any = None
    stress: Any = None
    virial: Any = None
    part: str | None = None
    kind: str | None = None
    tag: str | None = None
    system: str | None = None
    level: str = ""
    properties: dict[str, float | str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def record(self) -> Record:
        """Checked and in eV and Å; a Hessian is symmetrised, its asymmetry kept as a property."""
        units, n = self.units, len(self.numbers)
        positions = self._numbers("positions", (n, 3)) * units.length
        fields: dict[str, Any] = {key: value for key in ("part", "system") if (value := getattr(self, key))}
        fields |= self._kind_and_tag()
        fields["charge"], fields["multiplicity"] = self._electrons()
        properties = dict(self.properties)
        if self.pbc is not None and np.any(self.pbc):
            fields |= {"pbc": self.pbc, "cell": self._numbers("cell", (3, 3)) * units.length}
        if self.masses is not None:
            fields["masses"] = self._numbers("masses", (n,))
        if self.energy is not None:
            fields["energy"] = self._numbers("energy", ()).item() * units.energy
        forces = self._one_of(
            "forces",
            None if self.forces is None else self._numbers("forces", (n, 3)) * units.forces,
            "gradient",
            None if self.gradient is None else -self._numbers("gradient", (n, 3)) * units.forces,
        )
        if forces is not None:
            fields["forces"] = forces
        if self.hessian is not None:
            hessian = square_hessian(self.hessian, n, self.place) * units.hessian
            fields["hessian"], asymmetry = self._symmetric(hessian)
            if asymmetry > ROUNDING:
                properties.setdefault("asymmetry", asymmetry)
        for key, unit in (("directions", 1.0), ("products", units.hessian)):
            if getattr(self, key) is not None:
                fields[key] = np.asarray(getattr(self, key), dtype=np.float64).reshape(-1, n, 3) * unit
        if (stress := self._stress(fields)) is not None:
            fields["stress"] = stress
        record = Record(self.numbers, positions, self.name, properties=properties, **fields)
        record.validate(self.place)
        return record

    def _kind_and_tag(self) -> dict[str, str]:
        if not self.kind or self.kind in KINDS:
            return {key: value for key, value in (("kind", self.kind), ("tag", self.tag)) if value}
        if self.tag and self.tag != self.kind:
            raise UserError(
                f"{self.place} has the tag {self.tag!r} and the kind {self.kind!r}, which is none of "
                f"{', '.join(KINDS)}: leave one of them out, or pass --kind"
            )
        return {"tag": self.kind}

    def _electrons(self) -> tuple[int | None, int | None]:
        stated = {key: getattr(self, key) for key in ("charge", "multiplicity", "spin")}
        if all(value is None for value in stated.values()):
            return None, None
        info = {key: self._numbers(key, ()).item() for key, value in stated.items() if value is not None}
        return stated_electrons(Atoms(self.numbers, info=info), self.place)

    def _numbers(self, key: str, shape: tuple[int, ...]) -> np.ndarray:
        try:
            values = np.asarray(getattr(self, key), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.place} has {key} that are not numbers: check the file or the key") from error
        if values.size != int(np.prod(shape)):
            needed = f"{len(self.numbers)} atoms need {shape}" if shape else "one number is needed"
            raise UserError(f"{self.place} has {key} of shape {values.shape}: {needed}, check the key")
        if not np.isfinite(values).all():
            raise UserError(f"{self.place} has NaN or infinity in its {key}: compute this structure again or drop it")
        return values.reshape(shape)

    def _symmetric(self, hessian: np.ndarray) -> tuple[np.ndarray, float]:
        if not np.isfinite(hessian).all():
            raise UserError(f"{self.place} has NaN or infinity in its Hessian: compute this structure again or drop it")
        asymmetry = float(np.abs(hessian - hessian.T).max())
        largest = np.abs(hessian).max()
        if asymmetry > SYMMETRIC * largest:
            raise UserError(
                f"{self.place} has a Hessian that is asymmetric by {asymmetry:.3g} of at most {largest:.3g} eV/Å²: "
                "its axes are in another order than (atom, xyz, atom, xyz), or it is no Hessian"
            )
        return 0.5 * (hessian + hessian.T), asymmetry

    def _stress(self, fields: dict[str, Any]) -> np.ndarray | None:
        """(3, 3) in eV/Å³ from a stress of 6 (Voigt) or 9 numbers, or from a virial; None without a full cell."""
        if "pbc" not in fields or not np.all(fields["pbc"]):
            return None
        stress = virial = None
        if self.stress is not None:
            voigt = np.size(self.stress) == 6
            stress = self._numbers("stress", (6,) if voigt else (3, 3)) * self.units.stress
            stress = stress[np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])] if voigt else 0.5 * (stress + stress.T)
        if self.virial is not None:
            volume = abs(np.linalg.det(fields["cell"]))
            virial = self._numbers("virial", (3, 3)) * self.units.energy
            virial = -0.5 * (virial + virial.T) / max(volume, np.finfo(float).tiny)
        return self._one_of("stress", stress, "virial", virial)

    def _one_of(self, one: str, first: np.ndarray | None, other: str, second: np.ndarray | None) -> np.ndarray | None:
        """The first of two labels that say the same, in the same units; UserError if they do not."""
        if first is None or second is None:
            return second if first is None else first
        size = max(np.abs(first).max(), np.abs(second).max())
        if np.abs(first - second).max() <= SAME_LABELS * size + PRINTED[one]:
            return first
        quotient = float((first * second).sum() / max((second**2).sum(), np.finfo(float).tiny))
        if np.abs(first - quotient * second).max() <= SAME_LABELS * size:
            how = "of opposite sign" if abs(quotient + 1) < SAME_LABELS else f"by a factor of {quotient:.4g}"
        else:
            how = f"by {np.abs(first - second).max():.3g} of {size:.3g}"
        keys = [self.keys.get(field, field) for field in (one, other)]
        raise UserError(
            f"{self.place} has {keys[0]} and {keys[1]}, which contradict each other ({how}, as {one}): choose with "
            f"--keys {one}={keys[0]} or {other}={keys[1]}"
        )


def square_hessian(values: Any, n: int, place: str) -> np.ndarray:
    """The (3n, 3n) matrix of a Hessian of any common shape; UserError for all others.

    Taken are (3n, 3n), (n, 3, n, 3), (n, n, 3, 3), (9n²,) and what reshapes to them, such as (n, 9n).
    For three atoms the two shapes of four axes are alike: the one that makes a symmetric matrix is meant.
    """
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{place} has a Hessian that is not an array of numbers: check the file or the key") from error
    size = 3 * n
    if values.size == size * (size + 1) // 2 and n > 0:
        raise UserError(
            f"{place} has a Hessian of {values.size} numbers, one triangle of ({size}, {size}): triangles are stored "
            "in two orders that cannot be told apart, store the whole matrix"
        )
    if values.size != size**2:
        raise UserError(
            f"{place} has a Hessian of shape {values.shape}: {n} atoms need ({size}, {size}) or ({n}, 3, {n}, 3)"
        )
    plain = values.reshape(size, size)
    if values.shape == (n, n, 3, 3):
        blocks = values.transpose(0, 2, 1, 3).reshape(size, size)
        if n != 3 or np.abs(blocks - blocks.T).max() < np.abs(plain - plain.T).max():
            return blocks
    return plain


def isotopes(numbers: np.ndarray, masses: np.ndarray) -> np.ndarray | None:
    """Masses (n,) in amu that a program has written of all atoms, None if they are ASE's, which are taken anyway.

    Programs take the mass of the commonest isotope, or tables of other years: their frequencies follow from them.
    """
    masses = np.asarray(masses, dtype=np.float64)
    if masses.shape != numbers.shape:
        return masses
    return None if np.allclose(masses, atomic_masses[numbers], rtol=SAME_MASS, atol=0.0) else masses


def periodic_along(cell: Any) -> np.ndarray:
    """(3,) bool: the lattice vectors of a cell that are there, for files that do not say what is periodic."""
    cell = np.asarray(cell, dtype=np.float64)
    return cell.reshape(3, 3).any(axis=1) if cell.size == 9 else np.ones(3, dtype=bool)


def without_ghosts(raw: Raw, ghosts: np.ndarray) -> Raw:
    """`raw` without its ghost atoms (n,) bool: basis functions, and no nucleus; its numbers may be anything there.

    UserError for a Hessian, in which the derivatives by the places of basis functions belong to no atom.
    """
    if not ghosts.any():
        return raw
    n, named = len(ghosts), ", ".join(map(str, np.flatnonzero(ghosts)))
    if raw.hessian is not None:
        raise UserError(
            f"{raw.place} has a Hessian with the ghost atoms {named} in it, which are no atoms: compute it without them"
        )
    fields: dict[str, Any] = {"numbers": raw.numbers[~ghosts], "positions": np.reshape(raw.positions, (n, 3))[~ghosts]}
    for key in ("forces", "gradient"):
        if (values := getattr(raw, key)) is not None:
            fields[key] = np.reshape(values, (n, 3))[~ghosts]
    if raw.masses is not None:
        fields["masses"] = raw.masses[~ghosts]
    return replace(raw, **fields, notes=(*raw.notes, f"ghost atoms {named} are left out"))


def without_held_atoms(raw: Raw) -> Raw:
    """`raw` without a Hessian (3n, 3n) that has rows of zeros: of atoms that were frozen, or not in the quantum part.

    A gradient of zero on these atoms is left out, too.
    """
    n = len(raw.numbers)
    if raw.hessian is None or n < 2:
        return raw
    held = ~np.reshape(raw.hessian, (n, 9 * n)).any(axis=1)
    if not held.any():
        return raw
    fields: dict[str, Any] = {"hessian": None}
    told = "the Hessian is all zeros and left out"
    if not held.all():
        told = f"the Hessian has rows of zeros (atoms {', '.join(map(str, np.flatnonzero(held)))}) and is left out"
    if raw.gradient is not None and not held.all() and not np.reshape(raw.gradient, (n, 3))[held].any():
        fields["gradient"] = None
        told += ", with the gradient, which is zero on them"
    return replace(raw, **fields, notes=(*raw.notes, told))


def numbers_of(values: Any, place: str) -> np.ndarray:
    """(n,) atomic numbers of numbers or of symbols (text or bytes, any case); UserError for an unknown element."""
    flat = np.asarray(values).ravel()
    if flat.dtype.kind in "OSU":
        symbols = [item.decode() if isinstance(item, bytes) else str(item) for item in flat]
        if len(symbols) == 1 and " " in symbols[0].strip():
            symbols = symbols[0].split()
        known = [atomic_numbers.get(symbol.strip().capitalize(), 0) for symbol in symbols]
        if unknown := [symbol for symbol, number in zip(symbols, known, strict=True) if number < 1]:
            raise UserError(f"{place} has the element {unknown[0]!r}, which is not known: use symbols such as C, N, O")
        return np.array(known, dtype=np.int64)
    if flat.dtype.kind not in "iuf" or (flat != np.round(flat)).any():
        raise UserError(f"{place} has atomic numbers that are not whole: check the key")
    flat = flat.astype(np.int64)
    bad = flat[(flat < 1) | (flat >= len(chemical_symbols))]
    if len(bad):
        raise UserError(f"{place} has the atomic number {bad[0]}: use 1 to {len(chemical_symbols) - 1}")
    return flat
