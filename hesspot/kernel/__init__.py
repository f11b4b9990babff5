"""Kernels: plain C++ loops, compiled for several instruction sets, in the place of TorchScript.

A kernel evaluates packed weights of one of `hesspot.models.architectures`, committees among them, whose common parts
are computed once. It gives the numbers of the torch model to rounding and is many times faster. It keeps the contract
of `hesspot.contract` and joins torch's graph, so that forces, virials, H·v and Hessians are computed as for any other
model. CPU only; no derivatives beyond the second with respect to positions, and those with respect to the weights as
the architecture's own module gives them.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hesspot.compiled import address
from hesspot.errors import UserError
from hesspot.kernel.library import (
    HEADERS,
    POINTER,
    CEdges,
    CSoapStack,
    Labelled,
    NoKernel,
    call,
    instruction_sets,
    library,
    magics,
    shape_of,
)
from hesspot.models.architectures import ARCHITECTURES, Architecture, name_of

__all__ = [
    "HEADERS",
    "Edges",
    "KernelModel",
    "NoKernel",
    "instruction_sets",
    "magics",
    "packed",
    "shape_of",
    "soap_step",
    "version",
]


def soap_step(
    stacks: Sequence[tuple[Tensor, Tensor, Mapping[str, Tensor]]],
    *,
    memory: float,
    memory_of_squares: float,
    unbias: float,
    epsilon: float,
    rate: float,
    decay: float,
    threads: int,
) -> None:
    """One step of SOAP of stacks of matrices: weights (n, rows, columns), their gradient, and their state.

    The state is as `hesspot.training.optimizer` has it, mean and square alone for Adam; hesspot_kernel.h tells the
    other arguments.
    """
    made = (CSoapStack * len(stacks))()
    for one, (weights, gradient, state) in zip(made, stacks, strict=True):
        one.count, one.rows, one.columns = weights.shape
        one.rank = 1
        if "right" in state:
            one.rows, (_, one.rank, one.columns) = state["left"].shape[1], state["right"].shape
        one.transposed = weights.shape[1] != one.rows
        one.weights, one.gradient = weights.data_ptr(), gradient.data_ptr()
        for name, array in state.items():
            assert array.is_contiguous()
            setattr(one, name, array.data_ptr())
    single = int(bool(stacks) and stacks[0][2]["mean"].dtype == torch.float32)
    numbers = memory, memory_of_squares, unbias, epsilon, rate, decay
    call(library().hesspot_soap_step, made, len(stacks), single, *numbers, threads)


def version(architecture: Architecture) -> int:
    """Of the kernel of an architecture, raised with every change of a formula."""
    number: int = library().hesspot_version(architecture.magic)
    return number


def packed(model: Any) -> bytes:
    """The weights of a model of one of the `ARCHITECTURES`; NoKernel for any other."""
    name = name_of(model)
    if name is None:
        raise NoKernel(f"{type(model).__name__} is of no architecture that has a kernel")
    architecture = ARCHITECTURES[name]
    unusual = architecture.unusual(model)
    if unusual:
        raise NoKernel(unusual)
    return architecture.pack(model, version(architecture))


class KernelModel:
    """Packed weights, evaluated by a kernel. Calls are as in the contract; edges must be sorted by centre.

    block: what `packed` gives for a model, and a file holds; dtype: float64, or float32 for the arithmetic.
    n_members: 1 for a model that is no committee. UserError for weights that are damaged, NoKernel for those of another
    architecture, kernel or version.
    """

    def __init__(self, block: bytes, dtype: torch.dtype = torch.float64):
        self.shape = shape_of(block)
        self.elements: list[str] = self.shape["elements"]
        self.cutoff: float = self.shape["cutoff"]
        self.dtype = dtype
        self._library = library()
        pointer = POINTER()
        single = int(dtype == torch.float32)
        call(self._library.hesspot_model_new, block, len(block), single, ctypes.byref(pointer))
        self.pointer: int = pointer.value or 0
        self.n_members: int = self._library.hesspot_model_n_members(self.pointer)
        #: For each member and element of the centre; 0 where a kernel does not train.
        self.n_weights: int = self._library.hesspot_model_n_weights(self.pointer)
        self._size = self.n_members * len(self.elements) * self.n_weights
        weakref.finalize(self, self._library.hesspot_model_delete, self.pointer)

    @property
    def instructions(self) -> str:
        """The instruction set that it uses, one of `instruction_sets()`."""
        name: bytes = self._library.hesspot_model_instructions(self.pointer)
        return name.decode()

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype = torch.float64) -> KernelModel:
        """The kernel of a model in memory; NoKernel if it has none."""
        return cls(packed(model), dtype)

    def set_threads(self, threads: int) -> None:
        """Threads that share the centres, to the same last bit; 1 at first. UserError for fewer than 1."""
        call(self._library.hesspot_model_set_threads, self.pointer, threads)

    def place_weights(self, places: Tensor) -> None:
        """Where weights (n_members, n_elements, n_weights), in the order of hesspot_kernel.h, stand in those that the
        calls below are given, int64; in that order without this call."""
        self._need_size("places", places, torch.int64)
        call(self._library.hesspot_model_place_weights, self.pointer, places.contiguous().data_ptr())
        self._size = int(places.max()) + 1

    def set_weights(self, weights: Tensor) -> None:
        """Other weights, float64."""
        self._need_size("weights", weights, torch.float64)
        call(self._library.hesspot_model_set_weights, self.pointer, weights.contiguous().data_ptr())

    def add_loss_gradient(
        self, structures: ctypes.Array[Labelled], max_edges: int, gradient: Tensor
    ) -> tuple[float, float, float, float]:
        """Add the gradient of the structures' losses to that of the weights; gives the terms, as hesspot_kernel.h has
        it. At most `max_edges` edges are evaluated at once."""
        self._need_size("derivatives", gradient, torch.float64)
        terms = (ctypes.c_double * 4)()
        function = self._library.hesspot_model_add_loss_gradient
        call(function, self.pointer, structures, len(structures), max_edges, gradient.data_ptr(), terms)
        energy, forces, curvature, stress = terms
        return energy, forces, curvature, stress

    def _need_size(self, name: str, values: Tensor, dtype: torch.dtype) -> None:
        if values.dtype != dtype or values.dim() != 1 or values.numel() < self._size:
            raise UserError(
                f"{name} of shape {tuple(values.shape)}, {values.dtype}; the kernel takes {self._size}, {dtype}"
            )

    def c_function(self, name: Literal["evaluate", "members"]) -> tuple[int, int]:
        """Addresses of `hesspot_model_evaluate` or `…_members` and of this model, for C code that calls the kernel."""
        return address(getattr(self._library, f"hesspot_model_{name}")), self.pointer

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """As the contract says; UserError for what is not as it says."""
        energies: Tensor = _Energies.apply(vectors, self.edges(species, centers, neighbors))
        return energies

    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of the members, (n_members, n_atoms) eV; they can be differentiated once."""
        energies: Tensor = _MemberEnergies.apply(vectors, self.edges(species, centers, neighbors))
        return energies

    def edges(self, species: Tensor, centers: Tensor, neighbors: Tensor) -> Edges:
        """What stays the same while only the vectors change; UserError for what is not as the contract says."""
        n_atoms, n_edges = len(_checked("species", species, "n_atoms")), len(_checked("centers", centers, "n_edges"))
        if len(_checked("neighbors", neighbors, "n_edges")) != n_edges:
            raise UserError(f"there are {n_edges} centers of edges, but {len(neighbors)} neighbors; give one each")
        # NumPy takes a fraction of torch's time for arrays of a small molecule
        begins, ends = centers.numpy(), neighbors.numpy()
        if n_edges:
            if (begins[1:] < begins[:-1]).any():
                raise UserError("the kernel needs edges that are sorted by centre; sort them by `centers`")
            for name, first, last in (("centers", begins[0], begins[-1]), ("neighbors", ends.min(), ends.max())):
                if first < 0 or last >= n_atoms:
                    raise UserError(f"{name} go from {first} to {last}, but there are {n_atoms} atoms to point to")
        first_edge = torch.from_numpy(begins.searchsorted(np.arange(n_atoms + 1)))
        return Edges(self, species.contiguous(), centers, first_edge, species[neighbors])


def _checked(name: str, indices: Tensor, size: str) -> Tensor:
    if indices.dtype != torch.int64 or indices.dim() != 1 or indices.device.type != "cpu":
        raise UserError(
            f"{name} are {indices.dtype} of shape {tuple(indices.shape)} on {indices.device}; the kernel takes "
            f"torch.int64 of shape ({size},) on cpu"
        )
    return indices


class Edges:
    """The part of a call that is not differentiated. Vectors and directions are (n_edges, 3)."""

    def __init__(self, model: KernelModel, species: Tensor, centers: Tensor, first_edge: Tensor, neighbors: Tensor):
        self.model, self.centers = model, centers
        self._kept = species, first_edge, neighbors
        self._n_centers, self._n_edges = len(species), len(neighbors)

    def evaluate(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_centers,) and gradient (n_edges, 3), float64."""
        energies, gradient = torch.empty(self._n_centers, dtype=torch.float64), self._empty()
        self._call("evaluate", self._plain("vectors", vectors), energies, gradient)
        return energies, gradient

    def members(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Of each member: energies (n_members, n_centers) and gradient (n_members, n_edges, 3), float64."""
        n_members = self.model.n_members
        energies = torch.empty(n_members, self._n_centers, dtype=torch.float64)
        gradient = self._empty(n_members)
        self._call("members", self._plain("vectors", vectors), energies, gradient)
        return energies, gradient

    def hvp(self, vectors: Tensor, directions: Tensor) -> Tensor:
        """Σ over each centre's own Hessian times directions (n_edges, 3), float64."""
        products = self._empty()
        self._call("hvp", self._plain("vectors", vectors), self._plain("directions", directions), products)
        return products

    def _empty(self, *members: int) -> Tensor:
        return torch.empty(*members, self._n_edges, 3, dtype=torch.float64)

    def _plain(self, name: str, values: Tensor) -> Tensor:
        if not values.is_floating_point() or values.shape != (self._n_edges, 3) or values.device.type != "cpu":
            raise UserError(
                f"{name} are {values.dtype} of shape {tuple(values.shape)} on {values.device}; the kernel takes "
                f"floating-point numbers of shape ({self._n_edges}, 3), one row for each edge, on cpu"
            )
        return values.detach().to(torch.float64).contiguous()

    def _call(self, name: str, vectors: Tensor, *arguments: Tensor | int | None) -> None:
        edges = CEdges(self._n_centers, self._n_edges, *(array.data_ptr() for array in (*self._kept, vectors)))
        function = getattr(self.model._library, f"hesspot_model_{name}")
        others = [each.data_ptr() if isinstance(each, Tensor) else each for each in arguments]
        call(function, self.model.pointer, ctypes.byref(edges), *others)


class _Energies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: Edges) -> Tensor:
        energies, gradient = graph.evaluate(vectors)
        ctx.save_for_backward(vectors, gradient.to(vectors.dtype))
        ctx.graph = graph
        return energies

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None]:
        vectors, gradient = ctx.saved_tensors
        return _Gradient.apply(vectors, gradient, weights[0].to(vectors.dtype), ctx.graph), None


class _Gradient(torch.autograd.Function):
    """g of each edge times the weight of its centre's energy."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, graph: Edges) -> Tensor:
        ctx.save_for_backward(vectors, gradient, weights)
        ctx.graph = graph
        return gradient * weights[graph.centers].unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor) -> tuple[Tensor, None, Tensor, None]:
        vectors, gradient, weights = ctx.saved_tensors
        products, in_weights = _Product.apply(vectors, gradient, weights, directions[0], ctx.graph)
        return products, None, in_weights, None


class _Product(torch.autograd.Function):
    """The derivatives of Σ gradient·directions: with respect to the vectors, and to the weights of the energies."""

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, directions: Tensor, graph: Edges
    ) -> tuple[Tensor, Tensor]:
        products = graph.hvp(vectors, directions * weights[graph.centers].unsqueeze(1)).to(vectors.dtype)
        along = (gradient * directions).sum(1)
        return products, torch.zeros_like(weights).index_add(0, graph.centers, along)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("kernels have no third derivatives; use the torchscript backend")


class _MemberEnergies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: Edges) -> Tensor:
        energies, gradient = graph.members(vectors)
        ctx.save_for_backward(gradient.to(vectors.dtype))
        ctx.graph = graph
        return energies

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator]
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        of_edges = weights[0].to(gradient.dtype)[:, ctx.graph.centers]
        return (gradient * of_edges.unsqueeze(2)).sum(0), None
