"""What is fitted to the data before the first step: energy shifts, scale, standardisation of descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from hesspot.derivatives import MAX_EDGES, evaluate
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.house import House, HouseConfig, HouseModel
from hesspot.training.samples import Sample, groups_by_edges, join_samples

#: A descriptor that hardly varies for an element is not blown up: its deviation counts as at least this
#: part of the element's root-mean-square descriptor deviation.
DEVIATION_FLOOR = 0.1


def energy_shifts(samples: Sequence[Sample], n_elements: int) -> list[float]:
    """Energy per element, eV, by least squares of the total energies; of smallest norm where undetermined."""
    counts = np.stack([np.bincount(s.graph.species.cpu().numpy(), minlength=n_elements) for s in samples])
    energies = np.array([sample.energy for sample in samples])
    shifts, *_ = np.linalg.lstsq(counts.astype(float), energies, rcond=None)
    return [float(shift) for shift in shifts]


def initial_model(config: HouseConfig, samples: Sequence[Sample], seed: int) -> House:
    """A model or committee with random weights, shifts fitted to the energies, and standardised descriptors."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = HouseEnsemble(config) if isinstance(config, EnsembleConfig) else HouseModel(config)
    model.shifts = energy_shifts(samples, len(config.elements))
    model.to(samples[0].graph.vectors.device)
    species = torch.cat([sample.graph.species for sample in samples])
    with torch.no_grad():
        descriptors = torch.cat([_descriptors(model, group) for group in groups_by_edges(samples, MAX_EDGES)])
        for element in range(len(config.elements)):
            own = descriptors[species == element]
            if own.shape[0] == 0:
                continue
            deviation = (own - own.mean(0)).square().mean(0).sqrt()
            typical = deviation.square().mean().sqrt()
            model.mean[element] = own.mean(0)
            model.inverse_deviation[element] = 1.0 / (deviation + DEVIATION_FLOOR * typical).clamp(min=1e-6)
        forces = [sample.forces for sample in samples if sample.forces is not None]
        if forces:
            model.scale.fill_(float(torch.cat(forces).square().mean().sqrt().clamp(min=0.1)))
    return model


def _descriptors(model: House, samples: Sequence[Sample]) -> torch.Tensor:
    batch = join_samples(samples)
    return model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)


def refit_shifts(model: House, samples: Sequence[Sample]) -> None:
    """Add to the shifts what the model's total energies lack, by least squares: data of another level of theory."""
    missing = []
    for group in groups_by_edges(samples, MAX_EDGES):
        energies = evaluate(model, join_samples(group)).energy.tolist()
        missing += [replace(s, energy=s.energy - energy) for s, energy in zip(group, energies, strict=True)]
    corrections = energy_shifts(missing, len(model.elements))
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
