"""What the parts of the study share: commands, i-PI runs that are made once, means, and harmonic energies."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np

from hesspot.units import BOLTZMANN, INVERSE_CM

TEMPERATURE = 300.0  # K

#: What i-PI writes at the end of a run that went well.
SUCCESS = "I-PI reports success"


def command(*arguments: str | Path) -> str:
    """Run a command as a user would, after printing it; its output."""
    words = [str(argument) for argument in arguments]
    print("$", " ".join(words), flush=True)
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def run(folder: Path) -> str:
    """i-PI and its driver in a folder, unless they have been there; i-PI's log."""
    log = folder / "i-pi.log"
    if not (log.exists() and SUCCESS in log.read_text()):
        command("bash", folder / "run.sh")
    return log.read_text()


def mean_and_error(values: np.ndarray, blocks: int = 20) -> tuple[float, float]:
    """Mean and its standard error, from the scatter of consecutive blocks."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(blocks))


def harmonic_energy(frequencies: np.ndarray, n_beads: int, kelvin: float) -> float:
    """⟨V⟩ = ⟨K_cv⟩ of harmonic vibrations (cm⁻¹) with `n_beads` beads, eV."""
    kt = BOLTZMANN * kelvin
    springs = 2.0 * n_beads * kt * np.sin(np.arange(n_beads) * np.pi / n_beads)
    quanta = np.asarray(frequencies)[:, None] * INVERSE_CM
    return float(0.5 * kt * (quanta**2 / (quanta**2 + springs**2)).sum())


def harmonic_limit(frequencies: np.ndarray, kelvin: float) -> float:
    """The same for infinitely many beads."""
    quanta = np.asarray(frequencies) * INVERSE_CM
    return float((0.25 * quanta / np.tanh(quanta / (2 * BOLTZMANN * kelvin))).sum())
