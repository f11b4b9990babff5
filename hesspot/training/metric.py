"""How errors of a Hessian are measured: element by element, or by what they do to frequencies."""

import numpy as np

from hesspot.analysis.normal_modes import mass_weighted
from hesspot.units import SQRT_EV_PER_A2_AMU

#: cm⁻¹; modes below count as if they had this frequency, translations, rotations and imaginary ones among them.
SOFTEST = 300.0

#: cm⁻¹; errors are given in this unit, in which they are about as large as those of Hessian elements in eV/Å².
UNIT = 100.0


def frequency_metric(hessian: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """A (3n, 3n), such that the diagonal of Aᵀ ΔH A holds the errors of frequencies in units of 100 cm⁻¹.

    To first order an error ΔH of the Hessian changes the frequency of mode i by Δω_i = u_iᵀ ΔH' u_i / (2 ω_i), where
    ΔH' is mass-weighted and u_i an eigenvector of the reference. With A = M^(−1/2) U diag(2ω)^(−1/2) that is element
    (i, i) of Aᵀ ΔH A; element (i, j) is the coupling of two modes on the same scale. Stiff and soft modes count alike,
    which elements in eV/Å² do not.

    hessian (3n, 3n) eV/Å², masses (n,) amu.
    """
    values, modes = np.linalg.eigh(mass_weighted(hessian, masses))
    frequencies = np.maximum(SQRT_EV_PER_A2_AMU * np.sqrt(np.abs(values)), SOFTEST)
    scale = SQRT_EV_PER_A2_AMU / np.sqrt(2.0 * UNIT * frequencies)
    return modes * scale / np.sqrt(np.repeat(masses, 3))[:, None]
