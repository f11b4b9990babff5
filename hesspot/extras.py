"""Packages that only some commands need."""

import re
import shlex

from hesspot.errors import UserError


def packages_of(extra: str) -> list[str]:
    """The requirements of an extra of pyproject.toml, of the installed hesspot."""
    from importlib.metadata import requires  # a fortieth of a second

    wanted = [line.split(";") for line in requires("hesspot") or []]
    return [name.strip() for name, *marker in wanted if re.search(rf"extra == ['\"]{extra}['\"]", "".join(marker))]


def install_hint(extra: str) -> str:
    """The command that installs the packages of an extra, wherever hesspot itself came from."""
    return f"`pip install {shlex.join(packages_of(extra))}`"


def is_torch(error: ImportError) -> bool:
    """Whether it is torch that could not be found."""
    return (error.name or "").partition(".")[0] == "torch"


def torch_is_missing(what: str) -> UserError:
    """For `what` that cannot be done without torch."""
    return UserError(
        f"{what} needs torch, which is not installed here; install it with {install_hint('train')} (runs with a model "
        "file that has a kernel go without)"
    )
