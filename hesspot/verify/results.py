"""What every engine answers for one structure."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class EngineResult:
    """One structure as one engine gives it.

    energy eV; forces (n, 3) eV/Å; virial (3, 3) eV, −Σ r⊗∂E/∂r = −stress·volume, or None where the engine has
    none; hessian (3n, 3n) eV/Å², atom-major (x0, y0, z0, x1, …), not symmetrised, or None where not asked for.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray | None
    hessian: np.ndarray | None
