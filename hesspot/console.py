"""What is said to people: tables, sentences and progress, at a terminal, in a file or in a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table

#: Columns of a file or pipe: more than any table needs.
WIDE = 10_000

#: Seconds between two lines of progress in a file where nothing but a count is to be told.
BETWEEN_LINES = 30.0


def console(*, stderr: bool = False) -> Console:
    """A console that writes at once; lines and tables in a file take the width they need."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDE)


def say(text: str, *, stderr: bool = False) -> None:
    """A sentence, on one line however long it is."""
    console(stderr=stderr).print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """A sentence on stderr that begins with `warning`."""
    say(f"warning: {text}", stderr=True)


def show(renderable: RenderableType) -> None:
    """A table or another renderable on stdout; a narrow terminal folds cells, and never cuts them."""
    _fold(renderable)
    console().print(renderable, markup=False)


def _fold(renderable: RenderableType) -> None:
    if isinstance(renderable, Table):
        for column in renderable.columns:
            column.overflow = "fold"
    elif isinstance(renderable, Group):
        for part in renderable.renderables:
            _fold(part)


class Progress:
    """How far work has come: a bar where stderr is a terminal, lines where stdout is none.

    A context in which `advance` is called. total: steps, None if not known; done: those done before; lines: False for
    commands whose stdout is read by programs.
    """

    def __init__(self, what: str, total: int | None, done: int = 0, *, show: bool = True, lines: bool = True):
        self._what, self._total, self._done, self._begun_at = what, total, done, done
        self._start = self._told = time.monotonic()
        self._bar = _bar(console(stderr=True), total is not None) if show and _can_draw(sys.stderr) else None
        if self._bar is not None:
            self._task = self._bar.add_task(what, total=total, completed=done, note="")
        self._lines = show and lines and (self._bar is None or not sys.stdout.isatty())

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        if self._lines and self._total is not None:
            self._tell("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1, note: str = "") -> None:
        """So many steps more are done. A note stands beside the bar until the next; in a file it is a line."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, **({"note": note} if note else {}))
        if self._lines and (note or time.monotonic() - self._told > BETWEEN_LINES):
            self._tell(note)

    def reach(self, done: int) -> None:
        """So many steps are done in all."""
        self.advance(done - self._done)

    def _tell(self, note: str) -> None:
        self._told = time.monotonic()
        count = f"{self._what} {self._done}" + ("" if self._total is None else f"/{self._total}")
        say("  ".join(filter(None, (count, self._times(), note))))

    def _times(self) -> str:
        elapsed, new = self._told - self._start, self._done - self._begun_at
        text = _clock(elapsed)
        if self._total is not None and new > 0 and self._done < self._total:
            text += f", {_clock(elapsed / new * (self._total - self._done))} left"
        return text


def _can_draw(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _bar(terminal: Console, counted: bool) -> Any:
    from rich import progress

    count = [progress.BarColumn(bar_width=24), progress.MofNCompleteColumn()] if counted else [progress.SpinnerColumn()]
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        *count,
        progress.TimeElapsedColumn(),
        *([progress.TimeRemainingColumn()] if counted else []),
        progress.TextColumn("{task.fields[note]}", markup=False),
        console=terminal,
        transient=not counted,
        redirect_stdout=sys.stdout.isatty(),
    )


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
