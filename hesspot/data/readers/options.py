"""What the user says of the files to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hesspot.data.readers.raw import Units


@dataclass(frozen=True)
class Options:
    """`units` of the files, None for those of the format; `keys` of fields, such as ``{"forces": "dft_forces"}``.

    `ase_format` is a format's name in ASE, for files whose name does not tell it.
    """

    units: Units | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    ase_format: str | None = None
