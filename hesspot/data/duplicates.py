"""Structures that occur twice: one composition and the same distances, whatever the order, place and orientation."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hesspot.data.record import Record

#: Å, largest difference of two sorted distances; samples at 300 K and points of a path differ by more.
SAME = 1e-3
#: Larger structures are told apart by the distances from their centre alone.
ALL_PAIRS = 32
#: Numbers that are kept of each structure; those that agree in them are compared in full.
KEPT = 12
#: Å, of a mean.
ROUNDING = 1e-9


class Copy(NamedTuple):
    """Indices of two equal structures, first < second."""

    first: int
    second: int


def find_copies(records: Sequence[Record]) -> list[Copy]:
    """All pairs of equal structures.

    Distances are sorted within each pair of elements and compared to `SAME`; a mirror image is a copy, having the
    same labels but for a reflection. Periodic structures are compared with their cells and without images.
    """
    groups: dict[tuple[bytes | int | None, ...], list[int]] = {}
    means = np.empty((len(records), KEPT))
    for i, record in enumerate(records):
        kind = np.sort(record.numbers).tobytes(), record.pbc.tobytes(), record.charge or 0, record.multiplicity
        groups.setdefault(kind, []).append(i)
        means[i] = _means(_signature(record))
    return sorted(copy for indices in groups.values() for copy in _copies_among(records, indices, means))


def _copies_among(records: Sequence[Record], indices: Sequence[int], means: np.ndarray) -> Iterator[Copy]:
    """Equal structures among those of one composition."""
    pairs = cKDTree(means[indices]).query_pairs(SAME + ROUNDING, p=np.inf, output_type="ndarray")
    signature = lru_cache(maxsize=1024)(lambda i: _signature(records[i]))
    for a, b in np.sort(np.array(indices)[pairs], axis=1).tolist():
        if np.abs(signature(a) - signature(b)).max(initial=0.0) <= SAME:
            yield Copy(a, b)


def _means(signature: np.ndarray) -> np.ndarray:
    """Means (KEPT,) over parts of a signature, which differ by no more than the signatures do."""
    return np.array([part.mean() if len(part) else 0.0 for part in np.array_split(signature, KEPT)])


def _signature(record: Record) -> np.ndarray:
    """Sorted distances in Å, by elements; the metric of the cell for periodic structures."""
    centred = record.positions - record.positions.mean(axis=0)
    values, kinds = np.linalg.norm(centred, axis=1), record.numbers
    if len(record) <= ALL_PAIRS:
        pairs = np.sort(record.numbers[np.stack(np.triu_indices(len(record), 1))], axis=0)
        values = np.append(values, pdist(record.positions))
        kinds = np.append(kinds, 1000 * (1 + pairs[0]) + pairs[1])
    sorted_values = values[np.lexsort((values, kinds))]
    return np.append(sorted_values, np.linalg.norm(record.cell, axis=1)) if record.pbc.any() else sorted_values
