"""What an engine gives for one structure, and how the trained model itself gives it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from hesspot.analysis.normal_modes import NormalModes, normal_modes
from hesspot.contract import Model, build_batch
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.derivatives import hessian as analytic_hessian
from hesspot.derivatives import hvp
from hesspot.errors import UserError


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


def modes_of_model(result: EngineResult, atoms: Atoms, name: str) -> NormalModes:
    """Vibrations of `atoms` by the model's Hessian; UserError for one that is not finite: labels of `name` are not."""
    assert result.hessian is not None
    if not np.isfinite(result.hessian).all():
        raise UserError(
            f"the model's Hessian of {name} is not finite: the model has diverged, train it again from an earlier state"
        )
    return normal_modes(atoms, result.hessian)


def one_by_one(model: Model, structures: Sequence[Atoms]) -> list[EngineResult]:
    """Energy, forces, virial and analytic Hessian of each structure on its own, from a float64 model."""
    results = []
    for atoms in structures:
        batch = build_batch([atoms], model.elements, model.cutoff)
        found = evaluate_batch(model, batch, virial=True)
        assert found.virial is not None
        (matrix,) = analytic_hessian(model, batch)
        results.append(
            EngineResult(float(found.energy[0]), found.forces.numpy(), found.virial[0].numpy(), matrix.numpy())
        )
    return results


def in_one_batch(model: Model, structures: Sequence[Atoms]) -> list[EngineResult]:
    """The same by another way: all structures in one batch, the Hessian column by column from H·v."""
    batch = build_batch(structures, model.elements, model.cutoff)
    found = evaluate_batch(model, batch, virial=True)
    assert found.virial is not None
    sizes = [len(atoms) for atoms in structures]
    first = np.cumsum([0, *sizes])
    hessians = [np.zeros((3 * n, 3 * n)) for n in sizes]
    for column in range(3 * max(sizes)):
        directions = torch.zeros((batch.n_atoms, 3), dtype=torch.float64)
        concerned = [i for i, n in enumerate(sizes) if column < 3 * n]
        for i in concerned:
            directions[first[i] + column // 3, column % 3] = 1.0
        product = hvp(model, batch, directions).numpy()
        for i in concerned:
            hessians[i][:, column] = product[first[i] : first[i + 1]].ravel()
    return [
        EngineResult(
            float(found.energy[i]), found.forces[first[i] : first[i + 1]].numpy(), found.virial[i].numpy(), hessians[i]
        )
        for i in range(len(sizes))
    ]
