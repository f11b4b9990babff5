"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., ICLR 2025, arXiv 2409.11321).

Losses with Hessians are badly conditioned: stiff and soft modes differ by orders of magnitude, and the weights that
move them are mixed in every matrix. Adam scales each element by itself; in the eigenbases of the mean of GGᵀ and GᵀG,
G being the gradient of a matrix of weights, elements are nearly independent, and scaling each is nearly Newton's step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

#: Decay of the means of gradients, of their squares, and of GGᵀ and GᵀG.
MEMORY = 0.95

#: Steps between two updates of the eigenbases.
REFRESH = 10

#: Added to root mean squares of gradients.
EPSILON = 1e-8


class Soap(torch.optim.Optimizer):
    """Decoupled weight decay as in AdamW.

    A parameter of more than two dimensions is a stack of matrices, a vector is a matrix of one row. The first step sets
    the eigenbases up and moves nothing.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = torch.atleast_2d(parameter.grad)
                gradient = gradient.reshape(-1, *gradient.shape[-2:])
                state = self.state[parameter]
                if not state:
                    state.update(_first_state(gradient))
                    continue
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.sub_(group["lr"] * _direction(state, gradient).reshape(parameter.shape))


def _first_state(gradient: Tensor) -> dict[str, Any]:
    left, right = gradient @ gradient.mT, gradient.mT @ gradient
    return {
        "step": 0,
        "mean": torch.zeros_like(gradient),
        "square": torch.zeros_like(gradient),
        "left": left,
        "right": right,
        "left_basis": torch.linalg.eigh(left).eigenvectors,
        "right_basis": torch.linalg.eigh(right).eigenvectors,
    }


def _direction(state: dict[str, Any], gradient: Tensor) -> Tensor:
    """Adam's step of rate one in the eigenbases, where `mean` and `square` are, turned back."""
    state["step"] += 1
    left, right = state["left_basis"], state["right_basis"]
    turned = left.mT @ gradient @ right
    state["mean"].lerp_(turned, 1.0 - MEMORY)
    state["square"].lerp_(turned**2, 1.0 - MEMORY)
    state["left"].lerp_(gradient @ gradient.mT, 1.0 - MEMORY)
    state["right"].lerp_(gradient.mT @ gradient, 1.0 - MEMORY)
    unbias = 1.0 - MEMORY ** state["step"]
    step = state["mean"] / unbias / ((state["square"] / unbias).sqrt() + EPSILON)
    if state["step"] % REFRESH == 0:
        for side in ("left", "right"):
            state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"]).Q
        new_left, new_right = state["left_basis"], state["right_basis"]
        state["mean"] = new_left.mT @ (left @ state["mean"] @ right.mT) @ new_right
    return left @ step @ right.mT
