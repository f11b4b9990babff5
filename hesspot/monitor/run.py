"""A watch: frame after frame, until the trajectory ends or a limit is passed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hesspot.console import say, warn
from hesspot.export import LoadedModel, read_model
from hesspot.files import held, replacing
from hesspot.monitor import table
from hesspot.monitor.energies import Energies
from hesspot.monitor.frames import Frame
from hesspot.monitor.kept import Keeping, keep_clusters
from hesspot.monitor.lengths import check_lengths
from hesspot.monitor.limits import NO_SURROUNDINGS, Flag, flags_of, require_values
from hesspot.monitor.look import Look, Settings, look_at
from hesspot.monitor.plots import course
from hesspot.monitor.record import Record
from hesspot.monitor.trajectory import Source, Trajectory

#: The figure of a watch, drawn when it ends, however it ends.
PLOT = "frames.png"

#: Part of the limit of forces that the rounding of a file may have without a word.
ROUNDED = 0.3


@dataclass(frozen=True)
class Watch:
    """What is done at each frame, and when it ends.

    limits: by name (`hesspot.monitor.limits`); stated: those of them that the user has named; energies: LAMMPS's log or
    i-PI's properties of the run; keeping: which clusters are kept; follow: wait for frames that are still to come, for
    `patience` seconds (None: for ever); every: look at every so many frames; on_limit: a shell command that is run when
    the first limit is passed; stop: end there.
    """

    settings: Settings = field(default_factory=Settings)
    limits: Mapping[str, float] = field(default_factory=dict)
    stated: Sequence[str] = ()
    energies: Path | None = None
    keeping: Keeping = field(default_factory=Keeping)
    follow: bool = True
    patience: float | None = None
    every: int = 1
    on_limit: str | None = None
    stop: bool = False


def watch(
    model: str | Path,
    source: Source,
    folder: Path,
    asked: Watch,
    *,
    resume: bool = False,
    tell: Callable[[str], None] = say,
) -> list[dict[str, Any]]:
    """Watch a trajectory and write `frames.jsonl` into `folder`; the rows of all frames."""
    loaded = read_model(model)
    trajectory = Trajectory(source)
    first = trajectory.first_frame(whole=not asked.follow)
    if first is not None:
        _check(first, loaded, source, asked)
    energies = None if asked.energies is None else Energies(asked.energies)
    about = {
        "model": str(model),
        "weights_sha256": loaded.metadata.weights_sha256,
        "files": [str(path.absolute()) for path in source.files.values()],
        "limits": dict(asked.limits),
        "lowest": asked.settings.lowest,
        "every": asked.every,
    }
    with held(folder, "the watch"):
        record = Record(folder, about, resume=resume)
        if record.frames:
            tell(f"{len(record.frames)} frames are there, up to step {record.frames[-1]['step']}")
            trajectory = Trajectory(source, record.places, record.frames[-1]["frame"] * asked.every + 1)
        tell(f"{source.trajectory} against {loaded.describe()}")
        if loaded.kernel is None or loaded.surroundings is None:
            tell(f"no distances: {NO_SURROUNDINGS}")
        try:
            _look_at_all(loaded, trajectory, energies, record, asked, folder, tell)
        except KeyboardInterrupt:
            tell("interrupted: the watch ends here, and --resume goes on")
        finally:
            if record.frames:
                with replacing(folder / PLOT) as part:
                    course(record.frames, asked.limits).savefig(part, format="png")
    return record.frames


def _look_at_all(
    model: LoadedModel,
    trajectory: Trajectory,
    energies: Energies | None,
    record: Record,
    asked: Watch,
    folder: Path,
    tell: Callable[[str], None],
) -> None:
    passed = any(row["flags"] or "broken" in row for row in record.frames)
    rounded = None
    name = str(trajectory.source.trajectory)
    skipped = 0
    for frame in trajectory.frames(follow=asked.follow, patience=asked.patience):
        if record.frames and skipped < asked.every - 1:
            skipped += 1
            continue
        skipped, started = 0, time.perf_counter()
        if not record.frames:
            _check(frame, model, trajectory.source, asked)
        look = look_at(frame, model, asked.settings, name, frame.energy if energies is None else energies.at(frame))
        flags = flags_of(look, asked.limits)
        keep_clusters(folder, look, flags, asked.keeping)
        row = record.add(look, flags, trajectory.seconds + time.perf_counter() - started, trajectory.places)
        if len(record.frames) == 1:
            tell(table.head(row))
        tell(look.broken or table.line(row, record.frames[0]))
        if rounded is None and (worse := _rounding(look, asked.limits)):
            rounded = worse
            warn(rounded)
        for flag in flags:
            tell(f"  step {frame.step}: {flag.describe()}")
        if (flags or look.broken) and not passed:
            passed = True
            if asked.on_limit:
                _run(asked.on_limit, look, flags)
        if (flags or look.broken) and asked.stop:
            tell(f"a limit is passed at step {frame.step}: the watch ends")
            return


def _check(frame: Frame, model: LoadedModel, source: Source, asked: Watch) -> None:
    """UserError for a first frame that is not what the watch is asked about."""
    check_lengths(frame, model, f"the frame of step {frame.step} in {source.trajectory}")
    require_values(asked.stated, frame, model, lowest=asked.settings.lowest, energies=asked.energies is not None)


def _rounding(look: Look, limits: Mapping[str, float]) -> str | None:
    """A warning where the digits of a file alone come near the limit of forces."""
    rounding, force = look.values.get("rounding", 0.0), look.values.get("force", 0.0)
    if "force" not in limits or rounding < ROUNDED * limits["force"] or force < 0.1 * rounding:
        return None  # a start structure of few digits is exact
    return (
        f"the digits that positions and forces are written with change forces by up to {rounding:.1g} eV/Å, and the "
        f"limit is {limits['force']:g}; write more of them (`dump_modify ID format float %.10g`), or give another "
        "--limit force=…"
    )


def _run(command: str, look: Look, flags: Sequence[Flag]) -> None:
    """The user's own command, which is told step, name, value, limit and atom in its environment."""
    told = {"HESSPOT_STEP": str(look.frame.step)}
    if flags:
        told |= {f"HESSPOT_{key.upper()}": str(getattr(flags[0], key)) for key in ("what", "value", "limit", "atom")}
    status = subprocess.run(command, shell=True, env={**os.environ, **told}, check=False).returncode
    if status:
        warn(f"--on-limit {command!r} ended with status {status}")
