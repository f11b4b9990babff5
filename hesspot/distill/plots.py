"""Figures of a distillation. Each function gives a matplotlib Figure; nothing global is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.distill.properties import Properties


def bands(teacher: Properties, student: Properties) -> Figure:
    """Phonon bands of both along the path, THz."""
    figure, (axis,) = figure_with_axes(6.8, 4.0)
    for color, width, name, of in ((COLORS[0], 3.0, "teacher", teacher), (COLORS[1], 1.2, "student", student)):
        lines = axis.plot(of.distances, np.array(of.phonons), color=color, linewidth=width, alpha=0.8)
        lines[0].set_label(name)
    axis.set_xticks([place for place, _ in teacher.ticks], [label.replace("G", "Γ") for _, label in teacher.ticks])
    axis.grid(False, axis="y")
    axis.set(ylabel="frequency, THz", xlim=(0.0, teacher.distances[-1]))
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure


def against_calls(curves: Mapping[str, Sequence[tuple[int, float]]], quantity: str) -> Figure:
    """A quantity (its name holds the unit) of each round against the teacher's force calls until then."""
    figure, (axis,) = figure_with_axes(6.4, 3.6)
    for color, (name, points) in zip(COLORS, curves.items(), strict=False):
        calls, values = zip(*points, strict=True)
        axis.plot(calls, values, color=color, marker="o", linewidth=1.6, label=name)
    axis.set_yscale("log")
    axis.set(xlabel="force calls of the teacher", ylabel=quantity)
    if len(curves) > 1:
        axis.legend(frameon=False)
    return figure


def deviations(runs: Mapping[str, tuple[np.ndarray, np.ndarray]], limit: float) -> Figure:
    """Deviation (eV/Å) along runs (ps), by round, and the limit."""
    figure, (axis,) = figure_with_axes(6.8, 3.6)
    for number, (name, (times, values)) in enumerate(runs.items()):
        axis.plot(times, values, color=COLORS[number % len(COLORS)], linewidth=0.9, label=name)
    axis.axhline(limit, color="0.3", linewidth=1.2, linestyle="--", label="limit")
    axis.set_yscale("log")
    axis.set(xlabel="time, ps", ylabel="largest force deviation, eV/Å")
    figure.legend(loc="outside upper left", frameon=False, ncols=4)
    return figure
