from pathlib import Path

import pytest

from hesspot.lammps import build_plugin


@pytest.fixture(scope="session", autouse=True)
def plugin() -> Path:
    """The plugin, compiled at most once: the cache serves all later sessions."""
    return build_plugin()
