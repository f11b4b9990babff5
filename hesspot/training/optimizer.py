"""How weights are stepped: the optimizer, and its learning rate.

SOAP is Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., ICLR 2025, arXiv 2409.11321).
Losses with Hessians are badly conditioned: stiff and soft modes differ by orders of magnitude, and the weights that
move them are mixed in every matrix. Adam scales each element by itself; in the eigenbases of the mean of GGᵀ and GᵀG,
G being the gradient of a matrix of weights, elements are nearly independent, and scaling each is nearly Newton's step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hesspot.training.config import OptimizerSection

#: Decay of the means of gradients, of their squares, and of GGᵀ and GᵀG.
MEMORY = 0.95

#: Steps between two updates of the eigenbases.
REFRESH = 10

#: Added to root mean squares of gradients.
EPSILON = 1e-8

#: The rate never falls below this part of its peak.
LOWEST = 0.01


class Soap(torch.optim.Optimizer):
    """Decoupled weight decay as in AdamW.

    A parameter of more than two dimensions is a stack of matrices, a vector is a matrix of one row. Matrices of one
    shape are stepped together, as one stack, whose state is that of its first parameter. The first step sets the
    eigenbases up and moves nothing.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for stack in _stacks(group["params"]):
                gradient = torch.cat([_matrices(p.grad if p.grad is not None else torch.zeros_like(p)) for p in stack])
                state = self.state[stack[0]]
                if not state:
                    state.update(_first_state(gradient))
                    continue
                torch._foreach_mul_(stack, 1.0 - group["lr"] * group["weight_decay"])
                steps = _direction(state, gradient).split([_matrices(p).shape[0] for p in stack])
                moves = [step.reshape(p.shape) for step, p in zip(steps, stack, strict=True)]
                torch._foreach_add_(stack, moves, alpha=-group["lr"])


def _matrices(parameter: Tensor) -> Tensor:
    """(n, rows, columns)."""
    matrix = torch.atleast_2d(parameter)
    return matrix.reshape(-1, *matrix.shape[-2:])


def _stacks(parameters: Iterable[Tensor]) -> list[list[Tensor]]:
    """Those whose matrices have one shape, in the order of the first of each."""
    stacks: dict[tuple[int, ...], list[Tensor]] = {}
    for parameter in parameters:
        stacks.setdefault(tuple(torch.atleast_2d(parameter).shape[-2:]), []).append(parameter)
    return list(stacks.values())


def _first_state(gradient: Tensor) -> dict[str, Any]:
    state: dict[str, Any] = {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    for side, square in _squares(gradient).items():
        state |= {side: square, f"{side}_basis": torch.linalg.eigh(square).eigenvectors}
    return state


def _squares(gradient: Tensor) -> dict[str, Tensor]:
    return {"left": gradient @ gradient.mT, "right": gradient.mT @ gradient}


def _direction(state: dict[str, Any], gradient: Tensor) -> Tensor:
    """Adam's step of rate one in the eigenbases, where `mean` and `square` are, turned back."""
    state["step"] += 1
    left, right = state["left_basis"], state["right_basis"]
    turned = left.mT @ gradient @ right
    state["mean"].lerp_(turned, 1.0 - MEMORY)
    state["square"].lerp_(turned**2, 1.0 - MEMORY)
    for side, square in _squares(gradient).items():
        state[side].lerp_(square, 1.0 - MEMORY)
    unbias = 1.0 - MEMORY ** state["step"]
    step = state["mean"] / unbias / ((state["square"] / unbias).sqrt() + EPSILON)
    if state["step"] % REFRESH == 0:
        for side in ("left", "right"):
            state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"]).Q
        new_left, new_right = state["left_basis"], state["right_basis"]
        state["mean"] = new_left.mT @ (left @ state["mean"] @ right.mT) @ new_right
    return left @ step @ right.mT


def make_optimizer(weights: list[Tensor], settings: OptimizerSection) -> torch.optim.Optimizer:
    """The configured optimizer of all weights of a model."""
    if settings.method == "soap":
        return Soap(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True)


@dataclass
class Schedule:
    """Linear warm-up, then half a cosine, or steps down where the validation stays.

    The rate is a function of the epochs done, and of the validations with `plateau`.

    factor: product of the reductions so far; best: the best validation loss; since: the epoch of the last
    better validation or reduction.
    """

    settings: OptimizerSection
    factor: float = 1.0
    best: float = math.inf
    since: int = 0

    def rate(self, epochs_done: float, epochs_per_step: float) -> float:
        """The rate of a step that begins when `epochs_done` epochs, with their fraction, have been done."""
        settings = self.settings
        if epochs_done < settings.warmup_epochs:
            return settings.learning_rate * (epochs_done + epochs_per_step) / settings.warmup_epochs
        if settings.schedule == "plateau":
            return settings.learning_rate * self.factor
        done = (epochs_done - settings.warmup_epochs) / max(settings.epochs - settings.warmup_epochs, epochs_per_step)
        return settings.learning_rate * (LOWEST + (1 - LOWEST) * 0.5 * (1.0 + math.cos(math.pi * done)))

    def validated(self, epoch: int, loss: float) -> None:
        """Lower the rate if the validation has not become better for longer than the patience."""
        if loss < self.best:
            self.best, self.since = loss, epoch
        elif self.settings.schedule == "plateau" and epoch - self.since > self.settings.plateau_patience:
            self.factor = max(self.factor * self.settings.plateau_factor, LOWEST)
            self.since = epoch

    def state(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "since": self.since}

    def load(self, state: dict[str, float]) -> None:
        self.factor, self.best, self.since = state["factor"], state["best"], int(state["since"])
