"""The loss, and its gradient with respect to the weights.

Per structure of n atoms: ΔE²/n, Σ|ΔF|²/(3n), Σ(ΔH)²/(3n)², as in Rodriguez, Smith, Mendoza-Cortes (2025), and
Σ(ΔW)²/(9n) of the virial W where the stress is known. With k random directions v of independent components of
variance one, |ΔH·v|²/(3n)² has the full Hessian term as its mean, so that one weight serves both ways; products
that were labelled in the place of a Hessian enter in the same form. With a metric A of the structure, Aᵀ ΔH A stands
in the place of ΔH: the directions are A·v, and the products are multiplied by Aᵀ.

The loss of a committee is the mean of its members' losses, each with the member's own energies, forces and products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch, Model, join_batches
from hesspot.derivatives import (
    MAX_EDGES,
    Answers,
    Differentiable,
    answers,
    evaluate,
    gradient_of,
    hessian,
    hvp,
    scatter_to_atoms,
    sum_structures,
    weights_of,
)
from hesspot.kernel.house_training import TrainedHouse
from hesspot.models.ensemble import HouseEnsemble, Member
from hesspot.training.config import HessianSection, LossSection
from hesspot.training.samples import Sample, edges_of, in_groups, join_samples


@dataclass
class LossTerms:
    """Sums over structures of the unweighted terms, and numbers of the structures that they are summed over."""

    energy: float = 0.0
    forces: float = 0.0
    hessian: float = 0.0
    stress: float = 0.0
    structures: int = 0
    with_hessian: int = 0
    with_stress: int = 0

    def add(self, other: LossTerms) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def total(self, weights: LossSection, mode: str) -> float:
        """The weighted mean loss of a mode."""
        n = max(self.structures, 1)
        value = weights.energy * self.energy / n
        if mode != "e":
            value += weights.forces * self.forces / n
            value += weights.stress * self.stress / max(self.with_stress, 1)
        if mode == "efh":
            value += weights.hessian * self.hessian / max(self.with_hessian, 1)
        return value


def draw_directions(samples: Sequence[Sample], config: HessianSection, generator: torch.Generator) -> Tensor:
    """Random directions (k, n_atoms, 3) for the structures of `samples`, whose mean v vᵀ is the identity.

    Rademacher or Gaussian components, or for `rows` unit vectors times √(3n). Directions that are not drawn anew
    come from a generator of the structure's own.
    """
    return torch.cat([_draw(s.graph.n_atoms, config, _generator_of(s, config, generator)) for s in samples], dim=1)


def _generator_of(sample: Sample, config: HessianSection, generator: torch.Generator) -> torch.Generator:
    return generator if config.redraw else torch.Generator().manual_seed(sample.number)


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


@dataclass(frozen=True)
class Probe:
    """Directions (k, n, 3) for one structure and the label's products with them."""

    directions: Tensor
    products: Tensor


def draw_probe(sample: Sample, config: HessianSection, generator: torch.Generator) -> Probe:
    """Random directions where the Hessian is known, else `probes` of the labelled ones, in a random order."""
    n, device = sample.graph.n_atoms, sample.graph.vectors.device
    if sample.hessian is not None:
        directions = draw_directions([sample], config, generator).to(device)
        if sample.metric is not None:
            directions = (directions.reshape(-1, 3 * n) @ sample.metric.T).reshape(-1, n, 3)
        return Probe(directions, (directions.reshape(-1, 3 * n) @ sample.hessian).reshape(-1, n, 3))
    assert sample.directions is not None and sample.products is not None
    known = len(sample.directions)
    order = torch.randperm(known, generator=_generator_of(sample, config, generator))
    chosen = order[torch.arange(config.probes) % known].to(device)
    return Probe(sample.directions[chosen], sample.products[chosen])


def backward(
    model: Model | TrainedHouse,
    samples: Sequence[Sample],
    mode: str,
    weights: LossSection,
    sampling: HessianSection,
    generator: torch.Generator,
    max_edges: int,
    share: slice = slice(None),
) -> LossTerms:
    """Accumulate the gradient of the mean loss of `samples` in the weights; returns the unweighted terms.

    share: the samples that are evaluated here. The mean is over all, so that gradients and terms of all shares add
    up to those of the whole; each process draws all directions, so that their order does not depend on the shares.
    A `TrainedHouse` takes the gradient from the kernel, any other model from torch.
    """
    curved = [mode == "efh" and sample.has_curvature for sample in samples]
    in_full = [
        c and sampling.sampling == "full" and s.hessian is not None for c, s in zip(curved, samples, strict=True)
    ]
    probes = {
        i: draw_probe(sample, sampling, generator) for i, sample in enumerate(samples) if curved[i] and not in_full[i]
    }
    means = _Means(
        weights,
        structures=len(samples),
        with_hessian=sum(curved),
        with_stress=0 if mode == "e" or not weights.stress else sum(s.virial is not None for s in samples),
    )
    own = range(len(samples))[share]
    terms = LossTerms()
    plain = [samples[i] for i in own if i not in probes]
    if probed := [i for i in own if i in probes]:
        terms.add(_backward_part(model, [samples[i] for i in probed], mode, means, [probes[i] for i in probed]))
    if plain:
        terms.add(_backward_part(model, plain, mode, means, None))
    full = [samples[i] for i in own if in_full[i]]
    if isinstance(model, TrainedHouse):
        for columns in _column_groups(full, max_edges):
            terms.add(_backward_column_group(model, columns, means))
        terms.with_hessian += len(full)
        return terms
    for group in in_groups(full, _hessian_cost, max_edges):
        terms.add(_backward_hessians(model, group, means, max_edges))
    return terms


@dataclass(frozen=True)
class _Means:
    """Weights of the terms, and the numbers of structures that each is the mean over."""

    weights: LossSection
    structures: int
    with_hessian: int
    with_stress: int


def _backward_part(
    model: Model | TrainedHouse, samples: Sequence[Sample], mode: str, means: _Means, probes: Sequence[Probe] | None
) -> LossTerms:
    """Energies, forces, virials and, with probes of every sample, Hessian products: in one graph."""
    batch = join_samples(samples)
    stressed = [i for i, sample in enumerate(samples) if sample.virial is not None] if means.with_stress else []
    directions = None if probes is None else torch.cat([probe.directions for probe in probes], dim=1)
    labels = _Labels(samples, batch, mode, stressed, probes)
    found = _answers(model, batch, forces=mode != "e", directions=directions, virial=bool(stressed))
    factors = (
        means.weights.energy / means.structures,
        means.weights.forces / means.structures,
        means.weights.hessian / max(means.with_hessian, 1),
        means.weights.stress / max(means.with_stress, 1),
    )
    n_members = len(found.members)
    sums, slopes = batch.vectors.new_zeros(4), []
    for member, answer in enumerate(found.members):
        counts = _member_weights(samples, member, batch.vectors) / n_members
        terms, slope = labels.compared(answer, [factor * counts for factor in factors])
        sums += terms.sum(1) / n_members
        slopes.append(slope)
    found.backward(slopes)
    energy, forces, curvature, stress = sums.tolist()
    return LossTerms(
        energy, forces, curvature, stress, len(samples), len(samples) if probes is not None else 0, len(stressed)
    )


def _answers(model: Model | TrainedHouse, batch: Batch, **asked: Any) -> Answers:
    return model.answers(batch, **asked) if isinstance(model, TrainedHouse) else answers(model, batch, **asked)


def _member_weights(samples: Sequence[Sample], member: int, like: Tensor) -> Tensor:
    """How much each structure counts for a member, (n_structures,)."""
    if all(sample.member_weights is None for sample in samples):
        return like.new_ones(len(samples))
    return torch.stack(
        [like.new_ones(()) if s.member_weights is None else s.member_weights[member].to(like) for s in samples]
    )


class _Labels:
    """The labels of joined samples, and the terms of an answer with them."""

    def __init__(
        self,
        samples: Sequence[Sample],
        batch: Batch,
        mode: str,
        stressed: Sequence[int] = (),
        probes: Sequence[Probe] | None = None,
    ):
        self.batch = batch
        self.sizes = batch.atoms_per_structure().to(torch.float64)
        device = batch.vectors.device
        self.energy = torch.tensor([sample.energy for sample in samples], dtype=torch.float64, device=device)
        self.forces = None if mode == "e" else torch.cat([s.forces for s in samples if s.forces is not None])
        self.products = None if probes is None else torch.cat([probe.products for probe in probes], dim=1)
        self.metrics = [sample.metric for sample in samples]
        self.stressed = torch.tensor(stressed, dtype=torch.int64, device=device)
        self.virials = torch.stack([v for i in stressed if (v := samples[i].virial) is not None]) if stressed else None

    def compared(self, answer: Differentiable, factors: Sequence[Tensor]) -> tuple[Tensor, Differentiable]:
        """The terms of an answer, and the derivatives of Σ factors·terms with respect to it.

        Terms are ΔE²/n, Σ|ΔF|²/(3n), |ΔH·v|²/(3n)², Σ(ΔW)²/(9n): (4, n_structures), zeros where there is no label;
        factors: one (n_structures,) for each of them.
        """
        n, structure = self.sizes, self.batch.structure
        terms = self.sizes.new_zeros(4, len(n))
        error = answer.energy.detach() - self.energy
        terms[0] = error**2 / n
        slope = Differentiable(2.0 * factors[0] * error / n)
        if self.forces is not None and answer.forces is not None:
            error = answer.forces.detach() - self.forces
            terms[1] = sum_structures((error**2).sum(1), self.batch) / (3 * n)
            slope = replace(slope, forces=(2.0 * factors[1] / (3 * n))[structure, None] * error)
        if self.products is not None and answer.hvp is not None:
            error = answer.hvp.detach() - self.products
            measured, back = self._measured(error)
            terms[2] = sum_structures((measured**2).mean(0).sum(1), self.batch) / (3 * n) ** 2
            slope = replace(slope, hvp=(2.0 * factors[2] / (3 * n) ** 2 / len(error))[structure, None] * back)
        if self.virials is not None and answer.virial is not None:
            error = torch.zeros_like(answer.virial).index_copy(
                0, self.stressed, answer.virial.detach()[self.stressed] - self.virials
            )
            terms[3] = (error**2).sum((1, 2)) / (9 * n)
            slope = replace(slope, virial=(2.0 * factors[3] / (9 * n))[:, None, None] * error)
        return terms, slope

    def _measured(self, errors: Tensor) -> tuple[Tensor, Tensor]:
        """Errors e of products (k, n_atoms, 3) in the metrics A of their structures: Aᵀe, and A Aᵀe."""
        if all(metric is None for metric in self.metrics):
            return errors, errors
        found, back = [], []
        for part, metric in zip(errors.split(self.sizes.long().tolist(), dim=1), self.metrics, strict=True):
            own = part if metric is None else (part.flatten(1) @ metric).view(part.shape)
            found.append(own)
            back.append(part if metric is None else (own.flatten(1) @ metric.T).view(part.shape))
        return torch.cat(found, dim=1), torch.cat(back, dim=1)


def _hessian_cost(sample: Sample) -> int:
    """Edges in the graph of a structure's full Hessian."""
    return 3 * sample.graph.n_atoms * sample.graph.n_edges


def _backward_hessians(model: Model, samples: Sequence[Sample], means: _Means, max_edges: int) -> LossTerms:
    """The full-Hessian terms, in one graph; column by column for a structure that is too large for one."""
    members: list[Model] = [model]
    if isinstance(model, HouseEnsemble):
        members = [Member(model, number) for number in range(model.n_members)]
    factor = means.weights.hessian / means.with_hessian / len(members)
    terms = LossTerms(with_hessian=len(samples))
    for number, member in enumerate(members):
        counts = _member_weights(samples, number, samples[0].graph.vectors)
        if len(samples) == 1 and _hessian_cost(samples[0]) > max_edges:
            squared = _backward_columns(model, member, samples[0], factor * float(counts[0]))
        else:
            per_structure = _hessian_terms(member, samples, create_graph=True)
            torch.autograd.backward(factor * (counts * per_structure).sum(), inputs=weights_of(model))
            squared = float(per_structure.detach().sum())
        terms.hessian += squared / len(members)
    return terms


def _backward_columns(model: Model, member: Model, sample: Sample, factor: float) -> float:
    """The gradient of factor·Σ(ΔH)²/(3n)², with one column of the Hessian in the graph at a time."""
    batch, total = sample.graph, 0.0
    assert sample.hessian is not None
    vectors = batch.vectors.detach().requires_grad_(True)
    energies = member(batch.species, batch.centers, batch.neighbors, vectors)
    gradient = gradient_of(energies.sum(), vectors, create_graph=True)
    metric = _metric_of(sample)
    for column, expected in zip(metric.T, metric.T @ sample.hessian, strict=True):
        direction = column.reshape(-1, 3)
        along = direction[batch.neighbors] - direction[batch.centers]
        product = scatter_to_atoms(gradient_of((gradient * along).sum(), vectors, create_graph=True), batch)
        squared = (((product.flatten() - expected) @ metric) ** 2).sum() / len(sample.hessian) ** 2
        torch.autograd.backward(factor * squared, inputs=weights_of(model), retain_graph=True)
        total += float(squared.detach())
    return total


@dataclass(frozen=True)
class _Columns:
    """Columns `first` … `last` - 1 of a structure's Hessian in its metric: products with directions of the metric."""

    sample: Sample
    first: int
    last: int


def _column_groups(samples: Sequence[Sample], max_edges: int) -> Iterator[list[_Columns]]:
    """All columns, with at most `max_edges` edges in the copies of the structures of a group (one at least)."""
    group: list[_Columns] = []
    edges = 0
    for sample in samples:
        first, n_columns, own = 0, 3 * sample.graph.n_atoms, max(sample.graph.n_edges, 1)
        while first < n_columns:
            fitting = min((max_edges - edges) // own, n_columns - first)
            if fitting < 1 and group:
                yield group
                group, edges = [], 0
                continue
            last = first + max(fitting, 1)
            group.append(_Columns(sample, first, last))
            edges += (last - first) * own
            first = last
    if group:
        yield group


def _backward_column_group(model: TrainedHouse, groups: Sequence[_Columns], means: _Means) -> LossTerms:
    """The part of the full-Hessian terms in these columns: a copy of the structure for each, with its direction."""
    copies = [columns.sample.graph for columns in groups for _ in range(columns.first, columns.last)]
    batch = join_batches(copies, copies[0].n_elements)
    metrics = [_metric_of(columns.sample) for columns in groups]
    directions = [metric.T[columns.first : columns.last] for metric, columns in zip(metrics, groups, strict=True)]
    found = model.answers(batch, directions=torch.cat([each.flatten() for each in directions]).view(1, -1, 3))
    n_members = len(found.members)
    factor = means.weights.hessian / means.with_hessian / n_members
    total, slopes = 0.0, []
    for member, answer in enumerate(found.members):
        assert answer.hvp is not None
        parts = answer.hvp.flatten().split([each.numel() for each in directions])
        pieces = []
        for columns, metric, along, products in zip(groups, metrics, directions, parts, strict=True):
            assert columns.sample.hessian is not None
            measured = (products.view(along.shape) - along @ columns.sample.hessian) @ metric
            total += float((measured**2).sum()) / len(metric) ** 2
            counts = columns.sample.member_weights
            weight = factor if counts is None else factor * float(counts[member])
            pieces.append((2.0 * weight / len(metric) ** 2 * measured @ metric.T).flatten())
        slopes.append(Differentiable(batch.vectors.new_zeros(batch.n_structures), hvp=torch.cat(pieces).view(1, -1, 3)))
    found.backward(slopes)
    return LossTerms(hessian=total / n_members)


def _metric_of(sample: Sample) -> Tensor:
    """The metric (3n, 3n) of a structure; the identity where it has none."""
    assert sample.hessian is not None
    return torch.eye(3 * sample.graph.n_atoms).to(sample.hessian) if sample.metric is None else sample.metric


def _hessian_terms(model: Model, samples: Sequence[Sample], create_graph: bool, max_edges: int = MAX_EDGES) -> Tensor:
    """Σ(ΔH)²/(3n)² of each structure from full Hessians, (n_structures,)."""
    blocks = hessian(model, join_samples(samples), create_graph=create_graph, max_edges=max_edges)
    terms = []
    for sample, block in zip(samples, blocks, strict=True):
        assert sample.hessian is not None
        error = block - sample.hessian
        if sample.metric is not None:
            error = sample.metric.T @ error @ sample.metric
        terms.append((error**2).sum() / len(error) ** 2)
    return torch.stack(terms)


def evaluate_terms(model: Model, samples: Iterable[Sample], mode: str, max_edges: int = MAX_EDGES) -> LossTerms:
    """The unweighted terms without gradients in the weights, `max_edges` edges at a time.

    Hessians in full where they are known, all labelled products where only those are. A committee counts as its mean.
    Samples are looked at group by group, so that all of them need not be in memory.
    """
    terms = LossTerms()
    for group in in_groups(samples, edges_of, max_edges):
        terms.add(_evaluate_group(model, group, mode, max_edges))
    return terms


def _evaluate_group(model: Model, samples: Sequence[Sample], mode: str, max_edges: int) -> LossTerms:
    batch = join_samples(samples)
    stressed = [i for i, s in enumerate(samples) if s.virial is not None] if mode != "e" else []
    found = evaluate(model, batch, virial=bool(stressed), max_edges=max_edges)
    answer = Differentiable(found.energy, found.forces, None, found.virial)
    none = [torch.zeros_like(found.energy)] * 4
    energy, forces, _, stress = _Labels(samples, batch, mode, stressed).compared(answer, none)[0].sum(1).tolist()
    terms = LossTerms(energy, forces, 0.0, stress, len(samples), 0, len(stressed))
    if mode == "efh":
        known = [sample for sample in samples if sample.hessian is not None]
        if known:
            terms.hessian += float(_hessian_terms(model, known, create_graph=False, max_edges=max_edges).sum())
        partial = [sample for sample in samples if sample.hessian is None and sample.products is not None]
        terms.hessian += _product_terms(model, partial, max_edges)
        terms.with_hessian = len(known) + len(partial)
    return terms


def _product_terms(model: Model, samples: Sequence[Sample], max_edges: int) -> float:
    """Σ over structures of the mean over their labelled products of |ΔH·v|²/(3n)²."""
    total, number = 0.0, 0
    while own := [s for s in samples if s.products is not None and len(s.products) > number]:
        batch = join_samples(own)
        directions = torch.cat([s.directions[number] for s in own if s.directions is not None])
        expected = torch.cat([s.products[number] for s in own if s.products is not None])
        difference = hvp(model, batch, directions, max_edges=max_edges) - expected
        counts = batch.vectors.new_tensor([len(s.products) for s in own if s.products is not None])
        squares = sum_structures((difference**2).sum(1), batch) / (3 * batch.atoms_per_structure()) ** 2
        total += float((squares / counts).sum())
        number += 1
    return total
