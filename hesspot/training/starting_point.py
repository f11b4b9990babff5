"""The model that a run trains on: the best of another run, an exported file, or one that comes with hesspot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.models.architectures import name_of
from hesspot.models.ensemble import HouseMean
from hesspot.models.house import House
from hesspot.models.shipped import find_model
from hesspot.training.checkpoint import load_checkpoint


def read_start(text: str) -> dict[str, Any]:
    """What `model_of` needs of a model, with its level of theory.

    text: folder of a run, exported file or shipped:NAME; `@N` behind it is a model of a mean, counted from 0. UserError
    for what holds no model that can be trained.
    """
    place, at, number = text.rpartition("@")
    is_member = bool(at) and number.isdigit() and not Path(text).exists()
    place = place if is_member else text
    path = find_model(place)
    if path.name in ("best.pt", "last.pt") and (path.parent / "config.yaml").is_file():
        raise UserError(f"start_from: {place} is a checkpoint of a run; give its folder, {path.parent}")
    if path.is_file():
        return _of_file(path, place, int(number) if is_member else None)
    if is_member:
        raise UserError(f"start_from: {text}: {path} is no model file, so that it has no model {number}; leave @ out")
    return load_checkpoint(path / "best.pt")


def _of_file(path: Path, place: str, number: int | None) -> dict[str, Any]:
    loaded = read_model(path)
    model: Any = eager_model(loaded)
    if isinstance(model, HouseMean):
        count = len(model.houses)
        if number is None or number >= count:
            raise UserError(
                f"start_from: {place} is the mean of {count} models that were trained apart, and a run trains one: "
                f"{place}@0 takes the first"
            )
        model = model.houses[number]
    elif number is not None:
        raise UserError(f"start_from: {place} is one model, no mean of several; leave @{number} out")
    if not isinstance(model, House):
        raise UserError(
            f"start_from: {place} has the architecture {loaded.metadata.architecture.name}, which `hesspot train` does "
            "not make; give a house model"
        )
    return {
        "architecture": name_of(model),
        "model_config": model.config.model_dump(),
        "average": model.state_dict(),
        "shifts": list(model.shifts),
        "level_of_theory": loaded.metadata.level_of_theory,
    }
