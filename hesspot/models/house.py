"""The house model: Cartesian moments of the neighbour density, invariants, a network per element.

For a centre i, element s and radial basis function k the moments of the neighbour density are

    A_{i,s,k}^{(l)} = Σ_{j of element s} B_k(r_ij) r̂_ij^{⊗l},   l = 0 … 3,

mixed to channels by trainable weights per pair of elements, which is a trainable radial function per pair:
M_{i,c}^{(l)} = Σ_{s,k} W^{(l)}_{s_i,s,k,c} A_{i,s,k}^{(l)}. Scalars (2-body), Gram matrices of the vectors
{M¹, M²·M¹, M³:M²} and of the matrices {M², M³·M¹} (3- to 6-body), and of M³ (3-body) are the
descriptors of the network of the centre's element. This is the moment tensor idea (Shapeev, Multiscale Model.
Simul. 14, 1153, 2016) with a network in the place of the linear model.

Everything is C³ at the cutoff and at the radii of the repulsive core (`hesspot.models.core`), and C^∞ elsewhere; no cap
on the number of neighbours.
"""

import math
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from hesspot.models.core import Core, core_table, faults_of, repulsion, seen_distance, switch, switched

#: Exponent of the envelope (1 − (r/cutoff)²)^p: derivatives up to order p − 1 vanish at the cutoff, so C³.
ENVELOPE_POWER = 4

#: Independent components of symmetric tensors of rank 0 … 3: as products of earlier monomials, and how often
#: each occurs in the full tensor.
_RANK2 = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
_RANK3: list[tuple[int, ...]] = [(a, b, c) for a in range(3) for b in range(a, 3) for c in range(b, 3)]


class HouseConfig(BaseModel):
    """Shape of a house model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    elements: list[str] = Field(min_length=1, description="chemical symbols, in the model's own order")
    cutoff: float = Field(5.0, gt=0, description="Å")
    n_radial: int = Field(8, ge=1, description="radial basis functions")
    n_channels: int = Field(6, ge=1, description="channels of each moment")
    hidden: list[int] = Field([32, 32], min_length=1, max_length=8, description="widths of each element's network")
    core: Core | None = Field(None, description="inner and outer radius of the repulsive core of each pair, Å")

    @model_validator(mode="after")
    def _has_a_core_of_its_pairs(self) -> Self:
        if self.core is not None and (fault := faults_of(self.core, self.elements, self.cutoff)):
            raise ValueError(fault)
        return self


class ElementNetwork(nn.Module):
    """Linear part plus a SiLU network on the standardised descriptors of one element."""

    def __init__(self, n_descriptors: int, hidden: list[int]):
        super().__init__()
        layers: list[nn.Module] = []
        width = n_descriptors
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        self.layers = nn.Sequential(*layers)
        self.readout = nn.Linear(width, 1)
        self.linear = nn.Linear(n_descriptors, 1, bias=False)
        nn.init.zeros_(self.linear.weight)

    @torch.jit.ignore
    def matrices(self) -> list[list[Tensor]]:
        """Its matrices but for the readout, which is one row.

        The parts of a list read the same numbers, and are rows of one matrix.
        """
        first, *others = [layer.weight for layer in self.layers if isinstance(layer, nn.Linear)]
        return [[first, self.linear.weight], *([weight] for weight in others)]

    def forward(self, descriptors: Tensor) -> Tensor:
        return (self.readout(self.layers(descriptors)) + self.linear(descriptors)).squeeze(1)


class House(nn.Module):
    """What house models and committees of them share: the descriptors, and `n_members` networks for each element.

    Member m's network of element e is `networks[m · n_elements + e]`.
    `shifts` (eV, one per element) are added in float64 whatever the dtype of the weights; `scale` (eV)
    multiplies the networks; `mean` and `inverse_deviation` (n_elements, n_descriptors) standardise the descriptors.
    """

    elements: list[str]
    cutoff: float
    shifts: list[float]
    scale: Tensor
    mean: Tensor
    inverse_deviation: Tensor
    frequencies: Tensor
    repeats3: Tensor
    full2: Tensor
    full3: Tensor
    upper1: Tensor
    upper2: Tensor
    upper3: Tensor
    first2: Tensor
    second2: Tensor
    first3: Tensor
    second3: Tensor
    core: Tensor

    def __init__(self, config: HouseConfig, n_members: int):
        super().__init__()
        self.config = config
        self.n_members = n_members
        self.register_buffer("core", core_table(config.core, config.elements), persistent=False)
        self.elements = list(config.elements)
        self.cutoff = config.cutoff
        self.shifts = [0.0] * len(config.elements)
        self.n_radial = config.n_radial
        self.n_elements = len(config.elements)
        self.envelope_power = ENVELOPE_POWER
        n, channels = self.n_elements * config.n_radial, config.n_channels
        self.mix = nn.Parameter(torch.randn(4, self.n_elements, n, channels) * self._smooth(config.n_radial))
        self.register_buffer(
            "frequencies", math.pi / config.cutoff * torch.arange(1.0, config.n_radial + 1, dtype=torch.float64)
        )
        self.register_buffer("repeats3", torch.tensor([float({1: 1, 2: 3, 3: 6}[len(set(t))]) for t in _RANK3]))
        rank3_of_full = [_RANK3.index(tuple(sorted((a, m // 3, m % 3)))) for a in range(3) for m in range(9)]
        for name, index, size in [
            ("first2", [a for a, _ in _RANK2], 3),
            ("second2", [b for _, b in _RANK2], 3),
            ("first3", [_RANK2.index((t[0], t[1])) for t in _RANK3], 6),
            ("second3", [t[2] for t in _RANK3], 3),
            ("full2", [_RANK2.index((min(a, b), max(a, b))) for a in range(3) for b in range(3)], 6),
            ("full3", rank3_of_full, 10),
        ]:
            self.register_buffer(name, torch.eye(size)[:, index])
        for name, size in [("upper1", channels), ("upper2", 2 * channels), ("upper3", 3 * channels)]:
            rows, columns = torch.triu_indices(size, size)
            self.register_buffer(name, rows * size + columns)
        self.double()
        self.n_descriptors = self._count_descriptors()
        self.networks = nn.ModuleList(
            ElementNetwork(self.n_descriptors, config.hidden) for _ in range(n_members * self.n_elements)
        )
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("mean", torch.zeros(self.n_elements, self.n_descriptors))
        self.register_buffer("inverse_deviation", torch.ones(self.n_elements, self.n_descriptors))
        self.double()

    @torch.jit.ignore
    def matrices(self) -> list[list[Tensor]]:
        """All weights that are matrices, as those of a network; the mix is a stack of them."""
        found: list[list[Tensor]] = [[self.mix]]
        for network in self.networks:
            assert isinstance(network, ElementNetwork)
            found += network.matrices()
        return found

    @torch.jit.ignore
    def set_core(self, core: Core | None) -> None:
        """Give the model another core, or none; it is a part of its configuration."""
        keys = self.config.model_dump() | {"core": core}
        self.config = type(self.config)(**keys)
        self.core.copy_(core_table(core, self.elements))

    def _smooth(self, n_radial: int) -> Tensor:
        """Deviations of the first weights of the slots, (n_slots, 1): radial functions that begin smooth, with 1/k for
        the k-th, generalise better and are learned from sooner."""
        falling = 1.0 / torch.arange(1.0, n_radial + 1).repeat(self.n_elements)
        return (falling / falling.norm()).unsqueeze(1)

    def _count_descriptors(self) -> int:
        """How many `descriptors` gives, asked for no atoms."""
        none = torch.zeros(0, dtype=torch.int64)
        return self.descriptors(none, none, none, torch.zeros(0, 3, dtype=torch.float64)).shape[1]

    def seen_distances(self, own: Tensor, other: Tensor, r: Tensor) -> Tensor:
        """The distances (n_edges, 1) that the networks see between elements `own` and `other`."""
        outer = self.core[1][own, other].unsqueeze(1)
        if not bool((r < outer).any()):
            return r
        return seen_distance(self.core[0][own, other].unsqueeze(1), outer, r)

    def core_energies(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """What the core adds to the energy of each atom, (n_atoms,) float64 eV."""
        own, other = species[centers], species[neighbors]
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=species.device)
        close = torch.nonzero((vectors * vectors).sum(1) < self.core[1][own, other] ** 2).squeeze(1)
        if close.shape[0] == 0:
            return energies
        near = vectors.index_select(0, close)
        r = torch.sqrt((near * near).sum(1))
        inner, outer, strength, length = torch.unbind(self.core[:, own[close], other[close]])
        pairs = 0.5 * switch(switched(inner, outer, r)) * repulsion(strength, length, r)
        return energies.index_add(0, centers.index_select(0, close), pairs.to(torch.float64))

    def moments(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Moments of the neighbour density, (n_atoms, n_elements · n_radial, 20); the last index runs over
        the independent components of rank 0, 1, 2 and 3."""
        r = torch.sqrt((vectors * vectors).sum(1, keepdim=True))
        unit = vectors / r
        seen = self.seen_distances(species[centers], species[neighbors], r)
        envelope = torch.clamp(1.0 - (seen / self.cutoff) ** 2, min=0.0) ** self.envelope_power
        radial = torch.sin(seen * self.frequencies) * (envelope / seen)
        rank2 = (unit @ self.first2) * (unit @ self.second2)
        rank3 = (rank2 @ self.first3) * (unit @ self.second3)
        angular = torch.cat([torch.ones_like(r), unit, rank2, rank3], dim=1)
        products = (radial.unsqueeze(2) * angular.unsqueeze(1)).flatten(1)
        slots = centers * self.n_elements + species[neighbors]
        summed = torch.zeros(
            species.shape[0] * self.n_elements,
            products.shape[1],
            dtype=products.dtype,
            device=products.device,
        ).index_add(0, slots, products)
        return summed.reshape(species.shape[0], self.n_elements * self.n_radial, 20)

    def descriptors(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Rotational invariants of each atom's neighbourhood, (n_atoms, n_descriptors), not standardised."""
        moments = torch.split(self.moments(species, centers, neighbors, vectors), [1, 3, 6, 10], dim=2)
        mix = torch.unbind(self.mix.index_select(1, species).transpose(2, 3))
        m0 = torch.bmm(mix[0], moments[0])
        m1 = torch.bmm(mix[1], moments[1])
        m2 = torch.bmm(mix[2], moments[2])
        m3 = torch.bmm(mix[3], moments[3])
        full2, full3 = m2 @ self.full2, m3 @ self.full3
        matrices, tensors = full2.unflatten(2, (3, 3)), full3.unflatten(2, (3, 9))
        m2m1 = (matrices * m1.unsqueeze(2)).sum(3)
        m3m2 = (tensors * full2.unsqueeze(2)).sum(3)
        m3m1 = (tensors * m1.unsqueeze(3)).sum(2)
        vector_set = torch.cat([m1, m2m1, m3m2], dim=1)
        matrix_set = torch.cat([full2, m3m1], dim=1)
        return torch.cat(
            [
                m0.squeeze(2),
                torch.bmm(vector_set, vector_set.transpose(1, 2)).flatten(1).index_select(1, self.upper3),
                torch.bmm(matrix_set, matrix_set.transpose(1, 2)).flatten(1).index_select(1, self.upper2),
                torch.bmm(m3 * self.repeats3, m3.transpose(1, 2)).flatten(1).index_select(1, self.upper1),
            ],
            dim=1,
        )

    def standardised(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """The descriptors less their mean, over their deviation: what the networks read, (n_atoms, n_descriptors)."""
        descriptors = self.descriptors(species, centers, neighbors, vectors)
        return (descriptors - self.mean[species]) * self.inverse_deviation[species]

    def network_energies(self, species: Tensor, descriptors: Tensor) -> Tensor:
        """Energies of all members from standardised descriptors, (n_members, n_atoms) float64 eV."""
        n_atoms = species.shape[0]
        rows = [torch.nonzero(species == element).squeeze(1) for element in range(self.n_elements)]
        read = [descriptors.index_select(0, own) for own in rows]
        places: list[Tensor] = []
        energies: list[Tensor] = []
        for index, network in enumerate(self.networks):
            element = index % self.n_elements
            places.append(rows[element] + n_atoms * (index // self.n_elements))
            energies.append((self.scale * network(read[element])).to(torch.float64) + self.shifts[element])
        found = torch.zeros(self.n_members * n_atoms, dtype=torch.float64, device=species.device)
        return found.index_copy(0, torch.cat(places), torch.cat(energies)).reshape(self.n_members, n_atoms)

    def member_energies(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of all members, core included, (n_members, n_atoms) float64 eV; arguments as of a model."""
        descriptors = self.standardised(species, centers, neighbors, vectors)
        return self.network_energies(species, descriptors) + self.core_energies(species, centers, neighbors, vectors)


class HouseModel(House):
    """Strictly local potential of Cartesian moments; see the module's text for the formulas."""

    def __init__(self, config: HouseConfig):
        super().__init__(config, n_members=1)

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return self.member_energies(species, centers, neighbors, vectors)[0]
