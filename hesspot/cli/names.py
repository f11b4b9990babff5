"""Names that the shell completes: files, and what comes with hesspot."""

import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from glob import escape, glob
from pathlib import Path

PREFIX = "shipped:"


def complete_after_colon(app: Callable[[], None]) -> None:
    """Call `app`; where bash completes `shipped`, `:` and `NAME`, three words to it, as one, of which it gets NAME."""
    words, count = re.subn(r"\bshipped\s+:(\s+(?=\S))?", PREFIX, os.environ.get("COMP_WORDS", ""))
    if not count or os.environ.get("_HESSPOT_COMPLETE") != "complete_bash":
        app()
        return
    os.environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            app()
    finally:
        print("\n".join(line.removeprefix(PREFIX) for line in found.getvalue().splitlines()))


def _completed(incomplete: str, names: Sequence[str]) -> list[str]:
    """Files and shipped:NAME that begin so."""
    files = [f"{path}/" if Path(path).is_dir() else path for path in sorted(glob(escape(incomplete) + "*"))]
    return [*(PREFIX + name for name in names if (PREFIX + name).startswith(incomplete)), *files]


def model_names(incomplete: str) -> list[str]:
    """Completions of a model file."""
    from hesspot.models import shipped

    return _completed(incomplete, shipped.names())


def dataset_names(incomplete: str) -> list[str]:
    """Completions of a dataset."""
    from hesspot.data import shipped

    return _completed(incomplete, shipped.names())


def engine_names(incomplete: str) -> list[str]:
    """Completions of a comma-separated list of engines."""
    given, comma, last = incomplete.rpartition(",")
    engines = ("torch", "torchscript", "ase", "lammps", "ipi")
    return [given + comma + name for name in engines if name.startswith(last) and name not in given.split(",")]
