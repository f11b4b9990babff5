"""The architectures that hesspot builds from a configuration and evaluates by a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hesspot.models import house_weights
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, HouseMean, MeanConfig
from hesspot.models.house import HouseConfig, HouseModel


@dataclass(frozen=True)
class Architecture:
    """A torch model, made by `model(config(**entries))`, and how its kernel gets its weights.

    magic: the eight bytes that its packed weights begin with; pack(model, kernel version) gives these, with the version
    behind the magic, and fill(model, block) puts them into a model, UserError if they do not fit. unusual(model): what
    the kernel cannot know of this model, because no block says it, in words; None if there is nothing.
    """

    config: type[Any]
    model: type[nn.Module]
    magic: bytes
    pack: Callable[[Any, int], bytes]
    fill: Callable[[Any, bytes], None]
    unusual: Callable[[Any], str | None]


def _house(config: type[HouseConfig], model: type[nn.Module]) -> Architecture:
    w = house_weights
    return Architecture(config, model, w.MAGIC, w.pack, w.fill, w.unusual_constant)


#: By the name that stands in files.
ARCHITECTURES = {
    "house": _house(HouseConfig, HouseModel),
    "house-ensemble": _house(EnsembleConfig, HouseEnsemble),
    "house-mean": _house(MeanConfig, HouseMean),
}


def build_model(name: str, config: dict[str, Any]) -> Any:
    """A model of one of the `ARCHITECTURES`, whose weights are to be loaded; the caller's random numbers stay."""
    architecture = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]):
        return architecture.model(architecture.config(**config))


def describing_model(elements: Sequence[str], seed: int = 0) -> Any:
    """A model with random weights, whose `descriptors` tell surroundings apart; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model("house", {"elements": list(elements), "n_channels": 4, "hidden": [1]})


def first_of(model: Any) -> Any:
    """Of a mean of several models the first, whose `descriptors` stand for all; any other model is itself."""
    return model.houses[0] if isinstance(model, HouseMean) else model


def name_of(model: Any) -> str | None:
    """The architecture of a model; None for any other class."""
    return next((name for name, architecture in ARCHITECTURES.items() if type(model) is architecture.model), None)
