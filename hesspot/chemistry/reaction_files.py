"""What is kept of a reaction: structures and paths as extended XYZ, numbers as JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from hesspot.analysis.html_report import Report
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.chemistry.reaction import PathPoint, Reaction
from hesspot.chemistry.surface import Surface
from hesspot.chemistry.thermochemistry import conditions_for, thermochemistry
from hesspot.chemistry.tunnelling import Rates
from hesspot.chemistry.vibrations import Vibrations
from hesspot.files import replacing, write_atomically
from hesspot.units import BOLTZMANN, HBAR, KCAL_PER_MOL

#: In front of each other along a reaction.
PLACES = ("reactant", "saddle", "product")


def whole_path(reaction: Reaction) -> list[PathPoint]:
    """From the reactant's side over the saddle point to the product's; arcs are negative before it."""
    back, forth = reaction.sides
    top = PathPoint(reaction.saddle.atoms, 0.0, reaction.saddle.energy, np.zeros((len(reaction.saddle.atoms), 3)))
    down = [PathPoint(point.atoms, -point.arc, point.energy, point.forces) for point in reversed(back.path)]
    return [*down, top, *forth.path]


@dataclass(frozen=True)
class Row:
    """One of `PLACES`, eV against the reactant: energy, with zero-point vibration, and free energy (harmonic)."""

    place: str
    name: str
    energy: float
    with_zero_point: float
    free: float
    frequencies: list[float]

    def cells(self) -> list[str]:
        """Name, eV, and three times kcal/mol."""
        in_kcal = [f"{value / KCAL_PER_MOL:.2f}" for value in (self.energy, self.with_zero_point, self.free)]
        return [self.name, f"{self.energy:.4f}", *in_kcal]


def rows(reaction: Reaction, kelvin: float) -> list[Row]:
    """Of each of `PLACES`; free energies at `kelvin` are Gibbs's of a gas at 1 atm, with symmetry numbers, and
    Helmholtz's of the vibrations alone in a cell or with held atoms."""
    found = []
    for point in reaction.points:
        thermo = thermochemistry(Vibrations(point), conditions_for(point.atoms, kelvin))
        found.append(np.array([point.energy, point.energy + point.modes.zero_point_energy, thermo.gibbs]))
    names = (reaction.sides[0].name, "saddle point", reaction.sides[1].name)
    told = []
    for place, name, values, point in zip(PLACES, names, found, reaction.points, strict=True):
        energy, with_zero_point, free = (values - found[0]).tolist()
        told.append(Row(place, name, energy, with_zero_point, free, point.modes.frequencies.tolist()))
    return told


def summary(reaction: Reaction, kelvin: float) -> str:
    """The imaginary mode, tunnelling, and the rate of transition state theory from the first side."""
    factor, free = reaction.wigner(kelvin), rows(reaction, kelvin)[1].free
    rate = BOLTZMANN * kelvin / (2.0 * np.pi * HBAR) * 1e15 * np.exp(-free / (BOLTZMANN * kelvin))
    return (
        f"imaginary mode {reaction.imaginary:.1f}i cm⁻¹, below {reaction.crossover:.0f} K atoms tunnel rather than "
        f"climb; rate at {kelvin:g} K {rate:.3g} 1/s, with Wigner's factor {factor * rate:.3g} 1/s"
    )


def write_reaction(folder: Path, surface: Surface, reaction: Reaction, kelvin: float, rates: Sequence[Rates]) -> None:
    """reactant.xyz, saddle.xyz, product.xyz, path.xyz, reaction.json and reaction.html."""
    for place, point in zip(PLACES, reaction.points, strict=True):
        _write_xyz(folder / f"{place}.xyz", [_labelled(point.atoms, point.energy, np.zeros((len(point.atoms), 3)))])
    path = whole_path(reaction)
    _write_xyz(folder / "path.xyz", [_labelled(point.atoms, point.energy, point.forces, point.arc) for point in path])
    told = {
        "model": surface.name,
        "units": "eV, cm⁻¹, K, 1/s",
        "temperature": kelvin,
        "points": [asdict(row) for row in rows(reaction, kelvin)],
        "imaginary": -reaction.imaginary,
        "crossover": reaction.crossover,
        "wigner": reaction.wigner(kelvin),
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
    frame.info = {**frame.info, **({} if arc is None else {"arc": arc})}
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
    columns = ["", "energy, eV", "kcal/mol", "with zero point, kcal/mol", f"G at {kelvin:g} K, kcal/mol"]
    report.table([row.cells() for row in rows(reaction, kelvin)], columns, "Energies against the reactant")
    words = summary(reaction, kelvin)
    report.text(words[0].upper() + words[1:] + ".")
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
