"""The configuration of a distillation: teacher, structures, labels, training, the run that must hold, the budget."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hesspot.errors import UserError
from hesspot.sampling.sample import CALCULATED, NAMES, TEMPERATURES
from hesspot.sampling.ways import RATTLED
from hesspot.settings import faults, keys_of, merged, read_yaml, refuse, template
from hesspot.training.config import OTHER_NAMES, TrainingConfig
from hesspot.verification.engines import ENGINES

#: Keys of `hesspot train` that the loop decides.
OWN_KEYS = ("data", "mode", "start_from", "replay")
#: Members of a committee whose disagreement is measured, where the training keys do not say.
MEMBERS = 4

Cells = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TeacherSection(Section):
    """A calculator of ASE, as in `hesspot label --program ase`."""

    calculator: str = Field(description="module:factory or file.py:function", examples=["ase.calculators.emt:EMT"])
    arguments: dict[str, Any] = Field({}, description="of the factory")
    level: str | None = Field(None, description="level of theory, in words", examples=["EMT"])
    step: float | None = Field(None, gt=0, description="Å, of differences; else from their noise", examples=[0.005])
    allow_nonconservative: bool = Field(False, description="learn from forces that are no gradient")
    jobs: int = Field(1, ge=1, description="one-thread processes that label")


class Ways(Section):
    """How structures are made from the start structures: numbers of `hesspot sample --way`."""

    ways: dict[str, Count] = Field(description=f"way: number; ways are {', '.join(NAMES)}", examples=[{"rattle": 8}])
    temperatures: list[Annotated[float, Field(gt=0)]] = Field(
        list(TEMPERATURES), min_length=1, description="K, of the ways thermal and modes"
    )
    amplitude: float = Field(
        RATTLED[1], gt=RATTLED[0], description="Å, largest root mean square of random displacements"
    )
    keep: int | None = Field(None, ge=1, description="so many of all, which stand for them", examples=[16])
    seed: int = Field(0, description="of all random numbers")

    @model_validator(mode="after")
    def _known(self) -> Self:
        for way in self.ways:
            if way not in NAMES:
                raise ValueError(f"ways: {way} is not known; use some of {', '.join(NAMES)}")
        return self


class SampleSection(Ways):
    """The structures of the first round, made from the start structures."""

    ways: dict[str, Count] = Field(
        {"rattle": 8, "strain": 7}, description=f"way: number; ways are {', '.join(NAMES)}", examples=[{"rattle": 8}]
    )


class TestSection(Ways):
    """What every round is judged by, computed once by the teacher; its calls are counted apart."""

    ways: dict[str, Count] = Field({"rattle": 4, "strain": 4}, description="structures of the test set")
    seed: int = Field(1000, description="of all random numbers")
    phonons: Cells | None = Field(
        None, description="cells of the supercell of the primitive cell; none: no phonons", examples=[[4, 4, 4]]
    )
    elastic: bool = Field(False, description="elastic constants of the first start structure")
    frequencies: bool = Field(False, description="harmonic frequencies of the first start structure, a molecule")


class LabelsSection(Section):
    """What the teacher is asked of each structure."""

    products: int = Field(1, ge=0, description="Hessian products, two force calls each; 0: energies and forces alone")
    valid: float = Field(0.15, ge=0, lt=1, description="of the structures, that validate")


class RunSection(Section):
    """The dynamics in LAMMPS that the committee must hold through."""

    ensemble: Literal["nve", "nvt", "npt"] = Field("nvt", description="of every run")
    temperature: float = Field(300.0, gt=0, description="K")
    pressure: float = Field(0.0, description="bar, of npt")
    length: float = Field(10.0, gt=0, description="ps")
    timestep: float | None = Field(None, gt=0, description="fs; else 0.5 with hydrogen, 2 without", examples=[1.0])
    deviation: float = Field(0.1, gt=0, description="eV/Å, of an atom's force, that stops a run")
    every: int = Field(10, ge=1, description="steps between two looks at the deviation")
    repeat: Cells = Field([1, 1, 1], description="of the start structures along the vectors of their cells")
    walkers: int = Field(1, ge=1, description="runs of each start structure, with velocities of their own")
    ranks: int = Field(1, ge=1, description="of MPI")

    def steps(self, timestep: float) -> int:
        """Steps of the whole length, a multiple of `every`."""
        return max(1, round(1e3 * self.length / timestep / self.every)) * self.every


class BudgetSection(Section):
    """Where the loop ends without having held; a larger budget goes on with --resume."""

    rounds: int = Field(6, ge=1, description="trainings, the first among them")
    calls: int | None = Field(None, ge=1, description="force calls of the teacher, tests not counted", examples=[500])
    per_round: int = Field(8, ge=1, description="structures that a round adds")


class DistillKeys(Section):
    """The keys of a distillation's file."""

    teacher: TeacherSection
    start: str = Field(description="start structures, in any format that ASE reads", examples=["start.xyz"])
    sample: SampleSection = SampleSection()
    labels: LabelsSection = LabelsSection()
    training: dict[str, Any] = Field(
        {"model": {"members": MEMBERS}}, description="keys of `hesspot train`; a committee of two members or more"
    )
    further: dict[str, Any] = Field(
        {}, description="keys of `hesspot train` that change in rounds that train on from the last one"
    )
    run: RunSection = RunSection()
    budget: BudgetSection = BudgetSection()
    test: TestSection = TestSection()
    verify: list[str] = Field(
        ["torch", "ase", "lammps"], description=f"engines that are checked at last: some of {', '.join(ENGINES)}"
    )
    arms: dict[str, dict[str, Any]] = Field(
        {},
        description="distillations that are compared: what each changes of the keys above",
        examples=[{"E-F": {"labels": {"products": 0}}, "E-F-H": {"labels": {"products": 1}}}],
    )

    def training_keys(self, data: list[str], start_from: str | None) -> dict[str, Any]:
        """The keys of `hesspot train` of a round; start_from: the run of the last one."""
        keys = merged({"model": {"members": MEMBERS}}, self.training)
        if start_from is not None:
            keys = merged(keys, self.further) | {"start_from": start_from}
        curved = self.labels.products > 0
        if curved:
            keys = merged({"hessian": {"probes": self.labels.products}}, keys)
        return keys | {"data": data, "mode": "efh" if curved else "ef"}

    @property
    def cost(self) -> int:
        """Force calls of the teacher for the labels of one structure; a product is a central difference."""
        return 1 + 2 * self.labels.products


def read_distillation(path: str | Path) -> DistillKeys:
    """Read and check a YAML file; UserError with all its faults."""
    return parse_distillation(read_yaml(Path(path), "distillation", "hesspot distill"), str(path))


def distillation_template() -> str:
    """A commented configuration with all keys and defaults."""
    return template(DistillKeys, "A distillation (`hesspot distill`): every key with its default.")


#: Keys of a training that stand elsewhere by mistake.
_IN_TRAINING = {key.split(".")[-1]: f"training.{key}" for key in keys_of(TrainingConfig) if key not in OWN_KEYS}


def parse_distillation(content: dict[str, Any], place: str) -> DistillKeys:
    """Check a distillation that was read from `place`."""
    refuse(f"distillation {place}", faults(DistillKeys, content, _IN_TRAINING))
    keys = DistillKeys.model_validate(content)
    refuse(f"distillation {place}", _faults_of(keys))
    slugs: dict[str, str] = {}
    for name in keys.arms:
        arm = arm_of(keys, name, place)
        refuse(f"distillation {place}", [f"arm {name}: {fault}" for fault in _faults_of(arm)])
        slug = slug_of(name)
        if not slug or slug in slugs:
            told = f"the folder of {slugs[slug]}" if slug else "a name without a letter or digit"
            raise UserError(f"distillation {place}: the arm {name!r} has {told}; rename it")
        slugs[slug] = name
    return keys


def arm_of(keys: DistillKeys, name: str, place: str) -> DistillKeys:
    """The distillation of one arm."""
    changes = keys.arms[name]
    for key in ("arms", "start", "test"):
        if key in changes:
            raise UserError(
                f"distillation {place}: {key} of the arm {name} must be that of all arms; leave it out there"
            )
    content = merged(keys.model_dump(exclude={"arms"}), changes)
    refuse(f"distillation {place}, arm {name}", faults(DistillKeys, content, _IN_TRAINING))
    return DistillKeys.model_validate(content)


def slug_of(name: str) -> str:
    """The name of an arm's folder."""
    return re.sub(r"[^A-Za-z0-9.+]+", "-", name).strip("-.")


def _faults_of(keys: DistillKeys) -> list[str]:
    """What is wrong beyond the form of single keys."""
    found = []
    for section in ("training", "further"):
        given = getattr(keys, section)
        own = [key for key in OWN_KEYS if key in given]
        if own:
            found.append(f"{section}.{own[0]} is what the loop decides; leave it out")
    for start_from in (None, "last"):
        content = keys.training_keys(["labels.h5"], start_from)
        section = "training" if start_from is None else "further"
        if wrong := [f"{section}: {fault}" for fault in faults(TrainingConfig, content, OTHER_NAMES)]:
            return found + wrong
    if TrainingConfig.model_validate(keys.training_keys(["labels.h5"], None)).model.members < 2:
        found.append("training.model.members must be 2 or more: a single model cannot disagree; write members: 4")
    if "model" in keys.further:
        found.append("further.model would change the shape of a model that is trained on; leave it out")
    unknown = [engine for engine in keys.verify if engine not in ENGINES]
    if unknown:
        found.append(f"verify: the engine {unknown[0]} is not known; use some of {', '.join(ENGINES)}")
    for name in ("sample", "test"):
        section = getattr(keys, name)
        usual = type(section).model_fields["temperatures"].default
        if not section.ways.keys() & CALCULATED.keys() and section.temperatures != usual:
            found.append(
                f"{name}.temperatures are those of the ways thermal and modes, which are not asked for; add one"
            )
    if keys.run.ensemble != "npt" and keys.run.pressure:
        found.append(f"run.pressure is that of the ensemble npt, and it is {keys.run.ensemble}; leave it out")
    return found
