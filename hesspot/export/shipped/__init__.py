"""Models that come with the package."""

from pathlib import Path

from hesspot.errors import UserError

_PREFIX = "shipped:"


def names() -> list[str]:
    """Names of the shipped models."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.pt"))


def find_model(text: str) -> Path:
    """The file that `text` means: a path, or shipped:NAME; UserError for an unknown name."""
    if not text.startswith(_PREFIX):
        return Path(text)
    name = text.removeprefix(_PREFIX)
    if name not in names():
        raise UserError(f"there is no shipped model {name!r}; shipped are {', '.join(names()) or 'none'}")
    return Path(__file__).parent / f"{name}.pt"
