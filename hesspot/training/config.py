"""The configuration of a training run: a YAML file, checked before anything starts."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hesspot.errors import UserError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """Shape of the house model; see `hesspot.models.house.HouseConfig`."""

    cutoff: float = Field(5.0, gt=0, description="Å")
    n_radial: int = Field(8, ge=1)
    n_channels: int = Field(6, ge=1)
    hidden: list[int] = Field([32, 32], min_length=1, max_length=8)


class LossSection(Section):
    """Weights of the three mean squared errors, which do not depend on how the Hessian is sampled."""

    energy: float = Field(1.0, ge=0, description="of ΔE²/n, eV²")
    forces: float = Field(1.0, ge=0, description="of Σ|ΔF|²/(3n), (eV/Å)²")
    hessian: float = Field(0.1, ge=0, description="of Σ(ΔH)²/(3n)², (eV/Å²)²")


class HessianSection(Section):
    """How Hessians enter an E-F-H loss."""

    sampling: Literal["full", "rows", "probes"] = "probes"
    probes: int = Field(1, ge=1, description="random directions, or rows, per structure and step")
    distribution: Literal["rademacher", "gaussian"] = "rademacher"
    redraw: bool = Field(True, description="draw anew at each step; false: each structure keeps its directions")
    ramp_epochs: int = Field(0, ge=0, description="epochs over which the weight grows from zero")
    missing: Literal["refuse", "skip"] = "refuse"


class OptimizerSection(Section):
    """AdamW with linear warm-up and cosine decay, moving average of the weights."""

    learning_rate: float = Field(5e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    batch_size: int = Field(8, ge=1, description="structures")
    epochs: int = Field(500, ge=1)
    warmup_epochs: int = Field(5, ge=0)
    gradient_clip: float = Field(10.0, gt=0, description="norm")
    average: float = Field(0.99, ge=0, lt=1, description="decay of the moving average of the weights; 0: none")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation")


class TrainingConfig(Section):
    """Everything that defines a run; the same configuration and seed give the same weights."""

    data: str = Field(description="dataset file, or shipped:NAME")
    mode: Literal["e", "ef", "efh"] = "efh"
    seed: int = 0
    start_from: str | None = Field(None, description="folder of a run whose best model is trained on")
    threads: int = Field(1, ge=1, description="threads of torch")
    max_edges: int = Field(60_000, ge=1, description="edges in one graph of a full-Hessian loss; bounds the memory")
    validate_every: int = Field(10, ge=1, description="epochs between validations and checkpoints")
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    hessian: HessianSection = HessianSection()
    optimizer: OptimizerSection = OptimizerSection()


def read_config(path: str | Path) -> TrainingConfig:
    """Read and check a YAML file; UserError with the nearest valid key for an unknown one."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"configuration {path} does not exist; docs/training.md shows one")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"configuration {path} is no valid YAML: {' '.join(str(error).split())}") from error
    return parse_config(content, str(path))


def parse_config(content: Any, place: str) -> TrainingConfig:
    """Check a configuration that was read from `place`."""
    if not isinstance(content, dict):
        raise UserError(f"configuration {place} holds no keys; docs/training.md shows one")
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"configuration {place}: {_explain(first)}") from error


def _explain(problem: Any) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        valid = _keys_of(where[:-1])
        near = difflib.get_close_matches(where[-1], valid, n=1, cutoff=0.0)
        return f"key {'.'.join(where)} is unknown, the nearest valid one is {'.'.join([*where[:-1], near[0]])}"
    if problem["type"] == "missing":
        return f"key {'.'.join(where)} is missing; add it"
    return f"{'.'.join(where)} = {problem['input']!r} is not valid: {problem['msg'].lower()}"


def _keys_of(path: list[str]) -> list[str]:
    section: type[BaseModel] = TrainingConfig
    for name in path:
        section = section.model_fields[name].annotation  # type: ignore[assignment]
    return list(section.model_fields)
