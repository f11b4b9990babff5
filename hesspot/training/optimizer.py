"""How weights are stepped: the optimizer, and its learning rate.

SOAP is Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., ICLR 2025, arXiv 2409.11321).
Losses with Hessians are badly conditioned: stiff and soft modes differ by orders of magnitude, and the weights that
move them are mixed in every matrix. Adam scales each element by itself; in the eigenbases of the mean of GGᵀ and GᵀG,
G being the gradient of a matrix of weights, elements are nearly independent, and scaling each is nearly Newton's step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hesspot.kernel import soap_step
from hesspot.models.flat_weights import FlatWeights
from hesspot.training.config import OptimizerSection

#: Decay of the means of gradients, of their squares, and of GGᵀ and GᵀG.
MEMORY = 0.95

#: Steps between two updates of the bases: at first, then a tenth of the steps done, and at last.
REFRESHES = (10, 20)

#: Steps between two updates of the means of GGᵀ and GᵀG, a quarter of the arithmetic of a step with a wide layer.
MEASURED_EVERY = 2

#: Of bases and means. A step is as good with seven digits, and costs half.
PRECISION = torch.float32

#: Directions of a matrix's longer side that are a basis: all of them up to the first number, then a part of them, up to
#: the second.
RANKS, PART = (48, 128), 4

#: Added to root mean squares of gradients.
EPSILON = 1e-8

#: The rate never falls below this part of its peak.
LOWEST = 0.01


class Soap(torch.optim.Optimizer):
    """Decoupled weight decay as in AdamW; what is no matrix is stepped by Adam.

    Of the longer side of a matrix some `RANKS` strongest directions are a basis, and what is beyond them is stepped by
    Adam as it is: the networks' first layers are wide, most of what they read is correlated, and bases of all of it
    would cost more than the gradient. The first step sets the bases up and moves nothing. On CPUs the kernel makes the
    steps, which torch would in many small operations. threads: of the kernel.
    """

    def __init__(self, weights: FlatWeights, lr: float, weight_decay: float = 0.0, threads: int = 1):
        super().__init__([weights.values], {"lr": lr, "weight_decay": weight_decay})
        self._threads = threads
        self._stacks = [(each.view(weights.values.data), each.view(weights.gradient)) for each in weights.stacks]
        self._rest = tuple(
            each[weights.n_matrices :].view(1, 1, -1) for each in (weights.values.data, weights.gradient)
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        (group,) = self.param_groups
        (values,) = group["params"]
        state = self.state[values]
        if not state:
            gradients = [gradient.to(PRECISION) for _, gradient in self._stacks]
            state |= {"step": 0, "refresh": REFRESHES[0], "stacks": [_first_state(each) for each in gradients]}
            state["rest"] = {name: torch.zeros_like(self._rest[1], dtype=PRECISION) for name in ("mean", "square")}
            return
        state["step"] += 1
        stacks = [(*views, own) for views, own in zip(self._stacks, state["stacks"], strict=True)]
        if self._rest[0].numel():
            stacks.append((*self._rest, state["rest"]))
        decay, unbias = group["lr"] * group["weight_decay"], 1.0 - MEMORY ** state["step"]
        of_squares = 1.0 if state["step"] % MEASURED_EVERY else MEMORY**MEASURED_EVERY
        settings = {"memory_of_squares": of_squares, "unbias": unbias, "rate": group["lr"], "decay": decay}
        if values.device.type == "cpu":
            soap_step(stacks, memory=MEMORY, epsilon=EPSILON, threads=self._threads, **settings)
        else:
            step_in_torch(stacks, **settings)
        if state["step"] == state["refresh"]:
            state["refresh"] += min(max(REFRESHES[0], state["step"] // 10), REFRESHES[1])
            for own in state["stacks"]:
                _turn(own)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of every optimizer, which would turn all numbers of the state into those of the weights."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state.update(_precise(state))


def _precise(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(PRECISION)
    if isinstance(value, dict):
        return {key: _precise(each) for key, each in value.items()}
    return [_precise(each) for each in value] if isinstance(value, list) else value


def _adam(mean: Tensor, square: Tensor, gradient: Tensor, unbias: float, floor: Tensor | float) -> Tensor:
    """Adam's step of rate one; floor: added to the root mean squares."""
    mean.lerp_(gradient, 1.0 - MEMORY)
    square.lerp_(gradient * gradient, 1.0 - MEMORY)
    scale = (square / unbias).sqrt_().add_(floor).mul_(unbias)
    return torch.div(mean, scale, out=scale)


def _long_rows(matrices: Tensor) -> Tensor:
    """Transposed if they have more rows than columns."""
    return matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices


def _first_state(gradient: Tensor) -> dict[str, Tensor]:
    """Of matrices with their longer side as columns: (n, rows, columns).

    left (n, rows, rows): a basis L of the rows, in its columns; right (n, rank, columns): a basis R of the
    columns, or of the strongest directions of these, in its rows. Means of GGᵀ and GᵀG are kept in these bases,
    left_square LᵀGGᵀL and right_square RGᵀG.
    """
    gradient = _long_rows(gradient)
    n, rows, columns = gradient.shape
    left, _, right = torch.linalg.svd(gradient, full_matrices=False)
    rank = min(columns, max(RANKS[0], min(columns // PART, RANKS[1])))
    if rows < rank:  # no gradient has been along the others
        random = torch.randn(columns, rank - rows, dtype=gradient.dtype, generator=torch.Generator().manual_seed(0))
        right = torch.linalg.qr(torch.cat([right.mT, random.to(gradient.device).expand(n, -1, -1)], dim=2)).Q.mT
    right = right[:, :rank]
    turned = left.mT @ gradient
    inside = turned @ right.mT
    state = {"left": left, "right": right, "mean": torch.zeros_like(inside), "square": torch.zeros_like(inside)}
    state |= {"left_square": turned @ turned.mT, "right_square": inside.mT @ turned}
    if rank < columns:
        state |= {"beyond_mean": torch.zeros_like(gradient), "beyond_square": torch.zeros_like(gradient)}
    return {name: each.contiguous() for name, each in state.items()}


def step_in_torch(
    stacks: Sequence[tuple[Tensor, Tensor, dict[str, Tensor]]],
    memory_of_squares: float,
    unbias: float,
    rate: float,
    decay: float,
) -> None:
    """What `hesspot.kernel.soap_step` does, on any device."""
    for weights, gradient, state in stacks:
        if "left" not in state:
            move = _adam(state["mean"], state["square"], gradient.to(PRECISION), unbias, EPSILON)
            weights.mul_(1.0 - decay).sub_(move, alpha=rate)
            continue
        left, right, square = state["left"], state["right"], state["square"]
        turned = left.mT @ _long_rows(gradient).to(PRECISION)
        inside = turned @ right.mT
        rounding = 8.0 * torch.finfo(PRECISION).eps  # of products, which is no direction to step in
        largest = torch.lerp(square, inside * inside, 1.0 - MEMORY).amax((1, 2), keepdim=True)
        floor = (largest / unbias).sqrt_().mul_(rounding).add_(EPSILON)
        move = _adam(state["mean"], square, inside, unbias, floor) @ right
        if "beyond_mean" in state:
            beyond = torch.baddbmm(turned, inside, right, alpha=-1.0)
            move += _adam(state["beyond_mean"], state["beyond_square"], beyond, unbias, floor)
        if memory_of_squares < 1.0:
            state["left_square"].lerp_(turned @ turned.mT, 1.0 - memory_of_squares)
            state["right_square"].lerp_(inside.mT @ turned, 1.0 - memory_of_squares)
        move = left @ move
        weights.mul_(1.0 - decay).sub_(move if move.shape == weights.shape else move.mT, alpha=rate)


def _turn(state: dict[str, Tensor]) -> None:
    """New bases, by one step of orthogonal iteration from the old ones, and the means in them."""
    right = state["right"]
    mean = state["mean"] @ right
    if "beyond_mean" in state:
        mean += state["beyond_mean"]
    turn = torch.linalg.qr(state["left_square"]).Q
    new = {"left": state["left"] @ turn, "left_square": turn.mT @ state["left_square"] @ turn}
    new["right"] = torch.linalg.qr(state["right_square"].mT).Q.mT
    new["right_square"] = (new["right"] @ right.mT) @ state["right_square"]
    mean = turn.mT @ mean
    new["mean"] = mean @ new["right"].mT
    if "beyond_mean" in state:
        new["beyond_mean"] = torch.baddbmm(mean, new["mean"], new["right"], alpha=-1.0)
    state.update({name: each.contiguous() for name, each in new.items()})


def make_optimizer(weights: FlatWeights, settings: OptimizerSection, threads: int = 1) -> torch.optim.Optimizer:
    """The configured optimizer of all weights of a model."""
    if settings.method == "soap":
        return Soap(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, threads=threads)
    return torch.optim.AdamW([weights.values], lr=settings.learning_rate, weight_decay=settings.weight_decay)


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
