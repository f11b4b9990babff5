"""The packed weights of a house model: what the kernel is built from, in Python and in C++ (docs/export.md)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from hesspot.errors import UserError
from hesspot.models.ensemble import houses_of

#: The first eight bytes of a block.
MAGIC = b"hesspotw"


class Shape(BaseModel):
    """What the head of a block states: all that decides how its numbers are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel_version: int
    envelope_power: int
    n_descriptions: int
    n_members: int
    n_radial: int
    n_channels: int
    n_descriptors: int
    hidden: tuple[int, ...]
    elements: tuple[str, ...]
    cutoff: float

    @classmethod
    def of(cls, model: Any, kernel_version: int) -> Shape:
        """That of a `HouseModel`, `HouseEnsemble` or `HouseMean`."""
        houses = houses_of(model)
        first = houses[0].state_dict()
        n_elements = len(model.elements)
        networks = [name for name in first if name.startswith("networks.") and name.endswith(".linear.weight")]
        return cls(
            kernel_version=kernel_version,
            envelope_power=houses[0].envelope_power,
            n_descriptions=len(houses),
            n_members=len(networks) // n_elements,
            n_radial=first["mix"].shape[2] // n_elements,
            n_channels=first["mix"].shape[3],
            n_descriptors=first["mean"].shape[1],
            hidden=tuple(len(first[f"networks.0.{layer}.bias"]) for layer in _layers(first)),
            elements=tuple(model.elements),
            cutoff=float(model.cutoff),
        )

    def head(self) -> bytes:
        """The bytes before the weights."""
        counts = [
            self.kernel_version,
            self.envelope_power,
            self.n_descriptions,
            self.n_members,
            len(self.elements),
            self.n_radial,
            self.n_channels,
            self.n_descriptors,
            len(self.hidden),
            *self.hidden,
        ]
        symbols = b"".join(symbol.encode("ascii").ljust(8, b"\0") for symbol in self.elements)
        return MAGIC + struct.pack(f"<{len(counts)}q", *counts) + symbols + struct.pack("<d", self.cutoff)


def _layers(state: dict[str, Tensor]) -> list[str]:
    count = sum(name.startswith("networks.0.layers.") and name.endswith(".bias") for name in state)
    return [f"layers.{2 * layer}" for layer in range(count)]


def _tensors(house: Any) -> Iterator[Tensor]:
    """The weights of one description in the order of a block, sharing the model's memory but for the shifts."""
    state = house.state_dict()
    yield from (state["scale"], state["mix"], torch.tensor(house.shifts, dtype=torch.float64))
    yield from (state["mean"], state["inverse_deviation"])
    n_networks = sum(name.startswith("networks.") and name.endswith(".linear.weight") for name in state)
    for network in range(n_networks):
        for layer in [*_layers(state), "readout"]:
            yield from (state[f"networks.{network}.{layer}.{kind}"] for kind in ("weight", "bias"))
        yield state[f"networks.{network}.linear.weight"]


def unusual_constant(model: Any) -> str | None:
    """A buffer of a house model that should follow from its configuration and does not, in words.

    Blocks hold no such constants, and the kernel has them written into it.
    """
    for house in houses_of(model):
        with torch.random.fork_rng(devices=[]):
            usual = type(house)(house.config).state_dict()
        own = house.state_dict()
        for name, value in usual.items():
            if name.startswith("networks.") or name in ("scale", "mix", "mean", "inverse_deviation"):
                continue
            if not torch.allclose(own[name], value.to(own[name].dtype), rtol=1e-14, atol=0.0):
                return f"{name} of this model is not what its configuration gives and the kernel has"
    return None


def pack(model: Any, kernel_version: int) -> bytes:
    """The weights of a house model, or of a committee, in float64."""
    parts = [tensor.detach().cpu().numpy() for house in houses_of(model) for tensor in _tensors(house)]
    return Shape.of(model, kernel_version).head() + b"".join(part.astype("<f8").tobytes() for part in parts)


def fill(model: Any, block: bytes, shape: Shape) -> None:
    """Give a model of this shape, in float64, the weights of a block. UserError if they do not fit."""
    numbers = np.frombuffer(block, "<f8", offset=len(shape.head()))
    for house in houses_of(model):
        for place, tensor in enumerate(_tensors(house)):
            own, numbers = np.split(numbers, [tensor.numel()])
            if len(own) < tensor.numel():
                raise UserError("the packed weights end before those of the model")
            if place == 2:
                house.shifts = own.tolist()
            else:
                tensor.copy_(torch.tensor(own).reshape(tensor.shape))
    if len(numbers):
        raise UserError("the packed weights are more than those of the model")
