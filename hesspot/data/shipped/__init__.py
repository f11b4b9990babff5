"""Datasets that come with the package."""

from difflib import get_close_matches
from pathlib import Path

from hesspot.errors import UserError

_PREFIX = "shipped:"


def names() -> list[str]:
    """Names of the shipped datasets."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.h5"))


def path(name: str) -> Path:
    """File of a shipped dataset; UserError for an unknown name."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"the nearest is {_PREFIX}{near[0]}" if near else f"shipped are {', '.join(names()) or 'none'}"
        raise UserError(f"there is no shipped dataset {name!r}; {hint}")
    return Path(__file__).parent / f"{name}.h5"


def find_dataset(text: str) -> Path:
    """The file that `text` means: a path, or shipped:NAME."""
    return path(text.removeprefix(_PREFIX)) if text.startswith(_PREFIX) else Path(text)
