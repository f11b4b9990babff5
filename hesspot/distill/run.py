"""The loop of a distillation, in a folder in which a stopped one goes on.

config.yaml, start.xyz, teacher/ (its noise and step), test/ (fixed test set, reference structure and properties),
round-00/, round-01/, … (`hesspot.distill.rounds`), model.pt (the best one), verify.json, report.html. With arms, each
has such a folder in arms/, and shares the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import yaml

from hesspot.console import say
from hesspot.data import Dataset
from hesspot.distill.config import DistillKeys, arm_of, slug_of
from hesspot.distill.course import Course, Ending, TestSet
from hesspot.distill.explore import Candidate, Outcome, candidates, explore
from hesspot.distill.properties import (
    Counted,
    Properties,
    properties_of,
    reference_structure,
    require_possible,
)
from hesspot.distill.report import write_comparison, write_report
from hesspot.distill.rounds import Round, best_of
from hesspot.distill.teacher import (
    factory_of,
    labelled,
    marked,
    method_of,
    prepared,
    sampled,
    sampling_calls,
    write_structures,
)
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.files import held, write_atomically
from hesspot.sampling.selection import farthest, surroundings
from hesspot.settings import read_yaml
from hesspot.structures import check_structure, read_structures
from hesspot.training.config import parse_config
from hesspot.training.export_run import export_run
from hesspot.training.loop import train
from hesspot.verification.run import verify

#: Sections and keys that may change between the parts of a distillation: they change no label and no model there is.
FREE = {"budget": None, "verify": None, "teacher": ("jobs",), "run": ("ranks",), "arms": None}
#: Structures that every engine is asked for in the final verification, and MPI ranks of LAMMPS.
VERIFIED, RANKS = 2, (1, 2)
#: Å, of the eight digits of extended XYZ.
PRINTED = 1e-6
#: Calls before the first label where no curvature is asked for: the work along one line.
TEST_CHECK = 5


def distill(keys: DistillKeys, folder: str | Path, *, resume: bool = False) -> list[Ending]:
    """Run a distillation, or all of its arms, to its end; one ending for each.

    resume: go on in a folder that holds one. UserError for bad input, and for a folder that holds another one.
    """
    folder = Path(folder)
    with held(folder, "the distillation"):
        starts = _begin(keys, folder, resume)
        test = _test_set(keys, folder, starts)
        if not keys.arms:
            return [Distillation(keys, folder, starts, test).run()]
        arms: dict[str, tuple[Course, Ending]] = {}
        for name in keys.arms:
            own = folder / "arms" / slug_of(name)
            own.mkdir(parents=True, exist_ok=True)
            say(f"arm {name}")
            arm = arm_of(keys, name, str(folder))
            _hold_to(arm, own, True)
            one = Distillation(arm, own, starts, test, folder / "start.xyz")
            arms[name] = one, one.run()
            write_comparison(folder, arms)
        return [ending for _, ending in arms.values()]


def _begin(keys: DistillKeys, folder: Path, resume: bool) -> list[ase.Atoms]:
    """The start structures; the folder is new, or holds this distillation."""
    starts = read_structures(Path(keys.start))
    for number, atoms in enumerate(starts):
        check_structure(atoms, f"structure {number} of {keys.start}")
    require_possible(keys.test, starts[0], keys.start)
    if keys.run.ensemble == "npt" and not all(atoms.pbc.all() for atoms in starts):
        raise UserError(f"run.ensemble npt is for periodic structures, and {keys.start} has others; write nvt")
    method_of(keys.teacher).calculator.make({})
    own = folder / "start.xyz"
    _hold_to(keys, folder, resume)
    if not own.exists():
        write_structures(own, [_bare(atoms) for atoms in starts])
    elif not _same(read_structures(own), starts):
        raise UserError(f"{keys.start} has changed since {folder} was begun; bring it back, or choose another --out")
    return starts


def _hold_to(keys: DistillKeys, folder: Path, resume: bool) -> None:
    """Keep the configuration in the folder; UserError if it holds another one, or one that is not to be resumed."""
    kept = folder / "config.yaml"
    if kept.exists():
        if not resume:
            raise UserError(f"folder {folder} holds a distillation already; pass --resume to go on, or another --out")
        old = DistillKeys.model_validate(read_yaml(kept, "distillation", "hesspot distill"))
        if changed := [key for key in DistillKeys.model_fields if _fixed(old, key) != _fixed(keys, key)]:
            raise UserError(
                f"the distillation in {folder} was started with another configuration ({', '.join(changed)} differ); "
                "resume with the old one, or choose another --out"
            )
    content = yaml.safe_dump(keys.model_dump(), sort_keys=False, allow_unicode=True)
    write_atomically(kept, content.encode())


def _bare(atoms: ase.Atoms) -> ase.Atoms:
    """Without labels; charge and multiplicity stay."""
    bare = atoms.copy()
    bare.calc = None
    return bare


def _fixed(keys: DistillKeys, name: str) -> Any:
    content = keys.model_dump(mode="json")[name]
    free = FREE.get(name, ())
    return None if free is None else {k: v for k, v in content.items() if k not in free} if free else content


def _same(old: Sequence[ase.Atoms], new: Sequence[ase.Atoms]) -> bool:
    return len(old) == len(new) and all(
        np.array_equal(a.numbers, b.numbers)
        and np.allclose(a.positions, b.positions, atol=PRINTED)
        and np.allclose(a.cell.array, b.cell.array, atol=PRINTED)
        for a, b in zip(old, new, strict=True)
    )


def _test_set(keys: DistillKeys, folder: Path, starts: Sequence[ase.Atoms]) -> TestSet:
    place = folder / "test"
    place.mkdir(exist_ok=True)
    frames = sampled(folder / "start.xyz", place / "structures.xyz", keys.test, keys.teacher)
    file = place / "labels.h5"
    labels = labelled(place / "structures.xyz", file, method_of(keys.teacher), 0, keys.teacher.jobs, "test")
    calls = TEST_CHECK + len(frames) + sampling_calls(keys.test, starts)
    if keys.test.phonons is None and not keys.test.elastic and not keys.test.frequencies:
        return TestSet(file, labels, None, None, calls)
    kept, structure = place / "properties.json", place / "reference.xyz"
    if not kept.exists():
        calculator = Counted(factory_of(keys.teacher).make({}))
        reference = reference_structure(starts[0], calculator)
        write_structures(structure, [reference])
        found = properties_of(calculator, reference, keys.test)
        if keys.test.elastic and found.elastic is None:
            raise UserError(
                f"the teacher does not relax strained cells of {reference.symbols}, so that test.elastic has nothing "
                "to compare with; leave it out"
            )
        found.calls = calculator.calls
        write_atomically(kept, found.model_dump_json().encode())
        say(f"test: {len(labels)} structures, and properties of {reference.symbols} in {found.calls} force calls")
    found = Properties.model_validate_json(kept.read_text())
    return TestSet(file, labels, read_structures(structure)[0], found, calls + found.calls)


class Distillation(Course):
    """One distillation in a folder, as it is run."""

    def __init__(
        self,
        keys: DistillKeys,
        folder: Path,
        starts: Sequence[ase.Atoms],
        test: TestSet,
        start_file: Path | None = None,
    ) -> None:
        super().__init__(keys, folder, starts, test)
        self.start_file = start_file or folder / "start.xyz"

    def run(self) -> Ending:
        """Rounds until a run holds, or the budget is used."""
        for number in range(self.keys.budget.rounds):
            current = Round(self.folder, number)
            if not current.structures.exists() and (ending := self._choose(current)) is not None:
                break
            self.rounds.append(current)
            outcomes = self._round(current)
            if all(outcome.held for outcome in outcomes):
                ending = self._verified(current)
                break
            write_report(self, None)
        else:
            ending = self._missing(f"the {self.keys.budget.rounds} rounds of budget.rounds are used")
        write_report(self, ending)
        return ending

    def _choose(self, current: Round) -> Ending | None:
        """Write the structures of a round; an ending where no budget is left for one."""
        current.folder.mkdir(parents=True, exist_ok=True)
        limit = self.keys.budget.calls
        if current.number == 0:
            frames = sampled(self.start_file, current.folder / "sampled.xyz", self.keys.sample, self.keys.teacher)
        else:
            left = self.keys.budget.per_round
            if limit is not None:
                left = min(left, (limit - self.calls) // self.keys.cost)
            if left < 1:
                return self._missing(f"the {limit} calls of budget.calls are used")
            with current.timed("choose"):
                frames = self._most_taught(current.number, left)
        before = sum(each.n_labelled + len(each.refused) for each in self.rounds)
        write_structures(current.structures, marked(frames, self.keys.labels.valid, before))
        return None

    def _most_taught(self, number: int, count: int) -> list[ase.Atoms]:
        """Of the frames in doubt those that teach most: far from all that is labelled, and from each other, times the
        deviation."""
        last = self.rounds[-1]
        found: list[Candidate] = []
        for place in sorted(last.folder.glob("run-*")):
            found += candidates(place, self.keys.run.deviation)
        if not found:
            raise UserError(
                f"the runs of {last.folder} left no frame to learn from; lower run.every, or give more structures in "
                "sample.ways, and choose another --out"
            )
        known = [record.atoms_only() for each in self.rounds for record in Dataset.read(each.labels)]
        structures = known + [each.atoms for each in found]
        weights = np.array([1.0] * len(known) + [each.deviation for each in found])
        model = eager_model(read_model(last.model))
        chosen = farthest(structures, surroundings(structures, model), count, len(known), weights)
        frames = []
        for rank, index in enumerate(chosen):
            frame = structures[index].copy()
            frame.info = {
                "name": f"round{number:02d}_{rank:03d}",
                "config_type": "doubt",
                "system": str(frame.symbols.formula),
            }
            frames.append(frame)
        return frames

    def _round(self, current: Round) -> list[Outcome]:
        keys, name = self.keys, current.folder.name
        self._label(current)
        if not current.model.exists():
            with current.timed("train"):
                self._train(current)
        with current.timed("test"):
            content = parse_config(keys.training_keys(["-"], None), "training")
            errors = current.judge(
                self.test.labels, self.test.reference, self.test.teacher, keys.test, content.max_edges
            )
        say(f"{name}: test errors {errors.energy:.3g} meV/atom, {errors.forces:.3g} eV/Å{_told(errors.properties)}")
        with current.timed("run"):
            outcomes = self._explore(current)
        for outcome in outcomes:
            say(f"{name}: the run from structure {outcome.start} {outcome.describe()}")
        return outcomes

    def _label(self, current: Round) -> None:
        keys, folder = self.keys, self.folder / "teacher"
        self.method = prepared(self.method, Round(self.folder, 0).structures, folder, keys)
        if current.number == 0 and not current.labels.exists() and keys.budget.calls is not None:
            wanted = len(read_structures(current.structures)) * keys.cost + self.calls
            if wanted > keys.budget.calls:
                raise UserError(
                    f"the first round takes {wanted} calls of the teacher, and budget.calls is {keys.budget.calls}; "
                    "lower sample.ways or labels.products, or raise budget.calls"
                )
        if not current.labels.exists():
            with current.timed("label"):
                labelled(current.structures, current.labels, self.method, keys.labels.products, keys.teacher.jobs, None)
        refused = current.refused
        for structure, reason in refused:
            say(f"{structure} was refused by the teacher: {reason}")
        say(f"{current.folder.name}: {current.n_labelled} structures labelled, {self.calls} force calls so far")

    def _train(self, current: Round) -> None:
        data = [str(each.labels) for each in self.rounds]
        last = None if current.number == 0 else str(self.rounds[-2].training)
        config = parse_config(self.keys.training_keys(data, last), f"of {current.folder}")
        train(config, current.training, resume=(current.training / "config.yaml").exists())
        export_run(current.training, current.model)

    def _explore(self, current: Round) -> list[Outcome]:
        model = read_model(current.model)
        outcomes = []
        for number, atoms in enumerate(self.starts):
            for walker in range(self.keys.run.walkers):
                outcomes.append(
                    explore(
                        model,
                        _bare(atoms),
                        self.keys.run,
                        current.folder / f"run-{number}-{walker}",
                        number=number,
                        walker=walker,
                        seed=1 + 1000 * current.number + walker,
                    )
                )
        return outcomes

    def _kept(self, best: Round) -> Path:
        path = self.folder / "model.pt"
        write_atomically(path, best.model.read_bytes())
        return path

    def _verified(self, current: Round) -> Ending:
        path = self._kept(current)
        found = verify(
            path,
            data=self.test.file,
            engines=self.keys.verify,
            ranks=RANKS,
            max_structures=VERIFIED,
        )
        found.write(self.folder / "verify.json")
        told = "; ".join(outcome.describe() for outcome in current.outcomes)
        if not found.passed:
            failed = ", ".join(each.label for each in found.engines if not each.passed) or "the trained model"
            return Ending(False, f"{path} does not pass verification ({failed}), see {self.folder}/verify.json", path)
        sentence = f"{path} holds after {current.number + 1} rounds and {self.calls} force calls of the teacher: {told}"
        return Ending(True, sentence, path)

    def _missing(self, why: str) -> Ending:
        best = best_of(self.rounds)
        path = self._kept(best)
        worst = min((each for each in best.outcomes if not each.held), key=lambda each: each.steps / each.asked)
        return Ending(
            False,
            f"{why}, and no model holds yet: the best one, that of {best.folder.name}, {worst.describe()}; it is kept "
            f"as {path}; raise the budget and start again with --resume",
            path,
        )


def _told(found: Any) -> str:
    parts = []
    if found.phonons is not None:
        parts.append(f"phonons {found.phonons:.3g} THz")
    if found.elastic is not None:
        parts.append(f"elastic constants {100 * found.elastic:.2g} %")
    if found.frequencies is not None:
        parts.append(f"frequencies {found.frequencies:.3g} cm⁻¹")
    return "".join(f", {part}" for part in parts)
