"""The loss, and its gradient with respect to the weights.

Per structure of n atoms: ΔE²/n, Σ|ΔF|²/(3n), Σ(ΔH)²/(3n)², as in Rodriguez, Smith, Mendoza-Cortes (2025).
With k random directions v of independent components of variance one, |ΔH·v|²/(3n)² has the full term as its
mean, so that one weight serves both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hesspot.derivatives import Differentiable, differentiable, hessian, sum_structures
from hesspot.models.contract import Batch, Model
from hesspot.training.config import HessianSection, LossSection
from hesspot.training.samples import Sample, join_samples


@dataclass
class LossTerms:
    """Sums over structures of the three unweighted terms, and of the structures that have a Hessian."""

    energy: float = 0.0
    forces: float = 0.0
    hessian: float = 0.0
    structures: int = 0
    with_hessian: int = 0

    def add(self, other: LossTerms) -> None:
        self.energy += other.energy
        self.forces += other.forces
        self.hessian += other.hessian
        self.structures += other.structures
        self.with_hessian += other.with_hessian

    def total(self, weights: LossSection, mode: str) -> float:
        """The weighted mean loss of a mode."""
        n = max(self.structures, 1)
        value = weights.energy * self.energy / n
        if mode != "e":
            value += weights.forces * self.forces / n
        if mode == "efh":
            value += weights.hessian * self.hessian / max(self.with_hessian, 1)
        return value


def draw_directions(samples: Sequence[Sample], config: HessianSection, generator: torch.Generator) -> Tensor:
    """Random directions (k, n_atoms, 3) for the structures of `samples`, whose mean v vᵀ is the identity.

    Rademacher or Gaussian components, or for `rows` unit vectors times √(3n). Directions that are not drawn anew
    come from a generator of the structure's own.
    """
    return torch.cat(
        [
            _draw(
                sample.graph.n_atoms,
                config,
                generator if config.redraw else torch.Generator().manual_seed(sample.number),
            )
            for sample in samples
        ],
        dim=1,
    )


def _draw(n_atoms: int, config: HessianSection, generator: torch.Generator) -> Tensor:
    shape = (config.probes, n_atoms, 3)
    if config.sampling == "rows":
        row = torch.randint(0, 3 * n_atoms, (config.probes, 1), generator=generator)
        return (3.0 * n_atoms) ** 0.5 * torch.zeros(config.probes, 3 * n_atoms, dtype=torch.float64).scatter(
            1, row, 1.0
        ).reshape(shape)
    if config.distribution == "gaussian":
        return torch.randn(shape, dtype=torch.float64, generator=generator)
    return 2.0 * torch.randint(0, 2, shape, generator=generator).to(torch.float64) - 1.0


def backward(
    model: Model,
    samples: Sequence[Sample],
    mode: str,
    weights: LossSection,
    sampling: HessianSection,
    generator: torch.Generator,
    max_edges: int,
) -> LossTerms:
    """Accumulate the gradient of the mean loss of `samples` in the weights; returns the unweighted terms."""
    terms = LossTerms()
    with_hessian = [s for s in samples if s.hessian is not None] if mode == "efh" else []
    probed = with_hessian if sampling.sampling != "full" else []
    plain = [s for s in samples if not any(s is p for p in probed)]
    if probed:
        directions = draw_directions(probed, sampling, generator)
        terms.add(_backward_part(model, probed, mode, weights, len(samples), len(with_hessian), directions))
    if plain:
        terms.add(_backward_part(model, plain, mode, weights, len(samples), 1, None))
    if mode == "efh" and sampling.sampling == "full":
        for group in _groups(with_hessian, max_edges):
            squared = _hessian_term(model, group, create_graph=True)
            (weights.hessian / len(with_hessian) * squared).backward()  # type: ignore[no-untyped-call]
            terms.add(LossTerms(hessian=float(squared.detach()), with_hessian=len(group)))
    return terms


def _backward_part(
    model: Model,
    samples: Sequence[Sample],
    mode: str,
    weights: LossSection,
    n_structures: int,
    n_hessians: int,
    directions: Tensor | None,
) -> LossTerms:
    batch = join_samples(samples)
    sizes = batch.atoms_per_structure().to(torch.float64)
    result = differentiable(model, batch, forces=mode != "e", directions=directions)
    energy, forces = _energy_and_forces_terms(result, samples, batch)
    loss = weights.energy / n_structures * energy
    terms = LossTerms(energy=float(energy.detach()), structures=len(samples))
    if forces is not None and mode != "e":
        loss = loss + weights.forces / n_structures * forces
        terms.forces = float(forces.detach())
    if result.hvp is not None and directions is not None:
        expected = _label_products(samples, directions)
        per_structure = sum_structures(((result.hvp - expected) ** 2).mean(0).sum(1), batch)
        curvature = (per_structure / (3 * sizes) ** 2).sum()
        loss = loss + weights.hessian / n_hessians * curvature
        terms.hessian, terms.with_hessian = float(curvature.detach()), len(samples)
    loss.backward()  # type: ignore[no-untyped-call]
    return terms


def _energy_and_forces_terms(
    result: Differentiable, samples: Sequence[Sample], batch: Batch
) -> tuple[Tensor, Tensor | None]:
    """Σ ΔE²/n and Σ |ΔF|²/(3n) over the structures; no forces term if they were not computed."""
    sizes = batch.atoms_per_structure().to(torch.float64)
    labels = torch.tensor([sample.energy for sample in samples], dtype=torch.float64)
    energy = ((result.energy - labels) ** 2 / sizes).sum()
    if result.forces is None:
        return energy, None
    labelled = torch.cat([s.forces for s in samples if s.forces is not None])
    per_structure = sum_structures(((result.forces - labelled) ** 2).sum(1), batch)
    return energy, (per_structure / (3 * sizes)).sum()


def _label_products(samples: Sequence[Sample], directions: Tensor) -> Tensor:
    """H·v of the labels, (k, n_atoms, 3)."""
    pieces = []
    first = 0
    for sample in samples:
        n = sample.graph.n_atoms
        assert sample.hessian is not None
        own = directions[:, first : first + n].reshape(-1, 3 * n)
        pieces.append((own @ sample.hessian).reshape(-1, n, 3))
        first += n
    return torch.cat(pieces, dim=1)


def _hessian_term(model: Model, samples: Sequence[Sample], create_graph: bool) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    blocks = hessian(model, join_samples(samples), create_graph=create_graph)
    for sample, block in zip(samples, blocks, strict=True):
        assert sample.hessian is not None
        total = total + ((block - sample.hessian) ** 2).sum() / block.shape[0] ** 2
    return total


def _groups(samples: Sequence[Sample], max_edges: int) -> Iterator[list[Sample]]:
    """Groups whose full Hessians need at most `max_edges` edges in one graph (one structure at least)."""
    group: list[Sample] = []
    edges = 0
    for sample in samples:
        cost = 3 * sample.graph.n_atoms * sample.graph.n_edges
        if group and edges + cost > max_edges:
            yield group
            group, edges = [], 0
        group.append(sample)
        edges += cost
    if group:
        yield group


def evaluate_terms(model: Model, samples: Sequence[Sample], mode: str) -> LossTerms:
    """The unweighted terms with full Hessians, without gradients in the weights."""
    batch = join_samples(samples)
    energy, forces = _energy_and_forces_terms(differentiable(model, batch, forces=mode != "e"), samples, batch)
    terms = LossTerms(energy=float(energy.detach()), structures=len(samples))
    if forces is not None:
        terms.forces = float(forces.detach())
    with_hessian = [s for s in samples if s.hessian is not None]
    if mode == "efh" and with_hessian:
        terms.hessian = float(_hessian_term(model, with_hessian, create_graph=False).detach())
        terms.with_hessian = len(with_hessian)
    return terms
