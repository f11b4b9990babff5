"""Forces, virial, H·v and Hessian from a model's energies: the one place in Python.

With g = ∂E/∂vectors, everything is a scatter of g, or of the derivative of Σ g·(v_neighbour − v_centre), to
both ends of the edges. Nothing here falls back: what cannot be differentiated raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch, Committee, Model, graphs_of
from hesspot.errors import UserError

#: Edges that are evaluated at once where nothing is said; bounds the memory (5 kB per edge for forces, 15 for products,
#: with models of the default size). A GPU takes some milliseconds for any number, however small.
MAX_EDGES, MAX_EDGES_ON_A_GPU = 100_000, 400_000


def edges_at_once(batch: Batch, max_edges: int | None) -> int:
    """`max_edges`, or what fits the device of the batch."""
    if max_edges is not None:
        return max_edges
    return MAX_EDGES_ON_A_GPU if batch.vectors.device.type == "cuda" else MAX_EDGES


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation of a batch gives.

    energy (n_structures,) eV; atom_energies (n_atoms,) eV; forces (n_atoms, 3) eV/Å;
    virial (n_structures, 3, 3) eV, −Σ r⊗∂E/∂r = −stress·volume;
    atom_virial (n_atoms, 3, 3) eV, the centroid form, attributed to the neighbour: the one that gives the
    heat flux of a many-body potential (Fan et al., Phys. Rev. B 92, 094301, 2015).
    """

    energy: Tensor
    atom_energies: Tensor
    forces: Tensor
    virial: Tensor | None
    atom_virial: Tensor | None


def scatter_to_atoms(edge_values: Tensor, batch: Batch) -> Tensor:
    """Σ over edges of ±value: plus at the neighbour, minus at the centre. (n_edges, k) → (n_atoms, k)."""
    atoms = edge_values.new_zeros((batch.n_atoms, *edge_values.shape[1:]))
    return atoms.index_add(0, batch.neighbors, edge_values).index_add(0, batch.centers, -edge_values)


def sum_structures(atom_values: Tensor, batch: Batch) -> Tensor:
    """Σ over the atoms of each structure. (n_atoms, …) → (n_structures, …)."""
    total = atom_values.new_zeros((batch.n_structures, *atom_values.shape[1:]))
    return total.index_add(0, batch.structure, atom_values)


def edge_gradient(model: Model, batch: Batch, max_edges: int | None = None) -> tuple[Tensor, Tensor]:
    """Energies of all centres (n_atoms,) eV and g = ∂E/∂vectors (n_edges, 3) eV/Å, without a graph.

    The centres are evaluated in chunks of at most `max_edges` edges, by default `edges_at_once`.
    """
    energies, gradients = [], []
    for chunk in batch.chunks(edges_at_once(batch, max_edges)):
        vectors = batch.vectors[chunk.edges].detach().requires_grad_(True)
        energy = model(chunk.species, chunk.centers, chunk.neighbors, vectors)[: chunk.last - chunk.first]
        energies.append(energy.detach())
        gradients.append(gradient_of(energy.sum(), vectors, create_graph=False))
    if not energies:
        return batch.vectors.new_zeros(0, dtype=torch.float64), batch.vectors.new_zeros((0, 3))
    return torch.cat(energies), torch.cat(gradients)


def gradient_of(value: Tensor, vectors: Tensor, create_graph: bool) -> Tensor:
    """∂value/∂vectors. Without edges the gradient is empty, whatever the model did.

    Detached without `create_graph`: scripted models have been seen to give a gradient that still requires one.
    """
    if vectors.shape[0] == 0:
        return torch.zeros_like(vectors)
    (gradient,) = torch.autograd.grad(value, vectors, create_graph=create_graph)
    return gradient if create_graph else gradient.detach()


def curvature_of(gradient: Tensor, along: Tensor, vectors: Tensor, create_graph: bool) -> Tensor:
    """∂(Σ gradient·along)/∂vectors for `gradient`, which is joined to the graph; zeros for a constant one, which is
    that of a model that is linear in its edges. UserError for one that cannot be differentiated."""
    if vectors.shape[0] == 0 or not gradient.requires_grad:
        return torch.zeros_like(vectors)
    try:
        return gradient_of((gradient * along).sum(), vectors, create_graph)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"the gradient of the model's energy cannot be differentiated ({str(error).splitlines()[0]}); write the "
            "model so that torch differentiates it twice, and freeze its weights (model.requires_grad_(False))"
        ) from error


def evaluate(
    model: Model,
    batch: Batch,
    *,
    virial: bool = False,
    atom_virial: bool = False,
    max_edges: int | None = None,
) -> Evaluation:
    """Energy, forces and, on request, virials of every structure of a batch."""
    energies, gradient = edge_gradient(model, batch, max_edges=max_edges)
    forces = -scatter_to_atoms(gradient, batch)
    per_atom = None
    if virial or atom_virial:
        outer = -batch.vectors.unsqueeze(2) * gradient.unsqueeze(1)
        per_atom = outer.new_zeros((batch.n_atoms, 3, 3)).index_add(0, batch.neighbors, outer)
    return Evaluation(
        energy=sum_structures(energies, batch),
        atom_energies=energies,
        forces=forces,
        virial=sum_structures(per_atom, batch) if virial and per_atom is not None else None,
        atom_virial=per_atom if atom_virial else None,
    )


@dataclass(frozen=True)
class Differentiable:
    """Quantities joined to the graph of the weights, for a loss.

    energy (n_structures,) eV; forces (n_atoms, 3) eV/Å or None; hvp (k, n_atoms, 3) eV/Å² or None;
    virial (n_structures, 3, 3) eV as in `Evaluation`, or None.
    """

    energy: Tensor
    forces: Tensor | None = None
    hvp: Tensor | None = None
    virial: Tensor | None = None

    def values(self) -> tuple[Tensor | None, ...]:
        return self.energy, self.forces, self.hvp, self.virial


def differentiable(
    model: Model, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
) -> Differentiable:
    """Energy, forces, virials and the Hessian products with `directions` (k, n_atoms, 3), to be trained on."""
    vectors = batch.vectors.detach().requires_grad_(forces or directions is not None or virial)
    energies = model(batch.species, batch.centers, batch.neighbors, vectors)
    if not vectors.requires_grad:
        return Differentiable(sum_structures(energies, batch))
    gradient = gradient_of(energies.sum(), vectors, create_graph=True)
    products = [
        gradient_of((gradient * along).sum(), vectors, create_graph=True) for along in _each_along(directions, batch)
    ]
    return joined(energies, gradient, products, batch, virial)


@dataclass(frozen=True)
class Answers:
    """What a model or the members of a committee say, and the way back to their weights.

    backward: adds to the gradients of the weights those of a loss whose derivatives with respect to the members'
    answers are given, in the same form; None for not at all.
    """

    members: Sequence[Differentiable]
    backward: Callable[[Sequence[Differentiable]], None]


def answers(
    model: Any, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
) -> Answers:
    """Of a model in torch as `differentiable` gives them, or of each member if it has `n_members` of them."""
    if getattr(model, "n_members", 1) > 1:
        members = differentiable_members(model, batch, forces=forces, directions=directions, virial=virial)
    else:
        members = [differentiable(model, batch, forces=forces, directions=directions, virial=virial)]

    def backward(slopes: Sequence[Differentiable]) -> None:
        pairs = [
            (value, slope)
            for own, of_own in zip(members, slopes, strict=True)
            for value, slope in zip(own.values(), of_own.values(), strict=True)
            if value is not None and slope is not None
        ]
        values, gradients = zip(*pairs, strict=True)
        torch.autograd.backward(values, gradients, inputs=weights_of(model))

    return Answers(members, backward)


def weights_of(model: Any) -> list[Tensor]:
    """What gradients of a loss are accumulated in: they are not sought for the positions, which is costly."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _spread(values: Tensor, batch: Batch) -> Tensor:
    """What belongs to the neighbour less what belongs to the centre, (…, n_atoms, 3) → (…, n_edges, 3)."""
    return values.index_select(-2, batch.neighbors) - values.index_select(-2, batch.centers)


def differentiable_members(
    model: Committee, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
) -> list[Differentiable]:
    """`differentiable` of each member of a committee; the descriptors are evaluated once."""
    vectors = batch.vectors.detach().requires_grad_(forces or directions is not None or virial)
    members = model.members(batch.species, batch.centers, batch.neighbors, vectors)
    if not vectors.requires_grad:
        return [Differentiable(sum_structures(energies, batch)) for energies in members]
    gradients = _gradients_of(members.sum(1), vectors)
    products = [_gradients_of((gradients * along).sum((1, 2)), vectors) for along in _each_along(directions, batch)]
    return [
        joined(energies, gradients[number], [each[number] for each in products], batch, virial)
        for number, energies in enumerate(members)
    ]


def _gradients_of(values: Tensor, vectors: Tensor) -> Tensor:
    """∂value/∂vectors of each value, (n_values, n_edges, 3), in one pass, joined to the graph."""
    if vectors.shape[0] == 0:
        return vectors.new_zeros(len(values), 0, 3)
    one_each = torch.eye(len(values), dtype=values.dtype, device=values.device)
    (gradients,) = torch.autograd.grad(values, vectors, one_each, is_grads_batched=True, create_graph=True)
    return gradients


def _each_along(directions: Tensor | None, batch: Batch) -> Sequence[Tensor]:
    """v_neighbour − v_centre, (n_edges, 3), for each of the directions (k, n_atoms, 3)."""
    return [] if directions is None else list(_spread(directions, batch))


def joined(
    energies: Tensor, gradient: Tensor | None, products: Sequence[Tensor], batch: Batch, virial: bool
) -> Differentiable:
    """Of structures and atoms, from energies (n_atoms,) of the centres and from gradient and products of the edges."""
    if gradient is None:
        return Differentiable(sum_structures(energies, batch))
    virials = None
    if virial:
        outer = -batch.vectors.unsqueeze(2) * gradient.unsqueeze(1)
        virials = outer.new_zeros((batch.n_structures, 3, 3)).index_add(0, batch.structure[batch.centers], outer)
    return Differentiable(
        energy=sum_structures(energies, batch),
        forces=-scatter_to_atoms(gradient, batch),
        hvp=torch.stack([scatter_to_atoms(each, batch) for each in products]) if products else None,
        virial=virials,
    )


def hvp(model: Model, batch: Batch, directions: Tensor, *, max_edges: int | None = None) -> Tensor:
    """Hessian-vector product H·v, (n_atoms, 3) in eV/Å² times the unit of `directions` (n_atoms, 3).

    Each structure's own Hessian acts on its own atoms' directions.
    """
    directions = directions.to(batch.vectors)
    along = directions[batch.neighbors] - directions[batch.centers]
    products = []
    for chunk in batch.chunks(edges_at_once(batch, max_edges)):
        vectors = batch.vectors[chunk.edges].detach().requires_grad_(True)
        energy = model(chunk.species, chunk.centers, chunk.neighbors, vectors)[: chunk.last - chunk.first]
        gradient = gradient_of(energy.sum(), vectors, create_graph=True)
        products.append(curvature_of(gradient, along[chunk.edges], vectors, create_graph=False))
    return scatter_to_atoms(torch.cat(products), batch)


def _pairs_seen(batch: Batch) -> tuple[Tensor, Tensor]:
    """The distinct (centre, neighbour atom) pairs, each (n_pairs,); an atom's own images are left out."""
    key = torch.unique(batch.centers * batch.n_atoms + batch.neighbors)
    center = torch.div(key, batch.n_atoms, rounding_mode="floor")
    atom = key - center * batch.n_atoms
    distinct = center != atom
    return center[distinct], atom[distinct]


def hessian(model: Model, batch: Batch, *, create_graph: bool = False, max_edges: int | None = None) -> list[Tensor]:
    """Analytic Hessian of each structure, (3n, 3n) eV/Å², atom-major (x0, y0, z0, x1, …).

    Each centre's energy is differentiated for each distinct neighbour atom that it sees; the column of the
    centre itself follows from translation: minus the sum of the others. So the cost is linear in the number of
    atoms for a given number of neighbours, and memory is bounded by `max_edges` edges evaluated at once. The
    matrix is not symmetrised: its asymmetry is the rounding error. That of a kernel comes from its library, and is
    symmetric.
    """
    kernel = None if create_graph else getattr(model, "hessian_kernel", None)
    if kernel is not None:
        matrices = [torch.from_numpy(kernel.hessian(graph)) for graph in graphs_of(batch)]
        return [matrix.to(batch.vectors.dtype) for matrix in matrices]
    pair_center, pair_atom = _pairs_seen(batch)
    per_atom = batch.edges_per_atom()
    starts = torch.cumsum(per_atom, 0) - per_atom
    sizes = batch.atoms_per_structure()
    first_atom = torch.cumsum(sizes, 0) - sizes
    stride = 3 * sizes
    offsets = torch.cumsum(stride * stride, 0) - stride * stride
    flat = batch.vectors.new_zeros(int((stride * stride).sum()))
    axes = torch.eye(3, dtype=batch.vectors.dtype, device=batch.vectors.device)
    stand_ins = torch.arange(batch.n_elements, device=batch.species.device)

    portion = edges_at_once(batch, max_edges)
    cumulative = torch.cumsum(3 * per_atom[pair_center], 0).cpu()
    begin, done = 0, 0
    while begin < len(cumulative):
        end = max(begin + 1, int(torch.searchsorted(cumulative, done + portion, right=True)))
        done = int(cumulative[end - 1])
        center = pair_center[begin:end].repeat_interleave(3)
        atom = pair_atom[begin:end].repeat_interleave(3)
        axis = torch.arange(3, device=center.device).repeat(end - begin)
        begin = end

        n_replicas = center.shape[0]
        counts = per_atom[center]
        replica = torch.repeat_interleave(torch.arange(n_replicas, device=center.device), counts)
        within = torch.arange(len(replica), device=center.device) - (torch.cumsum(counts, 0) - counts)[replica]
        edge = starts[center][replica] + within

        vectors = batch.vectors[edge].detach().requires_grad_(True)
        energies = model(
            torch.cat([batch.species[center], stand_ins]),
            replica,
            n_replicas + batch.species[batch.neighbors[edge]],
            vectors,
        )[:n_replicas]
        gradient = gradient_of(energies.sum(), vectors, create_graph=True)
        along = axes[axis][replica] * (batch.neighbors[edge] == atom[replica]).unsqueeze(1)
        curvature = curvature_of(gradient, along, vectors, create_graph=create_graph)

        owner = batch.structure[center][replica]
        base, width, origin = offsets[owner], stride[owner], first_atom[owner]
        xyz = torch.arange(3, device=center.device)
        row_n = 3 * (batch.neighbors[edge] - origin).unsqueeze(1) + xyz
        row_c = 3 * (batch.centers[edge] - origin).unsqueeze(1) + xyz
        column_a = (3 * (atom[replica] - origin) + axis[replica]).unsqueeze(1)
        column_c = (3 * (batch.centers[edge] - origin) + axis[replica]).unsqueeze(1)
        base, width = base.unsqueeze(1), width.unsqueeze(1)
        where = [
            base + row_n * width + column_a,
            base + row_c * width + column_a,
            base + row_n * width + column_c,
            base + row_c * width + column_c,
        ]
        values = [curvature, -curvature, -curvature, curvature]
        flat = flat.index_add(0, torch.cat(where).flatten(), torch.cat(values).flatten())

    return [
        block.reshape(int(width), int(width))
        for block, width in zip(torch.split(flat, (stride * stride).tolist()), stride, strict=True)
    ]
