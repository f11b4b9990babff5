"""Checkpoints: all that a run needs to go on exactly, written atomically."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from hesspot.errors import UserError
from hesspot.files import contents_of, require_file, write_atomically
from hesspot.models.architectures import build_model
from hesspot.models.house import House

FORMAT = "hesspot-checkpoint"
VERSION = 3

#: The first version whose runs can be gone on with; the models of older ones can be read.
FIRST_RESUMED = 3

#: Characters of torch's message that are shown.
SHOWN = 200


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`; the file is complete or not there. UserError if the disk is full."""
    path = Path(path)
    buffer = io.BytesIO()  # torch's own writing of files tells no reason when it fails
    torch.save({"format": FORMAT, "version": VERSION, **content}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; UserError if it is missing, damaged, of another kind or newer."""
    path = Path(path)
    remedy = "give the folder of a run made by `hesspot train`"
    if path.parent.is_file():
        raise UserError(f"{path.parent} is {contents_of(path.parent)}, and no run; {remedy}")
    require_file(path, "checkpoint", remedy)
    if not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint {path} is {contents_of(path)} or truncated; {_other(path)}")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        reason = str(error).splitlines()[0][:SHOWN]
        raise UserError(f"checkpoint {path} cannot be read ({reason}); {_other(path)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is no hesspot checkpoint; {remedy}")
    if content["version"] > VERSION:
        raise UserError(f"checkpoint {path} has version {content['version']}, newer than {VERSION}; update hesspot")
    return content


def _other(path: Path) -> str:
    """How a run goes on from its other checkpoint; nothing is replaced unless its owner says so."""
    if path.name == "last.pt" and path.with_name("best.pt").exists():
        return f"delete it, and `hesspot train … --out {path.parent} --resume` goes on from best.pt"
    if path.name == "best.pt" and path.with_name("last.pt").exists():
        return f"copy {path.with_name('last.pt')} over it to take the last model for the best one"
    return "choose another --out"


def model_of(content: dict[str, Any], weights: str = "average") -> House:
    """The model of a checkpoint: its averaged weights, or `weights="last"` for those of the last step."""
    model: House = build_model(content.get("architecture", "house"), content["model_config"])
    model.load_state_dict(content[weights])
    model.shifts = list(content["shifts"])
    return model
