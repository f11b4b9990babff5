"""Checkpoints: all that a run needs to go on exactly, written atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.models.ensemble import build_house
from hesspot.models.house import House

FORMAT = "hesspot-checkpoint"
VERSION = 2


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`; the file is complete or not there. UserError if the disk is full."""
    path = Path(path)
    buffer = io.BytesIO()  # torch's own writing of files tells no reason when it fails
    torch.save({"format": FORMAT, "version": VERSION, **content}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; UserError if it is missing, damaged, of another kind or newer."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; give the folder of a run made by `hesspot train`")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}); use the run's other checkpoint"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no hesspot checkpoint; give the folder of a run made by `hesspot train`")
    if content["version"] > VERSION:
        raise UserError(f"checkpoint {path} has version {content['version']}, newer than {VERSION}; update hesspot")
    return content


def model_of(content: dict[str, Any], weights: str = "average") -> House:
    """The model of a checkpoint: its averaged weights, or `weights="last"` for those of the last step."""
    model: House = build_house(content.get("architecture", "house"), content["model_config"])
    model.load_state_dict(content[weights])
    model.shifts = list(content["shifts"])
    return model
