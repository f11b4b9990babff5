"""The course of a watch as a figure; nothing global is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from hesspot.analysis.plots import COLORS

#: Key in a row, title of the axis, and whether it is logarithmic.
PANELS = (
    ("temperature", "temperature, K", False),
    ("force", "largest force\nerror, eV/Å", True),
    ("spread", "largest spread,\neV/Å", True),
    ("distance", "largest distance\nfrom training data", True),
    ("along", "vᵀHv / vᵀMv,\neV/(Å² amu)", False),
    ("lowest", "lowest mode,\ncm⁻¹", False),
)


def course(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, float]) -> Figure:
    """What was found at each frame, with limits as dashed lines and the frames beyond them marked."""
    panels = [panel for panel in PANELS if any(panel[0] in row for row in rows)] or [PANELS[0]]
    figure = Figure(figsize=(6.8, 1.5 * len(panels) + 0.6), layout=ConstrainedLayoutEngine(), dpi=150)
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axis, color, (key, title, logarithmic) in zip(axes, COLORS, panels, strict=False):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="0.92", linewidth=0.8)
        there = [row for row in rows if key in row]
        steps, values = np.array([row["step"] for row in there]), np.array([row[key] for row in there])
        beyond = np.array([any(flag["what"] == key for flag in row["flags"]) for row in there], dtype=bool)
        axis.plot(steps, values, color=color, linewidth=1.2, marker=".", markersize=3)
        axis.plot(steps[beyond], values[beyond], "o", color="0.1", markersize=5, markerfacecolor="none")
        if key in limits:
            axis.axhline(limits[key], color="0.3", linewidth=1.0, linestyle="--")
        if logarithmic and len(values) and values.min() > 0:
            axis.set_yscale("log")
        axis.set_ylabel(title, fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("step")
    return figure
