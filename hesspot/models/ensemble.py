"""Committees of house models, with shared descriptors or their own: the spread of the members is a measure of doubt."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from hesspot.errors import UserError
from hesspot.models.core import Core, smaller_core
from hesspot.models.house import House, HouseConfig, HouseModel


class EnsembleConfig(HouseConfig):
    """Shape of a committee of house models."""

    members: int = Field(ge=2, description="networks of each element")


class HouseEnsemble(House):
    """`members` house models with one description of the surroundings; its energy is the mean of theirs."""

    def __init__(self, config: EnsembleConfig):
        super().__init__(config, n_members=config.members)

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return self.members(species, centers, neighbors, vectors).mean(0)

    @torch.jit.export
    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of each member, (n_members, n_atoms) float64 eV; arguments as of `forward`."""
        return self.member_energies(species, centers, neighbors, vectors)


class MeanConfig(HouseConfig):
    """Shape of several house models that were trained apart."""

    models: int = Field(ge=2, description="house models, all of this shape")


class HouseMean(nn.Module):
    """House models of one shape, each with descriptors of its own; its energy is the mean of theirs."""

    elements: list[str]
    cutoff: float

    def __init__(self, config: MeanConfig):
        super().__init__()
        self.config = config
        self.elements = list(config.elements)
        self.cutoff = config.cutoff
        shape = HouseConfig(**config.model_dump(exclude={"models"}))
        self.houses = nn.ModuleList(HouseModel(shape) for _ in range(config.models))

    @torch.jit.ignore
    def set_core(self, core: Core | None) -> None:
        """As of a house model, for all of them."""
        for house in houses_of(self):
            house.set_core(core)
        self.config = MeanConfig(**self.config.model_dump() | {"core": core})

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return self.members(species, centers, neighbors, vectors).mean(0)

    @torch.jit.export
    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of each model, (n_members, n_atoms) float64 eV; arguments as of `forward`."""
        energies: list[Tensor] = []
        for house in self.houses:
            energies.append(house(species, centers, neighbors, vectors))
        return torch.stack(energies)


def mean_of(models: Sequence[House]) -> HouseMean:
    """The mean of house models; UserError if one is a committee or has another shape than the first.

    It has one core, for each pair the smallest of theirs, and none if one has none: what the models have is changed.
    """
    for number, model in enumerate(models, 1):
        if not isinstance(model, HouseModel):
            raise UserError(f"model {number} is a committee itself; a mean is made of house models, give those alone")
        if _without_core(model.config) != _without_core(models[0].config):
            raise UserError(
                f"model {number} has another shape than the first one, {model.config} for {models[0].config}; "
                "a mean is made of models that were trained with the same section `model` and the same elements"
            )
    mean = HouseMean(MeanConfig(**models[0].config.model_dump(), models=len(models)))
    mean.houses = nn.ModuleList(models)
    mean.set_core(reduce(smaller_core, (model.config.core for model in models)))
    return mean


def _without_core(config: HouseConfig) -> HouseConfig:
    return config.model_copy(update={"core": None})


def houses_of(module: Any) -> list[Any]:
    """The models in a `HouseMean`, scripted or not; any other model itself."""
    return list(module.houses.children()) if hasattr(module, "houses") else [module]


def copy_weights(source: Any, target: Any) -> None:
    """Weights and shifts of one model, scripted or not, into another one of the same configuration."""
    state = source.state_dict()  # of a script with the core, which follows from the configuration
    target.load_state_dict({name: value for name, value in state.items() if name.rpartition(".")[2] != "core"})
    for house, read in zip(houses_of(target), houses_of(source), strict=True):
        house.shifts = list(read.shifts)


class Member:
    """One member of a committee as a model of its own; the committee has `elements`, `cutoff` and `members`."""

    def __init__(self, committee: Any, number: int):
        self.elements, self.cutoff = committee.elements, committee.cutoff
        self._committee, self._number = committee, number

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return self._committee.members(species, centers, neighbors, vectors)[self._number]
