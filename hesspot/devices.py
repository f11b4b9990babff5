"""The devices of torch that a user may name, checked at one place."""

from __future__ import annotations

import torch

from hesspot.errors import UserError


def torch_device(name: torch.device | str) -> torch.device:
    """The device of that name, which is there; UserError for one that torch does not know or this machine lacks."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        hint = " (torch calls a GPU cuda)" if str(name).lower() == "gpu" else ""
        raise UserError(f"device {name!r} is not known to torch{hint}; use cpu, cuda or cuda:NUMBER") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device {name} is not there: torch {torch.__version__} finds no GPU; use device cpu")
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise UserError(f"device {name} is not there: torch finds {count} GPU(s), from cuda:0; name one of them")
    elif device.type != "cpu":
        try:
            torch.zeros(1, dtype=torch.float64, device=device).item()
        except Exception as error:  # what a backend of torch raises is its own
            raise UserError(
                f"device {name} cannot be used with float64 ({str(error).splitlines()[0]}); use device cpu or cuda"
            ) from error
    return device
