"""Where numbers are computed, and in which precision, as a user names both; torch is loaded where it is meant alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hesspot.errors import UserError
from hesspot.extras import torch_is_missing

if TYPE_CHECKING:
    import torch

DTYPES = ("float64", "float32")


def dtype_name(dtype: Any) -> str:
    """One of `DTYPES`, given by its name or as torch's; UserError for any other."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UserError(f"dtype {name!r} is not known; use {' or '.join(DTYPES)}")
    return name


def is_cpu(device: Any) -> bool:
    """Whether a device is the CPU, for which torch is not asked."""
    return str(device) == "cpu"


def torch_device(name: Any) -> torch.device:
    """The device of that name, which is there; UserError for one that torch does not know or this machine lacks."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise torch_is_missing(f"device {name}") from error

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
