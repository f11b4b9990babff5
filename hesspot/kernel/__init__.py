"""The house model's kernel: plain C++ loops, compiled for several instruction sets, in the place of TorchScript.

It evaluates house models and committees of them, with one description of the surroundings or one for each member; what
stands before their descriptors, the densities of neighbours, is computed once. It gives the numbers of the torch model
to rounding and is many times faster. It keeps the contract of `hesspot.contract` and joins torch's graph, so
that forces, virials, H·v and Hessians are computed as for any other model. CPU only; no derivatives with respect to the
weights, none beyond the second with respect to positions.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hesspot.compiled import address, load
from hesspot.errors import UserError
from hesspot.kernel.block import Shape, pack, unusual_constant
from hesspot.models.ensemble import houses_of

#: The folder of the C++ sources, which the LAMMPS plugin is compiled from as well.
SOURCES = Path(__file__).parent

#: What callers of the C functions are compiled with.
HEADERS = [SOURCES / "hesspot_kernel.h"]

_POINTER: Any = ctypes.c_void_p

#: `HESSPOT_NO_MEMORY` of hesspot_kernel.h.
_NO_MEMORY = 2


@cache
def _library() -> ctypes.CDLL:
    library = load(SOURCES, "_house", "hesspot_kernel_interface", HEADERS)
    library.hesspot_instruction_sets.restype = ctypes.c_char_p
    library.hesspot_house_new.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int, _POINTER, _POINTER]
    library.hesspot_house_n_members.argtypes = [_POINTER]
    library.hesspot_house_delete.argtypes = [_POINTER]
    library.hesspot_house_delete.restype = None
    library.hesspot_house_instructions.argtypes = [_POINTER]
    library.hesspot_house_instructions.restype = ctypes.c_char_p
    library.hesspot_house_set_threads.argtypes = [_POINTER, ctypes.c_int, _POINTER]
    for name in ("evaluate", "members", "hvp"):
        getattr(library, f"hesspot_house_{name}").argtypes = [_POINTER, ctypes.c_int64, ctypes.c_int64] + [_POINTER] * 7
    return library


def _call(function: Any, *arguments: Any) -> None:
    """A function of hesspot_kernel.h; UserError with its sentence, MemoryError if memory ran out."""
    error = ctypes.c_char_p()
    status = function(*arguments, ctypes.byref(error))
    if status == _NO_MEMORY:
        raise MemoryError("the kernel of the house model ran out of memory")
    if status:
        raise UserError((error.value or b"").decode())


def instruction_sets() -> list[str]:
    """Those of this processor that the kernel is compiled for, the best one first: avx512, avx2, baseline.

    A model takes the first one, or the one that the environment variable HESSPOT_INSTRUCTIONS names when it is made.
    """
    names: bytes = _library().hesspot_instruction_sets()
    return names.decode().split()


def version() -> int:
    """The kernel's version, raised with every change of a formula."""
    number: int = _library().hesspot_house_version()
    return number


def what_kernel_lacks(model: Any) -> str | None:
    """Why the kernel cannot evaluate a house model, or None: its envelope and its constants are written into it."""
    power = _library().hesspot_house_envelope_power()
    for house in houses_of(model):
        if house.envelope_power != power:
            return f"the kernel has an envelope of power {power}, this model one of power {house.envelope_power}"
    return unusual_constant(model)


class HouseKernel:
    """A house model, evaluated by the kernel. Calls are as in the contract; edges must be sorted by centre.

    shape, block: what `Shape.of` and `pack` give for a model; dtype: float64, or float32 for the arithmetic.
    n_members: 1 for a model that is no committee. UserError for weights that are damaged or of another kernel.
    """

    def __init__(self, shape: Shape, block: bytes, dtype: torch.dtype = torch.float64):
        self.elements: list[str] = list(shape.elements)
        self.cutoff = shape.cutoff
        self.dtype = dtype
        self._library = _library()
        if not block.startswith(shape.head()):
            raise UserError("the packed weights state another shape than their description")
        pointer = _POINTER()
        single = int(dtype == torch.float32)
        _call(self._library.hesspot_house_new, block, len(block), single, ctypes.byref(pointer))
        self._pointer: int = pointer.value or 0
        self.n_members: int = self._library.hesspot_house_n_members(self._pointer)
        weakref.finalize(self, self._library.hesspot_house_delete, self._pointer)

    @property
    def instructions(self) -> str:
        """The instruction set that it uses, one of `instruction_sets()`."""
        name: bytes = self._library.hesspot_house_instructions(self._pointer)
        return name.decode()

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype = torch.float64) -> HouseKernel:
        """The kernel of a `HouseModel`, `HouseEnsemble` or `HouseMean` in memory; UserError if it has none."""
        lacking = what_kernel_lacks(model)
        if lacking:
            raise UserError(lacking)
        return cls(Shape.of(model, version()), pack(model, version()), dtype)

    def set_threads(self, threads: int) -> None:
        """Threads that share the centres, to the same last bit; 1 at first. UserError for fewer than 1."""
        _call(self._library.hesspot_house_set_threads, self._pointer, threads)

    def c_function(self, name: Literal["evaluate", "members"]) -> tuple[int, int]:
        """Addresses of `hesspot_house_evaluate` or `…_members` and of this model, for C code that calls the kernel."""
        return address(getattr(self._library, f"hesspot_house_{name}")), self._pointer

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """As the contract says; UserError for what is not as it says."""
        energies: Tensor = _Energies.apply(vectors, self._graph(species, centers, neighbors))
        return energies

    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of the members, (n_members, n_atoms) eV; they can be differentiated once."""
        energies: Tensor = _MemberEnergies.apply(vectors, self._graph(species, centers, neighbors))
        return energies

    def _graph(self, species: Tensor, centers: Tensor, neighbors: Tensor) -> _Graph:
        n_atoms, n_edges = len(_checked("species", species, "n_atoms")), len(_checked("centers", centers, "n_edges"))
        if len(_checked("neighbors", neighbors, "n_edges")) != n_edges:
            raise UserError(f"there are {n_edges} centers of edges, but {len(neighbors)} neighbors; give one each")
        if n_edges:
            if bool((centers[1:] < centers[:-1]).any()):
                raise UserError("the kernel needs edges that are sorted by centre; sort them by `centers`")
            lowest, highest = torch.aminmax(neighbors)
            ends = {"centers": (int(centers[0]), int(centers[-1])), "neighbors": (int(lowest), int(highest))}
            for name, (first, last) in ends.items():
                if first < 0 or last >= n_atoms:
                    raise UserError(f"{name} go from {first} to {last}, but there are {n_atoms} atoms to point to")
        first_edge = torch.searchsorted(centers.contiguous(), torch.arange(n_atoms + 1))
        return _Graph(self, species.contiguous(), centers, first_edge, species[neighbors])


def _checked(name: str, indices: Tensor, size: str) -> Tensor:
    if indices.dtype != torch.int64 or indices.dim() != 1 or indices.device.type != "cpu":
        raise UserError(
            f"{name} are {indices.dtype} of shape {tuple(indices.shape)} on {indices.device}; the kernel takes "
            f"torch.int64 of shape ({size},) on cpu"
        )
    return indices


class _Graph:
    """The part of a call that is not differentiated."""

    def __init__(self, model: HouseKernel, species: Tensor, centers: Tensor, first_edge: Tensor, neighbors: Tensor):
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

    def _call(self, name: str, *arrays: Tensor) -> None:
        addresses = [array.data_ptr() for array in (*self._kept, *arrays)]
        function = getattr(self.model._library, f"hesspot_house_{name}")
        _call(function, self.model._pointer, self._n_centers, self._n_edges, *addresses)


class _Energies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: _Graph) -> Tensor:
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
    def forward(ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, graph: _Graph) -> Tensor:
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
        ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, directions: Tensor, graph: _Graph
    ) -> tuple[Tensor, Tensor]:
        products = graph.hvp(vectors, directions * weights[graph.centers].unsqueeze(1)).to(vectors.dtype)
        along = (gradient * directions).sum(1)
        return products, torch.zeros_like(weights).index_add(0, graph.centers, along)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("the kernel of the house model has no third derivatives; use the torchscript backend")


class _MemberEnergies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: _Graph) -> Tensor:
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
