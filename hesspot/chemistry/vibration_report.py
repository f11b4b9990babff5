"""What is told of vibrations: sentences and tables for a terminal, and a page with modes that move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from matplotlib.figure import Figure

from hesspot.analysis.html_report import Report
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.chemistry.mode_character import KINDS
from hesspot.chemistry.thermochemistry import Conditions, Thermochemistry, is_gas, wigner
from hesspot.chemistry.vibrations import NO_VIBRATION, Vibrations
from hesspot.units import KCAL_PER_MOL, MILLIDYNE_PER_A

#: Columns of the table of modes: µ is the reduced mass, k the force constant.
MODE_COLUMNS = ("mode", "cm⁻¹", "µ, amu", "k, mdyn/Å", "what moves")

#: Above this Wigner's factor is no longer the small correction that it was derived as.
SMALL_TUNNELLING = 2.0

#: Of what the modes of a cell lack.
PERIODIC = "; of a crystal, the modes that are the same in each cell (`hesspot phonons` has the others)"

#: A kind of motion that is less in each mode is not drawn.
UNSEEN = 0.01

_KIND = {0: "minimum", 1: "saddle point"}


def wavenumber(frequency: float) -> str:
    """Such as 1234.5, and 1234.5i where it is imaginary."""
    return f"{abs(frequency):.1f}{'i' if frequency < 0 else ''}"


def mode_rows(found: Vibrations) -> list[tuple[str, ...]]:
    """A row for each mode, of `MODE_COLUMNS`."""
    return [
        (str(number), wavenumber(frequency), f"{mass:.3f}", f"{constant / MILLIDYNE_PER_A:.3f}", character.words)
        for number, (frequency, mass, constant, character) in enumerate(
            zip(found.frequencies, found.reduced_masses, found.force_constants, found.characters, strict=True)
        )
    ]


def thermo_rows(found: Vibrations, thermo: list[Thermochemistry]) -> list[tuple[str, ...]]:
    """A row for each quantity, with a column for each treatment of soft modes."""
    energy, free = ("H", "G") if is_gas(found.atoms) else ("U", "F")

    def row(name: str, values: list[float], digits: int) -> tuple[str, ...]:
        return (name, *(f"{value:.{digits}f}" for value in values))

    def kcal(values: list[float]) -> list[float]:
        return [value / KCAL_PER_MOL for value in values]

    potential = found.point.energy
    return [
        row("zero-point energy, kcal/mol", kcal([each.zero_point for each in thermo]), 3),
        row(f"{energy} − E, kcal/mol", kcal([each.enthalpy - potential for each in thermo]), 3),
        row("S, cal/(mol K)", kcal([1e3 * each.entropy for each in thermo]), 3),
        row("T·S, kcal/mol", kcal([each.temperature * each.entropy for each in thermo]), 3),
        row(f"{free} − E, kcal/mol", kcal([each.gibbs - potential for each in thermo]), 3),
        row("E, eV", [potential] * len(thermo), 6),
        row(f"{energy}, eV", [each.enthalpy for each in thermo], 6),
        row(f"{free}, eV", [each.gibbs for each in thermo], 6),
    ]


def notes(found: Vibrations, conditions: Conditions) -> list[str]:
    """What the numbers rest on, in sentences."""
    order = found.point.order
    kind = _KIND.get(order, f"stationary point with {order} imaginary modes")
    formula, modes = found.atoms.get_chemical_formula(), found.point.modes
    count = len(modes.frequencies)
    held = f", {found.n_held} of {3 * len(found.atoms)} coordinates held" if found.n_held else ""
    told = [
        f"{formula}: {kind}, largest force {found.point.force:.1g} eV/Å; {count} "
        f"vibration{'s' * (count != 1)}, {modes.n_rigid} translations and rotations taken out{held}"
    ]
    if found.scale != 1.0:
        told.append(f"all frequencies are the model's times {found.scale:g}, and so are the energies from them")
    usual = atomic_masses[found.atoms.numbers]
    if others := [k for k, mass in enumerate(modes.masses) if abs(mass - usual[k]) > 1e-6]:
        told.append("masses: " + ", ".join(f"{found.atoms.symbols[k]}{k} {modes.masses[k]:g}" for k in others) + " amu")
    if len(found.imaginary):
        lines = ", ".join(f"{value:.1f}i" for value in found.imaginary)
        what = "an imaginary mode" if len(found.imaginary) == 1 else f"{len(found.imaginary)} imaginary modes"
        told.append(f"{what} of {lines} cm⁻¹, left out of all energies")
    if order == 1:
        factor = wigner(found.imaginary[0], conditions.temperature)
        beyond = "" if factor < SMALL_TUNNELLING else "; above 2 it is too rough: a path through the barrier is needed"
        told.append(f"tunnelling factor of Wigner at {conditions.temperature:g} K: {factor:.3f}{beyond}")
    if is_gas(found.atoms):
        told.append(
            f"ideal gas at {conditions.temperature:g} K and {conditions.pressure:g} bar, symmetry number "
            f"{conditions.symmetry}, total spin {conditions.spin:g}"
        )
    else:
        told.append(
            f"vibrations alone at {conditions.temperature:g} K: what is held or periodic neither moves nor turns"
            + (PERIODIC if found.atoms.pbc.any() else "")
        )
        if modes.n_rigid and not found.atoms.pbc.any():
            told.append("the rest can turn freely around what is held, which is in none of the energies")
    if soft := int((np.abs(found.frequencies) <= NO_VIBRATION).sum()):
        box = '; a molecule in a box turns freely if it is written with pbc="F F F"' if found.atoms.pbc.any() else ""
        told.append(
            f"{soft} modes of at most {NO_VIBRATION:g} cm⁻¹, which are no vibrations, left out of all energies{box}"
        )
    if len(found.real):
        told.append(
            f"quasi-RRHO: entropy of free rotors below some {conditions.cut:g} cm⁻¹ (Grimme); H too: energy "
            "likewise (Head-Gordon)"
        )
    return told


def spectrum_figure(found: Vibrations) -> Figure:
    """A stick for each real mode, its colours the shares of what moves."""
    figure, (axis,) = figure_with_axes(4.6, 2.9)
    chosen = found.frequencies > NO_VIBRATION
    positions = found.real
    below = np.zeros(len(positions))
    for kind, color in zip(KINDS, COLORS, strict=False):
        heights = np.array([character.shares[kind] for character in found.characters])[chosen]
        if heights.max() > UNSEEN:
            axis.vlines(positions, below, below + heights, color=color, linewidth=2.2, label=kind)
            below += heights
    axis.set(xlabel="frequency, cm⁻¹", ylabel="what moves", ylim=(0.0, 1.0), xlim=(0.0, 1.05 * positions.max()))
    axis.set_yticks([0.0, 0.5, 1.0], ["0", "50 %", "100 %"])
    figure.legend(loc="outside upper left", frameon=False, ncols=4, columnspacing=1.0, handlelength=0.8)
    return figure


def write_page(
    path: Path, model: str, found: Vibrations, conditions: Conditions, thermo: list[Thermochemistry]
) -> None:
    """One HTML file that needs nothing else."""
    report = Report(f"Vibrations of {found.atoms.get_chemical_formula()}")
    report.text("\n".join(f"- {line}" for line in [f"model: `{model}`", *notes(found, conditions)]))
    if len(found.frequencies):
        report.section("Modes")
        labels = [character.words for character in found.characters]
        report.modes(found.atoms, found.frequencies.tolist(), found.displacements, "Normal modes; choose one", labels)
        if len(found.real):
            report.figure(
                spectrum_figure(found),
                "The lines, each with what moves in it. There are no intensities: those of infrared and Raman spectra "
                "come from charges, which the model has none of.",
            )
        narrow = [(f"{number} · {words}", *numbers) for number, *numbers, words in mode_rows(found)]
        report.table(narrow, ["mode and what moves in it", *MODE_COLUMNS[1:4]])
    report.section("Thermochemistry")
    report.table(thermo_rows(found, thermo), ["", *(each.treatment for each in thermo)])
    report.write(path, alone=True)
