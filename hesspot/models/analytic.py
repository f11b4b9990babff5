"""Potentials with known answers that keep the contract: oracles for the engines."""

import torch
from torch import Tensor


class LennardJones(torch.nn.Module):
    """Truncated Lennard-Jones, 4ε[(σ/r)¹² − (σ/r)⁶] for r < cutoff, as LAMMPS's `lj/cut`.

    epsilon (n_elements, n_elements) eV, sigma (n_elements, n_elements) Å, both symmetric.
    """

    elements: list[str]
    cutoff: float
    epsilon: Tensor
    sigma: Tensor

    def __init__(self, elements: list[str], cutoff: float, epsilon: Tensor, sigma: Tensor):
        super().__init__()
        self.elements = list(elements)
        self.cutoff = cutoff
        self.register_buffer("epsilon", epsilon.to(torch.float64))
        self.register_buffer("sigma", sigma.to(torch.float64))

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        first, second = species[centers], species[neighbors]
        r2 = (vectors * vectors).sum(-1)
        six = (self.sigma[first, second] ** 2 / r2) ** 3
        pair = 4.0 * self.epsilon[first, second] * (six * six - six) * (r2 < self.cutoff**2)
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, 0.5 * pair.to(torch.float64))


class StillingerWeber(torch.nn.Module):
    """Silicon by Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), as LAMMPS's `Si.sw`; cutoff aσ = 3.77 Å.

    A triplet belongs to the centre that its angle is at.
    """

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["Si"]
        self.epsilon = 2.1683
        self.sigma = 2.0951
        self.cutoff = 1.80 * self.sigma

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        r = torch.linalg.vector_norm(vectors, dim=1)
        decay = self.sigma / (r - self.cutoff)
        pairs = 7.049556277 * (0.6022245584 * (self.sigma / r) ** 4 - 1.0) * torch.exp(decay)
        triplets = torch.nonzero(torch.triu(centers[:, None] == centers[None, :], diagonal=1))
        first, second = triplets[:, 0], triplets[:, 1]
        cosine = (vectors[first] * vectors[second]).sum(-1) / (r[first] * r[second])
        bends = 21.0 * (cosine + 1.0 / 3.0) ** 2 * torch.exp(1.2 * (decay[first] + decay[second]))
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        energies = energies.index_add(0, centers, 0.5 * self.epsilon * pairs.to(torch.float64))
        return energies.index_add(0, centers[first], self.epsilon * bends.to(torch.float64))
