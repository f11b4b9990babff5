"""What a harmonic ring polymer has exactly, at its own number of beads and time step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hesspot.units import BOLTZMANN, HBAR


def ring_polymer_ratios(square: float, n_beads: int, temperature: float, timestep: float) -> np.ndarray:
    """ω²⟨q_k²⟩/(P kT) of all ring-polymer modes k of an oscillator with ω² = `square` (1/fs²), for OBABO at a time step
    in fs, as i-PI has it.

    With M = B·A_k·B on (q, p) of unit mass, B a half kick and A_k the exact rotation of the free ring polymer,
    ⟨q_k²⟩ = (P/β)(−M₁₂/M₂₁); a time step of 0 gives ω²/(ω² + ω_k²). K: temperature. One bead is a classical atom.
    """
    ratios = []
    for mode in range(n_beads):
        w = 2.0 * n_beads * BOLTZMANN * temperature / HBAR * np.sin(mode * np.pi / n_beads)
        if timestep == 0.0:
            ratios.append(square / (square + w**2))
            continue
        kick = np.array([[1.0, 0.0], [-square * timestep / 2, 1.0]])
        c, s = np.cos(w * timestep), np.sin(w * timestep)
        turn = np.array([[c, s / w if w else timestep], [-w * s, c]])
        matrix = kick @ turn @ kick
        ratios.append(-square * matrix[0, 1] / matrix[1, 0])
    return np.array(ratios)


def harmonic_sums(squares: Iterable[float], n_beads: int, temperature: float, timestep: float) -> tuple[float, float]:
    """⟨V⟩, and ⟨K_cv⟩ less ½kT of each coordinate, eV, over oscillators of these ω² (1/fs²): the centroid, k = 0, is in
    the first alone."""
    ratios = [ring_polymer_ratios(square, n_beads, temperature, timestep) for square in squares]
    half_kt = 0.5 * BOLTZMANN * temperature
    return half_kt * sum(r.sum() for r in ratios), half_kt * sum(r[1:].sum() for r in ratios)
