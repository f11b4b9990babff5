"""The lines that a watch writes: one of JSON for each frame, which is also where it goes on after a stop."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hesspot.errors import UserError
from hesspot.monitor.limits import Flag
from hesspot.monitor.look import Look

FILE = "frames.jsonl"


class Record:
    """`frames.jsonl` in a folder: what is watched in its first line, then a line for each frame.

    frames: those that are there, as read from it. UserError for a folder that holds a watch which is not to be resumed,
    or of something else.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], *, resume: bool):
        self.path = folder / FILE
        self.frames: list[dict[str, Any]] = []
        if self.path.exists():
            if not resume:
                raise UserError(
                    f"{folder} holds a watch already; pass --resume to go on with it, or choose another --out"
                )
            self._read(json.loads(json.dumps(about)))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._append(about)

    def _read(self, about: dict[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        head, *rows = (json.loads(line) for line in whole.splitlines()) if whole else ({},)
        if different := [key for key in about if head.get(key) != about[key]]:
            key = different[0]
            raise UserError(
                f"{self.path} is of another watch ({key} {head.get(key)!r}, not {about[key]!r}); choose another --out"
            )
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        self.frames = rows

    @property
    def places(self) -> list[int] | None:
        """Where in the files the next frame begins."""
        return self.frames[-1]["places"] if self.frames else None

    def add(self, look: Look, flags: Sequence[Flag], seconds: float, places: Sequence[int]) -> dict[str, Any]:
        """Write a frame's line; it is on the disk then."""
        frame = look.frame
        row: dict[str, Any] = {"frame": len(self.frames), "step": frame.step, "atoms": len(frame)}
        row |= {key: float(value) for key, value in look.values.items()}
        row["at"] = {key: int(frame.ids[atom]) for key, atom in look.at.items()}
        row["flags"] = [asdict(flag) for flag in flags]
        if look.broken:
            row["broken"] = look.broken
        row |= {"seconds": round(seconds, 3), "places": list(places)}
        self._append(row)
        self.frames.append(row)
        return row

    def _append(self, content: Mapping[str, Any]) -> None:
        with self.path.open("ab") as stream:
            stream.write(json.dumps(content).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
