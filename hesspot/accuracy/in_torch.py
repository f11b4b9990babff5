"""What a model in torch gives for structures, by two ways."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms

from hesspot.accuracy.directions import directions_of, is_large
from hesspot.accuracy.results import EngineResult
from hesspot.contract import Model, build_batch
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.derivatives import hessian as analytic_hessian
from hesspot.derivatives import hvp


def one_by_one(model: Model, structures: Sequence[Atoms], *, whole: Sequence[bool] = ()) -> list[EngineResult]:
    """Energy, forces, virial and analytic Hessian of each structure on its own, from a float64 model; of large ones
    H·v, and the Hessian only if it is wanted whole."""
    results = []
    for number, atoms in enumerate(structures):
        batch = build_batch([atoms], model.elements, model.cutoff)
        found = evaluate_batch(model, batch, virial=True)
        assert found.virial is not None
        large, matrix, products = is_large(atoms), None, None
        if large:
            products = np.stack([hvp(model, batch, torch.tensor(v)).numpy() for v in directions_of(atoms)])
        if not large or (whole and whole[number]):
            matrix = analytic_hessian(model, batch)[0].numpy()
        results.append(
            EngineResult(float(found.energy[0]), found.forces.numpy(), found.virial[0].numpy(), matrix, products)
        )
    return results


def in_batches(model: Model, structures: Sequence[Atoms]) -> list[EngineResult]:
    """The same by another way: small structures in one batch, large ones in another, Hessians column by column from
    H·v."""
    found: dict[int, EngineResult] = {}
    for large in (False, True):
        members = [k for k, atoms in enumerate(structures) if is_large(atoms) == large]
        if members:
            found |= zip(members, _in_one_batch(model, [structures[k] for k in members]), strict=True)
    return [found[k] for k in range(len(structures))]


def _in_one_batch(model: Model, structures: Sequence[Atoms]) -> list[EngineResult]:
    batch = build_batch(structures, model.elements, model.cutoff)
    found = evaluate_batch(model, batch, virial=True)
    assert found.virial is not None
    sizes = [len(atoms) for atoms in structures]
    first = np.cumsum([0, *sizes])
    asked = [directions_of(atoms) if is_large(atoms) else np.eye(3 * len(atoms)) for atoms in structures]
    products: list[list[np.ndarray]] = [[] for _ in sizes]
    for k in range(max(map(len, asked))):
        directions = np.zeros((batch.n_atoms, 3))
        for i, wanted in enumerate(asked):
            if k < len(wanted):
                directions[first[i] : first[i + 1]] = wanted[k].reshape(-1, 3)
        product = hvp(model, batch, torch.tensor(directions)).numpy()
        for i, wanted in enumerate(asked):
            if k < len(wanted):
                products[i].append(product[first[i] : first[i + 1]])
    results = []
    for i, atoms in enumerate(structures):
        mine, large = np.stack(products[i]), is_large(atoms)
        results.append(
            EngineResult(
                float(found.energy[i]),
                found.forces[first[i] : first[i + 1]].numpy(),
                found.virial[i].numpy(),
                None if large else mine.reshape(len(mine), -1).T,
                mine if large else None,
            )
        )
    return results
