"""A distillation of copper that takes seconds: a small cell, a small committee, few epochs, short runs."""

import copy
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.build import bulk

KEYS: dict[str, Any] = {
    "teacher": {"calculator": "ase.calculators.emt:EMT"},
    "sample": {"ways": {"rattle": 3, "strain": 2}},
    "training": {
        "model": {"members": 2, "cutoff": 4.0, "n_radial": 4, "n_channels": 2, "hidden": [8]},
        "optimizer": {"epochs": 4, "batch_size": 4},
        "validate_every": 2,
    },
    "run": {"length": 0.04, "deviation": 1e-9},
    "budget": {"rounds": 2, "per_round": 2},
    "test": {"ways": {"rattle": 2}},
    "verify": ["torch"],
}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    """The keys of a distillation whose runs always stop, of a start structure in `tmp_path`."""
    ase.io.write(tmp_path / "cu.xyz", bulk("Cu", cubic=True))
    return copy.deepcopy(KEYS) | {"start": str(tmp_path / "cu.xyz")}
