"""Training on a GPU: the CPU's losses, the CPU's steps of SOAP, runs that change the device, and seconds per epoch."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import torch

from hesspot.training.checkpoint import load_checkpoint, save_checkpoint
from hesspot.training.config import parse_config
from hesspot.training.loop import train
from hesspot.training.trainer import Trainer

#: Two epochs of float64 training with AdamW. SOAP's are in float32, and amplify rounding where a gradient is small.
LOSS_TOLERANCE = 1e-6

#: Of SOAP's steps from one state with one sequence of gradients, parts of how far the weights have moved: a step in
#: float32; and an epoch after the bases have turned, in which what is rounding of the largest gradients counts.
STEP_TOLERANCE, EPOCH_TOLERANCE = 1e-5, 3e-3

#: The first sets the bases of SOAP up and moves nothing; in those that are compared the bases turn.
EPOCHS_BEFORE, EPOCHS_COMPARED = 3, 3

WAYS: dict[str, dict[str, Any]] = {
    "E-F": {"mode": "ef"},
    "E-F-H, one direction": {"mode": "efh"},
    "E-F-H, full": {"mode": "efh", "hessian": {"sampling": "full"}},
}

#: Data, model and batches that the ways are timed with.
SIZES: dict[str, dict[str, Any]] = {
    "batches of 8": {"data": "shipped:reactive_chno"},
    "batches of 64, large model": {
        "data": "shipped:grown_chno",
        "optimizer": {"batch_size": 64},
        "model": {"preset": "large"},
    },
}

#: Epochs of a timing, the first of which warms up, and the seconds after which no more is begun.
ROUNDS, LONGEST = 4, 6.0


def configured(content: dict[str, Any]) -> Any:
    return parse_config({"seed": 3, **content}, "the check")


def losses(device: str, folder: Path) -> dict[str, Any]:
    """Two epochs with full Hessians and with random directions, on the device and on the CPU: the same losses."""
    found: dict[str, Any] = {"passed": True}
    for sampling in ("full", "probes"):
        best = {}
        for number, where in enumerate(("cpu", device)):
            content = {
                "data": "shipped:small_chno",
                "mode": "efh",
                "device": where,
                "hessian": {"sampling": sampling},
                "optimizer": {"epochs": 2, "method": "adamw"},
                "validate_every": 1,
            }
            best[number] = train(configured(content), folder / f"{sampling}-{number}", show=False).best_loss
        found[f"validation loss, {sampling}"] = best[1]
        found[f"relative difference, {sampling}"] = float(f"{abs(best[1] - best[0]) / best[0]:.1e}")
        found["passed"] &= found[f"relative difference, {sampling}"] <= LOSS_TOLERANCE
    return found


def soap_steps(device: str) -> dict[str, Any]:
    """SOAP on the CPU, and on the device from the state that the CPU has reached, with the CPU's gradients."""
    content = {"data": "shipped:reactive_chno", "backend": "torch"}
    here, there = (Trainer(configured({**content, "device": where})) for where in ("cpu", device))
    (ours,), (theirs,) = (trainer.optimizer.param_groups[0]["params"] for trainer in (here, there))
    for _ in range(EPOCHS_BEFORE):
        here.train_epoch()
    there.optimizer.load_state_dict(copy.deepcopy(here.optimizer.state_dict()))
    theirs.data.copy_(ours.data)
    start, apart = ours.detach().clone(), []

    def follow(*_: Any) -> None:
        theirs.grad.copy_(ours.grad)
        there.optimizer.param_groups[0]["lr"] = here.optimizer.param_groups[0]["lr"]
        there.optimizer.step()

    def compare(*_: Any) -> None:
        moved = ours.detach() - start
        apart.append(float((theirs.detach().cpu() - ours.detach()).norm() / moved.norm()))

    here.optimizer.register_step_pre_hook(follow)
    here.optimizer.register_step_post_hook(compare)
    for _ in range(EPOCHS_COMPARED):
        here.train_epoch()
    return {
        "passed": apart[0] <= STEP_TOLERANCE and max(apart) <= EPOCH_TOLERANCE,
        "difference after one step, part of the move": float(f"{apart[0]:.1e}"),
        f"largest difference in {len(apart)} steps, part of the move": float(f"{max(apart):.1e}"),
        "ms per step, cpu": round(1e3 * seconds_per_step(here), 2),
        f"ms per step, {device}": round(1e3 * seconds_per_step(there), 2),
    }


def seconds_per_step(trainer: Trainer, steps: int = 40) -> float:
    """Of the optimizer alone, its updates of the bases among them."""
    wait(trainer)
    started = time.perf_counter()
    for _ in range(steps):
        trainer.optimizer.step()
    wait(trainer)
    return (time.perf_counter() - started) / steps


def wait(trainer: Trainer) -> None:
    if trainer.processes.device.type == "cuda":
        torch.cuda.synchronize()


def change_of_device(device: str, folder: Path) -> dict[str, Any]:
    """Runs that go on where another device stopped, in either direction, come to what the CPU alone comes to."""
    content = {"data": "shipped:reactive_chno", "backend": "torch", "optimizer": {"method": "adamw"}}
    reached = []
    for devices in (("cpu", "cpu"), ("cpu", device), (device, "cpu")):
        first, second = (Trainer(configured({**content, "device": where})) for where in devices)
        first.train_epoch()
        save_checkpoint(folder / "last.pt", first.state())
        second.load(load_checkpoint(folder / "last.pt"), folder)
        second.train_epoch()
        reached.append(second.validate().total(second.weights(), second.config.mode))
    reference, *others = reached
    difference = max(abs(other - reference) / reference for other in others)
    return {"passed": difference <= LOSS_TOLERANCE, "relative difference": float(f"{difference:.1e}")}


def max_edges(device: str) -> dict[str, Any]:
    """Full Hessians in one graph or in many: seconds per epoch, memory, and the same loss."""
    content = {
        "data": "shipped:grown_chno",
        "optimizer": {"batch_size": 256},
        "hessian": {"sampling": "full"},
        "device": device,
        "backend": "torch",
    }
    found: dict[str, Any] = {}
    reached = []
    for edges in (6_000, 60_000, 600_000):
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        trainer = Trainer(configured({**content, "max_edges": edges}))
        reached.append(trainer.train_epoch().hessian)
        found[f"{edges} edges, seconds per epoch"] = round(seconds_per_epoch(trainer), 2)
        if device.startswith("cuda"):
            found[f"{edges} edges, GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    difference = max(reached) / min(reached) - 1.0
    return {"passed": difference <= LOSS_TOLERANCE, "relative difference": float(f"{difference:.1e}"), **found}


def epochs(device: str) -> dict[str, Any]:
    """Seconds per epoch with SOAP: on one thread of the CPU by the kernel, and on the device."""
    found: dict[str, Any] = {}
    for size, content in SIZES.items():
        for way, keys in WAYS.items():
            for label, where in (("kernel", {"backend": "kernel"}), (device, {"device": device, "backend": "torch"})):
                trainer = Trainer(configured({**content, **keys, **where}))
                found[f"{size}, {way}, {label}"] = round(seconds_per_epoch(trainer), 3)
    return found


def seconds_per_epoch(trainer: Trainer) -> float:
    """The least of some, after one that warms up."""
    times: list[float] = []
    while len(times) < 2 or (len(times) < ROUNDS and sum(times) < LONGEST):
        wait(trainer)
        started = time.perf_counter()
        trainer.train_epoch()
        wait(trainer)
        times.append(time.perf_counter() - started)
    return min(times[1:])
