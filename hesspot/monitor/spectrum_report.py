"""What is told of the spectrum of a run: tables, curves in a file, and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.signal import find_peaks

from hesspot.analysis.html_report import Report
from hesspot.analysis.plots import COLORS, figure_with_axes
from hesspot.analysis.spectrum import peak
from hesspot.chemistry.vibrations import Vibrations
from hesspot.files import replacing, write_atomically
from hesspot.monitor.run_spectrum import RunSpectrum

#: A point of a spectrum that is higher than those beside it is a peak if it is so many standard errors and this part of
#: the highest one above the lowest point on the way to a higher one.
STANDS_OUT, LEAST = 3.0, 0.02

#: A mode with a smaller share of a peak is not named; modes that are.
NAMED, MODES = 0.1, 3


def peaks(spectrum: RunSpectrum) -> list[float]:
    """cm⁻¹, of what stands out of the noise, in ascending order."""
    curve, grid = spectrum.mean, spectrum.frequencies
    found, told = find_peaks(curve, prominence=LEAST * curve.max())
    high = told["prominences"] > STANDS_OUT * spectrum.error[found]
    return [peak(grid[k - 1 : k + 2], curve[k - 1 : k + 2])[0] for k in found[high]]


def peak_rows(spectrum: RunSpectrum, minimum: Vibrations | None) -> list[tuple[str, ...]]:
    """For each peak its place, and the modes that it is of with their shares."""
    rows: list[tuple[str, ...]] = []
    for at in peaks(spectrum):
        here = int(np.abs(spectrum.frequencies - at).argmin())
        height, error = 1e3 * spectrum.mean[here], 1e3 * spectrum.error[here]
        row: tuple[str, ...] = (f"{at:.1f}", f"{height:.3g} ± {_short(error)}")
        if minimum is not None:
            shares = spectrum.shares(at)
            best = [int(k) for k in np.argsort(-shares)[:MODES] if shares[k] >= NAMED]
            row = (*row, ", ".join(f"{k} ({100 * shares[k]:.0f} %)" for k in best) or "many")
        rows.append(row)
    return rows


def mode_columns(spectra: Mapping[str, RunSpectrum]) -> list[str]:
    """Of the table of `mode_rows`."""
    columns = ["mode", "harmonic"]
    for name in spectra:
        columns += [name, "shift", "width", "K"]
    return [*columns, "what moves"]


def mode_rows(spectra: Mapping[str, RunSpectrum], minimum: Vibrations) -> list[tuple[str, ...]]:
    """For each mode its harmonic frequency, and of each run peak, shift from it, width (cm⁻¹) and temperature."""
    rows = []
    for mode, (frequency, character) in enumerate(zip(minimum.frequencies, minimum.characters, strict=True)):
        row = [str(mode), f"{frequency:.1f}"]
        for spectrum in spectra.values():
            line = spectrum.lines[mode]
            kelvin, error = (values[mode] for values in spectrum.mode_temperatures)
            row += [f"{line.place:.1f} ± {_short(line.error)}", f"{line.place - frequency:+.1f}"]
            row += [f"{line.width:.0f} ± {_short(line.width_error)}", f"{kelvin:.3g} ± {_short(error)}"]
        rows.append((*row, character.words))
    return rows


def _short(error: float) -> str:
    """An error with one digit that counts, or whole."""
    return f"{error:.1g}" if error < 1.0 else f"{error:.0f}"


def notes(spectra: Mapping[str, RunSpectrum], minimum: Vibrations | None) -> list[str]:
    """What the numbers rest on."""
    told = [
        f"{name}: {len(each.blocks)} blocks of {each.duration / len(each.blocks) / 1000:.3g} ps, a frame each "
        f"{each.interval:g} fs, lines of standard deviation {each.width:g} cm⁻¹"
        for name, each in spectra.items()
    ]
    if minimum is not None:
        told.append(
            f"modes of the minimum of {minimum.atoms.get_chemical_formula()} that the run's first frame leads to"
        )
    return told


def write_json(path: Path, spectra: Mapping[str, RunSpectrum], minimum: Vibrations | None) -> None:
    """All numbers: cm⁻¹, K, fs."""
    runs: dict[str, object] = {}
    told: dict[str, object] = {"notes": notes(spectra, minimum), "runs": runs}
    if minimum is not None:
        told["harmonic"] = minimum.frequencies.tolist()
        told["characters"] = [character.words for character in minimum.characters]
    for name, each in spectra.items():
        run: dict[str, object] = {
            "frequencies": each.frequencies.tolist(),
            "spectrum": each.mean.tolist(),
            "error": each.error.tolist(),
            "blocks": len(each.blocks),
            "duration": each.duration,
            "interval": each.interval,
            "peaks": peaks(each),
        }
        if minimum is not None:
            run["lines"] = [asdict(line) for line in each.lines]
            run["temperatures"], run["temperature_errors"] = (v.tolist() for v in each.mode_temperatures)
        runs[name] = run
    write_atomically(path, json.dumps(told, indent=1, ensure_ascii=False).encode())


def write_csv(path: Path, spectrum: RunSpectrum) -> None:
    """The curve with its error, and the curve of each mode."""
    curves = [spectrum.frequencies, spectrum.mean, spectrum.error, *spectrum.modes.mean(0)]
    names = ["frequency (1/cm)", "spectrum (per 1/cm)", "error", *(f"mode {k}" for k in range(spectrum.modes.shape[1]))]
    with replacing(path) as part:
        np.savetxt(part, np.stack(curves, 1), delimiter=",", header=",".join(names), fmt="%.8g")


def spectrum_figure(spectra: Mapping[str, RunSpectrum], minimum: Vibrations | None) -> Figure:
    """The curves with their errors, and the harmonic lines below them."""
    figure, (axis,) = figure_with_axes(4.6, 3.2)
    for (name, each), color in zip(spectra.items(), COLORS, strict=False):
        mean, error = 1e3 * each.mean, 1e3 * each.error
        axis.plot(each.frequencies, mean, color=color, linewidth=1.2, label=name)
        axis.fill_between(each.frequencies, mean - error, mean + error, color=color, alpha=0.3, linewidth=0)
    top = max(float(1e3 * (each.mean + each.error).max()) for each in spectra.values())
    if minimum is not None:
        axis.vlines(minimum.real, -0.06 * top, -0.01 * top, color="0.3", linewidth=1.2, label="harmonic")
    axis.set(xlabel="frequency, cm⁻¹", ylabel="10⁻³ of the motion per cm⁻¹", ylim=(-0.07 * top, 1.05 * top))
    axis.set_xlim(0.0, max(float(each.frequencies[-1]) for each in spectra.values()))
    figure.legend(loc="outside upper left", frameon=False, ncols=3)
    return figure


def write_page(path: Path, title: str, spectra: Mapping[str, RunSpectrum], minimum: Vibrations | None) -> None:
    """One HTML file that needs nothing else."""
    report = Report(title)
    report.text("\n".join(f"- {line}" for line in notes(spectra, minimum)))
    report.figure(
        spectrum_figure(spectra, minimum),
        "Vibrational density of states from the velocities, with the standard error over the blocks. There are no "
        "infrared intensities: they come from charges, which the model has none of.",
    )
    if minimum is not None:
        report.section("Modes")
        columns = mode_columns(spectra)
        rows = [(f"{number} · {words}", *cells) for number, *cells, words in mode_rows(spectra, minimum)]
        report.table(rows, ["mode and what moves in it", *columns[1:-1]], "Peaks of each mode, cm⁻¹")
        labels = [character.words for character in minimum.characters]
        report.modes(
            minimum.atoms, minimum.frequencies.tolist(), minimum.displacements, "Normal modes of the minimum", labels
        )
    report.section("Peaks")
    for name, each in spectra.items():
        columns = ["cm⁻¹", "height, 10⁻³ per cm⁻¹", *(["modes"] if minimum is not None else [])]
        report.table(peak_rows(each, minimum), columns, name)
    report.write(path, alone=True)
