"""Risk: a step that is not the textbook's, or that depends on batches or processes."""

import pytest
import torch
from test_parallel import ROUNDING, train_on_two, weights

from hesspot.errors import UserError
from hesspot.training.config import parse_config
from hesspot.training.full_batch import FullBatch
from hesspot.training.loop import train
from hesspot.training.loss import LossTerms

#: Line searches end where the loss has no more digits: the root of float64's rounding.
EXACT = 1e-6
DAMPING = 0.5


def settings_of(data, method="lbfgs", epochs=30, batch_size=5):
    return parse_config(
        {
            "data": str(data),
            "mode": "efh",
            "validate_every": 10,
            "model": {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4]},
            "hessian": {"sampling": "full", "metric": "frequency"},
            "optimizer": {"method": method, "epochs": epochs, "batch_size": batch_size, "weight_decay": 1e-6},
        },
        "a test",
    )


def test_a_quadratic_loss_ends_at_its_minimum():
    """Against the solution of the linear equations, with the pull of the anchor."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    curvature, slope = root @ root.T + torch.eye(6, dtype=torch.float64), torch.arange(6, dtype=torch.float64)
    parameters = [torch.zeros(2, 2, dtype=torch.float64, requires_grad=True), torch.zeros(2, dtype=torch.float64)]
    parameters[1].requires_grad_(True)
    anchor = [torch.ones(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)]

    def evaluate():
        w = torch.cat([p.flatten() for p in parameters])
        loss = 0.5 * w @ curvature @ w - slope @ w
        loss.backward()
        return LossTerms(energy=float(loss.detach()))

    optimizer = FullBatch(parameters, anchor, DAMPING, evaluate, lambda terms: terms.energy)
    for _ in range(30):
        optimizer.step()
    expected = torch.linalg.solve(curvature + DAMPING * torch.eye(6, dtype=torch.float64), slope + DAMPING)
    found = torch.cat([p.detach().flatten() for p in parameters])
    torch.testing.assert_close(found, expected, atol=EXACT, rtol=0)


def test_it_fits_better_than_adamw_in_as_many_passes(dataset_file, tmp_path):
    final = {}
    for method in ("adamw", "lbfgs"):
        train(settings_of(dataset_file, method), tmp_path / method, show=False)
        final[method] = float((tmp_path / method / "log.csv").read_text().splitlines()[-1].split(",")[2])
    assert final["lbfgs"] < 0.5 * final["adamw"]


def test_neither_batches_nor_processes_change_the_steps(dataset_file, tmp_path):
    """`batch_size` bounds the memory only."""
    train(settings_of(dataset_file, epochs=8), tmp_path / "one", show=False)
    train(settings_of(dataset_file, epochs=8, batch_size=2), tmp_path / "small", show=False)
    train_on_two(settings_of(dataset_file, epochs=8), tmp_path / "two")
    one = weights(tmp_path / "one")
    largest = max(float(value.abs().max()) for value in one.values())
    for other in ("small", "two"):
        found = weights(tmp_path / other)
        assert max(float((one[key] - found[key]).abs().max()) for key in one) < ROUNDING * largest


def test_the_weight_decay_holds_a_fine_tuned_model_to_its_start(dataset_file, tmp_path):
    train(settings_of(dataset_file, "adamw", epochs=10), tmp_path / "start", show=False)
    start, moved = weights(tmp_path / "start", "best.pt"), {}
    for decay in (1e-6, 1e3):
        content = settings_of(dataset_file, epochs=10).model_dump()
        content["start_from"] = str(tmp_path / "start")
        content["optimizer"]["weight_decay"] = decay
        train(parse_config(content, "a test"), tmp_path / f"{decay}", show=False)
        end = weights(tmp_path / f"{decay}")
        moved[decay] = float((end["last.mix"] - start["average.mix"]).abs().max())
    assert moved[1e3] < 0.05 * moved[1e-6]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hessian": {"sampling": "probes"}}, "set hessian.sampling: full, or hessian.redraw: false"),
        ({"hessian": {"sampling": "full", "ramp_epochs": 5}}, "leave hessian.ramp_epochs out"),
        ({"mode": "ef", "start_from": "a", "replay": {"data": "b.h5"}}, "list replay.data under data"),
    ],
)
def test_a_loss_that_changes_is_refused(changed, words):
    with pytest.raises(UserError, match=words):
        parse_config({"data": "a.h5", "optimizer": {"method": "lbfgs"}, **changed}, "a test")
