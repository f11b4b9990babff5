"""From a few structures many, in several ways, and of these the ones that cover most: a file to be labelled."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from hesspot.console import Progress
from hesspot.data.record import TAG
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.files import replacing, require_free, write_atomically
from hesspot.models.architectures import describing_model, first_of
from hesspot.reference.calculator_factory import CalculatorFactory
from hesspot.sampling.selection import farthest, surroundings, typical
from hesspot.sampling.ways import RATTLED, WAYS, dimers, harmonic, path, thermal
from hesspot.structures import check_structure, read_structures

#: Ways that are not drawn one structure at a time, and what `--way` may name.
DIMER, PATH, THERMAL, MODES, START = "dimer", "path", "thermal", "modes", "start"
#: Ways that ask a calculator.
CALCULATED = {THERMAL: thermal, MODES: harmonic}
NAMES = (*WAYS, DIMER, PATH, *CALCULATED)

#: How the structures that are kept cover all: near to most atoms, or as far from each other as can be.
BY = ("typical", "farthest")

#: K, where none are given.
TEMPERATURES = (300.0, 600.0, 1200.0)


def sample(
    source: str | Path,
    out: str | Path,
    ways: Mapping[str, int],
    *,
    keep: int | None = None,
    calculator: CalculatorFactory | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    amplitude: float = RATTLED[1],
    model: str | Path | None = None,
    by: str = BY[0],
    seed: int = 0,
    elements: Sequence[str] | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> list[ase.Atoms]:
    """Make structures from all of a file and write them, with these, to extended XYZ.

    Args:
        ways: how many structures each way makes, spread evenly over the start structures; see `NAMES`.
        keep: of all, the start structures among them, so many that cover most; None: all. by: whether these are
            typical ones or farthest points.
        calculator: of the dynamics of `thermal`, at rising `temperatures` (K), and of the forces of `modes`.
        amplitude: Å, the largest root mean square of random displacements.
        model: exported model whose descriptors compare surroundings; one with random weights otherwise.
    """
    source, out = Path(source), Path(out)
    require_free(out, overwrite)
    starts = read_structures(source, elements)
    for number, atoms in enumerate(starts):
        check_structure(atoms, f"structure {number} of {source}")
    _check(ways, keep, by, calculator, temperatures, amplitude)
    rng = np.random.default_rng(seed)
    parts = out.with_name(f"{out.name}.parts")
    asked = {
        "source": hashlib.sha256(source.read_bytes()).hexdigest(),
        "ways": {way: ways[way] for way in CALCULATED if way in ways},
        "temperatures": list(temperatures),
        "seed": seed,
        "calculator": None if calculator is None else calculator.provenance(),
    }
    _keep_parts_of(parts, asked, say)
    frames = [_named(atoms, atoms, START, number, source) for number, atoms in enumerate(starts)]
    with Progress("structures", len(starts) + sum(ways.values()), len(starts)) as progress:
        for way, count in ways.items():
            advance = partial(progress.advance, note=way)
            drawn = _made(way, count, starts, calculator, list(temperatures), amplitude, rng, seed, parts, say, advance)
            for number, (start, atoms) in enumerate(drawn):
                frames.append(_named(atoms, start, way, number, source))
                if way not in CALCULATED:
                    advance()
    if keep is not None and keep < len(frames):
        frames = _chosen(frames, keep, by, model)
    with replacing(out) as part:
        ase.io.write(part, frames, format="extxyz")
    shutil.rmtree(parts, ignore_errors=True)
    return frames


def _keep_parts_of(folder: Path, asked: dict[str, Any], say: Callable[[str], None]) -> None:
    """What a stopped run has computed stays if it was asked for the same."""
    if not asked["ways"]:
        return
    told = folder / "asked.json"
    if told.exists() and json.loads(told.read_text()) != asked:
        say(f"{folder}: made by another command, computed again")
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    write_atomically(told, json.dumps(asked).encode())


def _check(
    ways: Mapping[str, int],
    keep: int | None,
    by: str,
    calculator: CalculatorFactory | None,
    temperatures: Sequence[float],
    amplitude: float,
) -> None:
    for way, count in ways.items():
        if way not in NAMES:
            raise UserError(f"--way {way}={count} is not known; use some of {', '.join(NAMES)}")
        if count < 1:
            raise UserError(f"--way {way}={count} is not possible: make 1 or more")
    asked = [way for way in CALCULATED if way in ways]
    if asked and calculator is None:
        raise UserError(f"--way {asked[0]} needs forces; name a calculator with --calculator module:factory")
    if not asked and calculator is not None:
        raise UserError(
            f"--calculator {calculator.name} is for --way thermal=N or modes=N, which are not asked for; add one"
        )
    if not temperatures or min(temperatures) <= 0:
        raise UserError(f"--temperatures {','.join(map(str, temperatures))} are not possible: give some above 0 K")
    if keep is not None and keep < 1:
        raise UserError(f"--keep {keep} is not possible: keep 1 or more")
    if by not in BY:
        raise UserError(f"--by {by} is not known; use {' or '.join(BY)}")
    if not amplitude > RATTLED[0]:
        raise UserError(f"--amplitude {amplitude:g} is not possible: give more than {RATTLED[0]} Å")


def _made(
    way: str,
    count: int,
    starts: Sequence[ase.Atoms],
    calculator: CalculatorFactory | None,
    temperatures: list[float],
    amplitude: float,
    rng: np.random.Generator,
    seed: int,
    parts: Path,
    say: Callable[[str], None],
    advance: Callable[..., None],
) -> Iterator[tuple[ase.Atoms, ase.Atoms]]:
    """Start structure and structure, `count` of them; those that take forces advance when they are computed."""
    if way == DIMER:
        everything = ase.Atoms(np.concatenate([atoms.numbers for atoms in starts]))
        yield from ((atoms, atoms) for atoms in dimers(everything, count))
        return
    if way == PATH:
        yield from ((starts[number], atoms) for number, atoms in path(starts, count))
        return
    for number, start in enumerate(starts):
        share = count * (number + 1) // len(starts) - count * number // len(starts)
        if way in WAYS:
            yield from ((start, WAYS[way](start, rng, amplitude)) for _ in range(share))
        elif share:
            assert calculator is not None
            kept = parts / f"{way}-{number}.xyz"
            if kept.exists():
                advance(share)
            else:
                own = np.random.default_rng([seed, NAMES.index(way), number])
                found = _calculated(way, number, start, share, calculator, temperatures, own, say, advance)
                with replacing(kept) as part:
                    ase.io.write(part, found, format="extxyz")
            if kept.stat().st_size:
                yield from ((start, atoms) for atoms in read_structures(kept))


def _calculated(
    way: str,
    number: int,
    start: ase.Atoms,
    count: int,
    calculator: CalculatorFactory,
    temperatures: list[float],
    rng: np.random.Generator,
    say: Callable[[str], None],
    advance: Callable[..., None],
) -> list[ase.Atoms]:
    """Structures that take forces, as many as the calculator lets be made."""
    made: Any = calculator.make({})
    found: list[ase.Atoms] = []
    try:
        for atoms in CALCULATED[way](start, count, made, temperatures, rng):
            atoms.calc = None
            found.append(atoms)
            advance()
    except UserError:
        raise
    except Exception as error:  # what a calculator says of one structure ends its dynamics alone
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        say(f"structure {number}: {way} ended after {len(found)} of {count} structures, {reason}")
    return found


def _named(atoms: ase.Atoms, start: ase.Atoms, way: str, number: int, source: Path) -> ase.Atoms:
    """A copy without labels, whose name, tag and system `hesspot label` keeps."""
    frame = atoms.copy()
    frame.calc = None
    same = len(frame) == len(start) and bool((frame.numbers == start.numbers).all())
    frame.info = {key: value for key, value in start.info.items() if same and key not in ("name", "part", "kind", TAG)}
    frame.info |= {"name": f"{source.stem}_{way}_{number:05d}", TAG: way, "system": str(frame.symbols.formula)}
    return frame


def _chosen(frames: list[ase.Atoms], keep: int, by: str, path: str | Path | None) -> list[ase.Atoms]:
    elements = sorted({symbol for atoms in frames for symbol in atoms.symbols})
    model: Any = describing_model(elements) if path is None else first_of(eager_model(read_model(path)))
    if not hasattr(model, "descriptors"):
        raise UserError(f"--model {path} has no descriptors of surroundings, which are compared; leave it out")
    with Progress("surroundings", len(frames)) as progress:
        described = surroundings(frames, model, progress.advance)
    choose = typical if by == BY[0] else farthest
    return [frames[index] for index in sorted(choose(frames, described, keep))]
