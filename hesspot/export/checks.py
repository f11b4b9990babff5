"""What the contract promises, tried on a model before it is written: locality, and continuity at the cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hesspot.contract import Batch, Model, build_batch
from hesspot.derivatives import curvature_of, edge_gradient, gradient_of
from hesspot.errors import UserError
from hesspot.export.deprecation import deprecation_is_known
from hesspot.export.metadata import FingerprintEntry
from hesspot.export.replay import TOLERANCES

#: Centres of a structure that are evaluated alone.
ALONE = 8

#: Factor of all edges in a trial whether forces change.
STRETCHED = 1.001

#: Å that a neighbour stands within the cutoff, and half of it: what vanishes linearly extrapolates to nothing.
WITHIN = 1e-5

#: What may appear with a neighbour at the cutoff: rounding, and the curvature of a smooth decay over `WITHIN`.
JUMPS = {"energy (eV)": 1e-8, "force (eV/Å)": 1e-7, "Hessian product (eV/Å²)": 1e-6}


def check_contract(model: Any) -> None:
    """UserError if the model does not say its elements and its cutoff."""
    elements, cutoff = getattr(model, "elements", None), getattr(model, "cutoff", None)
    if not isinstance(elements, list | tuple) or not elements or not all(isinstance(e, str) for e in elements):
        raise UserError(
            f"the model has no list `elements` of chemical symbols (found {elements!r}); set it in its __init__, such "
            'as self.elements = ["H", "O"], and annotate it in the class as list[str]'
        )
    if isinstance(cutoff, bool) or not isinstance(cutoff, float | int) or not 0.0 < cutoff < np.inf:
        raise UserError(
            f"the model has no number `cutoff` above 0 in Å (found {cutoff!r}); set it in its __init__, such as "
            "self.cutoff = 5.0"
        )


def scripted_form(model: torch.nn.Module) -> Any:
    """The model as TorchScript. UserError with the compiler's first line and the place if it has none."""
    if not isinstance(model, torch.nn.Module):
        raise UserError(f"a {type(model).__name__} is no torch.nn.Module and cannot be exported; write it as one")
    try:
        with deprecation_is_known():
            return torch.jit.script(model)
    except Exception as error:  # the compiler raises a dozen kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        place = next((line for line in lines if line.startswith("File ")), "")
        reason = lines[0].rstrip(":") if lines else type(error).__name__
        raise UserError(
            f"the model {type(model).__name__} cannot be scripted by torch {torch.__version__}: {reason}"
            f"{' (' + place + ')' if place else ''}; write its forward in what torch.jit.script takes"
        ) from error


def check_locality(model: Model, batch: Batch) -> None:
    """UserError if some of the centres, with stand-ins for their neighbours, give another answer than all together.

    These are one half and the other, and `ALONE` centres each by itself.
    """
    energies, gradient = edge_gradient(model, batch, max_edges=batch.n_edges + 1)
    _require_same(edge_gradient(model, batch, max_edges=max(1, batch.n_edges // 2)), (energies, gradient))
    ends = torch.cumsum(batch.edges_per_atom(), 0).tolist()
    stand_ins = torch.arange(batch.n_elements)
    for center in np.unique(np.linspace(0, batch.n_atoms - 1, ALONE).astype(int)).tolist():
        edges = slice(ends[center - 1] if center else 0, ends[center])
        alone = replace(
            batch,
            species=torch.cat([batch.species[center : center + 1], stand_ins]),
            centers=torch.zeros_like(batch.centers[edges]),
            neighbors=1 + batch.species[batch.neighbors[edges]],
            vectors=batch.vectors[edges],
            structure=torch.zeros(1 + batch.n_elements, dtype=torch.int64),
        )
        own, slopes = edge_gradient(model, alone)
        _require_same((own[:1], slopes), (energies[center : center + 1], gradient[edges]))


def _require_same(some: tuple[Tensor, Tensor], whole: tuple[Tensor, Tensor]) -> None:
    for what, quantity, one, other in zip(
        ("an atom's energy (eV)", "an edge's force (eV/Å)"), ("energy", "forces"), some, whole, strict=True
    ):
        difference = float((one - other).abs().max()) if one.numel() else 0.0
        if not difference <= TOLERANCES[quantity][1]:
            raise UserError(
                f"{what} differs by {difference:.3g} where the model is evaluated for some centres only: it is not "
                "strictly local (message passing?), and engines that split a structure would give other numbers"
            )


def check_curvature(model: Model, entry: FingerprintEntry) -> None:
    """UserError if a structure has no curvature at all, and forces that change when it is deformed all the same."""
    batch = build_batch([entry.atoms()], model.elements, model.cutoff)
    if np.any(entry.hvp) or not batch.n_edges:
        return
    _, gradient = edge_gradient(model, batch)
    _, moved = edge_gradient(model, replace(batch, vectors=batch.vectors * STRETCHED))
    change = float((moved - gradient).abs().max())
    if change > TOLERANCES["forces"][1]:
        raise UserError(
            f"the model's gradient cannot be differentiated: torch finds no curvature in {entry.name}, but a force on "
            f"an edge changes by {change:.3g} eV/Å where edges are {STRETCHED - 1:.1%} longer; write the model without "
            "detach, item or no_grad between vectors and energies"
        )


def check_continuity(model: Model, fingerprint: Sequence[FingerprintEntry]) -> None:
    """UserError if energy, force or Hessian jump where a neighbour crosses the cutoff.

    Tried for each pair of elements, with the centre alone and among the neighbours of the fingerprint's most crowded
    atom of its element.
    """
    surroundings = _surroundings(model, fingerprint)
    without = _derivatives(model, surroundings, None)
    generator = torch.Generator().manual_seed(1)
    toward = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64, generator=generator), dim=0)
    for neighbor, symbol in enumerate(model.elements):
        near, nearer = (
            _derivatives(model, surroundings, (neighbor, (model.cutoff - distance) * toward))
            for distance in (WITHIN, WITHIN / 2)
        )
        for index, (what, limit) in enumerate(JUMPS.items()):
            jumps = ((2.0 * nearer[index] - near[index]) - without[index]).abs()
            jumps = torch.where(jumps.isnan(), torch.inf, jumps).amax(1)
            worst = int(jumps.argmax())
            if not jumps[worst] <= limit:
                raise UserError(
                    f"the {what} jumps by {float(jumps[worst]):.3g} where a neighbour {symbol} of an atom "
                    f"{model.elements[surroundings[worst][0]]} crosses the cutoff of {model.cutoff:g} Å; let all terms "
                    "vanish there with three derivatives, as the factor (1 − (r/cutoff)²)⁴ does, or allow the jump "
                    "(allow_jump=True) where a truncated potential is what is meant"
                )


#: Species of a centre, those of its neighbours (n_edges,), and its vectors (n_edges, 3).
_Surroundings = tuple[int, Tensor, Tensor]


def _surroundings(model: Model, fingerprint: Sequence[FingerprintEntry]) -> list[_Surroundings]:
    none = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.float64)
    found: list[_Surroundings] = [(element, *none) for element in range(len(model.elements))]
    crowded: dict[int, _Surroundings] = {}
    for entry in fingerprint:
        batch = build_batch([entry.atoms()], model.elements, model.cutoff)
        for atom, count in enumerate(batch.edges_per_atom().tolist()):
            element = int(batch.species[atom])
            if count > len(crowded.get(element, (0, *none))[1]):
                own = batch.centers == atom
                crowded[element] = element, batch.species[batch.neighbors[own]], batch.vectors[own]
    return found + list(crowded.values())


def _derivatives(
    model: Model, surroundings: Sequence[_Surroundings], added: tuple[int, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies, gradients and Hessian products of all centres, a row each; `added` is one neighbour more for each.

    The last edge of a row is the added one, of zeros where there is none.
    """
    n, n_elements = len(surroundings), len(model.elements)
    species = [s if added is None else torch.cat([s, torch.tensor([added[0]])]) for _, s, _ in surroundings]
    vectors = [v if added is None else torch.cat([v, added[1].unsqueeze(0)]) for _, _, v in surroundings]
    counts = [len(own) for own in species]
    # the same directions with and without the added edge
    along = torch.cat([torch.arange(1.0, 3 * k + 1, dtype=torch.float64).cos().reshape(k, 3) for k in counts])
    edges = torch.cat(vectors).requires_grad_(True)
    energies = model(
        torch.cat([torch.tensor([center for center, _, _ in surroundings]), torch.arange(n_elements)]),
        torch.arange(n).repeat_interleave(torch.tensor(counts)),
        n + torch.cat(species),
        edges,
    )[:n]
    gradient = gradient_of(energies.sum(), edges, create_graph=True)
    product = curvature_of(gradient, along, edges, create_graph=False)

    def rows(values: Tensor) -> Tensor:
        empty = values.new_zeros(1 if added is None else 0, 3)
        own = [torch.cat([part, empty]).flatten() for part in torch.split(values.detach(), counts)]
        return torch.nn.utils.rnn.pad_sequence(own, batch_first=True)

    return energies.detach().unsqueeze(1), rows(gradient), rows(product)
