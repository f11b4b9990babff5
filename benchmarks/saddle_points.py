"""Saddle points of held-out reactions: what Hessians in training, and exact Hessians in the search, are worth.

    OMP_NUM_THREADS=1 python benchmarks/saddle_points.py saddle-points
    python benchmarks/saddle_points.py saddle-points --table

Models with energies and forces (E-F) and with full Hessians (E-F-H) are trained on the training part of reactive_chno
(51 structures), three seeds; with --pretrained RUN (examples/study/pretrain_large.yaml) both also from that run. The
reactions of its test and validation parts are searched for from 20 starts each: the reference's saddle point with its
atoms displaced at random, 0.05 and 0.1 Å in each coordinate. Sella walks with the model's exact Hessian at each step,
and with its own finite differences, to 0.01 eV/Å. A search has found what is intended if it converges to a point with
one imaginary mode from which the model's paths of steepest descent lead to the two minima of the reaction, their
distances between atoms within 0.3 Å of the reference's. The barrier is against the model's minimum of one side.

What is done is kept in the folder, and a stopped run goes on.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import ase
import numpy as np
from sella import Sella

import hesspot
from hesspot.analysis.molecules import is_same_molecule
from hesspot.chemistry.reaction import reaction_over
from hesspot.chemistry.stationary import find_minimum
from hesspot.chemistry.surface import Surface
from hesspot.console import say
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.units import KCAL_PER_MOL

DATA = "shipped:reactive_chno"
#: The reactions and their two minima; a barrier is measured from the first.
REACTIONS = {
    "CH3NH2-inversion": ("CH3NH2", "CH3NH2"),
    "HCOOH-torsion": ("Z-HCOOH", "E-HCOOH"),
    "vinyl-alcohol=acetaldehyde": ("acetaldehyde", "vinyl-alcohol"),
    "CH2NH-inversion": ("CH2NH", "CH2NH"),
    "CH2NH=HCNH2": ("CH2NH", "HCNH2"),
}
SEEDS, EPOCHS = (0, 1, 2), 100
#: Å, in each coordinate; starts of each.
DISPLACED, STARTS = (0.05, 0.1), 10
#: eV/Å and steps of Sella; Å of a minimum, and of saddle points that are one.
FMAX, STEPS, SAME_MINIMUM, SAME_SADDLE = 0.01, 100, 0.3, 0.02


@dataclass(frozen=True)
class Search:
    """error: of the barrier, kcal/mol, where the saddle point is the intended one."""

    model: str
    seed: int
    way: str
    reaction: str
    found: bool
    forces: int
    hessians: int
    seconds: float
    error: float | None


def trained(folder: Path, name: str, mode: str, seed: int, pretrained: Path | None) -> Path:
    """The exported model of one arm."""
    out = folder / f"{name}-{seed}.pt"
    if not out.exists():
        optimizer: dict[str, float] = {"epochs": EPOCHS, "weight_decay": 1.0}
        config = {"data": DATA, "mode": mode, "seed": seed, "validate_every": EPOCHS, "optimizer": optimizer}
        if mode == "efh":
            config["hessian"] = {"sampling": "full"}
        if pretrained is not None:
            config |= {"start_from": str(pretrained), "allow_mixed_levels": True}
            optimizer |= {"learning_rate": 0.002, "weight_decay": 0.01}
        run = folder / f"{name}-{seed}"
        hesspot.train(config, run, resume=run.exists(), show=False)
        hesspot.export_run(run, out)
    return out


def starts(saddle: ase.Atoms) -> Iterator[ase.Atoms]:
    for displaced in DISPLACED:
        for seed in range(STARTS):
            start = saddle.copy()
            start.rattle(displaced, seed=seed)
            yield start


def search(surface: Surface, start: ase.Atoms, exact: bool) -> ase.Atoms | None:
    """Where Sella ends, if it converges."""
    atoms = surface.attach(start)
    given = {"hessian_function": surface.hessian, "diag_every_n": 1} if exact else {}
    try:
        done = Sella(atoms, order=1, logfile=os.devnull, **given).run(fmax=FMAX, steps=STEPS)
    except (RuntimeError, ValueError, ArithmeticError, np.linalg.LinAlgError, UserError):
        return None
    return surface.plain(atoms) if done else None


def energy_of_minimum(model: Path, minimum: ase.Atoms) -> float | None:
    """eV, of the model's own; None if it has none there."""
    try:
        return find_minimum(Surface(model), minimum).energy
    except UserError:
        return None


def searches(model: Path, name: str, seed: int, way: str) -> list[Search]:
    records = {r.system: r for r in Dataset.read(find_dataset(DATA)) if r.kind in ("minimum", "saddle")}
    results = []
    for reaction, ends in REACTIONS.items():
        saddle, minima = records[reaction], [records[end].atoms_only() for end in ends]
        below, expected = energy_of_minimum(model, minima[0]), saddle.energy - records[ends[0]].energy
        judge = Judge(model, minima)
        for start in starts(saddle.atoms_only()):
            surface = Surface(model)
            wall = time.perf_counter()
            found = search(surface, start, way == "exact")
            seconds, forces, hessians = time.perf_counter() - wall, surface.n_forces, surface.n_hessians
            good = found is not None and judge.is_intended(found)
            error = None
            if good and found is not None and below is not None:
                error = (surface.energy_and_forces(found)[0] - below - expected) / KCAL_PER_MOL
            results.append(Search(name, seed, way, reaction, good, forces, hessians, seconds, error))
    return results


class Judge:
    """Whether saddle points of a model lead to two minima; of those found again the verdict is kept."""

    def __init__(self, model: Path, minima: list[ase.Atoms]):
        self.surface, self.minima = Surface(model), minima
        self.known: list[tuple[np.ndarray, bool]] = []

    def is_intended(self, found: ase.Atoms) -> bool:
        distances = found.get_all_distances()
        for seen, verdict in self.known:
            if np.abs(distances - seen).max() < SAME_SADDLE:
                return verdict
        verdict = self._leads_there(found)
        self.known.append((distances, verdict))
        return verdict

    def _leads_there(self, found: ase.Atoms) -> bool:
        try:
            sides = [side.minimum.atoms for side in reaction_over(self.surface, found).sides]
        except UserError:
            return False
        return any(
            all(is_same_molecule(atoms, end, SAME_MINIMUM) for atoms, end in zip(order, self.minima, strict=True))
            for order in (sides, sides[::-1])
        )


def table(results: list[Search]) -> str:
    """Markdown: of each model and way, over seeds and reactions."""
    head = "| model | Hessian in the search | intended, of 100 | force calls | exact Hessians | s | barrier, kcal/mol |"
    rows = [head, "|" + " --- |" * 7]
    arms = list(dict.fromkeys((each.model, each.way) for each in results))
    for model, way in arms:
        mine = [each for each in results if (each.model, each.way) == (model, way)]
        per_seed = [
            100 * np.mean([each.found for each in mine if each.seed == seed]) for seed in {each.seed for each in mine}
        ]
        good = [each for each in mine if each.found]
        errors = [abs(each.error) for each in good if each.error is not None]
        rows.append(
            f"| {model} | {way} | {', '.join(f'{value:.0f}' for value in per_seed)} | "
            f"{_median(each.forces for each in good)} | {_median(each.hessians for each in good)} | "
            f"{np.median([each.seconds for each in good]):.2f} | {np.mean(errors):.1f} |"
        )
    return "\n".join(rows)


def _median(values: Iterator[int]) -> str:
    return f"{np.median(list(values)):.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pretrained", type=Path, help="a finished run of examples/study/pretrain_large.yaml")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, and run nothing")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    arms = {"E-F": ("ef", None), "E-F-H": ("efh", None)}
    if arguments.pretrained:
        arms |= {"E-F pretrained": ("ef", arguments.pretrained), "E-F-H pretrained": ("efh", arguments.pretrained)}
    if not arguments.table:
        for seed in SEEDS:
            for name, (mode, pretrained) in arms.items():
                for way in ("exact", "Sella's own"):
                    kept = folder / f"{name}-{seed}-{way.split()[0]}.json"
                    if kept.exists():
                        continue
                    done = searches(trained(folder, name, mode, seed, pretrained), name, seed, way)
                    write_atomically(kept, json.dumps([asdict(each) for each in done], indent=1).encode())
                    say(f"{kept.stem}: {sum(each.found for each in done)} of {len(done)}")
    files = sorted(folder.glob("*.json"))
    print(table([Search(**each) for file in files for each in json.loads(file.read_text())]))


if __name__ == "__main__":
    main()
