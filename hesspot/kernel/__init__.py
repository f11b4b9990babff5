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
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hesspot.errors import UserError
from hesspot.kernel.block import Shape, is_constant, pack
from hesspot.models.ensemble import houses_of

#: The folder of the C++ sources, which the LAMMPS plugin is compiled from as well.
SOURCES = Path(__file__).parent

_POINTER: Any = ctypes.c_void_p

#: Bytes for a sentence from C++.
MESSAGE_ROOM = 1024


def _library() -> ctypes.CDLL:
    found = sorted(SOURCES.glob("_house*.so"))
    if not found:
        raise UserError(f"the kernel of the house model is not built in {SOURCES}; install hesspot again with pip")
    library = ctypes.CDLL(str(found[0]))
    library.hesspot_house_new.restype = _POINTER
    library.hesspot_house_new.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int, _POINTER, ctypes.c_int64]
    library.hesspot_house_n_members.argtypes = [_POINTER]
    library.hesspot_house_delete.argtypes = [_POINTER]
    library.hesspot_house_delete.restype = None
    library.hesspot_house_set_threads.argtypes = [_POINTER, ctypes.c_int]
    library.hesspot_house_set_threads.restype = None
    edges: list[Any] = [_POINTER, ctypes.c_int64] + [_POINTER] * 6
    library.hesspot_house_evaluate.argtypes = edges
    library.hesspot_house_members.argtypes = edges
    library.hesspot_house_hvp.argtypes = edges
    library.hesspot_house_instructions.restype = ctypes.c_char_p
    return library


def instructions() -> str:
    """The instruction set that the kernel uses on this processor: baseline, avx2 or avx512."""
    name: bytes = _library().hesspot_house_instructions()
    return name.decode()


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
        own, usual = house.state_dict(), type(house)(house.config).state_dict()
        for name, value in usual.items():
            if is_constant(name) and not torch.allclose(own[name], value.to(own[name].dtype), rtol=1e-14, atol=0.0):
                return f"{name} of this model is not what is written into the kernel"
    return None


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
        message = ctypes.create_string_buffer(MESSAGE_ROOM)
        pointer = self._library.hesspot_house_new(block, len(block), int(dtype == torch.float32), message, MESSAGE_ROOM)
        if not pointer:
            raise UserError(f"the packed weights {message.value.decode()}")
        self._pointer = pointer
        self.n_members: int = self._library.hesspot_house_n_members(pointer)
        weakref.finalize(self, self._library.hesspot_house_delete, pointer)

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype = torch.float64) -> HouseKernel:
        """The kernel of a `HouseModel`, `HouseEnsemble` or `HouseMean` in memory; UserError if it has none."""
        lacking = what_kernel_lacks(model)
        if lacking:
            raise UserError(lacking)
        return cls(Shape.of(model, version()), pack(model, version()), dtype)

    def set_threads(self, threads: int) -> None:
        """Threads that share the centres, to the same last bit; 1 at first."""
        self._library.hesspot_house_set_threads(self._pointer, threads)

    def c_function(self, name: Literal["evaluate", "members"]) -> tuple[int, int]:
        """Addresses of `hesspot_house_evaluate` or `…_members` and of this model, for C code that calls the kernel."""
        function = ctypes.cast(self._library[f"hesspot_house_{name}"], _POINTER).value
        assert function is not None
        return function, self._pointer

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        energies: Tensor = _Energies.apply(vectors, self._graph(species, centers, neighbors))
        return energies

    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of the members, (n_members, n_atoms) eV; they can be differentiated once."""
        energies: Tensor = _MemberEnergies.apply(vectors, self._graph(species, centers, neighbors))
        return energies

    def _graph(self, species: Tensor, centers: Tensor, neighbors: Tensor) -> _Graph:
        counts = torch.bincount(centers, minlength=species.shape[0])
        if centers.shape[0] > 1 and not bool((centers[1:] >= centers[:-1]).all()):
            raise ValueError("the kernel needs edges that are sorted by centre")
        first_edge = torch.zeros(species.shape[0] + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=first_edge[1:])
        return _Graph(self, species.contiguous(), centers, first_edge, species[neighbors])


class _Graph:
    """The part of a call that is not differentiated."""

    def __init__(self, model: HouseKernel, species: Tensor, centers: Tensor, first_edge: Tensor, neighbors: Tensor):
        self.model, self.centers = model, centers
        self._kept = species, first_edge, neighbors
        self._arguments = (
            model._pointer,
            species.shape[0],
            species.data_ptr(),
            first_edge.data_ptr(),
            neighbors.data_ptr(),
        )

    def evaluate(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_centers,) and gradient (n_edges, 3), float64."""
        plain = vectors.detach().to(torch.float64).contiguous()
        energies, gradient = torch.empty(self._kept[0].shape[0], dtype=torch.float64), torch.empty_like(plain)
        library = self.model._library
        self._check(
            library.hesspot_house_evaluate(*self._arguments, plain.data_ptr(), energies.data_ptr(), gradient.data_ptr())
        )
        return energies, gradient

    def members(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Of each member: energies (n_members, n_centers) and gradient (n_members, n_edges, 3), float64."""
        plain = vectors.detach().to(torch.float64).contiguous()
        n_members = self.model.n_members
        energies = torch.empty(n_members, self._kept[0].shape[0], dtype=torch.float64)
        gradient = torch.empty(n_members, *plain.shape, dtype=torch.float64)
        library = self.model._library
        self._check(
            library.hesspot_house_members(*self._arguments, plain.data_ptr(), energies.data_ptr(), gradient.data_ptr())
        )
        return energies, gradient

    def hvp(self, vectors: Tensor, directions: Tensor) -> Tensor:
        """Σ over each centre's own Hessian times directions (n_edges, 3), float64."""
        plain, along = (value.detach().to(torch.float64).contiguous() for value in (vectors, directions))
        products = torch.empty_like(plain)
        library = self.model._library
        self._check(
            library.hesspot_house_hvp(*self._arguments, plain.data_ptr(), along.data_ptr(), products.data_ptr())
        )
        return products

    @staticmethod
    def _check(status: int) -> None:
        if status:
            raise MemoryError("the kernel of the house model ran out of memory")


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
