"""One structure with its labels, and what makes it impossible."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from hesspot.electrons import stated_electrons
from hesspot.errors import UserError
from hesspot.structures import check_structure

PARTS = ("train", "valid", "test")
#: What people are told that the structures of a part are.
PART_NAMES = {"train": "training structures", "valid": "validation", "test": "test"}
KINDS = ("minimum", "saddle", "irc", "nms", "atom", "other")
#: Where extended XYZ has the tag, as GAP and ACE write it.
TAG = "config_type"

#: eV/Å²; only one triangle is stored, so that anything above rounding would be lost without a word.
HESSIAN_ASYMMETRY = 1e-6


@dataclass(eq=False, repr=False)
class Record:
    """One structure and its labels; ``None`` where a label is not known.

    Attributes:
        numbers: (n,) atomic numbers.
        positions: (n, 3) in Å.
        cell: (3, 3) in Å, rows are the lattice vectors; zeros where there is none.
        pbc: (3,) bool, periodic directions.
        masses: (n,) in amu, of isotopes; ASE's standard ones where there are none.
        energy: total energy in eV.
        forces: (n, 3) in eV/Å.
        hessian: (3n, 3n) second derivatives of the energy in eV/Å², atom-major
            (x, y, z of atom 0, then of atom 1, …).
        directions: (k, n, 3) displacements v whose Hessian products are known, of length √(3n) each.
        products: (k, n, 3) H·v in eV/Å², where the whole Hessian is not known: two gradients give one.
        stress: (3, 3) in eV/Å³, positive under tension as in ASE; periodic structures only.
        charge: total charge in units of e, None where nothing is said of it.
        multiplicity: 2S + 1, or None.
        name: unique in its dataset.
        part: train, valid or test.
        kind: minimum, saddle, irc (on a reaction path), nms (normal-mode sampled), atom or other.
        tag: a word of the user's own, such as the `config_type` of extended XYZ; tables can be split by it.
        system: the molecule or reaction that the structure belongs to.
        properties: what else is known, such as the residual of the coupled-perturbed equations.
    """

    numbers: np.ndarray
    positions: np.ndarray
    name: str
    cell: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: np.ndarray = field(default_factory=lambda: np.zeros(3, dtype=bool))
    masses: np.ndarray | None = None
    energy: float | None = None
    forces: np.ndarray | None = None
    hessian: np.ndarray | None = None
    directions: np.ndarray | None = None
    products: np.ndarray | None = None
    stress: np.ndarray | None = None
    charge: int | None = None
    multiplicity: int | None = None
    part: str = "train"
    kind: str = "other"
    tag: str = ""
    system: str = ""
    properties: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = np.asarray(self.numbers, dtype=np.int64)
        self.positions = np.asarray(self.positions, dtype=np.float64)
        self.cell = np.asarray(self.cell, dtype=np.float64)
        self.pbc = np.asarray(self.pbc, dtype=bool)
        self.energy = None if self.energy is None else float(self.energy)
        self.forces = None if self.forces is None else np.asarray(self.forces, dtype=np.float64)
        for label in ("masses", "hessian", "directions", "products", "stress"):
            if getattr(self, label) is not None:
                setattr(self, label, np.asarray(getattr(self, label), dtype=np.float64))

    def __repr__(self) -> str:
        labels = ("energy", "forces", "hessian", "products", "stress")
        known = " ".join(label for label in labels if getattr(self, label) is not None) or "no labels"
        return f"<{type(self).__name__} {self.name}: {len(self)} atoms, {self.part}, {self.kind}, {known}>"

    def __len__(self) -> int:
        return len(self.numbers)

    def validate(self, place: str = "") -> None:
        """Raise a UserError that names the first fault; `place` says where the record is from."""
        where = f"structure {self.name!r}" + (f" of {place}" if place else "")
        n = len(self.numbers)
        if not self.name:
            raise UserError(f"a structure of {place or 'the dataset'} has no name: give each a unique one")
        if self.part not in PARTS:
            raise UserError(f"{where} has the part {self.part!r}: use one of {', '.join(PARTS)}")
        if self.kind not in KINDS:
            raise UserError(
                f"{where} has the kind {self.kind!r}: use one of {', '.join(KINDS)}, and `tag` for words of your own"
            )
        if (self.directions is None) != (self.products is None):
            raise UserError(f"{where} has Hessian products or their directions alone: give both")
        n_products = 0 if self.directions is None else len(self.directions)
        arrays = [
            ("positions", self.positions, (n, 3)),
            ("masses", self.masses, (n,)),
            ("cell", self.cell, (3, 3)),
            ("pbc", self.pbc, (3,)),
            ("energy", self.energy, ()),
            ("forces", self.forces, (n, 3)),
            ("Hessian", self.hessian, (3 * n, 3 * n)),
            ("directions", self.directions, (n_products, n, 3)),
            ("Hessian products", self.products, (n_products, n, 3)),
            ("stress", self.stress, (3, 3)),
        ]
        for label, values, shape in arrays:
            if values is None:
                continue
            if np.shape(values) != shape:
                raise UserError(f"{where} has {label} of shape {np.shape(values)}: {n} atoms need {shape}")
            if not np.isfinite(values).all():
                raise UserError(f"{where} has NaN or infinity in its {label}: compute or drop it")
        atoms = self.atoms_only()
        check_structure(atoms, where)
        if self.stress is not None and not self.pbc.all():
            raise UserError(f"{where} has a stress but is not periodic in all directions: leave the stress out")
        if self.hessian is not None:
            asymmetry = np.abs(self.hessian - self.hessian.T).max()
            if asymmetry > HESSIAN_ASYMMETRY:
                raise UserError(
                    f"{where} has a Hessian that is asymmetric by {asymmetry:.2g} eV/Å²: "
                    "find out why, then store the symmetric part"
                )
        stated_electrons(atoms, where)
        for key, value in self.properties.items():
            if not isinstance(value, str) and not np.isfinite(value):
                raise UserError(f"{where} has the property {key} = {value}: store finite numbers or text")

    def atoms_only(self) -> Atoms:
        """The structure without labels; charge and multiplicity are in its ``info`` where they are known."""
        electrons = {"charge": self.charge, "multiplicity": self.multiplicity}
        known = {key: value for key, value in electrons.items() if value is not None}
        return Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc, masses=self.masses, info=known)

    def to_atoms(self) -> Atoms:
        """The structure with its labels: energy and forces in a calculator, all else in ``info``."""
        atoms = self.atoms_only()
        labels = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        if self.stress is not None:
            labels["stress"] = full_3x3_to_voigt_6_stress(self.stress)
        if any(value is not None for value in labels.values()):
            atoms.calc = SinglePointCalculator(atoms, **{k: v for k, v in labels.items() if v is not None})
        atoms.info.update(name=self.name, part=self.part, kind=self.kind)
        # an empty text in extended XYZ takes the next key for its value
        known = {"system": self.system, TAG: self.tag, "properties": dict(self.properties)}
        atoms.info.update({key: value for key, value in known.items() if value})
        for label in ("hessian", "directions", "products"):
            if getattr(self, label) is not None:
                atoms.info[label] = getattr(self, label).copy()
        return atoms

    @classmethod
    def from_atoms(cls, atoms: Atoms, name: str | None = None, **fields: Any) -> Self:
        """A record from ASE: labels from the calculator's results, the rest from ``info`` or `fields`."""
        results = getattr(atoms.calc, "results", {})
        known: dict[str, Any] = {
            key: atoms.info[key] for key in ("part", "kind", "system", "properties") if key in atoms.info
        }
        if TAG in atoms.info:
            known["tag"] = str(atoms.info[TAG])
        known["energy"] = results.get("energy")
        known["forces"] = results.get("forces")
        if (stress := results.get("stress")) is not None:
            known["stress"] = stress if np.shape(stress) == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        known.update({key: atoms.info.get(key) for key in ("hessian", "directions", "products")})
        name = name or str(atoms.info.get("name", atoms.get_chemical_formula()))
        known["charge"], known["multiplicity"] = stated_electrons(atoms, f"structure {name!r}")
        known.update(fields)
        return cls(
            numbers=atoms.numbers.copy(),
            positions=atoms.positions.copy(),
            cell=atoms.cell.array.copy(),
            pbc=atoms.pbc.copy(),
            masses=atoms.get_masses() if atoms.has("masses") else None,
            name=name,
            **known,
        )
