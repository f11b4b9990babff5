"""The configuration of a training run: a YAML file, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hesspot.models.ensemble import EnsembleConfig
from hesspot.models.house import HouseConfig
from hesspot.settings import faults, read_yaml, refuse, template


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: Shapes along the front of error against cost (docs/model.md).
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"n_radial": 8, "n_channels": 6, "hidden": [32, 32]},
    "medium": {"n_radial": 8, "n_channels": 8, "hidden": [64, 64]},
    "large": {"n_radial": 8, "n_channels": 12, "hidden": [64, 64]},
}


class ModelSection(Section):
    """Shape of the model; with start_from leave it out, or give the same."""

    preset: Literal["small", "medium", "large"] | None = Field(
        None,
        exclude=True,
        description="small, medium or large, in the place of n_radial, n_channels and hidden, or of some of them",
        examples=["small"],
    )
    cutoff: float = Field(5.0, gt=0, description="Å")
    n_radial: int = Field(8, ge=1, description="radial basis functions")
    n_channels: int = Field(6, ge=1, description="channels of each moment")
    hidden: list[int] = Field([32, 32], min_length=1, max_length=8, description="widths of each element's network")
    members: int = Field(1, ge=1, description="more than one: a committee with shared descriptors")
    core: Literal["auto", "none"] = Field(
        "auto", description="repulsion below the shortest distances of the training structures, or none"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_preset(cls, keys: Any) -> Any:
        """The keys of a preset in its place, so that a shape is the same however it was given."""
        if not (isinstance(keys, dict) and isinstance(name := keys.get("preset"), str) and name in PRESETS):
            return keys
        if PRESETS[name].keys() <= keys.keys() and any(keys[key] != value for key, value in PRESETS[name].items()):
            raise ValueError(
                f"model.preset = {name!r} does nothing where {', '.join(PRESETS[name])} are all given; "
                "delete it, or those that it shall decide"
            )
        return PRESETS[name] | {key: value for key, value in keys.items() if key != "preset"}

    def shape(self, elements: list[str]) -> HouseConfig:
        """The configuration of the model for these elements, before it has a core."""
        keys = {"elements": elements, **self.model_dump(exclude={"core"})}
        return (
            EnsembleConfig(**keys) if self.members > 1 else HouseConfig(**{k: keys[k] for k in keys if k != "members"})
        )


class EnsembleSection(Section):
    """How the members of a committee come to differ, besides their initial weights."""

    bootstrap: Literal["weights", "resample", "none"] = Field(
        "weights", description="what structures count for each member: random weights, or drawn with return"
    )


class LossSection(Section):
    """Weights of the mean squared errors, which do not depend on how the Hessian is sampled."""

    energy: float = Field(1.0, ge=0, description="of ΔE²/n, eV²")
    forces: float = Field(1.0, ge=0, description="of Σ|ΔF|²/(3n), (eV/Å)²")
    hessian: float = Field(0.1, ge=0, description="of Σ(ΔH)²/(3n)², (eV/Å²)²")
    stress: float = Field(0.1, ge=0, description="of Σ(ΔW)²/(9n), eV², of the virial W = −stress·volume")


#: Keys of the section `loss` that count in each mode.
TERMS = {
    "e": ("energy",),
    "ef": ("energy", "forces", "stress"),
    "efh": ("energy", "forces", "hessian", "stress"),
}


class HessianSection(Section):
    """How Hessians enter an E-F-H loss."""

    sampling: Literal["full", "rows", "probes"] = Field(
        "probes", description="whole matrices, or random rows, or products with random directions"
    )
    probes: int = Field(1, ge=1, description="random directions, or rows, per structure and step")
    distribution: Literal["rademacher", "gaussian"] = Field("rademacher", description="of the directions' components")
    metric: Literal["cartesian", "frequency"] = Field(
        "cartesian", description="errors of elements, or as they change frequencies"
    )
    redraw: bool = Field(True, description="draw anew at each step; false: each structure keeps its directions")
    ramp_epochs: int = Field(0, ge=0, description="epochs over which the weight grows from zero")
    missing: Literal["refuse", "skip"] = Field("refuse", description="structures without a Hessian or products")


class OptimizerSection(Section):
    """SOAP or AdamW with linear warm-up and a schedule, moving average of the weights."""

    method: Literal["soap", "adamw"] = Field("soap", description="adamw is far slower with Hessians")
    learning_rate: float = Field(5e-3, gt=0, description="peak, after a linear warm-up")
    schedule: Literal["cosine", "plateau"] = Field(
        "cosine", description="half a cosine, or lower where the validation stays"
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="by which the rate is lowered")
    plateau_patience: int = Field(50, ge=1, description="epochs without a better validation before it is")
    weight_decay: float = Field(1e-2, ge=0, description="as of AdamW")
    batch_size: int = Field(8, ge=1, description="structures")
    batch_edges: int | None = Field(None, ge=1, description="edges; in the place of batch_size", examples=[20_000])
    epochs: int = Field(500, ge=1, description="passes over the training structures")
    warmup_epochs: int = Field(5, ge=0, description="over which the learning rate grows from zero")
    gradient_clip: float = Field(10.0, gt=0, description="largest norm of the gradient")
    average: float = Field(0.99, ge=0, lt=1, description="decay of the moving average of the weights; 0: none")
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better validation", examples=[200]
    )


#: A dataset file or shipped:NAME, or several.
Data = str | Annotated[list[str], Field(min_length=1)]


class ReplaySection(Section):
    """Other data that a fine-tuned model must not forget."""

    data: Data = Field(description="dataset file or shipped:NAME, or a list of them", examples=["old.h5"])
    share: float = Field(0.5, gt=0, lt=1, description="of the structures of an epoch")


class TrainingConfig(Section):
    """Everything that defines a run; the same configuration and seed give the same weights."""

    data: Data = Field(description="dataset file or shipped:NAME, or a list of them", examples=["labels.h5"])
    allow_mixed_levels: bool = Field(False, description="join data of several levels of theory")
    allow_mixed_charges: bool = Field(False, description="train on structures of several total charges")
    mode: Literal["e", "ef", "efh"] = Field("efh", description="energies, and forces, and Hessians")
    seed: int = Field(0, description="of the first weights, the order of structures, the directions")
    start_from: str | None = Field(
        None, description="run folder, model file or shipped:NAME that is trained on", examples=["run"]
    )
    replay: ReplaySection | None = None
    device: str = Field("cpu", description="of torch: cpu, cuda, cuda:1")
    tensorboard: bool = Field(False, description="write events for TensorBoard")
    backend: Literal["auto", "kernel", "torch"] = Field(
        "auto", description="of the gradients; auto: the kernel where it can, which is many times faster"
    )
    threads: int = Field(1, ge=1, description="threads of the kernel and of torch")
    max_edges: int = Field(60_000, ge=1, description="edges that are evaluated at once in a loss; bounds the memory")
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

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        counting = TERMS[self.mode]
        if not any(getattr(self.loss, key) for key in counting):
            raise ValueError(
                f"the loss weights of mode {self.mode} ({', '.join(counting)}) are all zero, so that nothing is "
                "learnt; give one of them a weight above zero"
            )
        return self


#: Keys of other programs for the same thing.
OTHER_NAMES = {
    "lr": "optimizer.learning_rate",
    "max_num_epochs": "optimizer.epochs",
    "n_epochs": "optimizer.epochs",
    "ema_decay": "optimizer.average",
    "clip_grad": "optimizer.gradient_clip",
    "r_max": "model.cutoff",
    "rcut": "model.cutoff",
    "energy_weight": "loss.energy",
    "force_weight": "loss.forces",
    "forces_weight": "loss.forces",
    "hessian_weight": "loss.hessian",
    "stress_weight": "loss.stress",
    "virial_weight": "loss.stress",
    "train_file": "data",
    "dataset": "data",
}

_HEAD = """Configuration of `hesspot train`: every key with its default.
Only `data` must be given: what is not changed may be deleted."""


def read_config(path: str | Path) -> TrainingConfig:
    """Read and check a YAML file; UserError with all its faults, and the nearest valid key for an unknown one."""
    return parse_config(read_yaml(Path(path), "configuration", "hesspot train"), str(path))


def parse_config(content: dict[str, Any], place: str) -> TrainingConfig:
    """Check a configuration that was read from `place`."""
    refuse(f"configuration {place}", faults(TrainingConfig, content, OTHER_NAMES))
    return TrainingConfig.model_validate(content)


def config_template() -> str:
    """A commented configuration with all keys and defaults."""
    return template(TrainingConfig, _HEAD)
