"""Figures of the report. Each function takes arrays and gives a matplotlib Figure; nothing global is touched."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

#: One colour for each series, in order (Okabe, Ito: told apart by everyone).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

#: The sign of a logarithmic axis changes linearly below this, eV/Å².
LINEAR_BELOW = 1.0

#: A time series is drawn with at most this many points.
MAX_POINTS = 2000


def figure_with_axes(width: float, height: float, columns: int = 1, share: bool = False) -> tuple[Figure, list[Axes]]:
    """An empty figure in the style of all, inches, with its axes side by side."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08), dpi=150)
    axes = list(figure.subplots(1, columns, squeeze=False, sharex=share, sharey=share)[0])
    for axis in axes:
        _style(axis)
    return figure, axes


def panels(width: float, height: float, widths: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """The same with axes of these relative widths, which share what is up."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08), dpi=150)
    axes = list(figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0])
    for axis in axes:
        _style(axis)
    return figure, axes


def _style(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(True, color="0.92", linewidth=0.8)
    axis.set_axisbelow(True)


def hessian_parity(reference: Sequence[np.ndarray], models: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Elements of the models' Hessians against the reference's, one panel per model.

    `reference` and each value of `models` are the same structures' Hessians, (3n, 3n) in eV/Å². The axes are
    linear below `LINEAR_BELOW` and logarithmic above, so that stiff and soft elements are both seen.
    """
    expected = np.concatenate([matrix.ravel() for matrix in reference])
    figure, axes = figure_with_axes(3.6 * len(models) + 0.4, 3.9, len(models), share=True)
    limit = 1.3 * max(np.abs(expected).max(), LINEAR_BELOW)
    for axis, color, (name, matrices) in zip(axes, COLORS, models.items(), strict=False):
        found = np.concatenate([matrix.ravel() for matrix in matrices])
        error = found - expected
        axis.plot([-limit, limit], [-limit, limit], color="0.6", linewidth=0.8, zorder=1)
        axis.scatter(expected, found, s=5, color=color, alpha=0.35, linewidths=0, rasterized=True, zorder=2)
        axis.set_xscale("symlog", linthresh=LINEAR_BELOW)
        axis.set_yscale("symlog", linthresh=LINEAR_BELOW)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", title=name)
        axis.set_xlabel("reference Hessian, eV/Å²")
        axis.text(
            0.04,
            0.96,
            f"RMSE {np.sqrt((error**2).mean()):.3g}\nMAE {np.abs(error).mean():.3g} eV/Å²",
            transform=axis.transAxes,
            va="top",
        )
    axes[0].set_ylabel("model Hessian, eV/Å²")
    return figure


def frequency_errors(molecules: Sequence[str], models: Mapping[str, Sequence[float]]) -> Figure:
    """Mean absolute frequency error (cm⁻¹) of each molecule (rows) for each model (dots), on a logarithmic axis."""
    figure, (axis,) = figure_with_axes(6.4, 1.1 + 0.3 * len(molecules))
    rows = np.arange(len(molecules))[::-1]
    values = np.array([models[name] for name in models])
    axis.hlines(rows, values.min(0), values.max(0), color="0.8", linewidth=1.5, zorder=1)
    for color, (name, errors) in zip(COLORS, models.items(), strict=False):
        axis.scatter(errors, rows, s=34, color=color, label=name, zorder=2)
    axis.set_xscale("log")
    axis.set_yticks(rows, molecules)
    axis.set_xlabel("mean absolute frequency error, cm⁻¹")
    axis.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure


def bars(quantities: Mapping[str, Mapping[str, float]]) -> Figure:
    """One panel per quantity (its name holds the unit), a bar for each model with its value written on it."""
    figure, axes = figure_with_axes(2.4 * len(quantities) + 0.4, 3.2, len(quantities))
    for axis, (quantity, values) in zip(axes, quantities.items(), strict=True):
        names = list(values)
        drawn = axis.bar(names, [values[name] for name in names], color=COLORS[: len(names)], width=0.65)
        axis.bar_label(drawn, fmt="{:.3g}", padding=2)
        axis.set_title(quantity, fontsize=10)
        axis.margins(y=0.14)
        axis.grid(False, axis="x")
        axis.tick_params(axis="x", length=0)
    return figure


def learning_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], quantity: str) -> Figure:
    """A quantity (its name holds the unit) against the seconds of training, on logarithmic axes, for each model."""
    figure, (axis,) = figure_with_axes(6.4, 3.4)
    for color, (name, (seconds, values)) in zip(COLORS, curves.items(), strict=False):
        axis.plot(seconds, values, color=color, label=name, linewidth=1.6)
    axis.set_yscale("log")
    axis.set(xlabel="training time, s", ylabel=quantity)
    axis.legend(frameon=False)
    return figure


def energy_drift(times: np.ndarray, energies: np.ndarray, n_atoms: int, slope: float, error: float) -> Figure:
    """Total energy of a constant-energy run, minus its mean, with the line of its drift.

    times (n,) fs, energies (n,) eV, slope and its error in eV/atom/ps; drawn in µeV per atom.
    """
    figure, (axis,) = figure_with_axes(6.4, 3.2)
    picoseconds, energies = np.asarray(times) * 1e-3, np.asarray(energies)
    deviation = 1e6 * (energies - energies.mean()) / n_atoms
    step = _thinning(len(picoseconds))
    axis.plot(picoseconds[::step], deviation[::step], color=COLORS[0], linewidth=0.8, label="total energy")
    line = 1e6 * slope * (picoseconds - picoseconds.mean())
    label = f"drift {1e6 * slope:.2g} ± {1e6 * error:.1g} µeV/atom/ps"
    axis.plot(picoseconds, line, color=COLORS[1], linewidth=1.8, label=label)
    axis.set(xlabel="time, ps", ylabel="energy − mean, µeV/atom")
    axis.margins(x=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure


def energy_traces(
    times: np.ndarray, traces: Mapping[str, np.ndarray], quantity: str = "energy, eV", discard: float = 0.0
) -> Figure:
    """Series over time (fs), such as the energies of a path-integral run, each with its mean in the legend, without
    the part `discard` of the run that is equilibration."""
    figure, (axis,) = figure_with_axes(6.4, 3.2)
    picoseconds = np.asarray(times) * 1e-3
    step = _thinning(len(picoseconds))
    for color, (name, values) in zip(COLORS, traces.items(), strict=False):
        average = float(np.mean(values[int(discard * len(values)) :]))
        axis.plot(picoseconds[::step], np.asarray(values)[::step], color=color, linewidth=0.7, alpha=0.45)
        axis.axhline(average, color=color, linewidth=2.0, zorder=3, label=f"{name} (mean {average:.4g})")
    axis.set(xlabel="time, ps", ylabel=quantity)
    axis.margins(x=0)
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure


def _thinning(n_points: int) -> int:
    return max(1, -(-n_points // MAX_POINTS))
