"""What is kept of a reaction: structures and paths as extended XYZ, numbers as JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from hesspot.analysis.html_report import Report
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.chemistry.reaction import PathPoint, Reaction
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.tunnelling import Rates
from hesspot.files import replacing, write_atomically
from hesspot.units import KCAL_PER_MOL

#: In front of each other along a reaction.
PLACES = ("reactant", "saddle", "product")


def whole_path(reaction: Reaction) -> list[PathPoint]:
    """From the reactant's side over the saddle point to the product's; arcs are negative before it."""
    back, forth = reaction.sides
    top = PathPoint(reaction.saddle.atoms, 0.0, reaction.saddle.energy, np.zeros((len(reaction.saddle.atoms), 3)))
    down = [PathPoint(point.atoms, -point.arc, point.energy, point.forces) for point in reversed(back.path)]
    return [*down, top, *forth.path]


def energies(reaction: Reaction) -> list[dict[str, Any]]:
    """A row for each of `PLACES`: name, energy and energy with zero-point vibration against the reactant's, eV."""
    back, forth = reaction.sides
    points = (back.minimum, reaction.saddle, forth.minimum)
    names = (back.name, "saddle point", forth.name)
    zero = [point.energy + point.modes.zero_point_energy for point in points]
    return [
        {
            "place": place,
            "name": name,
            "energy": point.energy - points[0].energy,
            "energy_with_zero_point": with_zero - zero[0],
            "frequencies": point.modes.frequencies.tolist(),
        }
        for place, name, point, with_zero in zip(PLACES, names, points, zero, strict=True)
    ]


def write_reaction(folder: Path, surface: Surface, reaction: Reaction, kelvin: float, rates: Sequence[Rates]) -> None:
    """reactant.xyz, saddle.xyz, product.xyz, path.xyz, reaction.json and reaction.html."""
    back, forth = reaction.sides
    for place, point in zip(PLACES, (back.minimum, reaction.saddle, forth.minimum), strict=True):
        _write_xyz(folder / f"{place}.xyz", [_labelled(point.atoms, point.energy, np.zeros((len(point.atoms), 3)))])
    path = whole_path(reaction)
    _write_xyz(folder / "path.xyz", [_labelled(point.atoms, point.energy, point.forces, point.arc) for point in path])
    told = {
        "model": surface.name,
        "units": "eV, cm⁻¹, K, 1/s",
        "points": energies(reaction),
        "imaginary": -reaction.imaginary,
        "crossover": reaction.crossover,
        "wigner": {f"{kelvin:g}": reaction.wigner(kelvin)},
        "rates": [asdict(rate) for rate in rates],
        "bonds": reaction.changes,
        "elsewhere": list(reaction.elsewhere),
        "force_calls": surface.n_forces,
        "hessians": surface.n_hessians,
    }
    write_atomically(folder / "reaction.json", json.dumps(told, indent=1, ensure_ascii=False).encode())
    _page(surface, reaction, kelvin, rates).write(folder / "reaction.html")


def _labelled(atoms: ase.Atoms, energy: float, forces: np.ndarray, arc: float | None = None) -> ase.Atoms:
    frame = atoms.copy()
    frame.info = {} if arc is None else {"arc": arc}
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    return frame


def _write_xyz(path: Path, frames: list[ase.Atoms]) -> None:
    with replacing(path) as temporary:
        ase.io.write(temporary, frames, format="extxyz")


def _page(surface: Surface, reaction: Reaction, kelvin: float, rates: Sequence[Rates]) -> Report:
    back, forth = reaction.sides
    report = Report(f"{back.name} → {forth.name}")
    report.text(
        f"Model `{surface.name}`; {surface.n_forces} force calls, {surface.n_hessians} exact Hessians. "
        f"Bonds: {reaction.changes}."
    )
    if reaction.elsewhere:
        report.text(f"**{elsewhere(reaction)}**")
    report.table(
        [
            [
                row["name"],
                f"{row['energy']:.4f}",
                f"{row['energy'] / KCAL_PER_MOL:.2f}",
                f"{row['energy_with_zero_point'] / KCAL_PER_MOL:.2f}",
            ]
            for row in energies(reaction)
        ],
        ["", "energy, eV", "kcal/mol", "with zero point, kcal/mol"],
        "Energies against the reactant",
    )
    report.text(
        f"Imaginary mode {reaction.imaginary:.1f}i cm⁻¹; Wigner's factor {reaction.wigner(kelvin):.2f} at {kelvin:g} "
        f"K; below {reaction.crossover:.0f} K atoms tunnel rather than climb."
    )
    if rates:
        report.table(
            [[f"{r.kelvin:g}", *(f"{v:.3g}" for v in (r.classical, r.quantum, r.wigner, r.instanton))] for r in rates],
            ["K", "classical", "quantum vibrations", "with Wigner's factor", "instanton"],
            "Rates, 1/s, without symmetry numbers",
        )
    path = whole_path(reaction)
    heights = [(point.energy - back.minimum.energy) / KCAL_PER_MOL for point in path]
    report.section("The path")
    labels = [f"{point.arc:+.2f} Å amu^½, {height:.1f} kcal/mol" for point, height in zip(path, heights, strict=True)]
    report.path([point.atoms for point in path], labels, len(back.path), "Steepest descent from the saddle point")
    figure, (axis,) = figure_with_axes(6.4, 3.6)
    axis.plot([point.arc for point in path], heights, "o-", color=COLORS[0], markersize=3, linewidth=1.2)
    axis.plot([0.0], [heights[len(back.path)]], "o", color=COLORS[1], markersize=7)
    for side, sign in ((back, -1), (forth, 1)):
        level = (side.minimum.energy - back.minimum.energy) / KCAL_PER_MOL
        arc = sign * side.path[-1].arc
        axis.plot([arc, 1.12 * arc], [level, level], color="0.45", linewidth=2)
        axis.annotate(side.name, (1.06 * arc, level), (0, 6), textcoords="offset points", ha="center", fontsize=9)
    axis.set_xlabel("mass-weighted path, Å amu$^{1/2}$")
    axis.set_ylabel("energy, kcal/mol")
    report.figure(figure, "Energy along the path; bars: the minima that its ends relax to", "path")
    report.section("The imaginary mode")
    modes = reaction.saddle.modes
    report.modes(
        reaction.saddle.atoms, modes.frequencies[:1].tolist(), modes.displacements()[:1], "At the saddle point"
    )
    return report


def elsewhere(reaction: Reaction) -> str:
    """A sentence for a path that misses an end."""
    back, forth = reaction.sides
    missed = " and ".join(reaction.elsewhere)
    return (
        f"the path from the saddle point leads to {back.name} and {forth.name}, and not to {missed}: "
        "there is another minimum on the way; look at reactant.xyz and product.xyz "
        "and go on from there"
    )
