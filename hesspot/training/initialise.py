"""What is fitted to the data before the first step: energy shifts, scale, standardisation of descriptors, core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from hesspot.derivatives import MAX_EDGES, evaluate
from hesspot.models.core import core_within, shortest_distances
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.house import House, HouseConfig, HouseModel
from hesspot.training.samples import Sample, edges_of, in_groups, join_samples

#: A descriptor that hardly varies for an element is not blown up: its deviation counts as at least this
#: part of the element's root-mean-square descriptor deviation.
DEVIATION_FLOOR = 0.1

#: Nor is an element whose surroundings are hardly different: as typical counts at least this part of the largest
#: typical deviation of all elements.
LEAST_VARIETY = 0.1

#: eV/Å, of the forces that a model's outputs are scaled to.
SMALLEST_SCALE = 0.1


def energy_shifts(samples: Iterable[Sample], n_elements: int) -> list[float]:
    """Energy per element, eV, by least squares of the total energies; of smallest norm where undetermined."""
    return _shifts(*zip(*((_counts(sample, n_elements), sample.energy) for sample in samples), strict=True))


def _counts(sample: Sample, n_elements: int) -> np.ndarray:
    return np.bincount(sample.graph.species.cpu().numpy(), minlength=n_elements)


def _shifts(counts: Sequence[np.ndarray], energies: Sequence[float]) -> list[float]:
    shifts, *_ = np.linalg.lstsq(np.stack(counts).astype(float), np.array(energies), rcond=None)
    return [float(shift) for shift in shifts]


class Moments:
    """Mean and variance of rows that come in groups (Chan, Golub, LeVeque, 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, rows: torch.Tensor) -> None:
        count, mean = len(rows), rows.mean(0)
        squares = (rows - mean).square().sum(0)
        if self.count == 0:
            self.count, self.mean, self._squares = count, mean, squares
            return
        apart, total = mean - self.mean, self.count + count
        self._squares = self._squares + squares + apart.square() * (self.count * count / total)
        self.mean, self.count = self.mean + apart * (count / total), total

    @property
    def deviation(self) -> torch.Tensor:
        return (self._squares / self.count).sqrt()


def initial_model(config: HouseConfig, samples: Iterable[Sample], seed: int, with_core: bool = False) -> House:
    """A model or committee with random weights, shifts fitted to the energies, and standardised descriptors.

    with_core: it gets the repulsive core of these structures.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = HouseEnsemble(config) if isinstance(config, EnsembleConfig) else HouseModel(config)
    moments = [Moments() for _ in config.elements]
    counts, energies = [], []
    squares, components = 0.0, 0
    shortest = np.full((len(config.elements), len(config.elements)), np.inf)
    with torch.no_grad():
        for group in in_groups(samples, edges_of, MAX_EDGES):
            batch = join_samples(group)
            model.to(batch.vectors.device)
            shortest = np.minimum(shortest, shortest_distances([batch], len(config.elements)))
            descriptors = model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)
            for element, own in enumerate(moments):
                if bool((chosen := batch.species == element).any()):
                    own.add(descriptors[chosen])
            counts += [_counts(sample, len(config.elements)) for sample in group]
            energies += [sample.energy for sample in group]
            if forces := [sample.forces for sample in group if sample.forces is not None]:
                squares += float(torch.cat(forces).square().sum())
                components += torch.cat(forces).numel()
        typical = [float(own.deviation.square().mean().sqrt()) if own.count else 0.0 for own in moments]
        for element, own in enumerate(moments):
            if own.count:
                floor = DEVIATION_FLOOR * max(typical[element], LEAST_VARIETY * max(typical))
                model.mean[element] = own.mean
                model.inverse_deviation[element] = 1.0 / (own.deviation + floor).clamp(min=1e-6)
        if components:
            model.scale.fill_(max((squares / components) ** 0.5, SMALLEST_SCALE))
    model.shifts = _shifts(counts, energies)
    if with_core:
        model.set_core(core_within(config.elements, shortest, config.cutoff))
    return model


def fit_core(model: House, samples: Iterable[Sample]) -> None:
    """Shrink the core of a model to what it is trained on, or give it one."""
    batches = (join_samples(group) for group in in_groups(samples, edges_of, MAX_EDGES))
    shortest = shortest_distances(batches, len(model.elements))
    model.set_core(core_within(model.elements, shortest, model.cutoff, model.config.core))


def refit_shifts(model: House, samples: Iterable[Sample]) -> None:
    """Add to the shifts what the model's total energies lack, by least squares: data of another level of theory."""
    counts: list[np.ndarray] = []
    missing: list[float] = []
    for group in in_groups(samples, edges_of, MAX_EDGES):
        energies = evaluate(model, join_samples(group)).energy.tolist()
        counts += [_counts(sample, len(model.elements)) for sample in group]
        missing += [sample.energy - energy for sample, energy in zip(group, energies, strict=True)]
    corrections = _shifts(counts, missing)
    model.shifts = [shift + correction for shift, correction in zip(model.shifts, corrections, strict=True)]


def member_weights(n_structures: int, bootstrap: str, members: int, seed: int) -> torch.Tensor | None:
    """How much each structure counts for each member of a committee, (n_structures, members), of mean one.

    `weights`: exponentially distributed, the Bayesian bootstrap (Rubin, Ann. Statist. 9, 130, 1981);
    `resample`: how often it is drawn in as many draws with return. None where all count once.
    """
    if members == 1 or bootstrap == "none":
        return None
    random = np.random.default_rng(seed)
    if bootstrap == "weights":
        weights = random.standard_exponential((n_structures, members))
        return torch.from_numpy(weights / weights.mean(0))
    drawn = random.integers(n_structures, size=(members, n_structures))
    counts = np.stack([np.bincount(own, minlength=n_structures) for own in drawn], axis=1)
    return torch.from_numpy(counts.astype(float))
