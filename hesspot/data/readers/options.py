"""What the user says of the files to be read: units, and names of fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from hesspot.data.readers.keys import FIELDS
from hesspot.errors import UserError
from hesspot.units import LENGTHS, energy_per_length


@dataclass(frozen=True)
class Units:
    """Factors to eV and Å."""

    energy: float = 1.0
    length: float = 1.0
    forces: float = 1.0
    hessian: float = 1.0
    stress: float = 1.0

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Self:
        """From names such as ``{"energy": "Hartree", "length": "bohr"}``.

        Forces, Hessian and stress follow from energy and length unless they are given. UserError for an unknown name.
        """
        powers = {"energy": 0, "forces": 1, "hessian": 2, "stress": 3}
        factors = {}
        for key, text in texts.items():
            if key not in (*powers, "length"):
                raise UserError(f"--units has {key}={text}: give energy, length, forces, hessian or stress")
            try:
                if key == "length":
                    factors[key] = LENGTHS[text.strip().lower()]
                else:
                    factors[key] = energy_per_length(text, powers[key])
            except KeyError as error:
                raise UserError(
                    f"--units has {key}={text}, which is not known: combine eV, Hartree, kcal/mol, kJ/mol, Rydberg "
                    "with Å, bohr, nm, as in hessian=Hartree/bohr^2"
                ) from error
        energy, length = factors.get("energy", 1.0), factors.get("length", 1.0)
        derived = {key: energy / length**power for key, power in powers.items()} | {"length": length}
        return cls(**(derived | factors))


ATOMIC = Units.parse({"energy": "Hartree", "length": "bohr"})


@dataclass(frozen=True)
class Options:
    """`units` of the files, None for those of the format; `keys` of fields, such as ``{"forces": "dft_forces"}``.

    `ase_format` is a format's name in ASE, for files whose name does not tell it; `elements` are those of atom types,
    for files that have types only. UserError for an unknown field.
    """

    units: Units | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    ase_format: str | None = None
    elements: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if unknown := [field for field in self.keys if field not in FIELDS]:
            raise UserError(f"--keys has {unknown[0]}={self.keys[unknown[0]]}: give one of {', '.join(FIELDS)}")
