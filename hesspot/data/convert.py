"""Datasets from files of other formats."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hesspot.data.dataset import Dataset
from hesspot.data.dataset_file import LABELS, Head, writing_dataset
from hesspot.data.levels import LEVEL_GIVEN, different_levels
from hesspot.data.readers import FIXED_UNITS, Options, orca, read_labelled, recognise
from hesspot.data.readers.contents import head_of, program_of
from hesspot.data.record import KINDS, PARTS, Record
from hesspot.data.split import draw_parts, require_fractions
from hesspot.data.unit_checks import UnitCheck
from hesspot.errors import UserError


def convert(
    sources: Sequence[str | Path],
    options: Options,
    *,
    level: str | None = None,
    **how: Any,
) -> Dataset:
    """One dataset of the structures in `sources`, in eV and Å and in memory; `how` as in `convert_to`."""
    levels: list[str] = []
    records = list(_converted([Path(each) for each in sources], options, levels, **how))
    return Dataset(records, _one_level(records, levels, level), _provenance(sources, level))


def convert_to(
    out: str | Path,
    sources: Sequence[str | Path],
    options: Options,
    *,
    level: str | None = None,
    split: Sequence[float] | None = None,
    split_by: str = "system",
    seed: int = 0,
    provenance: dict[str, Any] | None = None,
    **how: Any,
) -> Dataset:
    """Write one dataset of the structures in `sources`, in eV and Å, and open it; no more than a piece is in memory.

    file_format: of all sources, None to recognise each. part, kind, tag and system replace what the files say; limit
    takes the first structures of each source; check_units=False takes the numbers as they are; progress is called
    with the count so far, doubt with what is odd (see `UnitCheck`); split draws parts, see `draw_parts`. Names that
    occur twice get a number. UserError for bad input, for units that cannot be, and for more than one level of theory
    unless `level` names one: the file that was there stays.
    """
    if split is not None:
        require_fractions(split, split_by)
    levels: list[str] = []
    labelled = False
    with writing_dataset(Path(out)) as writer:
        for record in _converted([Path(each) for each in sources], options, levels, **how):
            writer.add(record)
            labelled = labelled or any(getattr(record, label) is not None for label in LABELS)
        if not labelled:
            raise UserError(_without_labels([Path(each) for each in sources], how.get("file_format")))
        writer.level_of_theory = _one_level(writer.heads, levels, level)
        writer.provenance = {**_provenance(sources, level), **(provenance or {})}
        if split is not None:
            for head, part in zip(writer.heads, draw_parts(writer.heads, split, split_by, seed), strict=True):
                head.part = part
            writer.provenance["split"] = [*split, split_by, seed]
    return Dataset.open(out)


def _converted(
    sources: Sequence[Path],
    options: Options,
    levels: list[str],
    *,
    file_format: str | None = None,
    part: str | None = None,
    kind: str | None = None,
    tag: str | None = None,
    system: str | None = None,
    limit: int | None = None,
    check_units: bool = True,
    progress: Callable[[int], None] = lambda count: None,
    doubt: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Record]:
    """The records one by one; their levels of theory are appended to `levels`."""
    if part is not None and part not in PARTS:
        raise UserError(f"--part {part} is not known: use one of {', '.join(PARTS)}")
    if kind is not None and kind not in KINDS:
        raise UserError(
            f"--kind {kind} is not known: use one of {', '.join(KINDS)}, or --tag {kind} for a word of yours"
        )
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit} takes no structure: give 1 or more")
    seen: dict[str, int] = {}
    for source in _without_twins(sources):
        units = UnitCheck(options.units)
        for raw in islice(read_labelled(source, options, file_format), limit):
            raw.kind, raw.tag = kind or raw.kind, tag or raw.tag
            record = raw.record()
            record.part, record.system = part or record.part, system or record.system
            record.name = _unique(record.name, seen)
            levels.append(raw.level)
            if check_units:
                units.add(record, raw.keys)
            progress(len(levels))
            yield record
        if not check_units or (file_format or recognise(source)) in FIXED_UNITS:
            continue
        for complaint in units.refusals():
            raise UserError(f"{source}: {complaint}; --no-unit-check takes the numbers as they are")
        for complaint in units.doubts():
            doubt(f"{source}: {complaint}")


def _without_labels(sources: Sequence[Path], file_format: str | None) -> str:
    """What is wrong with sources that hold structures alone."""
    named = any((file_format or recognise(source)) not in FIXED_UNITS for source in sources)
    remedy = "say where they are with --keys energy=NAME,forces=NAME,hessian=NAME, or " if named else ""
    told = ", ".join(map(str, sources[:3])) + (", …" if len(sources) > 3 else "")
    return (
        f"no energy, no forces and no Hessian is read of {told}: {remedy}give files of calculations that have them, or "
        "compute them with `hesspot label`"
    )


def _provenance(sources: Sequence[str | Path], level: str | None) -> dict[str, Any]:
    return {"converted_from": [str(source) for source in sources]} | ({LEVEL_GIVEN: level} if level else {})


def _without_twins(sources: Sequence[Path]) -> list[Path]:
    """ORCA's files of one stem are one source, and so are TURBOMOLE's and xtb's of one folder."""
    jobs: set[Path] = set()
    single = []
    own = {orca.stem_of(source) for source in sources if source.name.lower().endswith(orca.OWN)}
    for source in sources:
        name = recognise(source) if source.is_file() else ""
        if name == "output" and orca.stem_of(source) in own and program_of(head_of(source)) == "ORCA":
            continue  # is read with the others
        job = {"orca": orca.stem_of(source), "turbomole": source.parent}.get(name)
        if job is None or job not in jobs:
            single.append(source)
        if job is not None:
            jobs.add(job)
    return single


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


def _one_level(records: Sequence[Record | Head], levels: list[str], given: str | None) -> str:
    """The set's level of theory; records of several keep their own as a property, which `data check` finds."""
    known = different_levels(dict.fromkeys(level for level in levels if level))
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
