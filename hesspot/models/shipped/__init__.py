"""Models that come with the package: NAME.pt, and beside it NAME.json, its card."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from pydantic import Field

from hesspot.errors import UserError
from hesspot.settings import Strict

PREFIX = "shipped:"

#: All models and their cards; also what `shipped:` stands for in the LAMMPS plugin, by the variable HESSPOT_MODELS.
FOLDER = Path(__file__).parent


class Errors(Strict):
    """On the structures of one group of a part: means of absolute errors (MAE) and roots of mean squares (RMSE)."""

    data: str
    part: str
    group: str
    structures: int
    energy_mae: float  #: meV/atom
    forces_rmse: float  #: eV/Å
    hessian_rmse: float | None = None  #: eV/Å²
    frequencies_mae: float | None = None  #: cm⁻¹


class Run(Strict):
    """A run of the benchmark of stability: ps of `length` to the first unphysical event, which is empty for none."""

    start: str
    ensemble: str
    temperature: float  #: K
    length: float  #: ps
    time: float  #: ps
    event: str

    def describe(self) -> str:
        """In words."""
        asked = f"{self.length:g} ps"
        return f"{self.event} after {self.time:g} of {asked}" if self.event else f"{asked} without an event"


class Card(Strict):
    """What a model is for, where it comes from, and what was measured with it.

    made: the command that makes it, from nothing; tested_on: datasets whose test parts `errors` are of; page: what
    more there is to read. What the model file says itself, such as the level of theory, is not repeated here.
    """

    about: str
    not_for: str
    licence: str
    made: str
    page: str
    tested_on: list[str]
    errors: list[Errors] = Field(default_factory=list)
    stability: list[Run] = Field(default_factory=list)


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(file.stem for file in FOLDER.glob("*.pt"))


def path(name: str) -> Path:
    """File of a shipped model; UserError for an unknown name."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"the nearest is {PREFIX}{near[0]}" if near else f"shipped are {', '.join(names())}"
        raise UserError(f"there is no shipped model {name!r}; {hint} (`hesspot models` lists all)")
    return FOLDER / f"{name}.pt"


def find_model(text: str | Path) -> Path:
    """The file that `text` means: a path, or shipped:NAME; UserError for an unknown name."""
    return path(str(text).removeprefix(PREFIX)) if str(text).startswith(PREFIX) else Path(text)


def read_card(name: str) -> Card:
    """The card of a shipped model."""
    return Card.model_validate_json(path(name).with_suffix(".json").read_text(encoding="utf-8"))
