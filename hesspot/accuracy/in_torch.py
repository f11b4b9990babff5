"""What a model in torch gives for structures, by two ways."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from hesspot.accuracy.results import EngineResult
from hesspot.contract import Model, build_batch
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.derivatives import hessian as analytic_hessian
from hesspot.derivatives import hvp


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
