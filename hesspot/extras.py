"""Packages that only some commands need."""

import re
import shlex
from importlib.metadata import requires


def install_hint(extra: str) -> str:
    """The command that installs the packages of an extra of pyproject.toml, wherever hesspot itself came from."""
    wanted = [line.split(";") for line in requires("hesspot") or []]
    packages = [name.strip() for name, *marker in wanted if re.search(rf"extra == ['\"]{extra}['\"]", "".join(marker))]
    return f"`pip install {shlex.join(packages)}`"
