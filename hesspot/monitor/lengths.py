"""Whether a trajectory's lengths are in the model's unit: told from how far atoms are from their nearest neighbours."""

from __future__ import annotations

import numpy as np

from hesspot.console import warn
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.monitor.frames import Frame
from hesspot.structures import full_cell
from hesspot.units import BOHR

#: What lengths that are taken for Å may be in, and the factor that they are wrong by then.
WRONG = {"Bohr": 1.0 / BOHR, "Å that were converted as if from Bohr": BOHR, "nm": 0.1, "pm": 100.0, "m": 1e-10}

#: Part by which the ratio of the distances may differ from such a factor.
NEAR = 0.12

#: Atoms whose nearest neighbours are looked for.
SAMPLED = 100


def check_lengths(frame: Frame, model: LoadedModel, place: str) -> None:
    """UserError where nearest neighbours are farther or nearer than in the model's own structures by the factor of a
    unit, in a file that does not say its unit; a warning where they are by another factor beyond two."""
    own = _own_distances(model)
    atoms, distances = _distances(frame.positions, frame.cell, frame.pbc)
    ratios = [d / own[z] for z, d in zip(frame.numbers[atoms].tolist(), distances, strict=True) if z in own]
    if frame.states_units or len(frame) < 2 or not ratios:
        return
    ratio = float(np.median(ratios))
    for unit, factor in WRONG.items():
        if abs(np.log(ratio / factor)) < NEAR:
            raise UserError(
                f"{place} has nearest neighbours {ratio:.3g} times as far apart as the structures of model "
                f"{model.path}: its lengths seem to be in {unit}, not in Å; convert them, or say what LAMMPS's units "
                "were (--units metal takes them as they are)"
            )
    if not 0.5 < ratio < 2.0:
        warn(f"{place} has nearest neighbours {ratio:.3g} times as far apart as the structures of model {model.path}")


def _own_distances(model: LoadedModel) -> dict[int, float]:
    """Å, the median of each element (atomic number) in the structures that the model's file holds."""
    found: dict[int, list[float]] = {}
    for entry in model.metadata.fingerprint:
        structure = entry.atoms()
        atoms, distances = _distances(structure.positions, structure.cell.array, structure.pbc)
        for number, distance in zip(structure.numbers[atoms].tolist(), distances, strict=True):
            if np.isfinite(distance):
                found.setdefault(number, []).append(distance)
    return {number: float(np.median(each)) for number, each in found.items()}


def _distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Some atoms, and the distances of their nearest neighbours, infinite without one."""
    lattice = full_cell(cell, pbc)
    inverse = np.linalg.inv(lattice)
    atoms, nearest = np.unique(np.linspace(0, len(positions) - 1, SAMPLED).astype(int)), []
    for atom in atoms:
        scaled = (positions - positions[atom]) @ inverse
        scaled[:, pbc] -= np.round(scaled[:, pbc])
        squares = ((scaled @ lattice) ** 2).sum(1)
        squares[atom] = np.inf
        nearest.append(float(np.sqrt(squares.min())))
    return atoms, nearest
