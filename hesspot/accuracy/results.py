"""What an engine gives for one structure."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.errors import UserError


@dataclass(frozen=True, eq=False)
class EngineResult:
    """One structure as one engine gives it.

    energy eV; forces (n, 3) eV/Å; virial (3, 3) eV, −Σ r⊗∂E/∂r = −stress·volume, or None where the engine has
    none; hessian (3n, 3n) eV/Å², atom-major (x0, y0, z0, x1, …), not symmetrised, or None where not asked for;
    products (k, n, 3) eV/Å², H·v of `directions_of` a structure that `is_large`, else None.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray | None
    hessian: np.ndarray | None
    products: np.ndarray | None = None


def modes_of_model(result: EngineResult, atoms: Atoms, name: str) -> NormalModes:
    """Vibrations of `atoms` by the model's Hessian; UserError for one that is not finite: labels of `name` are not."""
    assert result.hessian is not None
    if not np.isfinite(result.hessian).all():
        raise UserError(
            f"the model's Hessian of {name} is not finite: the model has diverged, train it again from an earlier state"
        )
    return normal_modes(atoms, result.hessian)
