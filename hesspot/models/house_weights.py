"""The packed weights of house models and of committees of them (docs/export.md), which their kernel is built from."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hesspot.errors import UserError
from hesspot.models.ensemble import houses_of

#: The first eight bytes of a block.
MAGIC = b"hesspotw"

#: The version whose blocks know no core.
WITHOUT_CORE = 1


def _head(model: Any, version: int) -> bytes:
    """The bytes before the weights, which state all that decides how these are read."""
    houses = houses_of(model)
    first = houses[0].state_dict()
    n_elements = len(model.elements)
    networks = [name for name in first if name.startswith("networks.") and name.endswith(".linear.weight")]
    hidden = [len(first[f"networks.0.{layer}.bias"]) for layer in _layers(first)]
    counts = [
        version,
        houses[0].envelope_power,
        len(houses),
        len(networks) // n_elements,
        n_elements,
        first["mix"].shape[2] // n_elements,
        first["mix"].shape[3],
        first["mean"].shape[1],
        len(hidden),
        *hidden,
    ]
    symbols = b"".join(symbol.encode("ascii").ljust(8, b"\0") for symbol in model.elements)
    core = houses[0].core.to(torch.float64).cpu().numpy().astype("<f8").tobytes() if version > WITHOUT_CORE else b""
    return MAGIC + struct.pack(f"<{len(counts)}q", *counts) + symbols + struct.pack("<d", model.cutoff) + core


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
    """What a block of a house model cannot hold, in words.

    That is a buffer that should follow from its configuration and does not, since the kernel has it written into it,
    and more than one envelope.
    """
    powers = sorted({house.envelope_power for house in houses_of(model)})
    if len(powers) > 1:
        return f"the models in this one have envelopes of powers {' and '.join(map(str, powers))}, packed weights one"
    if any(not torch.equal(house.core, houses_of(model)[0].core) for house in houses_of(model)):
        return "the models in this one have several cores, packed weights one"
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


def pack(model: Any, version: int) -> bytes:
    """The weights of a `HouseModel`, `HouseEnsemble` or `HouseMean` in float64; version: of the kernel."""
    parts = [tensor.detach().cpu().numpy() for house in houses_of(model) for tensor in _tensors(house)]
    return _head(model, version) + b"".join(part.astype("<f8").tobytes() for part in parts)


def fill(model: Any, block: bytes) -> None:
    """Give a model in float64 the envelope and the weights of a block. UserError if they do not fit."""
    version, envelope_power = struct.unpack_from("<2q", block, len(MAGIC))
    if version <= WITHOUT_CORE and model.config.core is not None:
        raise UserError("the packed weights have no core, and the model has one")
    for house in houses_of(model):
        house.envelope_power = envelope_power
    head = _head(model, version)
    if not block.startswith(head):
        raise UserError("the packed weights have another shape than the model")
    numbers = np.frombuffer(block, "<f8", offset=len(head))
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
