"""L-BFGS on the whole training set (Liu and Nocedal, Math. Program. 45, 503, 1989).

Losses with Hessians are badly conditioned: stiff and soft modes differ by orders of magnitude, and a first-order
optimizer learns the soft ones last. The loss must be the same function of the weights at each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hesspot.training.loss import LossTerms

#: Steps that the approximation of the inverse second derivatives remembers.
HISTORY = 60

#: Evaluations in one line search.
LINE_SEARCH = 25


class FullBatch:
    """Steps of L-BFGS with a line search to the strong Wolfe conditions.

    parameters: what is optimised, and where gradients are accumulated. evaluate: accumulates the gradient and returns
    the terms; total: their weighted sum. The loss has ½·weight_decay·Σ(w − anchor)² added.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        anchor: Sequence[Tensor],
        weight_decay: float,
        evaluate: Callable[[], LossTerms],
        total: Callable[[LossTerms], float],
    ):
        self._parameters, self._anchor, self._weight_decay = parameters, anchor, weight_decay
        self._evaluate, self._total = evaluate, total
        self._optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=1,
            max_eval=LINE_SEARCH,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )
        self._known: tuple[Tensor, Tensor, LossTerms] | None = None

    def step(self) -> LossTerms:
        """One step; returns the terms before it."""
        terms: list[LossTerms] = []

        def closure() -> Tensor:
            known = self._at_these_weights()
            terms.append(known[2])
            pairs = zip(self._parameters, self._anchor, strict=True)
            distance = sum(float(((p.detach() - a) ** 2).sum()) for p, a in pairs)
            return torch.tensor(self._total(known[2]) + 0.5 * self._weight_decay * distance, dtype=torch.float64)

        self._optimizer.step(closure)
        return terms[0]

    def state_dict(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)

    def _at_these_weights(self) -> tuple[Tensor, Tensor, LossTerms]:
        """Weights, gradient and terms; a step begins where the line search of the one before has ended."""
        weights = torch.cat([p.detach().flatten() for p in self._parameters])
        if self._known is None or not torch.equal(self._known[0], weights):
            self._optimizer.zero_grad(set_to_none=True)
            terms = self._evaluate()
            gradients = [
                (torch.zeros_like(p) if p.grad is None else p.grad) + self._weight_decay * (p.detach() - a)
                for p, a in zip(self._parameters, self._anchor, strict=True)
            ]
            self._known = weights, torch.cat([g.flatten() for g in gradients]), terms
        sizes = [p.numel() for p in self._parameters]
        for parameter, gradient in zip(self._parameters, torch.split(self._known[1], sizes), strict=True):
            parameter.grad = gradient.view_as(parameter).clone()
        return self._known
