"""Datasets from files of other formats."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from hesspot.data.dataset import Dataset
from hesspot.data.levels import different_levels
from hesspot.data.readers import Options, read_labelled
from hesspot.data.record import KINDS, PARTS, Record
from hesspot.data.unit_checks import unit_complaints
from hesspot.errors import UserError


def convert(
    sources: Sequence[str | Path],
    options: Options,
    *,
    file_format: str | None = None,
    level: str | None = None,
    part: str | None = None,
    kind: str | None = None,
    system: str | None = None,
    limit: int | None = None,
    check_units: bool = True,
    progress: Callable[[int], None] = lambda count: None,
) -> Dataset:
    """One dataset of the structures in `sources`, in eV and Å.

    `part`, `kind` and `system` replace what the files say; `limit` takes the first structures of each source;
    `progress` is called with the count so far. Names that occur twice get a number. UserError for bad input, for
    units that cannot be (see `unit_complaints`), and for more than one level of theory unless `level` names one.
    """
    for value, known, option in ((part, PARTS, "--part"), (kind, KINDS, "--kind")):
        if value is not None and value not in known:
            raise UserError(f"{option} {value} is not known: use one of {', '.join(known)}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} takes no structure: give 1 or more")
    records: list[Record] = []
    levels: list[str] = []
    seen: dict[str, int] = {}
    for source in _without_twins([Path(each) for each in sources]):
        first = len(records)
        for raw in islice(read_labelled(source, options, file_format), limit):
            record = raw.record()
            record.part, record.kind, record.system = part or record.part, kind or record.kind, system or record.system
            record.name = _unique(record.name, seen)
            records.append(record)
            levels.append(raw.level)
            progress(len(records))
        if check_units and (complaints := unit_complaints(records[first:])):
            raise UserError(f"{source}: {complaints[0]}; --no-unit-check takes the numbers as they are")
    return Dataset(records, _one_level(records, levels, level), {"converted_from": [str(source) for source in sources]})


def _without_twins(sources: Sequence[Path]) -> list[Path]:
    """ORCA's .hess and .engrad of one stem are one source."""
    stems = {source.with_suffix("") for source in sources if source.suffix == ".hess"}
    return [source for source in sources if source.suffix != ".engrad" or source.with_suffix("") not in stems]


def _unique(name: str, seen: dict[str, int]) -> str:
    if name not in seen:
        seen[name] = 1
        return name
    while True:
        seen[name] += 1
        candidate = f"{name}_{seen[name]}"
        if candidate not in seen:
            seen[candidate] = 1
            return candidate


def _one_level(records: list[Record], levels: list[str], given: str | None) -> str:
    """The set's level of theory; records of several keep their own as a property, which `data check` finds."""
    known = different_levels(level for level in levels if level)
    if len(known) > 1:
        if given is None:
            raise UserError(
                f"the files are of different levels of theory, {' and '.join(known)}, whose energies do not compare: "
                "convert each by itself, or name one with --level if they are the same"
            )
        for record, level in zip(records, levels, strict=True):
            if level:
                record.properties["level_of_theory"] = level
    return given if given is not None else "".join(known)
