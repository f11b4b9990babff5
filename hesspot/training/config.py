"""The configuration of a training run: a YAML file, checked before anything starts."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hesspot.errors import UserError
from hesspot.files import read_yaml
from hesspot.models.ensemble import EnsembleConfig
from hesspot.models.house import HouseConfig


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """Shape of the house model; see `hesspot.models.house.HouseConfig`."""

    cutoff: float = Field(5.0, gt=0, description="Å")
    n_radial: int = Field(8, ge=1)
    n_channels: int = Field(6, ge=1)
    hidden: list[int] = Field([32, 32], min_length=1, max_length=8)
    members: int = Field(1, ge=1, description="more than one: a committee with shared descriptors")

    def shape(self, elements: list[str]) -> HouseConfig:
        """The configuration of the model for these elements."""
        keys = {"elements": elements, **self.model_dump()}
        return (
            EnsembleConfig(**keys) if self.members > 1 else HouseConfig(**{k: keys[k] for k in keys if k != "members"})
        )


class EnsembleSection(Section):
    """How the members of a committee come to differ, besides their initial weights."""

    bootstrap: Literal["weights", "resample", "none"] = Field(
        "weights", description="structures weigh differently for each member: exponential weights, or drawn with return"
    )


class LossSection(Section):
    """Weights of the mean squared errors, which do not depend on how the Hessian is sampled."""

    energy: float = Field(1.0, ge=0, description="of ΔE²/n, eV²")
    forces: float = Field(1.0, ge=0, description="of Σ|ΔF|²/(3n), (eV/Å)²")
    hessian: float = Field(0.1, ge=0, description="of Σ(ΔH)²/(3n)², (eV/Å²)²")
    stress: float = Field(0.1, ge=0, description="of Σ(ΔW)²/(9n), eV², of the virial W = −stress·volume")


class HessianSection(Section):
    """How Hessians enter an E-F-H loss."""

    sampling: Literal["full", "rows", "probes"] = "probes"
    probes: int = Field(1, ge=1, description="random directions, or rows, per structure and step")
    distribution: Literal["rademacher", "gaussian"] = "rademacher"
    metric: Literal["cartesian", "frequency"] = "cartesian"
    redraw: bool = Field(True, description="draw anew at each step; false: each structure keeps its directions")
    ramp_epochs: int = Field(0, ge=0, description="epochs over which the weight grows from zero")
    missing: Literal["refuse", "skip"] = "refuse"


class OptimizerSection(Section):
    """SOAP or AdamW with linear warm-up and a schedule, moving average of the weights."""

    method: Literal["soap", "adamw"] = "soap"
    learning_rate: float = Field(5e-3, gt=0)
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    plateau_patience: int = Field(50, ge=1, description="epochs without a better validation before the rate is lowered")
    weight_decay: float = Field(1e-2, ge=0)
    batch_size: int = Field(8, ge=1, description="structures")
    batch_edges: int | None = Field(None, ge=1, description="edges; in the place of batch_size")
    epochs: int = Field(500, ge=1)
    warmup_epochs: int = Field(5, ge=0)
    gradient_clip: float = Field(10.0, gt=0, description="norm")
    average: float = Field(0.99, ge=0, lt=1, description="decay of the moving average of the weights; 0: none")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation")


#: A dataset file or shipped:NAME, or several.
Data = str | Annotated[list[str], Field(min_length=1)]


class ReplaySection(Section):
    """Other data that a fine-tuned model must not forget."""

    data: Data
    share: float = Field(0.5, gt=0, lt=1, description="of the structures of an epoch")


class TrainingConfig(Section):
    """Everything that defines a run; the same configuration and seed give the same weights."""

    data: Data = Field(description="dataset file or shipped:NAME, or a list of them")
    allow_mixed_levels: bool = Field(False, description="join data of several levels of theory")
    mode: Literal["e", "ef", "efh"] = "efh"
    seed: int = 0
    start_from: str | None = Field(None, description="folder of a run whose best model is trained on")
    replay: ReplaySection | None = None
    device: str = Field("cpu", description="of torch: cpu, cuda, cuda:1")
    tensorboard: bool = Field(False, description="write events for TensorBoard")
    threads: int = Field(1, ge=1, description="threads of torch")
    max_edges: int = Field(60_000, ge=1, description="edges in one graph of a full-Hessian loss; bounds the memory")
    validate_every: int = Field(10, ge=1, description="epochs between validations and checkpoints")
    model: ModelSection = ModelSection()
    ensemble: EnsembleSection = EnsembleSection()
    loss: LossSection = LossSection()
    hessian: HessianSection = HessianSection()
    optimizer: OptimizerSection = OptimizerSection()

    @model_validator(mode="after")
    def _replay_needs_a_start(self) -> Self:
        if self.replay is not None and self.start_from is None:
            raise ValueError("replay is for a model that is trained on; give start_from, or list the files under data")
        return self


def read_config(path: str | Path) -> TrainingConfig:
    """Read and check a YAML file; UserError with the nearest valid key for an unknown one."""
    return parse_config(read_yaml(Path(path), "configuration", "docs/training.md"), str(path))


def parse_config(content: dict[str, Any], place: str) -> TrainingConfig:
    """Check a configuration that was read from `place`."""
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"configuration {place}: {_explain(first)}") from error


def _explain(problem: Any) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if "data" in where:  # one type after the other is tried
        where = where[: where.index("data") + 1]
    if problem["type"] == "extra_forbidden":
        valid = _keys_of(where[:-1])
        near = difflib.get_close_matches(where[-1], valid, n=1, cutoff=0.0)
        return f"key {'.'.join(where)} is unknown, the nearest valid one is {'.'.join([*where[:-1], near[0]])}"
    if problem["type"] == "missing":
        return f"key {'.'.join(where)} is missing; add it"
    return f"{'.'.join(where)} = {problem['input']!r} is not valid: {problem['msg'].lower()}"


def _keys_of(path: list[str]) -> list[str]:
    section: Any = TrainingConfig
    for name in path:
        kind = section.model_fields[name].annotation
        section = next((each for each in get_args(kind) if each is not NoneType), kind)
    return list(section.model_fields)
