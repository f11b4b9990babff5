"""What the user says of the files to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hesspot.data.readers.keys import FIELDS
from hesspot.data.readers.raw import Units
from hesspot.errors import UserError


@dataclass(frozen=True)
class Options:
    """`units` of the files, None for those of the format; `keys` of fields, such as ``{"forces": "dft_forces"}``.

    `ase_format` is a format's name in ASE, for files whose name does not tell it. UserError for an unknown field.
    """

    units: Units | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    ase_format: str | None = None

    def __post_init__(self) -> None:
        if unknown := [field for field in self.keys if field not in FIELDS]:
            raise UserError(f"--keys has {unknown[0]}={self.keys[unknown[0]]}: give one of {', '.join(FIELDS)}")
