"""Risk: a step that is not the published one, or that gains nothing where the loss is badly conditioned."""

import copy

import pytest
import torch

from hesspot.errors import UserError
from hesspot.kernel import instruction_sets, soap_step
from hesspot.models.flat_weights import FlatWeights
from hesspot.training import optimizer as module
from hesspot.training.config import OptimizerSection, parse_config
from hesspot.training.loop import train
from hesspot.training.optimizer import Soap, make_optimizer
from hesspot.training.trainer import Trainer

RATE = 0.01

#: Of steps in float64, which the tests of the path take: sums of some hundred steps; EPSILON of the method beside
#: gradients of the order of one.
ROUNDING = 1e-6

#: Of the loss after steps in float32; seven digits of gradients, some ten of whose components are far smaller.
PRECISE = 1e-3

#: Of decay alone, which is in the precision of the weights.
EXACT = 1e-12

#: The first step's gradient is that of the bases: off its diagonal is rounding, not all of it below EPSILON.
TURNED = 1e-4


#: Of AdamW's loss; it ends at about a tenth.
FURTHER = 0.3


@pytest.fixture
def in_float64(monkeypatch):
    monkeypatch.setattr(module, "PRECISION", torch.float64)


def descend(weights, loss, steps, kind=Soap, **options):
    """Where so many steps lead from a matrix, a stack of them, or a vector."""
    weights = torch.nn.Parameter(weights.clone())
    flat = FlatWeights([weights], [[weights]] if weights.dim() > 1 else [])
    optimizer = kind(flat, lr=RATE, **options)
    for _ in range(steps):
        flat.gradient.zero_()
        loss(weights).backward()
        optimizer.step()
    return weights.detach()


def adam(flat, lr):
    return torch.optim.Adam([flat.values], lr=lr, betas=(0.95, 0.95))


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


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 3)])
@pytest.mark.usefixtures("in_float64")
def test_a_constant_gradient_is_followed_along_its_polar_factor(shape):
    """GGᵀ and GᵀG are diagonal in the singular vectors of G, where Adam's step of a constant gradient is its sign."""
    gradient, start = random(*shape), random(*shape, seed=3)
    found = descend(start, lambda w: (w * gradient).sum(), 2)
    u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
    torch.testing.assert_close((start - found) / RATE, u @ vh, atol=ROUNDING, rtol=0)


def published(loss, w, steps):
    """Algorithm 3 of Vyas et al. with the mean of the gradients kept in the axes of the weights.

    Eigenvectors begin with the strongest one, as in the authors' code. Every second step is in left and right.
    """
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(steps):
        w = w.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(loss(w), w)
        if t == 0:
            left, right = g @ g.T, g.T @ g
            q_left, q_right = torch.linalg.eigh(left)[1].flip(1), torch.linalg.eigh(right)[1].flip(1)
            continue
        mean = 0.95 * mean + 0.05 * g
        square = 0.95 * square + 0.05 * (q_left.T @ g @ q_right) ** 2
        unbias = 1.0 - 0.95**t
        step = (q_left.T @ mean @ q_right) / unbias / ((square / unbias).sqrt() + 1e-8)
        w = w - RATE * q_left @ step @ q_right.T
        if t % 2 == 0:
            kept = 0.95**2
            left, right = kept * left + (1 - kept) * g @ g.T, kept * right + (1 - kept) * g.T @ g
        if t % 10 == 0:
            q_left, q_right = torch.linalg.qr(left @ q_left)[0], torch.linalg.qr(right @ q_right)[0]
    return w.detach()


@pytest.mark.usefixtures("in_float64")
def test_the_path_is_that_of_the_published_algorithm():
    start = random(3, 3, seed=6)
    torch.testing.assert_close(descend(start, quartic, 45), published(quartic, start, 45), atol=TURNED, rtol=0)


def test_float32_is_enough():
    """The descent is as fast; small components of a gradient are stepped a little less."""
    start = random(3, 3, seed=6)
    found, expected = (float(quartic(w)) for w in (descend(start, quartic, 45), published(quartic, start, 45)))
    assert found == pytest.approx(expected, rel=PRECISE)
    assert expected < 0.6 * float(quartic(start))


def wide(weights):
    """Of 9 columns, where what matters lies in a plane along no axis, but for what is outside of it a little."""
    plane = rotation(9, 8)[:, :2]
    return ((weights @ plane - 1.0) ** 2).sum() + 1e-3 * (weights**2).sum()


@pytest.mark.usefixtures("in_float64")
def test_of_a_wide_matrix_the_strongest_directions_are_a_basis(monkeypatch):
    """A basis of three is enough where the gradients span little more than a plane; in the rest Adam takes small steps.

    Without the basis, Adam's path is another one.
    """
    monkeypatch.setattr(module, "RANKS", (3, 3))
    start = random(2, 9, seed=9)
    found, everything = descend(start, wide, 200), published(wide, start, 200)
    assert float(wide(found)) < 1.5 * float(wide(everything)) + ROUNDING
    assert float(wide(descend(start, wide, 200, adam))) > 2.0 * float(wide(found))


@pytest.mark.usefixtures("in_float64")
def test_steps_in_a_basis_and_beyond_it_are_those_of_adam_in_each(monkeypatch):
    """One step: the part of the gradient in the basis along its polar factor, the rest with the signs of Adam."""
    monkeypatch.setattr(module, "RANKS", (2, 2))
    first, second, start = random(2, 5, seed=1), random(2, 5, seed=2), random(2, 5, seed=3)
    gradients = iter([first, second])
    found = descend(start, lambda w: (w * next(gradients)).sum(), 2)
    u, _, vh = torch.linalg.svd(first, full_matrices=False)
    inside = u.T @ second @ vh.T
    beyond = u.T @ second - inside @ vh
    torch.testing.assert_close(
        (start - found) / RATE, u @ (inside.sign() @ vh + beyond.sign()), atol=ROUNDING * 10, rtol=0
    )


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_kernel_steps_as_torch_does(instructions, precision, monkeypatch):
    """Stacks of all forms, on one thread and on three; the second are the same bits."""
    if instructions not in instruction_sets():
        pytest.skip(f"this processor has no {instructions}")
    monkeypatch.setattr(module, "PRECISION", precision)
    monkeypatch.setattr(module, "RANKS", (7, 9))
    stacks = []
    for number, shape in enumerate([(3, 5, 40), (2, 33, 6), (1, 6, 6), (2, 7, 19)]):
        weights, gradient = random(*shape, seed=number), random(*shape, seed=10 + number)
        stacks.append((weights, gradient, module._first_state(gradient.to(precision))))
    plain = {name: torch.zeros(1, 1, 11, dtype=precision) for name in ("mean", "square")}  # stepped by Adam
    stacks.append((random(1, 1, 11, seed=4), random(1, 1, 11, seed=14), plain))
    ways = [copy.deepcopy(stacks) for _ in range(3)]
    settings = {"rate": 0.01, "decay": 1e-3}
    for step in range(1, 4):
        for number in range(len(stacks)):
            gradient = random(*stacks[number][1].shape, seed=100 * step + number)
            for way in ways:
                way[number][1].copy_(gradient)
        unbias = 1.0 - module.MEMORY**step
        settings["memory_of_squares"] = 1.0 if step == 2 else module.MEMORY
        module.step_in_torch(ways[0], unbias=unbias, **settings)
        for way, threads in ((ways[1], 1), (ways[2], 3)):
            rounding = {"memory": module.MEMORY, "epsilon": module.EPSILON}
            soap_step(way, unbias=unbias, threads=threads, **rounding, **settings)
    for expected, found, shared in zip(*ways, strict=True):
        assert float((expected[0] - random(*expected[0].shape)).abs().max()) > RATE
        tolerance = {"rtol": 0, "atol": 5000 * torch.finfo(precision).eps}
        torch.testing.assert_close(found[0], expected[0], **tolerance)
        assert torch.equal(found[0], shared[0])
        for name, value in expected[2].items():
            scale = float(value.abs().max())
            torch.testing.assert_close(found[2][name] / scale, value / scale, **tolerance, msg=name)
            assert torch.equal(found[2][name], shared[2][name])


def test_stacks_that_cannot_be_are_refused():
    weights = random(1, 4, 5)
    state = module._first_state(weights.float())
    settings = {"memory": 0.9, "memory_of_squares": 0.9, "unbias": 0.1, "epsilon": 0.0, "rate": 0.1, "decay": 0.0}
    with pytest.raises(UserError, match="0 threads cannot be"):
        soap_step([(weights, weights, state)], threads=0, **settings)
    state["right"] = random(1, 6, 5).float()
    with pytest.raises(UserError, match="a basis of 6"):
        soap_step([(weights, weights, state)], threads=1, **settings)


@pytest.mark.usefixtures("in_float64")
def test_a_turned_loss_is_descended_in_the_same_way():
    """Unlike Adam's, the path does not depend on the axes of the weights."""
    left, right, start = rotation(3, 4), rotation(3, 5), random(3, 3, seed=6)

    def paths(kind):
        a = descend(start, quartic, 60, kind)
        b = descend(left @ start @ right, lambda w: quartic(left.T @ w @ right.T), 60, kind)
        return float((left @ a @ right - b).abs().max())

    assert paths(Soap) < TURNED
    assert paths(adam) > 100 * TURNED


@pytest.mark.usefixtures("in_float64")
def test_a_stack_of_matrices_is_so_many_matrices():
    start = random(2, 3, 3, seed=7)
    together = descend(start, lambda w: quartic(w[0]) + 2.0 * quartic(w[1]), 40)
    for index, factor in enumerate((1.0, 2.0)):
        alone = descend(start[index], lambda w, f=factor: f * quartic(w), 40)
        torch.testing.assert_close(together[index], alone, atol=ROUNDING, rtol=0)


def test_weights_without_a_gradient_only_decay():
    """The network of an element that no batch has."""
    start = random(3, 4)
    found = descend(start, lambda w: 0.0 * w.sum(), 25, weight_decay=0.5)
    torch.testing.assert_close(found, start * (1.0 - RATE * 0.5) ** 24, atol=EXACT, rtol=0)


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
    optimizer = make_optimizer(FlatWeights(model.parameters(), [[model.weight]]), settings)
    for _ in range(3):
        optimizer.step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old * (1.0 - RATE * 5.0) ** steps, rtol=EXACT, atol=0)


@pytest.mark.parametrize("method", ["adamw", "soap"])
def test_a_run_steps_with_its_own_rate_and_decay(dataset_file, method):
    optimizer = {"method": method, "learning_rate": 0.123, "weight_decay": 0.456, "epochs": 2, "warmup_epochs": 0}
    run = Trainer(parse_config({"data": str(dataset_file), "mode": "e", "optimizer": optimizer}, "a test"))
    (group,) = run.optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.123, 0.456)
    (values,) = group["params"]
    assert values.numel() == sum(p.numel() for p in run.model.parameters())
    assert {p.untyped_storage().data_ptr() for p in run.model.parameters()} == {values.untyped_storage().data_ptr()}
