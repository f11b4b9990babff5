"""Labels far from those of the rest of the set, by robust measures."""

from collections.abc import Iterable, Mapping

import numpy as np
from ase.data import chemical_symbols

from hesspot.data.record import Record

#: A smaller set has no middle to be far from.
ENOUGH = 50
#: Structures of one composition that have a median of their own.
COMMON = 10
#: eV/atom, eV/Å, eV/Å²: a set may be narrower than this without its edge being odd.
NARROW = {"energy per atom": 0.02, "largest force": 1.0, "largest Hessian element": 10.0}


def outlier_scores(records: Iterable[Record], hessians: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Robust standard deviations, (value − median) / 1.4826 MAD, by test and by the structure's name.

    hessians: the largest Hessian element of each structure that has one, eV/Å².
    Energies per atom after the best constant for each element and composition, in both directions; the largest
    force component and Hessian element, upwards.
    """
    known: list[tuple[str, float, np.ndarray]] = []
    compositions: dict[bytes, np.ndarray] = {}
    forces: dict[str, float] = {}
    for record in records:
        if len(record) > 1 and record.energy is not None:
            counts = np.bincount(record.numbers, minlength=len(chemical_symbols)).astype(float)
            known.append((record.name, record.energy, compositions.setdefault(counts.tobytes(), counts)))
        if len(record) > 1 and record.forces is not None:
            forces[record.name] = float(np.abs(record.forces).max())
    energies = _energies(known)
    scores: dict[str, dict[str, float]] = {}
    for label, values in (
        ("energy per atom", energies),
        ("largest force", forces),
        ("largest Hessian element", hessians),
    ):
        if len(values) >= ENOUGH:
            array = np.array(list(values.values()))
            deviation = array - np.median(array)
            scale = max(1.4826 * float(np.median(np.abs(deviation))), NARROW[label])
            away = np.abs(deviation) if label == "energy per atom" else np.maximum(deviation, 0.0)
            scores[f"outlier: {label}"] = dict(zip(values, (away / scale).tolist(), strict=True))
    return scores


def _energies(known: list[tuple[str, float, np.ndarray]]) -> dict[str, float]:
    """eV/atom above the sum of constants of the elements, and above the median of the composition where it is known.

    known: name, energy in eV and number of atoms of each atomic number.
    """
    if len(known) < ENOUGH:
        return {}
    present = np.flatnonzero(np.sum([*{id(own): own for _, _, own in known}.values()], axis=0))
    counts = np.stack([own[present] for _, _, own in known])
    sizes = counts.sum(axis=1)
    energies = np.array([energy for _, energy, _ in known]) / sizes
    kept = np.ones(len(known), dtype=bool)
    for _ in range(2):  # the second time without those far off
        constants = np.linalg.lstsq(counts[kept] / sizes[kept, None], energies[kept], rcond=None)[0]
        above = energies - counts / sizes[:, None] @ constants
        spread = np.abs(above - np.median(above))
        kept = spread <= 10 * max(1.4826 * float(np.median(spread)), NARROW["energy per atom"])
    _, composition, members = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    for i in np.flatnonzero(members >= COMMON):
        own = composition.ravel() == i
        above[own] -= np.median(above[own])
    return dict(zip([name for name, _, _ in known], above.tolist(), strict=True))
