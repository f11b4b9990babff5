"""The dataset file: structures with energies, forces and Hessians in one HDF5 file.

The layout is written down in ``docs/data-format.md``: flat arrays over all structures, with pointer arrays
that cut them, because thousands of small HDF5 groups are slow to open.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.geometry import complete_cell
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hesspot.errors import UserError
from hesspot.files import write_atomically

FORMAT = "hesspot-dataset"
VERSION = 2
UNITS = {"energy": "eV", "length": "Å", "forces": "eV/Å", "hessian": "eV/Å²"}
PARTS = ("train", "valid", "test")
KINDS = ("minimum", "saddle", "irc", "nms", "atom", "other")

#: eV/Å²; only one triangle is stored, so that anything above rounding would be lost without a word.
HESSIAN_ASYMMETRY = 1e-6
#: Å; nearer atoms are a mistake of the input.
COINCIDENT = 1e-2


@dataclass(eq=False)
class Record:
    """One structure and its labels; ``None`` where a label is not known.

    Attributes:
        numbers: (n,) atomic numbers.
        positions: (n, 3) in Å.
        cell: (3, 3) in Å, rows are the lattice vectors; zeros where there is none.
        pbc: (3,) bool, periodic directions.
        energy: total energy in eV.
        forces: (n, 3) in eV/Å.
        hessian: (3n, 3n) second derivatives of the energy in eV/Å², atom-major
            (x, y, z of atom 0, then of atom 1, …).
        directions: (k, n, 3) displacements v whose Hessian products are known, of length √(3n) each.
        products: (k, n, 3) H·v in eV/Å², where the whole Hessian is not known: two gradients give one.
        stress: (3, 3) in eV/Å³, positive under tension as in ASE; periodic structures only.
        name: unique in its dataset.
        part: train, valid or test.
        kind: minimum, saddle, irc (on a reaction path), nms (normal-mode sampled), atom or other.
        system: the molecule or reaction that the structure belongs to.
        properties: what else is known, such as the residual of the coupled-perturbed equations.
    """

    numbers: np.ndarray
    positions: np.ndarray
    name: str
    cell: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: np.ndarray = field(default_factory=lambda: np.zeros(3, dtype=bool))
    energy: float | None = None
    forces: np.ndarray | None = None
    hessian: np.ndarray | None = None
    directions: np.ndarray | None = None
    products: np.ndarray | None = None
    stress: np.ndarray | None = None
    part: str = "train"
    kind: str = "other"
    system: str = ""
    properties: dict[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = np.asarray(self.numbers, dtype=np.int64)
        self.positions = np.asarray(self.positions, dtype=np.float64)
        self.cell = np.asarray(self.cell, dtype=np.float64)
        self.pbc = np.asarray(self.pbc, dtype=bool)
        self.energy = None if self.energy is None else float(self.energy)
        self.forces = None if self.forces is None else np.asarray(self.forces, dtype=np.float64)
        for label in ("hessian", "directions", "products", "stress"):
            if getattr(self, label) is not None:
                setattr(self, label, np.asarray(getattr(self, label), dtype=np.float64))

    def __len__(self) -> int:
        return len(self.numbers)

    def validate(self, place: str = "") -> None:
        """Raise a UserError that names the first fault; `place` says where the record is from."""
        where = f"structure {self.name!r}" + (f" of {place}" if place else "")
        n = len(self.numbers)
        if not self.name:
            raise UserError(f"a structure of {place or 'the dataset'} has no name: give each a unique one")
        if n == 0:
            raise UserError(f"{where} has no atoms: remove it")
        if self.numbers.min() < 1 or self.numbers.max() >= len(chemical_symbols):
            bad = self.numbers[(self.numbers < 1) | (self.numbers >= len(chemical_symbols))][0]
            raise UserError(f"{where} has the atomic number {bad}: use 1 to {len(chemical_symbols) - 1}")
        if self.part not in PARTS:
            raise UserError(f"{where} has the part {self.part!r}: use one of {', '.join(PARTS)}")
        if self.kind not in KINDS:
            raise UserError(f"{where} has the kind {self.kind!r}: use one of {', '.join(KINDS)}")
        if (self.directions is None) != (self.products is None):
            raise UserError(f"{where} has Hessian products or their directions alone: give both")
        n_products = 0 if self.directions is None else len(self.directions)
        arrays = [
            ("positions", self.positions, (n, 3)),
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
        if self.stress is not None and not self.pbc.all():
            raise UserError(f"{where} has a stress but is not periodic in all directions: leave the stress out")
        if self.pbc.any() and np.linalg.matrix_rank(self.cell[self.pbc]) < self.pbc.sum():
            raise UserError(f"{where} is periodic along a cell vector that is zero or not independent: give the cell")
        distance = self._shortest_distance()
        if distance < COINCIDENT:
            raise UserError(f"{where} has two atoms {distance:.2g} Å apart: correct the geometry")
        if self.hessian is not None:
            asymmetry = np.abs(self.hessian - self.hessian.T).max()
            if asymmetry > HESSIAN_ASYMMETRY:
                raise UserError(
                    f"{where} has a Hessian that is asymmetric by {asymmetry:.2g} eV/Å²: "
                    "find out why, then store the symmetric part"
                )
        for key, value in self.properties.items():
            if not isinstance(value, str) and not np.isfinite(value):
                raise UserError(f"{where} has the property {key} = {value}: store finite numbers or text")

    def _shortest_distance(self) -> float:
        """Shortest distance in Å; for periodic structures only those below `COINCIDENT` are looked for."""
        found = self._coincident_images() if self.pbc.any() else pdist(self.positions)
        return float(found.min(initial=np.inf))

    def _coincident_images(self) -> np.ndarray:
        """Distances in Å below `COINCIDENT` between atoms of a periodic structure, images included, and its heights."""
        cell = complete_cell(self.cell)
        inverse = np.linalg.inv(cell)
        scaled = self.positions @ inverse
        scaled[:, self.pbc] -= np.floor(scaled[:, self.pbc])
        scaled[:, self.pbc] %= 1.0  # −1e-17 has become 1
        reach = np.sqrt(3) * COINCIDENT * np.linalg.norm(inverse, axis=0).max()
        pairs = cKDTree(scaled, boxsize=np.where(self.pbc, 1.0, 0.0)).query_pairs(reach, output_type="ndarray")
        step = scaled[pairs[:, 0]] - scaled[pairs[:, 1]]
        step[:, self.pbc] -= np.round(step[:, self.pbc])
        return np.append(np.linalg.norm(step @ cell, axis=1), 1.0 / np.linalg.norm(inverse, axis=0)[self.pbc])

    def atoms_only(self) -> Atoms:
        """The structure without labels."""
        return Atoms(self.numbers, self.positions, cell=self.cell, pbc=self.pbc)

    def to_atoms(self) -> Atoms:
        """The structure with its labels: energy and forces in a calculator, all else in ``info``."""
        atoms = self.atoms_only()
        labels = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        if self.stress is not None:
            labels["stress"] = full_3x3_to_voigt_6_stress(self.stress)
        if any(value is not None for value in labels.values()):
            atoms.calc = SinglePointCalculator(atoms, **{k: v for k, v in labels.items() if v is not None})
        atoms.info.update(name=self.name, part=self.part, kind=self.kind, system=self.system)
        atoms.info["properties"] = dict(self.properties)
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
        known["energy"] = results.get("energy")
        known["forces"] = results.get("forces")
        if (stress := results.get("stress")) is not None:
            known["stress"] = stress if np.shape(stress) == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        known.update({key: atoms.info.get(key) for key in ("hessian", "directions", "products")})
        known.update(fields)
        return cls(
            numbers=atoms.numbers.copy(),
            positions=atoms.positions.copy(),
            cell=atoms.cell.array.copy(),
            pbc=atoms.pbc.copy(),
            name=name or str(atoms.info.get("name", atoms.get_chemical_formula())),
            **known,
        )


@dataclass(eq=False)
class Dataset:
    """Records of one level of theory, in order."""

    records: list[Record]
    level_of_theory: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]

    @property
    def elements(self) -> list[str]:
        """Chemical symbols that occur, by atomic number."""
        return [chemical_symbols[z] for z in sorted({int(z) for record in self for z in record.numbers})]

    def select(self, *, part: str | None = None, kind: str | None = None, system: str | None = None) -> Self:
        """The records that match every given value; may be empty."""
        wanted = {"part": part, "kind": kind, "system": system}
        records = [
            record
            for record in self
            if all(value is None or getattr(record, key) == value for key, value in wanted.items())
        ]
        return type(self)(records, self.level_of_theory, self.provenance)

    def validate(self, place: str = "the dataset") -> None:
        """Raise a UserError for the first fault of the set or of a record."""
        if not self.records:
            raise UserError(f"{place} has no structures: add at least one")
        seen: set[str] = set()
        for record in self:
            if record.name in seen:
                raise UserError(f"{place} has two structures named {record.name!r}: give each a unique name")
            seen.add(record.name)
            record.validate(place)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Validate and write; the file appears complete or not at all.

        It is made in memory: HDF5 does not survive a full disk, and may end the process without a word.
        """
        path = Path(path)
        self.validate(f"the dataset for {path}")
        with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
            self._write_arrays(file)
            file.flush()
            image = file.id.get_file_image()
        write_atomically(path, image)

    def _write_arrays(self, file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["level_of_theory"] = self.level_of_theory
        file.attrs["units"] = json.dumps(UNITS, ensure_ascii=False)
        file.attrs["provenance"] = json.dumps(self.provenance, ensure_ascii=False)

        def put(name: str, values: np.ndarray) -> None:
            chunks = True if values.size else None  # HDF5 cannot cut empty arrays
            file.create_dataset(name, data=values, compression="gzip", shuffle=True, chunks=chunks)

        def put_text(name: str, values: list[str]) -> None:
            file.create_dataset(name, data=values, dtype=h5py.string_dtype())

        put_text("name", [record.name for record in self])
        put_text("part", [record.part for record in self])
        put_text("kind", [record.kind for record in self])
        put_text("system", [record.system for record in self])
        put_text("properties", [json.dumps(record.properties) for record in self])
        put("cell", np.stack([record.cell for record in self]))
        put("pbc", np.stack([record.pbc for record in self]))
        put("numbers", np.concatenate([record.numbers for record in self]))
        put("positions", np.concatenate([record.positions for record in self]))
        put("atoms_ptr", _pointers([len(record) for record in self]))
        labels: dict[str, list[Any]] = {
            "energy": [[] if record.energy is None else [record.energy] for record in self],
            "forces": [np.zeros((0, 3)) if record.forces is None else record.forces for record in self],
            "hessian": [[] if record.hessian is None else pack(record.hessian) for record in self],
            "directions": [[] if record.directions is None else record.directions.ravel() for record in self],
            "products": [[] if record.products is None else record.products.ravel() for record in self],
            "stress": [np.zeros((0, 3, 3)) if record.stress is None else record.stress[None] for record in self],
        }
        for name, pieces in labels.items():
            put(name, np.concatenate(pieces).astype(np.float64))
            put(f"{name}_ptr", _pointers([len(piece) for piece in pieces]))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read and validate a dataset file."""
        path = Path(path)
        if not path.is_file():
            raise UserError(f"the dataset {path} does not exist: check the path")
        try:
            with h5py.File(path, "r") as file:
                _check_header(file, path)
                dataset = cls._read_arrays(file)
        except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read as a hesspot dataset, it is truncated, damaged or of another kind "
                f"({str(error).splitlines()[0]}): write or fetch it again"
            ) from error
        dataset.validate(str(path))
        return dataset

    @classmethod
    def _read_arrays(cls, file: h5py.File) -> Self:
        text = {key: file[key].asstr()[:] for key in ("name", "part", "kind", "system", "properties")}
        count = len(text["name"])
        numbers, positions = file["numbers"][:], file["positions"][:]
        cell, pbc = file["cell"][:], file["pbc"][:]
        atoms = _read_pointers(file, "atoms_ptr", count, len(numbers))
        known = [key for key in ("energy", "forces", "hessian", "directions", "products", "stress") if key in file]
        labels = {key: file[key][:] for key in known}
        ptr = {key: _read_pointers(file, f"{key}_ptr", count, len(values)) for key, values in labels.items()}

        records = []
        for i in range(count):
            own = slice(atoms[i], atoms[i + 1])
            label = {
                key: values[ptr[key][i] : ptr[key][i + 1]]
                for key, values in labels.items()
                if ptr[key][i + 1] > ptr[key][i]
            }
            n = atoms[i + 1] - atoms[i]
            records.append(
                Record(
                    numbers=numbers[own],
                    positions=positions[own],
                    cell=cell[i],
                    pbc=pbc[i],
                    energy=label["energy"].item() if "energy" in label else None,
                    forces=label.get("forces"),
                    hessian=unpack(label["hessian"]) if "hessian" in label else None,
                    directions=label["directions"].reshape(-1, n, 3) if "directions" in label else None,
                    products=label["products"].reshape(-1, n, 3) if "products" in label else None,
                    stress=label["stress"][0] if "stress" in label else None,
                    name=text["name"][i],
                    part=text["part"][i],
                    kind=text["kind"][i],
                    system=text["system"][i],
                    properties=json.loads(text["properties"][i]),
                )
            )
        return cls(records, str(file.attrs["level_of_theory"]), json.loads(file.attrs["provenance"]))


def pack(hessian: np.ndarray) -> np.ndarray:
    """Lower triangle of (m, m), row by row: (m (m + 1) / 2,)."""
    return hessian[_lower(len(hessian))]


def unpack(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix of a lower triangle that `pack` made."""
    size = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    rows, columns = _lower(size)
    matrix = np.empty((size, size))
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


@lru_cache(maxsize=64)
def _lower(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.tril_indices(size)


def _pointers(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _read_pointers(file: h5py.File, name: str, count: int, total: int) -> np.ndarray:
    pointers = file[name][:]
    if len(pointers) != count + 1 or pointers[0] != 0 or pointers[-1] != total or (np.diff(pointers) < 0).any():
        raise ValueError(f"the array {name} does not fit to the others")
    return pointers


def _check_header(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise UserError(f"{path} is an HDF5 file but not a hesspot dataset: see docs/data-format.md")
    version = int(file.attrs["version"])
    if version > VERSION:
        raise UserError(f"{path} has dataset version {version}, only {VERSION} is known here: install a newer hesspot")
    units = json.loads(file.attrs["units"])
    if units != UNITS:
        raise UserError(f"{path} has the units {units}: hesspot reads {UNITS} only, convert it")
