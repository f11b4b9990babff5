"""Labelled graphs: what the loss is computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hesspot.analysis.normal_modes import mass_weighted
from hesspot.contract import Batch, build_batch, join_batches
from hesspot.data.record import Record
from hesspot.errors import UserError
from hesspot.units import SQRT_EV_PER_A2_AMU

#: cm⁻¹; modes below count as if they had this frequency, translations, rotations and imaginary ones among them.
SOFTEST = 300.0

#: cm⁻¹; errors are given in this unit, in which they are about as large as those of Hessian elements in eV/Å².
UNIT = 100.0


@dataclass(frozen=True)
class Sample:
    """One structure: its graph, and what is known of it; None where a label is not.

    energy eV; forces (n, 3) eV/Å; hessian (3n, 3n) eV/Å²; products (k, n, 3) eV/Å² of the Hessian with
    directions (k, n, 3), each of length √(3n); virial (3, 3) eV, −stress·volume.
    metric: (3n, 3n) A of the loss Σ(Aᵀ ΔH A)², see `frequency_metric`; None: the identity.
    number: its place in the data, from which directions that are not drawn anew are drawn.
    member_weights: (n_members,) how much it counts for each member of a committee; None: once for each.
    """

    name: str
    number: int
    graph: Batch
    energy: float
    forces: Tensor | None = None
    hessian: Tensor | None = None
    directions: Tensor | None = None
    products: Tensor | None = None
    virial: Tensor | None = None
    metric: Tensor | None = None
    member_weights: Tensor | None = None

    @property
    def has_curvature(self) -> bool:
        return self.hessian is not None or self.products is not None


def make_samples(
    records: Sequence[Record],
    elements: Sequence[str],
    cutoff: float,
    mode: str,
    missing_hessian: str = "refuse",
    device: torch.device | str = "cpu",
    first_number: int = 0,
    metric: str = "cartesian",
) -> list[Sample]:
    """Graphs of records for a training mode: e, ef or efh.

    UserError for a record that lacks what the mode needs; `missing_hessian="skip"` keeps it without a Hessian.
    metric: that of the Hessian term, cartesian or frequency.
    """
    samples = []
    for number, record in enumerate(records, start=first_number):
        if record.energy is None:
            raise UserError(f"structure {record.name} has no energy, which every mode needs; label it or leave it out")
        if mode != "e" and record.forces is None:
            raise UserError(f"structure {record.name} has no forces, which mode {mode} needs; label it or use mode e")
        if mode == "efh" and record.hessian is None and record.products is None and missing_hessian == "refuse":
            raise UserError(
                f"structure {record.name} has no Hessian, which mode efh needs; "
                "label it, or set hessian.missing: skip, or use mode ef"
            )
        directions, products = _normalised(record)
        virial = None if record.stress is None else -record.stress * abs(np.linalg.det(record.cell))
        labels = {
            "forces": record.forces,
            "hessian": record.hessian,
            "directions": directions,
            "products": products,
            "virial": virial,
        }
        if metric == "frequency" and record.hessian is not None:
            labels["metric"] = frequency_metric(record.hessian, record.atoms_only().get_masses())
        samples.append(
            Sample(
                name=record.name,
                number=number,
                graph=build_batch([record.atoms_only()], elements, cutoff, device=device),
                energy=record.energy,
                **{key: None if label is None else torch.tensor(label, device=device) for key, label in labels.items()},
            )
        )
    return samples


def frequency_metric(hessian: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """A (3n, 3n), such that the diagonal of Aᵀ ΔH A holds the errors of frequencies in units of 100 cm⁻¹.

    To first order an error ΔH of the Hessian changes the frequency of mode i by Δω_i = u_iᵀ ΔH' u_i / (2 ω_i), where
    ΔH' is mass-weighted and u_i an eigenvector of the reference. With A = M^(−1/2) U diag(2ω)^(−1/2) that is element
    (i, i) of Aᵀ ΔH A; element (i, j) is the coupling of two modes on the same scale. Stiff and soft modes count alike,
    which elements in eV/Å² do not.

    hessian (3n, 3n) eV/Å², masses (n,) amu.
    """
    values, modes = np.linalg.eigh(mass_weighted(hessian, masses))
    frequencies = np.maximum(SQRT_EV_PER_A2_AMU * np.sqrt(np.abs(values)), SOFTEST)
    scale = SQRT_EV_PER_A2_AMU / np.sqrt(2.0 * UNIT * frequencies)
    return modes * scale / np.sqrt(np.repeat(masses, 3))[:, None]


def _normalised(record: Record) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Directions of length √(3n) and their products."""
    if record.directions is None or record.products is None:
        return None, None
    lengths = np.linalg.norm(record.directions, axis=(1, 2), keepdims=True)
    if not (lengths > 0).all():
        raise UserError(f"structure {record.name} has a Hessian product with a direction of zeros; remove it")
    factor = np.sqrt(3 * len(record)) / lengths
    return record.directions * factor, record.products * factor


def join_samples(samples: Sequence[Sample]) -> Batch:
    """The graphs of several samples as one."""
    return join_batches([sample.graph for sample in samples], samples[0].graph.n_elements)


def groups_by_edges(samples: Sequence[Sample], max_edges: int) -> list[list[Sample]]:
    """The samples in their order, cut into groups of at most `max_edges` edges (one sample at least)."""
    groups: list[list[Sample]] = []
    edges = 0
    for sample in samples:
        edges += sample.graph.n_edges
        if not groups or edges > max_edges:
            groups.append([])
            edges = sample.graph.n_edges
        groups[-1].append(sample)
    return groups


def hash_of_labels(samples: Sequence[Sample]) -> str:
    """SHA-256 of all structures and labels."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.name} {sample.energy!r}".encode())
        graph = sample.graph
        for value in (graph.species, graph.vectors, sample.forces, sample.hessian, sample.products, sample.virial):
            if value is not None:
                digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
