"""The exported file: a TorchScript archive with its metadata and its fingerprint inside.

Reading it does without torch as long as a kernel evaluates it; what writes it is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hesspot.export.loaded import LoadedModel, read_model
from hesspot.export.metadata import Architecture, FingerprintEntry, ModelMetadata, Reference

if TYPE_CHECKING:
    from hesspot.export.answers import fingerprint_entry
    from hesspot.export.file import write_model

__all__ = [
    "Architecture",
    "FingerprintEntry",
    "LoadedModel",
    "ModelMetadata",
    "Reference",
    "fingerprint_entry",
    "read_model",
    "write_model",
]

_WITH_TORCH = {"fingerprint_entry": "answers", "write_model": "file"}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'hesspot.export' has no attribute {name!r}")
    return getattr(import_module(f"hesspot.export.{_WITH_TORCH[name]}"), name)
