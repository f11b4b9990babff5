"""Hessian-informed machine-learning potentials for production molecular dynamics and path integrals.

What stands in `__all__` is the public face: documented in ``docs/python.md`` and kept stable. It is loaded when it is
first used, so that importing hesspot costs nothing. All other modules may change with any version.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hesspot.version import __version__

if TYPE_CHECKING:
    from hesspot.calculators import HesspotCalculator
    from hesspot.data.dataset import Dataset
    from hesspot.data.record import Record
    from hesspot.errors import UserError
    from hesspot.export.answers import fingerprint_entry
    from hesspot.export.file import write_model
    from hesspot.export.loaded import LoadedModel, read_model
    from hesspot.export.metadata import FingerprintEntry, ModelMetadata, Reference
    from hesspot.structures import read_structure, read_structures
    from hesspot.training.export_run import export_run
    from hesspot.training.loop import TrainingResult, train
    from hesspot.verification.report import VerifyReport
    from hesspot.verification.run import verify

#: Where each public name is defined.
_MODULES = {
    "Dataset": "data.dataset",
    "FingerprintEntry": "export.metadata",
    "HesspotCalculator": "calculators",
    "LoadedModel": "export.loaded",
    "ModelMetadata": "export.metadata",
    "Record": "data.record",
    "Reference": "export.metadata",
    "TrainingResult": "training.loop",
    "UserError": "errors",
    "VerifyReport": "verification.report",
    "export_run": "training.export_run",
    "fingerprint_entry": "export.answers",
    "read_model": "export.loaded",
    "read_structure": "structures",
    "read_structures": "structures",
    "train": "training.loop",
    "verify": "verification.run",
    "write_model": "export.file",
}

__all__ = [
    "Dataset",
    "FingerprintEntry",
    "HesspotCalculator",
    "LoadedModel",
    "ModelMetadata",
    "Record",
    "Reference",
    "TrainingResult",
    "UserError",
    "VerifyReport",
    "__version__",
    "export_run",
    "fingerprint_entry",
    "read_model",
    "read_structure",
    "read_structures",
    "train",
    "verify",
    "write_model",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hesspot' has no attribute {name!r}; public are {', '.join(__all__)}")
    try:
        value = globals()[name] = getattr(import_module(f"hesspot.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        from hesspot.extras import is_torch, torch_is_missing

        if not is_torch(error):
            raise
        raise torch_is_missing(f"hesspot.{name}") from error
    return value


def __dir__() -> list[str]:
    return __all__
