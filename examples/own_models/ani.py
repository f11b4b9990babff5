"""The architecture of ANI-2x as a model of hesspot: one file for every engine.

    python examples/own_models/ani.py ani.pt          # random weights: the architecture, no chemistry
    hesspot verify ani.pt

Symmetry functions and networks of C. Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020), with the factors of
TorchANI, whose models `from_torchani` takes over. Its cosine at the cutoff has a jump in the second derivative, which
`hesspot.write_model` refuses unless it is told that this is meant.
"""

import argparse
import math
from itertools import pairwise
from typing import Any

import torch
from ase.build import molecule
from torch import Tensor, nn

import hesspot

HARTREE = 27.211386245988  #: eV

#: Widths of the hidden layers of the network of each element.
HIDDEN = {
    "H": [256, 192, 160],
    "C": [224, 192, 160],
    "N": [192, 160, 128],
    "O": [192, 160, 128],
    "F": [160, 128, 96],
    "S": [160, 128, 96],
    "Cl": [160, 128, 96],
}


def even(start: float, end: float, count: int) -> Tensor:
    return start + (end - start) / count * torch.arange(count, dtype=torch.float64)


class Ani(nn.Module):
    """Energies of atoms from their radial and angular symmetry functions; float64."""

    elements: list[str]
    cutoff: float
    near: float
    hartree: float

    def __init__(self, elements: list[str]) -> None:
        super().__init__()
        self.elements, self.cutoff, self.near, self.hartree = list(elements), 5.1, 3.5, HARTREE
        n = len(elements)
        pairs = torch.zeros(n, n, dtype=torch.int64)
        first, second = torch.triu_indices(n, n)
        pairs[first, second] = pairs[second, first] = torch.arange(len(first))
        self.n_elements, self.n_pairs = n, len(first)
        self.register_buffer("pair_of", pairs)
        self.register_buffer("radii", even(0.8, self.cutoff, 16))
        self.register_buffer("means", even(0.8, self.near, 8))
        self.register_buffer("angles", even(math.pi / 8, math.pi * 9 / 8, 4))
        self.register_buffer("shifts", torch.zeros(n, dtype=torch.float64))
        inputs = 16 * n + 32 * self.n_pairs
        self.networks = nn.ModuleList([self._network([inputs, *HIDDEN[symbol]]) for symbol in elements])

    @staticmethod
    def _network(widths: list[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for begin, end in pairwise(widths):
            layers += [nn.Linear(begin, end, dtype=torch.float64), nn.CELU(0.1)]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 1, dtype=torch.float64))

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        n_atoms, kinds = species.shape[0], species[neighbors]
        r = torch.linalg.vector_norm(vectors, dim=1)
        inside = torch.nonzero(r < self.cutoff).squeeze(1)
        smooth = 0.5 + 0.5 * torch.cos(math.pi / self.cutoff * r[inside])
        radial = 0.25 * torch.exp(-19.7 * (r[inside].unsqueeze(1) - self.radii) ** 2) * smooth.unsqueeze(1)
        into = centers[inside] * self.n_elements + kinds[inside]
        by_element = vectors.new_zeros(n_atoms * self.n_elements, 16).index_add(0, into, radial)

        near = torch.nonzero(r < self.near).squeeze(1)
        near = near[torch.argsort(centers[near], stable=True)]
        first, second = self.pairs_of(centers[near], n_atoms)
        j, k = near[first], near[second]
        cosine = (vectors[j] * vectors[k]).sum(1) / (r[j] * r[k])
        angle = torch.acos(0.95 * cosine).unsqueeze(1)
        angular = 2.0 * (0.5 + 0.5 * torch.cos(angle - self.angles)) ** 14.1
        mean = torch.exp(-12.5 * (0.5 * (r[j] + r[k]).unsqueeze(1) - self.means) ** 2)
        end = (0.5 + 0.5 * torch.cos(math.pi / self.near * r[j])) * (0.5 + 0.5 * torch.cos(math.pi / self.near * r[k]))
        terms = (mean.unsqueeze(2) * angular.unsqueeze(1)).flatten(1) * end.unsqueeze(1)
        into = centers[j] * self.n_pairs + self.pair_of[kinds[j], kinds[k]]
        by_pair = vectors.new_zeros(n_atoms * self.n_pairs, 32).index_add(0, into, terms)

        described = torch.cat([by_element.view(n_atoms, -1), by_pair.view(n_atoms, -1)], dim=1)
        energies = self.shifts[species].to(torch.float64)
        for element, network in enumerate(self.networks):
            rows = torch.nonzero(species == element).squeeze(1)
            energies = energies.index_add(0, rows, self.hartree * network(described[rows]).squeeze(1).double())
        return energies

    def pairs_of(self, centers: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
        """All pairs of edges of one centre, as their places among edges that are sorted by centre."""
        here = torch.arange(centers.shape[0], device=centers.device)
        counts = torch.bincount(centers, minlength=n_atoms)
        later = torch.cumsum(counts, 0)[centers] - here - 1
        first = torch.repeat_interleave(here, later)
        step = torch.arange(first.shape[0], device=centers.device) - (torch.cumsum(later, 0) - later)[first]
        return first, first + 1 + step


def from_torchani(theirs: Any) -> Ani:
    """A model of TorchANI with ANI-2x's symmetry functions and one network for each element."""
    networks = theirs.potentials["nnp"].neural_networks.atomics
    model = Ani(list(networks))
    for own, their in zip(model.networks, networks.values(), strict=True):
        linear = [layer for layer in own if isinstance(layer, nn.Linear)]
        for mine, other in zip(linear, [*their.layers, their.final_layer], strict=True):
            mine.load_state_dict(other.state_dict())
    model.shifts.copy_(HARTREE * theirs.energy_shifter.self_energies)
    return model.requires_grad_(False).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the model file to write, NAME.pt")
    torch.manual_seed(0)
    model = Ani(["H", "C", "N", "O"]).requires_grad_(False).eval()
    fingerprint = [hesspot.fingerprint_entry(model, name, molecule(name)) for name in ("CH3CONH2", "H2O")]
    level = "none: random weights"
    hesspot.write_model(parser.parse_args().out, model, fingerprint, level_of_theory=level, allow_jump=True)


if __name__ == "__main__":
    main()
