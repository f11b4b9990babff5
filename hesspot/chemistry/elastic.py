"""Elastic constants from exact second derivatives with respect to strain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hesspot.chemistry.force_constants import CrystalDerivatives
from hesspot.units import PRESSURES

#: Pairs of axes in Voigt's order.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

#: eV/Å²; a mode of the cell that is softer than this is no minimum, and atoms have no place to relax to.
STIFF = 1e-6


@dataclass(frozen=True, eq=False)
class Averages:
    """Of a polycrystal, GPa: bulk and shear modulus of equal strain (Voigt), of equal stress (Reuss), and their means
    (R. Hill, Proc. Phys. Soc. A 65, 349, 1952); Young's modulus and Poisson's ratio of the means."""

    bulk_voigt: float
    bulk_reuss: float
    shear_voigt: float
    shear_reuss: float

    @property
    def bulk(self) -> float:
        return 0.5 * (self.bulk_voigt + self.bulk_reuss)

    @property
    def shear(self) -> float:
        return 0.5 * (self.shear_voigt + self.shear_reuss)

    @property
    def young(self) -> float:
        return 9.0 * self.bulk * self.shear / (3.0 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        return (3.0 * self.bulk - 2.0 * self.shear) / (2.0 * (3.0 * self.bulk + self.shear))

    @property
    def anisotropy(self) -> float:
        """0 for an isotropic crystal (S. I. Ranganathan, M. Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504, 2008)."""
        return 5.0 * self.shear_voigt / self.shear_reuss + self.bulk_voigt / self.bulk_reuss - 6.0


@dataclass(frozen=True, eq=False)
class Elastic:
    """How the stress follows the strain, (6, 6) GPa in Voigt's order (xx yy zz yz xz xy, shears as 2ε) and in the axes
    of the structure: dσ/dε, which at zero stress is the second derivative of the energy per volume.

    clamped: of atoms that move with the cell; relaxed: of atoms that follow their forces, None where they have no
    minimum to follow them to.
    """

    clamped: np.ndarray
    relaxed: np.ndarray | None

    @property
    def constants(self) -> np.ndarray:
        """The relaxed ones, where they are."""
        return self.clamped if self.relaxed is None else self.relaxed

    @property
    def stiffnesses(self) -> np.ndarray:
        """Eigenvalues of the symmetric part, (6,) GPa, ascending."""
        return np.linalg.eigvalsh(0.5 * (self.constants + self.constants.T))

    @property
    def stable(self) -> bool:
        """Born's criterion: every strain is resisted (F. Mouhat, F.-X. Coudert, Phys. Rev. B 90, 224104, 2014)."""
        return bool(self.stiffnesses[0] > 0)

    def averages(self) -> Averages | None:
        """None for a crystal that is not stable."""
        if not self.stable:
            return None
        c = 0.5 * (self.constants + self.constants.T)
        s = np.linalg.inv(c)
        return Averages(
            bulk_voigt=float(c[:3, :3].sum() / 9.0),
            bulk_reuss=float(1.0 / s[:3, :3].sum()),
            shear_voigt=float((3 * np.trace(c[:3, :3]) - c[:3, :3].sum() + 6 * np.trace(c[3:, 3:])) / 30.0),
            shear_reuss=float(15.0 / (6 * np.trace(s[:3, :3]) - 2 * s[:3, :3].sum() + 3 * np.trace(s[3:, 3:]))),
        )


def elastic_constants(derivatives: CrystalDerivatives, stress: np.ndarray) -> Elastic:
    """From the second derivatives of a crystal whose forces vanish, and its stress (3, 3) eV/Å³.

    With F = 1 + ε and σ = (∂E/∂F) Fᵀ / V, V the volume of the strained cell, dσ/dε is ∂²E/∂F∂F / V and two terms in
    the stress (D. C. Wallace, Thermodynamics of Crystals, 1972). Atoms that relax take away Λᵀ Φ⁻¹ Λ / V, where Λ is
    ∂²E/∂u∂F and Φ the Hessian of a cell without its translations.
    """
    volume = derivatives.atoms.get_volume()
    softened = _softening(derivatives)
    unit = np.eye(3)
    of_stress = (
        0.5 * (np.einsum("il,jk->ijkl", stress, unit) + np.einsum("ik,jl->ijkl", stress, unit))
        - np.einsum("ij,kl->ijkl", stress, unit)
    )  # fmt: skip
    clamped = derivatives.strain / volume + of_stress
    relaxed = None if softened is None else _gpa(clamped - softened / volume)
    return Elastic(_gpa(clamped), relaxed)


def _softening(derivatives: CrystalDerivatives) -> np.ndarray | None:
    """Λᵀ Φ⁻¹ Λ, (3, 3, 3, 3) eV."""
    n = len(derivatives.atoms)
    hessian = derivatives.summed().transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    translations = np.kron(np.ones((n, n)) / n, np.eye(3))  # stiff, so that the rest can be inverted
    held = 0.5 * (hessian + hessian.T) + translations
    if np.linalg.eigvalsh(held)[0] < STIFF:
        return None
    mixed = derivatives.mixed.reshape(3 * n, 9)
    return np.asarray(mixed.T @ np.linalg.solve(held, mixed)).reshape(3, 3, 3, 3)


def _gpa(tensor: np.ndarray) -> np.ndarray:
    """(3, 3, 3, 3) eV/Å³, made symmetric in the first and in the second pair, in Voigt's order and GPa."""
    symmetric = 0.5 * (tensor + tensor.transpose(1, 0, 2, 3))
    symmetric = 0.5 * (symmetric + symmetric.transpose(0, 1, 3, 2))
    rows, columns = np.array(VOIGT).T
    found: np.ndarray = symmetric[rows, columns][:, rows, columns] / PRESSURES["gpa"]
    return found
