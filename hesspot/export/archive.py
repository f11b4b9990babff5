"""The exported file as an archive of records: the TorchScript, and beside it in `extra/` what engines read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from hesspot.errors import UserError
from hesspot.files import contents_of, require_file

METADATA = "extra/hesspot.json"
WEIGHTS = "extra/hesspot.weights"
EDGES = "extra/hesspot.edges"
#: What distances from the training data are taken with (`hesspot.export.surroundings`); not in every file.
SURROUNDINGS = "extra/hesspot.surroundings"
#: The SHA-256 of the metadata, which hold those of all else.
METADATA_HASH = "extra/hesspot.sha256"

REMEDY = "give the path of a file made by `hesspot export`, or shipped:NAME (`hesspot models`)"
AGAIN = "export it again with `hesspot export`"

#: The date of added records, so that equal content gives equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


def read_content(path: Path) -> bytes:
    """The bytes of a model file; UserError if there is none, or something else there."""
    require_file(path, "model file", REMEDY)
    content = path.read_bytes()
    if not content.startswith(b"PK"):
        raise UserError(f"model file {path} is {contents_of(path)}, no TorchScript archive; {REMEDY}")
    return content


def records_of(content: bytes) -> dict[str, bytes]:
    """All records by their names within the archive's folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def script_hash(records: Mapping[str, bytes]) -> str:
    """SHA-256 over the TorchScript, its code and its weights: all records but those in `extra/`, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(records):
        if not name.startswith("extra/"):
            digest.update(f"{name} {len(records[name])}\n".encode())
            digest.update(records[name])
    return digest.hexdigest()


def with_records(content: bytes, records: Mapping[str, bytes]) -> bytes:
    """An archive with records added to it, and the hash of the metadata; the edges, which are many, are compressed."""
    stream = io.BytesIO(content)
    records = {**records, METADATA_HASH: hashlib.sha256(records[METADATA]).hexdigest().encode()}
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        for name, data in records.items():
            kind = zipfile.ZIP_DEFLATED if name == EDGES else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}", _DATE), data, kind)
    return stream.getvalue()
