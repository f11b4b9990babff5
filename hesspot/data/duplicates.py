"""Structures that occur twice: one composition and the same distances, whatever the order, place and orientation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hesspot.data.record import Record

#: Å, largest difference of two sorted distances; samples at 300 K and points of a path differ by more.
SAME = 1e-3
#: Larger structures are told apart by the distances from their centre alone.
ALL_PAIRS = 32


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
    for i, record in enumerate(records):
        kind = np.sort(record.numbers).tobytes(), record.pbc.tobytes(), record.charge or 0, record.multiplicity
        groups.setdefault(kind, []).append(i)
    copies = []
    for indices in groups.values():
        if len(indices) > 1:
            signatures = np.stack([_signature(records[i]) for i in indices])
            pairs = cKDTree(signatures).query_pairs(SAME, p=np.inf)
            copies += [Copy(*sorted((indices[a], indices[b]))) for a, b in pairs]
    return sorted(copies)


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
