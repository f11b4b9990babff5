"""Checkpoints: all that a run needs to go on exactly, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hesspot.errors import UserError
from hesspot.files import replacing
from hesspot.models.house import HouseConfig, HouseModel

FORMAT = "hesspot-checkpoint"
VERSION = 1


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`; the file is complete or not there."""
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, "version": VERSION, **content}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; UserError if it is missing, damaged, of another kind or newer."""
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; give the folder of a run made by `hesspot train`")
    try:
        content = torch.load(path, weights_only=True)
    except Exception as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}); use the run's other checkpoint"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no hesspot checkpoint; give the folder of a run made by `hesspot train`")
    if content["version"] > VERSION:
        raise UserError(f"checkpoint {path} has version {content['version']}, newer than {VERSION}; update hesspot")
    return content


def model_of(content: dict[str, Any], weights: str = "average") -> HouseModel:
    """The model of a checkpoint: its averaged weights, or `weights="last"` for those of the last step."""
    model = HouseModel(HouseConfig(**content["model_config"]))
    model.load_state_dict(content[weights])
    model.shifts = list(content["shifts"])
    return model
