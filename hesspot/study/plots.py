"""Figures of a study. Each function gives a matplotlib Figure; nothing global is touched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from hesspot.analysis.plots import COLORS
from hesspot.study.cost import Cost
from hesspot.study.evaluate import Frequency
from hesspot.study.metrics import Metric, Summary
from hesspot.study.tables import PUBLISHED, UNITS, Lookup

#: for arms beyond those that the colours of other plots tell apart
FURTHER_COLORS = ("#8c564b", "#7f7f7f", "#332288", "#117733", "#882255")
MARKERS = ("o", "s", "^", "D")


def _figure(rows: int, columns: int, width: float, height: float, share: bool = False) -> tuple[Figure, np.ndarray]:
    figure = Figure(
        figsize=(width * columns + 0.4, height * rows), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08), dpi=150
    )
    grid: np.ndarray = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    for axis in grid.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="0.92", linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, grid


def colors(arms: Sequence[str]) -> dict[str, str]:
    """One colour for each arm in all figures."""
    return dict(zip(arms, cycle([*COLORS, *FURTHER_COLORS]), strict=False))


def _legend(figure: Figure) -> None:
    """Of all panels together, above them, in rows that fit the width."""
    entries: dict[str, Artist] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        entries = dict(zip(labels, handles, strict=True)) | entries
    rows = max(1, math.ceil(0.09 * sum(len(label) + 6 for label in entries) / figure.get_figwidth()))
    columns = max(1, math.ceil(len(entries) / rows))
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", frameon=False, ncols=columns)


def changes(found: Lookup, arms: Sequence[str], reference: str, fraction: float) -> Figure:
    """RMSE of each arm divided by the reference's, a row for each arm, a mark for each part; published ones in the
    last row."""
    others, parts = [arm for arm in arms if arm != reference], found.parts(fraction)
    figure, grid = _figure(1, len(UNITS), 3.1, 1.6 + 0.42 * len(others))
    for axis, (quantity, unit) in zip(grid[0], UNITS.items(), strict=True):
        for place, (part, marker, color) in enumerate(zip(parts, cycle(MARKERS), cycle(COLORS), strict=False)):
            rows = np.arange(len(others)) + (place - (len(parts) - 1) / 2) * 0.18
            entries = [found.get(arm, fraction, Metric(part, quantity, "RMSE", unit)) for arm in others]
            ratios = [np.nan if e is None or e.change is None else 1.0 + e.change / 100.0 for e in entries]
            errors = [0.0 if e is None or e.change_spread is None else e.change_spread / 100.0 for e in entries]
            style = {"color": color, "marker": marker, "markersize": 6.0, "linestyle": "none"}
            axis.errorbar(ratios, rows, xerr=errors, label=part, **style)
            if (part, quantity) in PUBLISHED:
                published = 1.0 + PUBLISHED[part, quantity] / 100.0
                axis.plot([published], [len(others) + rows[0]], fillstyle="none", **style)
        axis.axvline(1.0, color="0.4", linewidth=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_yticks(range(len(others) + 1), [*others, "published, E-F-H"] if axis is grid[0][0] else [])
        axis.set_ylim(len(others) + 0.6, -0.6)
        axis.set_title(f"{quantity} RMSE / {reference}'s", fontsize=11)
        axis.grid(False, axis="y")
    _legend(figure)
    return figure


def learning(found: Lookup, arms: Sequence[str], sizes: Mapping[float, float]) -> Figure:
    """RMSE against the number of training structures: a column for each quantity, a row for each part, the arms that
    were trained on several numbers."""
    parts = found.parts(max(sizes))
    trained = {arm: {fraction for name, fraction, _ in found.summaries if name == arm} for arm in arms}
    palette = colors(arms)
    arms = [arm for arm in arms if len(trained[arm]) > 1]
    figure, grid = _figure(len(parts), len(UNITS), 3.1, 2.5)
    for row, part in zip(grid, parts, strict=True):
        for axis, (quantity, unit) in zip(row, UNITS.items(), strict=True):
            for arm in arms:
                entries = [found.get(arm, f, Metric(part, quantity, "RMSE", unit)) for f in sizes]
                known = [(size, e) for size, e in zip(sizes.values(), entries, strict=True) if e is not None]
                if known:
                    _curve(axis, known, palette[arm], arm)
            if not axis.has_data():
                axis.set_axis_off()
                continue
            axis.set_xscale("log")
            axis.set_xlim(min(sizes.values()) / 1.2, max(sizes.values()) * 1.2)
            axis.set_ylim(bottom=0.0)
            axis.set_xticks(list(sizes.values()), [f"{size:.0f}" for size in sizes.values()])
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_title(f"{part}: {quantity}, {unit}", fontsize=11)
    for axis in grid[-1]:
        axis.set_xlabel("training structures")
    _legend(figure)
    return figure


def _curve(axis: Axes, known: Sequence[tuple[float, Summary]], color: str, label: str) -> None:
    """A line where there are three sizes or more; two are marks alone."""
    sizes = [size for size, _ in known]
    means = [entry.mean for _, entry in known]
    spreads = [entry.spread or 0.0 for _, entry in known]
    line = "-" if len(known) > 2 else "none"
    axis.errorbar(sizes, means, spreads, None, color=color, marker="o", markersize=5, capsize=3, label=label, ls=line)


def frequencies(pairs: Mapping[str, Sequence[Frequency]]) -> Figure:
    """Frequencies of each arm against the reference's at minima and saddle points; a panel for each arm."""
    columns = min(3, len(pairs))
    figure, grid = _figure(math.ceil(len(pairs) / columns), columns, 3.0, 3.4, share=True)
    values = [value for own in pairs.values() for pair in own for value in (pair.reference, pair.model)]
    low, high = min(values) - 100.0, max(values) + 100.0
    for axis in grid.flat[len(pairs) :]:
        axis.set_axis_off()
    for axis, (arm, own) in zip(grid.flat[: len(pairs)], pairs.items(), strict=True):
        axis.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=1)
        for kind, label, color in (("minimum", "minima", COLORS[0]), ("saddle", "saddle points", COLORS[1])):
            some = [pair for pair in own if pair.kind == kind]
            axis.scatter([p.reference for p in some], [p.model for p in some], s=8, color=color, alpha=0.5, label=label)
        error = np.mean([abs(pair.model - pair.reference) for pair in own])
        axis.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="reference, cm⁻¹")
        axis.set_title(f"{arm}\nMAE {error:.0f} cm⁻¹" if error >= 10 else f"{arm}\nMAE {error:.1f} cm⁻¹", fontsize=11)
        axis.tick_params(labelbottom=True)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    for axis in grid[:, 0]:
        axis.set_ylabel("model, cm⁻¹ (imaginary: negative)")
    _legend(figure)
    return figure


def cost(costs: Sequence[Cost], arms: Sequence[str], reference: str) -> Figure:
    """Bars of the time of an epoch relative to the reference, and of the peak memory of a process that trains, MiB."""
    figure, grid = _figure(1, 2, 3.6, 0.9 + 0.35 * len(costs))
    base = next(c for c in costs if c.arm == reference)
    names = [c.arm for c in costs]
    for axis, title, form, values in (
        (grid[0][0], f"time of an epoch, relative to {reference}", "{:.3g}", [c.seconds / base.seconds for c in costs]),
        (grid[0][1], "peak memory of training, MiB", "{:.0f}", [c.peak_memory for c in costs]),
    ):
        drawn = axis.barh(names, values, color=[colors(arms).get(name, "0.5") for name in names], height=0.65)
        axis.bar_label(drawn, fmt=form, padding=2)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_xlim(left=0.0)
        axis.set_title(title, fontsize=11)
        axis.grid(False, axis="y")
    grid[0][1].set_yticklabels([])
    return figure
