"""The spectrum of a cold run of LAMMPS against the exact Hessian: same box, same model, same velocities.

At a minimum velocities v are drawn. The Hessian says of which modes √m·v consists: frequencies and weights, by Lanczos
quadrature that begins with this very vector. The run says it by Σ m v(0)·v(t), which is Σ w cos(ωt) for a harmonic
motion. Both are the same to the width of a line, for any size of the system and without statistics; for a large
system, of which v is a fair sample, they are the density of states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.analysis.spectrum import memory_spectrum
from hesspot.errors import UserError
from hesspot.files import replacing, write_atomically
from hesspot.lammps.curvature_run import run_curvature
from hesspot.lammps.modes import broadened
from hesspot.lammps.run import error_of

#: Part of the largest density below which there is a gap between two bands.
GAP = 0.01

#: Of all modes that a band has at least.
LEAST = 0.01

#: Points of the curves within a line's width.
POINTS = 4


@dataclass(frozen=True)
class Band:
    """low, high: cm⁻¹; weight: its parts of the kinetic energy by the Hessian and by the run; mean: cm⁻¹, the mean
    frequencies."""

    low: float
    high: float
    weight: tuple[float, float]
    mean: tuple[float, float]


def cold_spectrum(
    script: str | Path,
    folder: Path,
    *,
    ranks: int,
    arguments: Sequence[str],
    width: float,
    lanczos: int,
    temperature: float,
    timestep: float,
    steps: int,
    stride: int,
    report: Callable[[str], None],
) -> list[Band]:
    """Minimise, ask the Hessian, run, and compare; everything is written into `folder`, which must be new.

    width: cm⁻¹, standard deviation of a line; lanczos: products H·v; temperature K, timestep fs, steps, and stride of
    what is written of the run. UserError with LAMMPS's own words where it fails.
    """
    folder.mkdir(parents=True)
    table, memory = folder / "modes.csv", folder / "memory.txt"
    cold = {"memory": str(memory.absolute()), "temperature": temperature, "timestep": timestep, "steps": steps}
    ended = run_curvature(
        "spectrum",
        script,
        table,
        ranks=ranks,
        arguments=arguments,
        report=report,
        capture=True,
        n_steps=lanczos,
        cold={**cold, "stride": stride, "seed": 4711},
    )
    (folder / "output.txt").write_text(ended.stdout)
    if ended.returncode:
        own = [line.removeprefix("hesspot: ") for line in ended.stdout.splitlines() if line.startswith("hesspot: ")]
        why = own[0] if own else error_of(ended.stdout)
        raise UserError(f"LAMMPS ended without a spectrum: {why}; all of its output is in {folder / 'output.txt'}")
    nodes, weights = np.loadtxt(table, delimiter=",", ndmin=2).T
    correlation = np.loadtxt(memory, ndmin=2)[:, 1]
    grid = np.arange(min(0.0, nodes.min()) - 4 * width, nodes.max() + 4 * width, width / POINTS)
    hessian = broadened(grid, nodes, width, weights)
    run = memory_spectrum(correlation, timestep * stride, grid, width=width, timestep=timestep)
    # lines near zero reach beyond it, and a motion has no sign of its frequency
    hessian, run, grid = (each[grid >= 0.0] for each in (hessian + broadened(grid, -nodes, width, weights), run, grid))
    bands = bands_of(grid, hessian, run)
    with replacing(folder / "spectrum.csv") as part:
        header = "frequency (1/cm),weight by the Hessian (per 1/cm),by the run"
        np.savetxt(part, np.stack([grid, hessian, run], 1), delimiter=",", header=header)
    with replacing(folder / "spectrum.png") as part:
        _figure(grid, hessian, run).savefig(part, format="png")
    write_atomically(folder / "spectrum.json", json.dumps([asdict(band) for band in bands], indent=1).encode())
    return bands


def bands_of(frequencies: np.ndarray, hessian: np.ndarray, run: np.ndarray) -> list[Band]:
    """The bands of the first curve (m,), between its gaps, and what both have there."""
    inside = hessian > GAP * hessian.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    bands, spacing = [], frequencies[1] - frequencies[0]
    for begin, end in edges.reshape(-1, 2):
        part = slice(int(begin), int(end))
        weight = [float(each[part].sum() * spacing) for each in (hessian, run)]
        if weight[0] < LEAST:
            continue
        mean = [float((each[part] * frequencies[part]).sum() / each[part].sum()) for each in (hessian, run)]
        low, high = float(frequencies[begin]), float(frequencies[end - 1])
        bands.append(Band(low, high, (weight[0], weight[1]), (mean[0], mean[1])))
    return bands


def _figure(frequencies: np.ndarray, hessian: np.ndarray, run: np.ndarray) -> Figure:
    figure, (axis,) = figure_with_axes(7.2, 3.6)
    axis.plot(frequencies, hessian, color=COLORS[0], linewidth=3.0, alpha=0.6, label="exact Hessian of the minimum")
    axis.plot(frequencies, run, color=COLORS[1], linewidth=1.1, label="cold run with the same velocities")
    axis.set(xlabel="frequency, cm⁻¹", ylabel="part of the motion per cm⁻¹", ylim=(0.0, None))
    figure.legend(loc="outside upper left", frameon=False, ncols=2)
    return figure
