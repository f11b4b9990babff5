"""Where the pages of documentation and the examples lie."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def pages_folder() -> Path:
    """The folder with `docs` and `examples`: the checkout, or what the wheel brought of it."""
    return PACKAGE / "share" if (PACKAGE / "share").is_dir() else PACKAGE.parent
