"""How far atoms are from those that a model was trained on, in the space of its own descriptors.

An atom of element e with standardised descriptors z stands at the point (Ay, √(|y|² − |Ay|²)) with y = s (z − c): c and
1/s are mean and deviation of the training atoms of e, the rows of A the leading principal axes of their y; the last
coordinate is what lies across these axes. Its distance is that to the nearest of the kept training atoms of e, in units
of the training set's own: of what one in a hundred of the training atoms is away from those of other structures.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hesspot.graph import Graph
from hesspot.kernel import KernelModel

#: Leading principal axes, atoms of each element that are kept, and training atoms that they are chosen from at most.
AXES, KEPT, SEEN = 24, 400, 20_000

#: Deviation, part of the root of the mean square of all, below which a descriptor is taken for constant.
FLOOR = 1e-2

#: Part of the training atoms that are nearer than the unit of distances.
USUAL = 0.99

_PARTS = ("center", "scale", "axes", "kept", "own")


@dataclass(frozen=True, eq=False)
class OfElement:
    """center, scale (D,), axes (k, D), kept (m, k + 1) points of training atoms, own (101,): percentiles of the
    training atoms' distances from kept ones of other structures."""

    center: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    kept: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, descriptors: np.ndarray, owners: np.ndarray) -> OfElement:
        """From descriptors (n, D) of training atoms and the structures (n,) that they belong to."""
        center, deviation = descriptors.mean(0), descriptors.std(0)
        typical = float(np.sqrt((deviation**2).mean())) or 1.0
        scale = 1.0 / np.maximum(deviation, FLOOR * typical)
        _, _, axes = np.linalg.svd((descriptors - center) * scale, full_matrices=False)
        blank = cls(center, scale, axes[:AXES], np.zeros((0, 0)), np.zeros(0))
        points = blank.points(descriptors)
        chosen = _farthest(points, KEPT)
        apart = _distances(points, points[chosen])
        apart[owners[:, None] == owners[chosen]] = np.inf
        nearest = apart.min(1)
        nearest = nearest[np.isfinite(nearest)]
        own = np.percentile(nearest, np.arange(101)) if len(nearest) else np.zeros(0)
        return cls(center, scale, axes[:AXES], points[chosen], own)

    def points(self, descriptors: np.ndarray) -> np.ndarray:
        """(n, k + 1) of descriptors (n, D)."""
        moved = (descriptors - self.center) * self.scale
        along = moved @ self.axes.T
        across = np.sqrt(np.maximum((moved**2).sum(1) - (along**2).sum(1), 0.0))
        return np.column_stack([along, across])

    def distances(self, descriptors: np.ndarray) -> np.ndarray:
        """(n,) of descriptors (n, D), 1 for the training set's own."""
        return np.asarray(_distances(self.points(descriptors), self.kept).min(1) / self.own[round(100 * USUAL)])


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known of each of the model's elements; None for one with training atoms in fewer than two structures."""

    elements: Sequence[OfElement | None]

    @classmethod
    def of(cls, kernel: KernelModel, structures: Iterable[Graph]) -> Surroundings:
        """From training structures, of which every second one is left out again and again where they are too many."""
        graphs = list(structures)
        while sum(graph.n_atoms for graph in graphs) > SEEN * len(kernel.elements) and len(graphs) > 2:
            graphs = graphs[::2]
        described = np.concatenate([portion for graph in graphs for portion in kernel.descriptors(graph)])
        species = np.concatenate([graph.species for graph in graphs])
        owners = np.repeat(np.arange(len(graphs)), [graph.n_atoms for graph in graphs])
        found: list[OfElement | None] = []
        for element in range(len(kernel.elements)):
            mine = species == element
            one = OfElement.of(described[mine], owners[mine]) if len(set(owners[mine])) > 1 else None
            found.append(None if one is None or not one.own[-1] > 0.0 else one)
        return cls(found)

    def distances(self, kernel: KernelModel, graph: Graph) -> np.ndarray:
        """Of all atoms of a graph, (n_atoms,); zero for elements that nothing is known of."""
        found, begin = np.zeros(graph.n_atoms), 0
        for portion in kernel.descriptors(graph):
            own = graph.species[begin : begin + len(portion)]
            for element, known in enumerate(self.elements):
                mine = np.flatnonzero(own == element)
                if known is not None and len(mine):
                    found[begin + mine] = known.distances(portion[mine])
            begin += len(portion)
        return found

    def to_bytes(self) -> bytes:
        """NumPy's npz of float32 arrays `NUMBER.PART`: the number of the element, and parts of `OfElement`."""
        stream = io.BytesIO()
        arrays = {
            f"{number}.{part}": getattr(one, part).astype(np.float32)
            for number, one in enumerate(self.elements)
            if one is not None
            for part in _PARTS
        }
        np.savez(stream, n_elements=np.array(len(self.elements)), **arrays)  # type: ignore[arg-type]
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Surroundings:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(
                [
                    OfElement(*(arrays[f"{number}.{part}"].astype(np.float64) for part in _PARTS))
                    if f"{number}.center" in arrays
                    else None
                    for number in range(int(arrays["n_elements"]))
                ]
            )


def _farthest(points: np.ndarray, count: int) -> np.ndarray:
    """Indices of points, each the farthest from those before it; the first is the one nearest to the origin."""
    chosen = [int((points**2).sum(1).argmin())]
    nearest = np.full(len(points), np.inf)
    for _ in range(min(count, len(points)) - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) between points (n, k) and others (m, k)."""
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2.0 * points @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
