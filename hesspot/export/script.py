"""The TorchScript in an exported file, which is a program."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hesspot.errors import UserError
from hesspot.export.archive import AGAIN
from hesspot.export.deprecation import deprecation_is_known
from hesspot.export.metadata import METADATA_NAME, ModelMetadata


def weights_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names, dtypes and bytes of all parameters and buffers, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def cast_floats(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Cast floating-point parameters and buffers in place; integer buffers stay as they are."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def load_script(content: bytes, path: Path, metadata: ModelMetadata, dtype: str, device: Any) -> Any:
    """The module in a model file, frozen; UserError if torch cannot read it, or if it is not what the metadata say."""
    try:
        with deprecation_is_known():
            module = torch.jit.load(io.BytesIO(content), map_location=device)
    except RuntimeError as error:
        raise UserError(
            f"model file {path} cannot be read by torch {torch.__version__}: {str(error).splitlines()[0]}; {AGAIN}"
        ) from error
    if metadata.format_version == 1 and weights_hash(module.state_dict()) != metadata.weights_sha256:
        raise UserError(
            f"the weights in model file {path} do not match what its {METADATA_NAME} says: the file was changed; "
            f"{AGAIN}"
        )
    if list(module.elements) != metadata.elements or module.cutoff != metadata.cutoff:
        raise UserError(
            f"{METADATA_NAME} in {path} has elements {' '.join(metadata.elements)} and cutoff {metadata.cutoff:g} Å, "
            f"its TorchScript {' '.join(module.elements)} and {module.cutoff:g} Å: the file was changed; {AGAIN}"
        )
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor.requires_grad_(False)
    cast_floats(module, getattr(torch, dtype))
    return module.eval()


def count_members(module: Any, device: Any) -> int:
    """1 for a module that is no committee."""
    if not hasattr(module, "members"):
        return 1
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    return len(module.members(nothing, nothing, nothing, torch.zeros(0, 3, dtype=torch.float64, device=device)))
