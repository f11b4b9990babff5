"""Labelled graphs: what the loss is computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from hesspot.analysis.normal_modes import mass_weighted
from hesspot.contract import Batch, build_batch, join_batches
from hesspot.data.record import Record
from hesspot.data.stored_records import without_curvature
from hesspot.errors import UserError
from hesspot.kernel.labelled import LabelledGraph
from hesspot.units import SQRT_EV_PER_A2_AMU

#: Graphs and labels of a part of the data stay in memory up to this size; larger ones are read for every batch.
KEPT_BYTES = 2**28

T = TypeVar("T")

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

    @cached_property
    def laid_out(self) -> LabelledGraph:
        """What the kernel's loss takes."""
        known = ("forces", "virial", "hessian", "metric", "member_weights")
        return LabelledGraph(self.graph, self.energy, **{name: getattr(self, name) for name in known})

    @property
    def n_bytes(self) -> int:
        """What its tensors take in memory."""
        graph = self.graph
        tensors = (graph.vectors, graph.centers, graph.neighbors, self.forces, self.hessian, self.products, self.metric)
        return sum(tensor.element_size() * tensor.numel() for tensor in tensors if tensor is not None)


@dataclass(frozen=True)
class SampleMaker:
    """Makes graphs of records for a training mode: e, ef or efh.

    missing_hessian: refuse, or skip, which keeps records without one; metric: that of the Hessian term, cartesian or
    frequency.
    """

    elements: Sequence[str]
    cutoff: float
    mode: str
    missing_hessian: str = "refuse"
    device: torch.device | str = "cpu"
    metric: str = "cartesian"

    def make(self, record: Record, number: int) -> Sample:
        """The sample of a record; UserError if it lacks what the mode needs."""
        if record.energy is None:
            raise UserError(f"structure {record.name} has no energy, which every mode needs; label it or leave it out")
        if self.mode != "e" and record.forces is None:
            raise UserError(
                f"structure {record.name} has no forces, which mode {self.mode} needs; label it or use mode e"
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
        if self.metric == "frequency" and record.hessian is not None:
            labels["metric"] = frequency_metric(record.hessian, record.atoms_only().get_masses())
        return Sample(
            name=record.name,
            number=number,
            graph=build_batch([record.atoms_only()], self.elements, self.cutoff, device=self.device),
            energy=record.energy,
            **{
                key: None if label is None else torch.tensor(label, device=self.device) for key, label in labels.items()
            },
        )

    def require_curvature(self, sample: Sample) -> None:
        """UserError for a sample without second derivatives where the mode needs them."""
        if self.mode == "efh" and not sample.has_curvature and self.missing_hessian == "refuse":
            raise UserError(
                f"structure {sample.name} has no Hessian, which mode efh needs; "
                "label it, or set hessian.missing: skip, or use mode ef"
            )


class Samples(Sequence[Sample]):
    """The samples of records: in memory where all take up to `KEPT_BYTES`, else made whenever they are asked for.

    All are made once at the start; UserError for the first record that lacks what the mode needs. n_edges:
    (n_structures,) of each graph. `advance` is called after each.
    """

    def __init__(
        self,
        records: Sequence[Record],
        maker: SampleMaker,
        first_number: int = 0,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self._records, self._maker, self._first = records, maker, first_number
        self._weights: Tensor | None = None
        self.n_edges = np.zeros(len(records), dtype=np.int64)
        self.have_curvature = self.have_virials = False
        kept: list[Sample] | None = []
        size = 0
        for i, record in enumerate(records):
            sample = maker.make(record, first_number + i)
            maker.require_curvature(sample)
            self.n_edges[i] = sample.graph.n_edges
            self.have_curvature |= sample.has_curvature
            self.have_virials |= sample.virial is not None
            size += sample.n_bytes
            if size > KEPT_BYTES:
                kept = None
            if kept is not None:
                kept.append(sample)
            advance()
        self._kept = kept

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._weighted(
            self._maker.make(self._records[index], self._first + index) if self._kept is None else self._kept[index]
        )

    def __iter__(self) -> Iterator[Sample]:
        if self._kept is not None:
            yield from map(self._weighted, self._kept)
            return
        for i, record in enumerate(self._records):
            yield self._weighted(self._maker.make(record, self._first + i))

    def _weighted(self, sample: Sample) -> Sample:
        return sample if self._weights is None else replace(sample, member_weights=self._weights[sample.number])

    def weigh(self, weights: Tensor) -> None:
        """Let each structure count for each member of a committee as (n_numbers, n_members) `weights` say."""
        self._weights = weights

    def without_curvature(self) -> Iterator[Sample]:
        """All of them, without Hessians and products where these would have to be read."""
        if self._kept is not None:
            yield from self
            return
        for i, record in enumerate(without_curvature(self._records)):
            yield self._weighted(self._maker.make(record, self._first + i))


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
    """The samples of records, in memory; see `SampleMaker`."""
    maker = SampleMaker(elements, cutoff, mode, missing_hessian, device, metric)
    return list(Samples(records, maker, first_number))


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


def in_groups(items: Iterable[T], cost: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """The items in their order, cut into groups that cost at most `limit` together (one item at least)."""
    group: list[T] = []
    total = 0
    for item in items:
        own = cost(item)
        if group and total + own > limit:
            yield group
            group, total = [], 0
        group.append(item)
        total += own
    if group:
        yield group


def edges_of(sample: Sample) -> int:
    """Edges in the graph of a sample."""
    return sample.graph.n_edges


def hash_of_labels(samples: Iterable[Sample]) -> str:
    """SHA-256 of all structures and labels."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.name} {sample.energy!r}".encode())
        graph = sample.graph
        for value in (graph.species, graph.vectors, sample.forces, sample.hessian, sample.products, sample.virial):
            if value is not None:
                digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()
