"""What a frame is asked, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols

from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.graph import Graph
from hesspot.lammps.modes import frequencies_of
from hesspot.monitor.committee import force_spread
from hesspot.monitor.curvature import along, lowest_curvature
from hesspot.monitor.frames import Frame
from hesspot.neighbors import find_edges
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN


@dataclass(frozen=True)
class Settings:
    """along: whether velocities must be there for the curvature along the motion, or where None are taken as they come;
    lowest: Lanczos steps for the lowest curvature, 0 for none."""

    along: bool | None = None
    lowest: int = 0


@dataclass(frozen=True, eq=False)
class Look:
    """What was found at a frame.

    values: numbers of the frame by name, as docs/monitor.md says; atoms: of some of them the value of each atom (n,);
    at: of some the index of the atom that has it. forces: the model's, (n, 3) eV/Å. broken: why nothing could be asked,
    of a run that has blown up.
    """

    frame: Frame
    values: Mapping[str, float] = field(default_factory=dict)
    atoms: Mapping[str, np.ndarray] = field(default_factory=dict)
    at: Mapping[str, int] = field(default_factory=dict)
    forces: np.ndarray | None = None
    broken: str = ""


def look_at(frame: Frame, model: LoadedModel, settings: Settings, name: str, energy: float | None = None) -> Look:
    """Ask the model, in float64; `name` is the trajectory's, `energy` what the run itself says, eV.

    UserError for elements that the model lacks, and for velocities that are asked for and not there.
    """
    place = f"the frame of step {frame.step} in {name}"
    species = _species(frame, model, place)
    if settings.along and frame.velocities is None:
        raise UserError(
            f"{place} has no velocities, which the curvature along the motion needs: dump vx vy vz, give i-PI's "
            "--velocities, or leave --along out"
        )
    try:
        edges = find_edges(frame.positions, frame.cell, frame.pbc, model.cutoff, place)
    except UserError as error:
        return Look(frame, broken=str(error))
    graph = Graph(species, *edges)
    answer = model.potential.answer(graph)
    if not (np.isfinite(answer.energy) and np.isfinite(answer.forces).all()):
        return Look(frame, broken=f"{place} has an energy or a force that is not a finite number")
    values: dict[str, float] = {"energy": answer.energy}
    if energy is not None:
        values["energy_error"] = abs(energy - answer.energy) / len(frame)
    atoms: dict[str, np.ndarray] = {}
    at: dict[str, int] = {}

    def largest(what: str, each: np.ndarray) -> None:
        atoms[what], at[what] = each, int(each.argmax())
        values[what] = float(each.max())

    if frame.velocities is not None:
        hotness = AMU_A2_PER_FS2 * frame.masses * (frame.velocities**2).sum(1) / (3.0 * BOLTZMANN)
        values["temperature"] = float(hotness.mean())
        largest("hottest", hotness)
    if frame.forces is not None:
        errors = np.linalg.norm(frame.forces - answer.forces, axis=1)
        largest("force", errors)
        values["force_rms"] = float(np.sqrt((errors**2).mean()))
        values["rounding"] = _rounding(frame, model, graph)
    if model.kernel is not None and model.n_members > 1:
        spread = force_spread(model.kernel, graph)
        largest("spread", spread)
        values["spread_mean"] = float(spread.mean())
    if model.kernel is not None and model.surroundings is not None:
        distances = model.surroundings.distances(model.kernel, graph)
        largest("distance", distances)
        values["distance_mean"] = float(distances.mean())
    if frame.velocities is not None and settings.along is not False and frame.velocities.any():
        products = model.potential.products(graph, frame.velocities)
        values["along"] = along(products, frame.velocities, frame.masses)
    if settings.lowest:
        found = lowest_curvature(lambda v: model.potential.products(graph, v), frame.masses, settings.lowest)
        values["lowest"] = float(frequencies_of(np.array(found.value)))
        values["lowest_curvature"], values["lowest_residual"] = found.value, found.residual
        at["lowest"] = found.atom
    return Look(frame, values, atoms, at, answer.forces)


def _species(frame: Frame, model: LoadedModel, place: str) -> np.ndarray:
    """Index into the model's elements of each atom."""
    known = {symbol: index for index, symbol in enumerate(model.elements)}
    numbers, inverse = np.unique(frame.numbers, return_inverse=True)
    symbols = [chemical_symbols[number] for number in numbers]
    if missing := [symbol for symbol in symbols if symbol not in known]:
        raise UserError(
            f"{place} has {' and '.join(missing)}, which model {model.path} ({' '.join(model.elements)}) does not "
            "know: give the model that ran, and --elements as in its pair_coeff"
        )
    return np.array([known[symbol] for symbol in symbols], dtype=np.int64)[inverse]


def _rounding(frame: Frame, model: LoadedModel, graph: Graph) -> float:
    """The largest force, eV/Å, that the digits of the file may have changed: |H·δ| with δ drawn within the last digit
    of the positions, and half the last digit of a force."""
    drawn = np.random.default_rng(frame.step).uniform(-0.5, 0.5, (len(frame), 3)) * frame.digit
    moved = np.linalg.norm(model.potential.products(graph, drawn), axis=1).max() if frame.digit else 0.0
    return float(moved) + 0.5 * 3**0.5 * frame.force_digit
