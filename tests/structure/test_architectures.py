"""Risk: engines that name an architecture, so that a new one has to be brought to each of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: What is no name of the architecture itself: `hesspot train` makes house models only, and says so.
TRAINING = ("hesspot/training/", "hesspot/cli/train.py")


def files_naming(word: str) -> set[str]:
    files = {
        path
        for folder in ("hesspot", "ipi_driver", "lammps_plugin")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".cpp", ".h", ".txt")
    }
    return {str(path.relative_to(ROOT)) for path in files if re.search(rf"\b{word}", path.read_text(), re.IGNORECASE)}


def test_the_house_model_is_named_by_its_own_files_alone() -> None:
    named = {name for name in files_naming("house") if not name.startswith(TRAINING)}
    own = {name for name in named if re.search(r"/house\w*\.\w+$", name)}
    assert {"hesspot/models/house.py", "hesspot/kernel/house.cpp", "hesspot/kernel/house_kernel.cpp"} <= own
    assert named - own == {"hesspot/models/architectures.py", "hesspot/models/ensemble.py"}
