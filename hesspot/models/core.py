"""The repulsive core of a model, which keeps atoms apart where there are no data.

Each pair of elements has an inner and an outer radius. Below the outer one a switch s(r), C³, grows from 0 to 1 at the
inner one, and

- the energy of the centre gains ½ s(r) V(r), with V the universal screened nuclear repulsion of Ziegler, Biersack and
  Littmark (The Stopping and Range of Ions in Solids, Pergamon, 1985), so that each pair has s(r) V(r);
- the network sees the neighbour at the distance d(r) = r_outer − ∫_r^r_outer (1 − s) in the place of r: its slope along
  the edge fades out with 1 − s, and it never sees a pair shorter than (r_inner + r_outer)/2, so that its energy stays
  what it is there.

At and beyond the outer radius all of this is exactly nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor

from hesspot.contract import Batch
from hesspot.units import BOHR, HARTREE

#: Inner and outer radius (Å) of each pair, as "H-O", the element that comes first in the model first.
Core = dict[str, tuple[float, float]]

#: Outer radius over the shortest distance of the data: somewhat within it models are still right, and motion that goes
#: a little further than the data is not disturbed.
OUTER = 0.9

#: Inner radius over the outer one: networks are seen to turn over at 0.5 to 0.8 of the shortest distance.
INNER = 0.7


def pairs_of(elements: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Name and elements of each pair."""
    for i, one in enumerate(elements):
        for j in range(i, len(elements)):
            yield f"{one}-{elements[j]}", i, j


def shortest_distances(batches: Iterable[Batch], n_elements: int) -> np.ndarray:
    """Of each pair of elements, (n_elements, n_elements) Å; infinite for a pair that is never within the cutoff."""
    shortest = torch.full((n_elements * n_elements,), torch.inf, dtype=torch.float64)
    for batch in batches:
        pairs = batch.species[batch.centers] * n_elements + batch.species[batch.neighbors]
        distances = torch.linalg.vector_norm(batch.vectors.to(torch.float64), dim=1)
        shortest.scatter_reduce_(0, pairs.cpu(), distances.cpu(), "amin")
    return shortest.reshape(n_elements, n_elements).numpy()


def core_within(elements: Sequence[str], shortest: np.ndarray, cutoff: float, earlier: Core | None = None) -> Core:
    """The core for data with these shortest distances (n_elements, n_elements) Å.

    A pair that is never within the cutoff, and so infinite, has that of the sum of its covalent radii (ASE's: Cordero
    et al., Dalton Trans. 2008, 2832). With the `earlier` core of a model that is trained on, radii only shrink.
    """
    core: Core = {}
    for name, i, j in pairs_of(elements):
        nearest = min(float(shortest[i, j]), float(shortest[j, i]))
        if earlier is not None and (not np.isfinite(nearest) or earlier[name][1] <= OUTER * nearest):
            core[name] = earlier[name]
            continue
        if not np.isfinite(nearest):
            nearest = float(sum(covalent_radii[atomic_numbers[elements[k]]] for k in (i, j)))
        outer = OUTER * min(nearest, cutoff)
        core[name] = INNER * outer, outer
    return core


def smaller_core(one: Core | None, other: Core | None) -> Core | None:
    """Of each pair the smaller radii; what is within both has no effect where either had none. None is no core."""
    if one is None or other is None:
        return None
    return {name: min(radii, other[name], key=lambda each: each[1]) for name, radii in one.items()}


def faults_of(core: Mapping[str, tuple[float, float]], elements: Sequence[str], cutoff: float) -> str | None:
    """What is wrong with a core for a model, in words."""
    names = [name for name, _, _ in pairs_of(elements)]
    if sorted(core) != sorted(names):
        return f"a core has radii for the pairs {', '.join(names)}, and this one for {', '.join(core) or 'none'}"
    for name, (inner, outer) in core.items():
        if not 0.0 < inner < outer <= cutoff:
            return f"the radii {inner:g} and {outer:g} Å of {name} are not possible: 0 < inner < outer ≤ {cutoff:g} Å"
    if unknown := [symbol for symbol in elements if not atomic_numbers.get(symbol)]:
        return f"{unknown[0]} is no element, so that it has no core"
    return None


def core_table(core: Core | None, elements: Sequence[str]) -> Tensor:
    """(4, n_elements, n_elements) float64: inner and outer radius Å, strength k eV Å, screening length a Å of

    V(r) = k/r φ(r/a); all zero without a core."""
    table = torch.zeros(4, len(elements), len(elements), dtype=torch.float64)
    if core is None:
        return table
    for name, i, j in pairs_of(elements):
        one, other = (atomic_numbers[elements[k]] for k in (i, j))
        strength, length = HARTREE * BOHR * one * other, 0.8854 * BOHR / (one**0.23 + other**0.23)
        entries = torch.tensor([*core[name], strength, length], dtype=torch.float64)
        table[:, i, j] = table[:, j, i] = entries
    return table


def switch(x: Tensor) -> Tensor:
    """From 0 to 1 as x goes from 0 to 1, with three derivatives that vanish at both ends."""
    square = x * x
    return square * square * (35.0 - x * (84.0 - x * (70.0 - 20.0 * x)))


def switched(inner: Tensor, outer: Tensor, r: Tensor) -> Tensor:
    """The argument x of `switch` at a distance, 0 from the outer radius on and 1 up to the inner one."""
    return torch.clamp((outer - r) / (outer - inner), min=0.0, max=1.0)


def seen_distance(inner: Tensor, outer: Tensor, r: Tensor) -> Tensor:
    """d(r), the distance that a network sees; r itself from the outer radius on."""
    x = switched(inner, outer, r)
    square = x * x
    integral = square * square * x * (7.0 - x * (14.0 - x * (10.0 - 2.5 * x)))
    return torch.clamp(r, min=inner) + (outer - inner) * integral


def repulsion(strength: Tensor, length: Tensor, r: Tensor) -> Tensor:
    """V(r) eV, the universal potential."""
    x = r / length
    screening = (
        0.18175 * torch.exp(-3.1998 * x)
        + 0.50986 * torch.exp(-0.94229 * x)
        + 0.28022 * torch.exp(-0.4029 * x)
        + 0.02817 * torch.exp(-0.20162 * x)
    )
    return strength / r * screening
