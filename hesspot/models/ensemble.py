"""A committee of house models that share their descriptors: the spread of its members is a measure of doubt."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

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
        return self.network_energies(species, self.standardised(species, centers, neighbors, vectors))


class Member:
    """One member of a committee as a model of its own."""

    def __init__(self, committee: HouseEnsemble, number: int):
        self.elements, self.cutoff = committee.elements, committee.cutoff
        self._committee, self._number = committee, number

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return self._committee.members(species, centers, neighbors, vectors)[self._number]


#: What hesspot builds from a configuration, by the name that stands in files.
ARCHITECTURES: dict[str, tuple[type[HouseConfig], Any]] = {
    "house": (HouseConfig, HouseModel),
    "house-ensemble": (EnsembleConfig, HouseEnsemble),
}


def build_house(name: str, config: dict[str, Any]) -> House:
    """A model with random weights of one of the `ARCHITECTURES`."""
    shape, kind = ARCHITECTURES[name]
    model: House = kind(shape(**config))
    return model


def name_of(model: nn.Module) -> str | None:
    """The architecture of a model; None for any other class."""
    return next((name for name, (_, kind) in ARCHITECTURES.items() if type(model) is kind), None)
