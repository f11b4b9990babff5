"""Model files that no engine may take, made from a good one."""

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[bytes], bytes]


def rewritten(source: Path, target: Path, changes: dict[str, Change], hashed: bool = True) -> Path:
    """A copy whose records with these endings are changed, with the hash of the metadata that it has then, or not."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        records = {item.filename: old.read(item) for item in old.infolist()}
        for ending, change in changes.items():
            records.update({name: change(data) for name, data in records.items() if name.endswith(ending)})
        if hashed:
            told = next(data for name, data in records.items() if name.endswith("hesspot.json"))
            digest = hashlib.sha256(told).hexdigest().encode()
            records = {name: digest if name.endswith("hesspot.sha256") else data for name, data in records.items()}
        for name, data in records.items():
            new.writestr(name, data)
    return target


def said(**changes: Any) -> Change:
    """Other entries in hesspot.json."""
    return lambda text: json.dumps({**json.loads(text), **changes}).encode()


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def of_another_kernel(source: Path, target: Path) -> Path:
    """A whole file whose weights are for a later version of the kernel."""
    with zipfile.ZipFile(source) as archive:
        names = {name.rpartition("/")[2]: name for name in archive.namelist()}
        weights = archive.read(names["hesspot.weights"])
        shape = json.loads(archive.read(names["hesspot.json"]))["shape"]
    weights = weights[:8] + struct.pack("<q", 99) + weights[16:]
    told = said(shape={**shape, "kernel_version": 99}, weights_sha256=hashlib.sha256(weights).hexdigest())
    return rewritten(source, target, {"hesspot.weights": lambda _: weights, "hesspot.json": told})


def _stated(text: bytes, entry: str, value: object) -> bytes:
    content = json.loads(text)
    content["shape"][entry] = value
    return json.dumps(content).encode()


def bent(source: Path, folder: Path, kind: str) -> Path:
    """A file of one of `KINDS` in a folder."""
    target = folder / "bent.pt"
    match kind:
        case "altered weights":
            rewritten(source, target, {"hesspot.weights": flipped})
        case "altered code":
            rewritten(source, target, {".py": flipped})
        case "altered edges":
            rewritten(source, target, {"hesspot.edges": flipped})
        case "lost weights":
            with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
                for item in old.infolist():
                    if not item.filename.endswith("hesspot.weights"):
                        new.writestr(item.filename, old.read(item))
        case "truncated":
            target.write_bytes(source.read_bytes()[:-2000])
        case "damaged":
            content = bytearray(source.read_bytes())
            content[len(content) // 2] ^= 255
            target.write_bytes(content)
        case "damaged code":
            content = bytearray(source.read_bytes())
            with zipfile.ZipFile(source) as archive:
                item = next(item for item in archive.infolist() if item.filename.endswith(".py"))
            name, extra = struct.unpack_from("<2H", content, item.header_offset + 26)
            content[item.header_offset + 30 + name + extra] = 0xFF  # a kind of compressed block that there is not
            target.write_bytes(content)
        case "text":
            target.write_text("no model")
        case "empty":
            target.touch()
        case "newer format":
            rewritten(source, target, {"hesspot.json": said(format_version=99)})
        case "another shape":
            rewritten(source, target, {"hesspot.json": lambda text: _stated(text, "n_radial", 99)})
        case "another version stated":
            rewritten(source, target, {"hesspot.json": lambda text: _stated(text, "kernel_version", 99)})
        case "another cutoff":
            rewritten(source, target, {"hesspot.json": said(cutoff=3.0)})
        case "edited":
            rewritten(source, target, {"hesspot.json": said(jump_at_cutoff=True)}, hashed=False)
        case "as of format 1":
            rewritten(source, target, {"hesspot.json": said(format_version=1)}, hashed=False)
        case "folder":
            target.mkdir()
        case "missing":
            pass
    return target


#: What can be wrong with a file, and words of the sentence that says so.
KINDS = {
    "altered weights": "the weights in",
    "altered code": "the TorchScript in",
    "altered edges": "the edges of the fingerprint in",
    "lost weights": "the weights in",
    "truncated": "is truncated or damaged",
    "damaged": "bent.pt",
    "damaged code": "bent.pt",
    "text": "no TorchScript archive",
    "empty": "empty",
    "newer format": "has format version 99, newer than 2",
    "another shape": "the packed weights state another shape than their description",
    "another version stated": "the packed weights state another shape than their description",
    "another cutoff": "cutoff",
    "edited": "does not match its hash",
    "as of format 1": "does not match its hash",
    "folder": "folder",
    "missing": "does not exist",
}
