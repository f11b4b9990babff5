"""The exported file: a TorchScript archive with its metadata and its fingerprint inside."""

from hesspot.export.file import LoadedModel, read_model, write_model
from hesspot.export.metadata import Architecture, FingerprintEntry, ModelMetadata, Reference
from hesspot.export.replay import fingerprint_entry

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
