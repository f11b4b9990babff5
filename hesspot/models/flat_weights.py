"""All weights of a model in one vector, and their gradient in another: steps are few operations on long vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stack:
    """Where matrices of one shape lie in a vector, one behind the other."""

    first: int
    count: int
    rows: int
    columns: int

    @property
    def end(self) -> int:
        return self.first + self.count * self.rows * self.columns

    def view(self, vector: Tensor) -> Tensor:
        """(count, rows, columns)"""
        return vector[self.first : self.end].view(self.count, self.rows, self.columns)


class FlatWeights:
    """Weights, of which the parameters become views, and so do their gradients.

    values: (n,), a parameter whose gradient is there from the start; stacks: of its matrices, from the beginning on;
    what is behind them, from `n_matrices` on, is no matrix.
    """

    def __init__(self, parameters: Iterable[Tensor], matrices: Sequence[Sequence[Tensor]] = ()):
        """matrices: of those parameters; the parts of each are rows of one matrix. More than two dimensions are a
        stack of matrices."""
        by_shape: dict[tuple[int, int], list[Sequence[Tensor]]] = {}
        for parts in matrices:
            by_shape.setdefault((sum(part.shape[-2] for part in parts), parts[0].shape[-1]), []).append(parts)
        order: list[Tensor] = []
        self.stacks: list[Stack] = []
        first = 0
        for (rows, columns), alike in by_shape.items():
            size = sum(part.numel() for parts in alike for part in parts)
            self.stacks.append(Stack(first, size // (rows * columns), rows, columns))
            order += [part for parts in alike for part in parts]
            first += size
        self.n_matrices = first
        known = {id(each) for each in order}
        order += [each for each in parameters if id(each) not in known]
        self.values = nn.Parameter(torch.cat([each.detach().flatten() for each in order]))
        self.gradient = torch.zeros_like(self.values)
        self.values.grad = self.gradient
        first = 0
        for each in order:
            own = slice(first, first + each.numel())
            each.data = self.values.data[own].view(each.shape)
            each.grad = self.gradient[own].view(each.shape)
            first += each.numel()
