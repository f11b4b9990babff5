"""What a run starts from: its structures with their labels, and its first model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch

from hesspot.console import Progress, warn
from hesspot.data import PART_NAMES, Dataset
from hesspot.data.quality import label_warnings
from hesspot.data.sources import read_data, require_known_elements, require_one_charge, require_one_level
from hesspot.electrons import States, trained_states
from hesspot.errors import UserError
from hesspot.models.house import House
from hesspot.training.checkpoint import model_of
from hesspot.training.config import ModelSection, ReplaySection, TrainingConfig
from hesspot.training.initialise import fit_core, initial_model, member_weights, refit_shifts
from hesspot.training.samples import Sample, SampleMaker, Samples, hash_of_labels

#: Structures that take so long to be read that it is told.
MANY = 2000


@dataclass(frozen=True)
class TrainingData:
    """The structures of a run.

    training: those of each epoch; validation: those that decide which weights are best, the training structures where
    there are no others; replayed: those of other data that must not be forgotten; elements: of the model; electrons:
    charges and multiplicities of what is trained on.
    """

    dataset: Dataset
    elements: list[str]
    training: Samples
    validation: Samples
    replayed: Samples | None
    electrons: States

    @property
    def validated_on(self) -> str:
        """The part of the validation structures: valid, or train where none is marked so."""
        return "valid" if len(self.dataset.select(part="valid")) else "train"

    @cached_property
    def labels(self) -> str:
        """SHA-256 of all structures and labels."""
        return hash_of_labels(chain(self.training, self.validation, self.replayed or ()))


def read_training_data(
    config: TrainingConfig, start: dict[str, Any] | None, device: torch.device, warnings: bool
) -> TrainingData:
    """Read what a configuration names; UserError for what it cannot be trained on.

    start: the model that the run starts from, as of `read_start`; warnings: say on stderr what is odd about the labels.
    """
    dataset = read_data(config.data, config.allow_mixed_levels)
    require_one_charge(dataset.heads, config.allow_mixed_charges)
    elements, whose = dataset.select(part="train").elements, "no training structure has"
    if start is not None:
        elements, whose = start["model_config"]["elements"], f"the model of {config.start_from} does not know"
    if elements:
        require_known_elements(dataset.heads, elements, str(config.data), whose)
    _require_training_structures(config, dataset)
    training, validation = (_samples(config, dataset, part, elements, device, warnings) for part in ("train", "valid"))
    validation = validation if len(validation) else training
    _check_training_set(config, training)
    if warnings:
        if config.loss.stress and "stress" in config.loss.model_fields_set and not training.have_virials:
            warn(f"loss.stress is {config.loss.stress:g}, but no training structure of {config.data} has a stress")
        if start is not None and start["level_of_theory"] != dataset.level_of_theory:
            warn(
                f"the model of {config.start_from} was trained on {start['level_of_theory']}, these data are of "
                f"{dataset.level_of_theory}: its energy shifts are fitted anew"
            )
        if validation is training:
            warn(
                f"no structure of {config.data} is marked valid: the TRAINING structures validate, whose errors say "
                "nothing about new ones; `hesspot data convert IN.h5 --split 0.8,0.1,0.1 --out OUT.h5` draws parts"
            )
        for sentence in _label_warnings(dataset):
            warn(sentence)
    replayed: Samples | None = None
    if config.replay is not None:
        replayed = _replayed(config, config.replay, dataset, elements, device, len(training))
    ways = config.ensemble.bootstrap, config.model.members, config.seed
    weights = member_weights(len(training) + len(replayed or ()), *ways)
    if weights is not None:
        for samples in filter(None, (training, replayed)):
            samples.weigh(weights)
    sets = [dataset] if config.replay is None else [dataset, read_data(config.replay.data, config.allow_mixed_levels)]
    heads = [head for each in sets for head in each.heads if head.part == "train"]
    states = trained_states((int(head.numbers.sum()), head.charge, head.multiplicity) for head in heads)
    return TrainingData(dataset, elements, training, validation, replayed, states)


def _samples(
    config: TrainingConfig,
    dataset: Dataset,
    part: str,
    elements: list[str],
    device: torch.device,
    show: bool,
    first_number: int = 0,
) -> Samples:
    maker = SampleMaker(
        elements, config.model.cutoff, config.mode, config.hessian.missing, device, config.hessian.metric
    )
    records = dataset.select(part=part).records
    with Progress(f"{PART_NAMES[part]} read", len(records), show=show and len(records) > MANY) as progress:
        return Samples(records, maker, first_number, progress.advance)


def _label_warnings(dataset: Dataset) -> list[str]:
    with Progress("structures checked", len(dataset), show=len(dataset) > MANY) as progress:
        return label_warnings(dataset, progress.advance)


def _require_training_structures(config: TrainingConfig, dataset: Dataset) -> None:
    training = dataset.select(part="train").heads
    if not training:
        raise UserError(f"dataset {config.data} has no structure in its part train; mark some as train")
    if len(training) == 1 and config.start_from is None:
        raise UserError(
            f"dataset {config.data} has one structure, {training[0].name}, in its part train, which fixes no model; "
            "give more, or train on from another run with start_from"
        )


def _check_training_set(config: TrainingConfig, training: Samples) -> None:
    if not _has_labels_that_count(config, training):
        raise UserError(
            f"loss.stress alone is above zero, and no structure in the part train of {config.data} has a stress; give "
            "energies or forces a weight"
        )
    if config.mode == "efh" and not training.have_curvature:
        raise UserError(f"no structure in the part train of {config.data} has a Hessian, which mode efh needs; use ef")


def _has_labels_that_count(config: TrainingConfig, training: Samples) -> bool:
    loss = config.loss
    if loss.energy or (loss.forces and config.mode != "e") or (loss.hessian and config.mode == "efh"):
        return True
    return training.have_virials


def _replayed(
    config: TrainingConfig,
    replay: ReplaySection,
    beside: Dataset,
    elements: list[str],
    device: torch.device,
    first_number: int,
) -> Samples:
    dataset = read_data(replay.data, config.allow_mixed_levels)
    own, other = str(config.data), f"the data to be replayed, {replay.data},"
    require_one_level({own: beside.level_of_theory, other: dataset.level_of_theory}, config.allow_mixed_levels)
    require_one_charge([*beside.heads, *dataset.heads], config.allow_mixed_charges)
    whose = f"the model of {config.start_from} does not know"
    require_known_elements(dataset.select(part="train").heads, elements, f"{replay.data}, to be replayed,", whose)
    samples = _samples(config, dataset, "train", elements, device, False, first_number)
    if not len(samples):
        raise UserError(f"dataset {replay.data} has no structure in its part train to be replayed; mark some")
    return samples


def first_model(
    config: TrainingConfig, data: TrainingData, start: dict[str, Any] | None, device: torch.device
) -> House:
    """Random weights fitted to the data, or the model of the run that this one starts from."""
    with_core = config.model.core == "auto"
    if start is None:
        shape = config.model.shape(data.elements)
        return initial_model(shape, data.training.without_curvature(), config.seed, with_core).to(device)
    model = model_of(start).to(device)

    def samples() -> Iterator[Sample]:
        return chain(
            data.training.without_curvature(), () if data.replayed is None else data.replayed.without_curvature()
        )

    if with_core:
        fit_core(model, samples())
    else:
        model.set_core(None)
    if start["level_of_theory"] != data.dataset.level_of_theory:
        refit_shifts(model, samples())
    return model


def with_shape_of(config: TrainingConfig, start: dict[str, Any] | None) -> TrainingConfig:
    """The configuration with the shape of the model that is trained on, where it gives none of its own.

    UserError where it gives another.
    """
    if start is None:
        return config
    kept = {key: value for key, value in start["model_config"].items() if key not in ("elements", "core")}
    shape = ModelSection(**kept, core=config.model.core)
    if config.model.model_fields_set <= {"core"}:
        return config.model_copy(update={"model": shape})
    if config.model != shape:
        told = ", ".join(f"{key} {value}" for key, value in shape.model_dump(exclude={"core"}).items())
        raise UserError(
            f"the model of {config.start_from} has {told}, this run asks for another; "
            "give the same shape, or leave the section model out"
        )
    return config
