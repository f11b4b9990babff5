"""What is fitted to the data before the first step: energy shifts, scale, standardisation of descriptors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hesspot.models.house import HouseConfig, HouseModel
from hesspot.training.samples import Sample, join_samples

#: A descriptor that hardly varies for an element is not blown up: its deviation counts as at least this
#: part of the element's root-mean-square descriptor deviation.
DEVIATION_FLOOR = 0.1


def energy_shifts(samples: Sequence[Sample], n_elements: int) -> list[float]:
    """Energy per element, eV, by least squares of the total energies; of smallest norm where undetermined."""
    counts = np.stack([np.bincount(s.graph.species.numpy(), minlength=n_elements) for s in samples])
    energies = np.array([sample.energy for sample in samples])
    shifts, *_ = np.linalg.lstsq(counts.astype(float), energies, rcond=None)
    return [float(shift) for shift in shifts]


def initial_model(config: HouseConfig, samples: Sequence[Sample], seed: int) -> HouseModel:
    """A house model with random weights, shifts fitted to the energies, and standardised descriptors."""
    torch.manual_seed(seed)
    model = HouseModel(config)
    model.shifts = energy_shifts(samples, len(config.elements))
    batch = join_samples(samples)
    with torch.no_grad():
        descriptors = model.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)
        for element in range(len(config.elements)):
            own = descriptors[batch.species == element]
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
