"""Data-parallel training with torch.distributed: each process takes its share of every batch.

    torchrun --standalone --nproc-per-node 2 -m hesspot train config.yaml --out run

Started without torchrun, there is one process and nothing is communicated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple

import torch
import torch.distributed as dist
from torch import Tensor

from hesspot.devices import torch_device
from hesspot.training.loss import LossTerms


class Processes:
    """The processes of a run; `rank` 0 writes its files. device: where this process computes."""

    def __init__(self, device: str):
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.device = _device(device, int(os.environ.get("LOCAL_RANK", 0)) if self.size > 1 else None)
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def writes(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This process's part of a list."""
        return slice(self.rank, None, self.size)

    def sum_gradient(self, gradient: Tensor) -> None:
        """Replace it by the sum over processes."""
        if self.size > 1:
            dist.all_reduce(gradient)

    def sum_terms(self, terms: LossTerms) -> LossTerms:
        """The terms of all shares together."""
        if self.size == 1:
            return terms
        values = torch.tensor(astuple(terms), dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        sums = values.tolist()
        return LossTerms(*sums[:4], *(round(count) for count in sums[4:]))

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the others, after a run that went well; after an error this could wait for them for ever."""
        if self.size > 1:
            dist.destroy_process_group()


@contextmanager
def device_kept() -> Iterator[None]:
    """Torch's current GPU, which one of several processes chooses, is the same after this block as before."""
    before = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    try:
        yield
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.set_device(before)


def _device(name: str, local_rank: int | None) -> torch.device:
    """The torch device of that name; with several processes `cuda` is each one's own."""
    device = torch_device(name)
    if device.type == "cuda" and local_rank is not None:
        device = torch_device(f"cuda:{local_rank}")
        torch.cuda.set_device(device)  # for NCCL
    return device
