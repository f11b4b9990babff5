"""Kernels: plain C++ loops, compiled for several instruction sets, in the place of TorchScript.

A kernel evaluates packed weights of one of `hesspot.models.architectures`, committees among them, whose common parts
are computed once. It gives the numbers of the torch model to rounding and is many times faster. CPU only.

In NumPy it is a `hesspot.graph.Potential`. In torch, which is loaded when it is first asked for that, it keeps the
contract of `hesspot.contract` and joins torch's graph, so that it can stand wherever a model does; no derivatives
beyond the second with respect to positions, and those with respect to the weights as the architecture's own module
gives them.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hesspot.compiled import address
from hesspot.devices import dtype_name
from hesspot.errors import UserError
from hesspot.graph import Answer, Graph
from hesspot.kernel.library import (
    HEADERS,
    POINTER,
    CEdges,
    CGraph,
    CSoapStack,
    Labelled,
    NoKernel,
    call,
    instruction_sets,
    library,
    magics,
    shape_of,
)

if TYPE_CHECKING:
    from torch import Tensor

    from hesspot.kernel.autograd import Edges
    from hesspot.models.architectures import Architecture

__all__ = [
    "HEADERS",
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
    single = int(bool(stacks) and str(stacks[0][2]["mean"].dtype) == "torch.float32")
    numbers = memory, memory_of_squares, unbias, epsilon, rate, decay
    call(library().hesspot_soap_step, made, len(stacks), single, *numbers, threads)


def portions(graph: Graph, max_centers: int, max_edges: int) -> Iterator[tuple[CEdges, slice, int]]:
    """Some centres after the others, as the kernel takes them: their edges, which these are, and how many centres;
    one centre at least."""
    first = np.ascontiguousarray(graph.first_edge, dtype=np.int64)
    species = np.ascontiguousarray(graph.species, dtype=np.int64)
    begin = 0
    while begin < graph.n_atoms:
        fitting = int(first.searchsorted(first[begin] + max_edges, side="right")) - 1
        end = max(begin + 1, min(fitting, begin + max_centers))
        own = slice(int(first[begin]), int(first[end]))
        arrays = (
            species[begin:end],
            first[begin : end + 1] - first[begin],
            np.ascontiguousarray(species[graph.neighbors[own]]),
            np.ascontiguousarray(graph.vectors[own], dtype=np.float64),
        )
        yield CEdges(end - begin, own.stop - own.start, *(each.ctypes.data for each in arrays)), own, end - begin
        begin = end


def version(architecture: Architecture) -> int:
    """Of the kernel of an architecture, raised with every change of a formula."""
    number: int = library().hesspot_version(architecture.magic)
    return number


def packed(model: Any) -> bytes:
    """The weights of a model of one of the `ARCHITECTURES`; NoKernel for any other."""
    from hesspot.models.architectures import ARCHITECTURES, name_of

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

    block: what `packed` gives for a model, and a file holds; dtype: float64, or float32 for the arithmetic, by name or
    torch's. n_members: 1 for a model that is no committee. UserError for weights that are damaged, NoKernel for those
    of another architecture, kernel or version.
    """

    def __init__(self, block: bytes, dtype: Any = "float64"):
        self.shape = shape_of(block)
        self.elements: list[str] = self.shape["elements"]
        self.cutoff: float = self.shape["cutoff"]
        self.dtype = dtype_name(dtype)
        self._library = library()
        pointer = POINTER()
        single = int(self.dtype == "float32")
        call(self._library.hesspot_model_new, block, len(block), single, ctypes.byref(pointer))
        self.pointer: int = pointer.value or 0
        self.n_members: int = self._library.hesspot_model_n_members(self.pointer)
        #: Of each centre; 0 where a kernel has none, and in float32.
        self.n_descriptors: int = self._library.hesspot_model_n_descriptors(self.pointer)
        #: For each member and element of the centre; 0 where a kernel does not train.
        self.n_weights: int = self._library.hesspot_model_n_weights(self.pointer)
        self._size = self.n_members * len(self.elements) * self.n_weights
        weakref.finalize(self, self._library.hesspot_model_delete, self.pointer)

    @property
    def instructions(self) -> str:
        """The instruction set that it uses, one of `instruction_sets()`."""
        name: bytes = self._library.hesspot_model_instructions(self.pointer)
        return name.decode()

    @property
    def hessian_kernel(self) -> KernelModel:
        """What `hesspot.derivatives.hessian` asks."""
        return self

    @classmethod
    def of(cls, model: Any, dtype: Any = "float64") -> KernelModel:
        """The kernel of a model in memory; NoKernel if it has none."""
        return cls(packed(model), dtype)

    def set_threads(self, threads: int) -> None:
        """Threads that share the centres, to the same last bit; 1 at first. UserError for fewer than 1."""
        call(self._library.hesspot_model_set_threads, self.pointer, threads)

    def place_weights(self, places: Tensor) -> None:
        """Where weights (n_members, n_elements, n_weights), in the order of hesspot_kernel.h, stand in those that the
        calls below are given, int64; in that order without this call."""
        self._need_size("places", places, "torch.int64")
        call(self._library.hesspot_model_place_weights, self.pointer, places.contiguous().data_ptr())
        self._size = int(places.max()) + 1

    def set_weights(self, weights: Tensor) -> None:
        """Other weights, float64."""
        self._need_size("weights", weights, "torch.float64")
        call(self._library.hesspot_model_set_weights, self.pointer, weights.contiguous().data_ptr())

    def add_loss_gradient(
        self, structures: ctypes.Array[Labelled], max_edges: int, gradient: Tensor
    ) -> tuple[float, float, float, float]:
        """Add the gradient of the structures' losses to that of the weights; gives the terms, as hesspot_kernel.h has
        it. At most `max_edges` edges are evaluated at once."""
        self._need_size("derivatives", gradient, "torch.float64")
        terms = (ctypes.c_double * 4)()
        function = self._library.hesspot_model_add_loss_gradient
        call(function, self.pointer, structures, len(structures), max_edges, gradient.data_ptr(), terms)
        energy, forces, curvature, stress = terms
        return energy, forces, curvature, stress

    def _need_size(self, name: str, values: Tensor, dtype: str) -> None:
        if str(values.dtype) != dtype or values.dim() != 1 or values.numel() < self._size:
            raise UserError(
                f"{name} of shape {tuple(values.shape)}, {values.dtype}; the kernel takes {self._size}, {dtype}"
            )

    def c_function(self, name: Literal["evaluate", "members"]) -> tuple[int, int]:
        """Addresses of `hesspot_model_evaluate` or `…_members` and of this model, for C code that calls the kernel."""
        return address(getattr(self._library, f"hesspot_model_{name}")), self.pointer

    def answer(self, graph: Graph, atom_virials: bool = False) -> Answer:
        """As of a `Potential`; sums run over the edges in their order."""
        n = graph.n_atoms
        energy, virial = np.empty(1), np.empty((3, 3))
        energies, forces = np.empty(n), np.empty((n, 3))
        virials = np.empty((n, 3, 3)) if atom_virials else None
        self._of_graph("answer", graph, energy, energies, forces, virial, virials)
        return Answer(float(energy[0]), energies, forces, virial, virials)

    def products(self, graph: Graph, directions: np.ndarray) -> np.ndarray:
        """As of a `Potential`."""
        directions = np.ascontiguousarray(directions, dtype=np.float64)
        if directions.shape != (graph.n_atoms, 3):
            raise UserError(
                f"directions of shape {directions.shape}; the kernel takes ({graph.n_atoms}, 3), one row for each atom"
            )
        products = np.empty((graph.n_atoms, 3))
        self._of_graph("products", graph, directions, products)
        return products

    def descriptors(self, graph: Graph, held: int = 4_000_000) -> Iterator[np.ndarray]:
        """Descriptors of the atoms, (k, n_descriptors), standardised by the training data; of a mean of models those of
        the first. They come by portions of `held` numbers at most; UserError where there are none."""
        for edges, _, n_centers in portions(graph, held // max(self.n_descriptors, 1), graph.n_edges):
            found = np.empty((n_centers, self.n_descriptors))
            call(self._library.hesspot_model_descriptors, self.pointer, ctypes.byref(edges), found.ctypes.data)
            yield found

    def member_gradients(self, graph: Graph, held: int = 8_000_000) -> Iterator[tuple[slice, np.ndarray]]:
        """Some of the edges, and derivatives of the members' energies with respect to their vectors, (n_members, k, 3)
        eV/Å; by portions of `held` numbers at most, where a centre has no more."""
        for edges, own, n_centers in portions(graph, graph.n_atoms, held // (3 * self.n_members)):
            energies = np.empty((self.n_members, n_centers))
            gradient = np.empty((self.n_members, edges.n_edges, 3))
            function = self._library.hesspot_model_members
            call(function, self.pointer, ctypes.byref(edges), energies.ctypes.data, gradient.ctypes.data)
            yield own, gradient

    def hessian(self, graph: Graph) -> np.ndarray:
        """As of a `Potential`; the same to the last bit across the diagonal, and whatever the number of threads."""
        matrix = np.empty((3 * graph.n_atoms, 3 * graph.n_atoms))
        self._of_graph("hessian", graph, matrix)
        return matrix

    def _of_graph(self, name: str, graph: Graph, *arguments: np.ndarray | None) -> None:
        """Call a function on a graph, which is copied where it does not lie as C wants it."""
        arrays = [
            *(
                np.ascontiguousarray(each, dtype=np.int64)
                for each in (graph.species, graph.first_edge, graph.neighbors)
            ),
            np.ascontiguousarray(graph.vectors, dtype=np.float64),
        ]
        told = CGraph(graph.n_atoms, graph.n_edges, *(each.ctypes.data for each in arrays))
        others = [None if each is None else each.ctypes.data for each in arguments]
        call(getattr(self._library, f"hesspot_model_{name}"), self.pointer, ctypes.byref(told), *others)

    def __call__(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """As the contract says; UserError for what is not as it says."""
        return self.edges(species, centers, neighbors).energies(vectors)

    def members(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        """Energies of the members, (n_members, n_atoms) eV; they can be differentiated once."""
        return self.edges(species, centers, neighbors).member_energies(vectors)

    def edges(self, species: Tensor, centers: Tensor, neighbors: Tensor) -> Edges:
        """What stays the same while only the vectors change; UserError for what is not as the contract says."""
        from hesspot.kernel.autograd import Edges

        return Edges.of(self, species, centers, neighbors)
