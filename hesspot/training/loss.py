"""The loss, and its gradient with respect to the weights.

Per structure of n atoms: ΔE²/n, Σ|ΔF|²/(3n), Σ(ΔH)²/(3n)², as in Rodriguez, Smith, Mendoza-Cortes (2025), and
Σ(ΔW)²/(9n) of the virial W where the stress is known. With k random directions v of independent components of
variance one, |ΔH·v|²/(3n)² has the full Hessian term as its mean, so that one weight serves both ways; products
that were labelled in the place of a Hessian enter in the same form. With a metric A of the structure, Aᵀ ΔH A stands
in the place of ΔH: the directions are A·v, and the products are multiplied by Aᵀ.

The loss of a committee is the mean of its members' losses, each with the member's own energies, forces and products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hesspot.contract import Batch, Model
from hesspot.derivatives import (
    MAX_EDGES,
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
from hesspot.kernel.labelled import Labelled
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


def draw_directions(samples: Sequence[Sample], config: HessianSection, generator: torch.Generator) -> list[Tensor]:
    """Random directions (k, n, 3) for each of `samples`, whose mean v vᵀ is the identity.

    Rademacher or Gaussian components, or for `rows` unit vectors times √(3n). Directions that are not drawn anew
    come from a generator of the structure's own.
    """
    if not config.redraw:
        return [_draw([sample], config, torch.Generator().manual_seed(sample.number))[0] for sample in samples]
    return _draw(samples, config, generator)


def _draw(samples: Sequence[Sample], config: HessianSection, generator: torch.Generator) -> list[Tensor]:
    k = config.probes
    sizes = [3 * sample.graph.n_atoms for sample in samples]
    if config.sampling == "rows":
        rows = torch.rand(len(samples), k, dtype=torch.float64, generator=generator)
        return [
            size**0.5 * torch.eye(size, dtype=torch.float64)[(size * own).long()].view(k, -1, 3)
            for size, own in zip(sizes, rows, strict=True)
        ]
    if config.distribution == "gaussian":
        drawn = torch.randn(k * sum(sizes), dtype=torch.float64, generator=generator)
    else:
        drawn = 2.0 * torch.randint(0, 2, (k * sum(sizes),), generator=generator).to(torch.float64) - 1.0
    return [own.view(k, -1, 3) for own in drawn.split([k * size for size in sizes])]


@dataclass(frozen=True)
class Probe:
    """Directions (k, n, 3) for one structure, and products that were labelled with them; None: those of its Hessian
    in its metric."""

    directions: Tensor
    products: Tensor | None = None

    def compared(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """Directions, in the metric, and the label's products with them, both (k, n, 3) and beside the sample."""
        if self.products is not None:
            return self.directions, self.products
        assert sample.hessian is not None
        n = sample.graph.n_atoms
        directions = self.directions.to(sample.hessian)
        if sample.metric is not None:
            directions = (directions.reshape(-1, 3 * n) @ sample.metric.T).reshape(-1, n, 3)
        return directions, (directions.reshape(-1, 3 * n) @ sample.hessian).reshape(-1, n, 3)


def draw_probes(samples: Sequence[Sample], config: HessianSection, generator: torch.Generator) -> list[Probe]:
    """Random directions where the Hessian is known, else `probes` of the labelled ones, in a random order."""
    drawn = iter(draw_directions([s for s in samples if s.hessian is not None], config, generator))
    return [_labelled(s, config, generator) if s.hessian is None else Probe(next(drawn)) for s in samples]


def _labelled(sample: Sample, config: HessianSection, generator: torch.Generator) -> Probe:
    assert sample.directions is not None and sample.products is not None
    known, wanted = len(sample.directions), config.probes
    if known == wanted:
        return Probe(sample.directions, sample.products)
    own = generator if config.redraw else torch.Generator().manual_seed(sample.number)
    if wanted == 1:
        first = int(torch.randint(known, (1,), generator=own))
        return Probe(sample.directions[first : first + 1], sample.products[first : first + 1])
    order = torch.randperm(known, generator=own)
    chosen = order[torch.arange(wanted) % known].to(sample.directions.device)
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
    probed = [i for i in range(len(samples)) if curved[i] and not in_full[i]]
    probes = dict(zip(probed, draw_probes([samples[i] for i in probed], sampling, generator), strict=True))
    means = _Means(
        weights,
        structures=len(samples),
        with_hessian=sum(curved),
        with_stress=0 if mode == "e" or not weights.stress else sum(s.virial is not None for s in samples),
    )
    own = range(len(samples))[share]
    if isinstance(model, TrainedHouse):
        return _backward_in_kernel(model, samples, own, mode, means, probes, in_full, max_edges)
    terms = LossTerms()
    plain = [samples[i] for i in own if i not in probes]
    if own_probed := [i for i in own if i in probes]:
        compared = [probes[i].compared(samples[i]) for i in own_probed]
        terms.add(_backward_part(model, [samples[i] for i in own_probed], mode, means, compared))
    if plain:
        terms.add(_backward_part(model, plain, mode, means, None))
    full = [samples[i] for i in own if in_full[i]]
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

    def factors(self) -> tuple[float, float, float, float]:
        """Of the terms of energy, forces, Hessian and stress of one structure."""
        return (
            self.weights.energy / self.structures,
            self.weights.forces / self.structures,
            self.weights.hessian / max(self.with_hessian, 1),
            self.weights.stress / max(self.with_stress, 1),
        )


def _backward_in_kernel(
    model: TrainedHouse,
    samples: Sequence[Sample],
    own: Sequence[int],
    mode: str,
    means: _Means,
    probes: Mapping[int, Probe],
    in_full: Sequence[bool],
    max_edges: int,
) -> LossTerms:
    """The loss of the samples whose numbers are `own`; the kernel has its formula."""
    structures = (Labelled * len(own))()
    kept: list[Tensor | None] = []  # while the kernel reads them
    factors = means.factors()
    terms = LossTerms(structures=len(own))
    for place, i in enumerate(own):
        sample = samples[i]
        structures[place] = sample.laid_out.values
        one = structures[place]
        one.of_energy, one.of_forces, one.of_hessian, one.of_stress = factors
        if mode == "e":
            one.forces = None
        if not means.with_stress:
            one.virial = None
        if probe := probes.get(i):
            k = one.n_directions = len(probe.directions)
            one.direction_share = 1.0 / k
            one.directions = probe.directions.data_ptr()
            one.products = None if probe.products is None else probe.products.data_ptr()
            kept += [probe.directions, probe.products]
        elif in_full[i]:
            one.n_directions, one.direction_share = 3 * sample.graph.n_atoms, 1.0
        terms.with_hessian += bool(one.n_directions)
        terms.with_stress += one.virial is not None
    terms.energy, terms.forces, terms.hessian, terms.stress = model.add_loss_gradient(structures, max_edges)
    return terms


def _backward_part(
    model: Model,
    samples: Sequence[Sample],
    mode: str,
    means: _Means,
    compared: Sequence[tuple[Tensor, Tensor]] | None,
) -> LossTerms:
    """Energies, forces, virials and, compared with labels of every sample, Hessian products: in one graph."""
    batch = join_samples(samples)
    stressed = [i for i, sample in enumerate(samples) if sample.virial is not None] if means.with_stress else []
    directions = products = None
    if compared is not None:
        directions, products = (torch.cat(each, dim=1) for each in zip(*compared, strict=True))
    labels = _Labels(samples, batch, mode, stressed, products)
    found = answers(model, batch, forces=mode != "e", directions=directions, virial=bool(stressed))
    n_members = len(found.members)
    sums, slopes = batch.vectors.new_zeros(4), []
    for member, answer in enumerate(found.members):
        counts = _member_weights(samples, member, batch.vectors) / n_members
        terms, slope = labels.compared(answer, [factor * counts for factor in means.factors()])
        sums += terms.sum(1) / n_members
        slopes.append(slope)
    found.backward(slopes)
    energy, forces, curvature, stress = sums.tolist()
    return LossTerms(
        energy, forces, curvature, stress, len(samples), 0 if compared is None else len(samples), len(stressed)
    )


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
        products: Tensor | None = None,
    ):
        self.batch = batch
        self.sizes = batch.atoms_per_structure().to(torch.float64)
        device = batch.vectors.device
        self.energy = torch.tensor([sample.energy for sample in samples], dtype=torch.float64, device=device)
        self.forces = None if mode == "e" else torch.cat([s.forces for s in samples if s.forces is not None])
        self.products = products
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
