"""Thermostats of the engines: the energy of every mode, and the energies that two temperatures share.

A molecule (or crystal) in a Langevin thermostat at low temperatures, where its modes are harmonic. Each mode is to hold
½kT of potential energy. And whatever a potential is, the distributions of its energy at two temperatures differ by
exp(−(β₂ − β₁)E) and nothing else (M. Shirts, J. Chem. Theory Comput. 9, 909, 2013), which `physical_validation` tests.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hesspot.analysis.superposition import superposition
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.units import BOLTZMANN, ENERGIES, SQRT_EV_PER_A2_AMU
from hesspot.verification.report import DynamicCheck
from hesspot.verification.start import Start

#: K, and fs: the time constant and the step.
KELVIN, TAU, STEP = (20.0, 30.0), 20.0, 0.25
#: Steps between two structures that are looked at, and the part of a run that is left out at its start.
EVERY, EQUILIBRATION = 10, 0.05
#: Standard errors that a mean may be off; blocks that they are from.
CHANCE, BLOCKS = 4.0, 20

#: Potential energies (frames,) eV and positions (frames, n, 3) Å of every `EVERY` steps at a temperature in K.
Thermostatted = Callable[[Start, float], tuple[np.ndarray, np.ndarray]]


def thermostat_checks(start: Start, engine: str, run: Thermostatted) -> list[DynamicCheck]:
    """Equipartition at the first of `KELVIN`, and the ensembles of both. UserError without `physical_validation`."""
    runs = [run(start, kelvin) for kelvin in KELVIN]
    settled = [tuple(values[round(EQUILIBRATION * len(values)) :] for values in each) for each in runs]
    return [
        equipartition(start, engine, settled[0][1], KELVIN[0]),
        ensembles(start, engine, [energies for energies, _ in settled], KELVIN),
    ]


def equipartition(start: Start, engine: str, positions: np.ndarray, kelvin: float) -> DynamicCheck:
    """The temperature of the mode that is farthest off, from its potential energy along positions (frames, n, 3) Å."""
    modes = start.modes
    weights = np.sqrt(modes.masses)[:, None]
    moved = ((in_place(positions, start) - start.atoms.positions) * weights).reshape(len(positions), -1)
    stiffness = (modes.frequencies / SQRT_EV_PER_A2_AMU) ** 2
    temperatures = stiffness * (moved @ modes.vectors.T) ** 2 / BOLTZMANN
    blocks = temperatures[: len(temperatures) // BLOCKS * BLOCKS].reshape(BLOCKS, -1, len(stiffness)).mean(1)
    means, errors = blocks.mean(0), blocks.std(0, ddof=1) / np.sqrt(BLOCKS)
    worst = int((np.abs(means - kelvin) / errors).argmax())
    return DynamicCheck(
        engine=engine,
        quantity="temperature of a mode in a thermostat",
        structure=start.name,
        found=float(means[worst]),
        expected=kelvin,
        tolerance=CHANCE * float(errors[worst]),
        unit="K",
        note=f"the worst of {len(means)} modes, that of {modes.frequencies[worst]:.0f} cm⁻¹; from its potential energy",
    )


def in_place(positions: np.ndarray, start: Start) -> np.ndarray:
    """Positions (frames, n, 3) moved, and those of molecules turned, onto the start."""
    masses = start.modes.masses
    here = start.atoms.positions - np.average(start.atoms.positions, axis=0, weights=masses)
    arms = positions - np.average(positions, axis=1, weights=masses)[:, None]
    if not start.atoms.pbc.any():
        left, right = superposition(arms, here, masses)
        arms = arms @ (left @ right)
    return np.asarray(arms + start.atoms.positions - here)


def ensembles(start: Start, engine: str, energies: Sequence[np.ndarray], kelvins: Sequence[float]) -> DynamicCheck:
    """How many standard errors the ratio of two distributions of the potential energy (eV) is off."""
    validation = _library()
    units = validation.data.UnitData(
        kb=BOLTZMANN,
        energy_conversion=1.0 / ENERGIES["kj/mol"],
        length_conversion=0.1,
        volume_conversion=1e-3,
        temperature_conversion=1.0,
        pressure_conversion=1.0,
        time_conversion=1e-3,
        energy_str="eV",
        length_str="Å",
        volume_str="Å³",
        temperature_str="K",
        pressure_str="bar",
        time_str="fs",
    )
    lowest = min(values.min() for values in energies)
    runs = [
        validation.data.SimulationData(
            units=units,
            ensemble=validation.data.EnsembleData("NVT", natoms=len(start.atoms), volume=1.0, temperature=kelvin),
            observables=validation.data.ObservableData(potential_energy=values - lowest),
        )
        for values, kelvin in zip(energies, kelvins, strict=True)
    ]
    try:
        (off,) = validation.ensemble.check(*runs, verbosity=0)
    except validation.util.error.InputError as error:
        words = str(error.message).splitlines()[0]
        raise UserError(
            f"physical_validation cannot compare energies at {kelvins[0]:g} and {kelvins[1]:g} K: {words}"
        ) from error
    return DynamicCheck(
        engine=engine,
        quantity="energies at two temperatures, standard errors off exp(−ΔβE)",
        structure=start.name,
        found=float(off),
        expected=0.0,
        tolerance=CHANCE,
        unit="",
        note=f"{kelvins[0]:g} and {kelvins[1]:g} K; physical_validation {validation.__version__}",
    )


def _library() -> Any:
    """physical_validation, whose own imports have much to say about jax."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            import physical_validation
    except ModuleNotFoundError as error:
        raise UserError(
            f"thermostats are tested by physical_validation; install it with {install_hint('checks')}"
        ) from error
    return physical_validation
