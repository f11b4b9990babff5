"""Risk: a step that is not the published one, or that gains nothing where the loss is badly conditioned."""

import pytest
import torch

from hesspot.training.config import OptimizerSection, parse_config
from hesspot.training.loop import train
from hesspot.training.optimizer import Soap, make_optimizer
from hesspot.training.trainer import Trainer

RATE = 0.01

#: Sums in float64, some hundred steps; EPSILON of the method beside gradients of the order of one.
ROUNDING = 1e-6

#: The first step's gradient is that of the bases: off its diagonal is rounding, not all of it below EPSILON.
TURNED = 1e-4


#: Of AdamW's loss; it ends at about a tenth.
FURTHER = 0.3


def descend(parameters, loss, steps, optimizer):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(*parameters).backward()
        optimizer.step()
    return [p.detach().clone() for p in parameters]


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(size, seed):
    return torch.linalg.qr(random(size, size, seed=seed)).Q


def quartic(weights):
    """Conditioned badly, and along no row or column."""
    a, b = random(3, 3, seed=1), random(3, 3, seed=2)
    scales = torch.tensor([0.1, 0.3, 1.0], dtype=torch.float64)
    turned = (scales[:, None] * (a @ weights)) @ b
    return (turned**2).sum() + 0.1 * (weights**4).sum()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 3), (4,)])
def test_a_constant_gradient_is_followed_along_its_polar_factor(shape):
    """GGᵀ and GᵀG are diagonal in the singular vectors of G, where Adam's step of a constant gradient is its sign."""
    gradient, start = random(*shape), random(*shape, seed=3)
    weights = start.clone().requires_grad_(True)
    optimizer = Soap([weights], lr=RATE)
    descend([weights], lambda w: (w * gradient).sum(), 2, optimizer)
    u, _, vh = torch.linalg.svd(torch.atleast_2d(gradient), full_matrices=False)
    torch.testing.assert_close((start - weights.detach()) / RATE, (u @ vh).reshape(shape), atol=ROUNDING, rtol=0)


def test_the_path_is_that_of_the_published_algorithm():
    """Algorithm 3 of Vyas et al. with the mean of the gradients kept in the axes of the weights."""
    weights = random(3, 3, seed=6).requires_grad_(True)
    (found,) = descend([weights], quartic, 45, Soap([weights], lr=RATE))

    w = random(3, 3, seed=6)
    mean, square = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for t in range(45):
        w = w.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(quartic(w), w)
        if t == 0:
            left, right = g @ g.T, g.T @ g
            q_left, q_right = torch.linalg.eigh(left)[1], torch.linalg.eigh(right)[1]
            continue
        mean = 0.95 * mean + 0.05 * g
        square = 0.95 * square + 0.05 * (q_left.T @ g @ q_right) ** 2
        unbias = 1.0 - 0.95**t
        step = (q_left.T @ mean @ q_right) / unbias / ((square / unbias).sqrt() + 1e-8)
        w = w - RATE * q_left @ step @ q_right.T
        left, right = 0.95 * left + 0.05 * g @ g.T, 0.95 * right + 0.05 * g.T @ g
        if t % 10 == 0:
            q_left, q_right = torch.linalg.qr(left @ q_left)[0], torch.linalg.qr(right @ q_right)[0]
    torch.testing.assert_close(found, w.detach(), atol=TURNED, rtol=0)


def test_a_turned_loss_is_descended_in_the_same_way():
    """Unlike Adam's, the path does not depend on the axes of the weights."""
    left, right, start = rotation(3, 4), rotation(3, 5), random(3, 3, seed=6)

    def paths(kind):
        plain, turned = start.clone().requires_grad_(True), (left @ start @ right).requires_grad_(True)
        (a,) = descend([plain], quartic, 60, kind([plain], lr=RATE))
        (b,) = descend([turned], lambda w: quartic(left.T @ w @ right.T), 60, kind([turned], lr=RATE))
        return float((left @ a @ right - b).abs().max())

    assert paths(Soap) < TURNED
    assert paths(lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.95, 0.95))) > 100 * TURNED


def test_a_stack_of_matrices_is_so_many_matrices():
    start = random(2, 3, 3, seed=7)
    stack = start.clone().requires_grad_(True)
    (together,) = descend([stack], lambda w: quartic(w[0]) + 2.0 * quartic(w[1]), 40, Soap([stack], lr=RATE))
    for index, factor in enumerate((1.0, 2.0)):
        one = start[index].clone().requires_grad_(True)
        (alone,) = descend([one], lambda w, f=factor: f * quartic(w), 40, Soap([one], lr=RATE))
        torch.testing.assert_close(together[index], alone, atol=ROUNDING, rtol=0)


def test_weights_without_a_gradient_only_decay():
    """The network of an element that no batch has."""
    weights = random(3, 4).requires_grad_(True)
    start = weights.detach().clone()
    descend([weights], lambda w: 0.0 * w.sum(), 25, Soap([weights], lr=RATE, weight_decay=0.5))
    torch.testing.assert_close(weights.detach(), start * (1.0 - RATE * 0.5) ** 24, atol=ROUNDING, rtol=0)


def test_it_fits_better_than_adamw_in_as_many_epochs(dataset_file, tmp_path):
    final = {}
    for method in ("adamw", "soap"):
        settings = parse_config(
            {
                "data": str(dataset_file),
                "hessian": {"sampling": "full", "metric": "frequency"},
                "optimizer": {"method": method, "epochs": 120, "batch_size": 5},
                "model": {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]},
            },
            "a test",
        )
        train(settings, tmp_path / method, show=False)
        final[method] = float((tmp_path / method / "log.csv").read_text().splitlines()[-1].split(",")[2])
    assert final["soap"] < FURTHER * final["adamw"]


@pytest.mark.parametrize(("method", "steps"), [("adamw", 3), ("soap", 2)])  # the first of SOAP's moves nothing
def test_weights_decay_as_configured(method, steps):
    """Without gradients nothing but the decay is left: w (1 − rate · decay) with every step."""
    model = torch.nn.Linear(3, 2).double()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    settings = OptimizerSection(method=method, learning_rate=RATE, weight_decay=5.0)
    optimizer = make_optimizer(list(model.parameters()), settings)
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old * (1.0 - RATE * 5.0) ** steps, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("method", ["adamw", "soap"])
def test_a_run_steps_with_its_own_rate_and_decay(dataset_file, method):
    optimizer = {"method": method, "learning_rate": 0.123, "weight_decay": 0.456, "epochs": 2, "warmup_epochs": 0}
    run = Trainer(parse_config({"data": str(dataset_file), "mode": "e", "optimizer": optimizer}, "a test"))
    (group,) = run.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.123, 0.456)
    assert {id(p) for p in group["params"]} == {id(p) for p in run.model.parameters()}
