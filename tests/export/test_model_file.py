"""Risk: the C++ reader of model files finds other bytes than Python's, takes a bent file, or replays another answer."""

import ctypes
import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from bent_files import rewritten, said

from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, write_model
from hesspot.export.answers import answers_of
from hesspot.export.archive import EDGES, METADATA
from hesspot.export.metadata import FingerprintEntry
from hesspot.export.replay import replay
from hesspot.kernel import KernelModel
from hesspot.kernel.library import library
from hesspot.kernel.model_file import ABI, ModelFile
from hesspot.models.house import HouseConfig, HouseModel

#: Two sums of the same numbers in another order: eV per atom, eV/Å, eV, eV/Å².
ROUNDING = 1e-10


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, hidden=[8])).requires_grad_(False)
    path = tmp_path_factory.mktemp("file") / "model.pt"
    write_model(path, model, [fingerprint_entry(model, name, molecule(name)) for name in ("H2O", "CH3OH")])
    return path


def records(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {item.filename: archive.read(item) for item in archive.infolist()}


STRATEGIES = {
    "stored blocks": (0, zlib.Z_DEFAULT_STRATEGY),
    "fast": (1, zlib.Z_DEFAULT_STRATEGY),
    "best": (9, zlib.Z_DEFAULT_STRATEGY),
    "fixed codes": (9, zlib.Z_FIXED),
    "codes alone": (9, zlib.Z_HUFFMAN_ONLY),
    "runs": (9, zlib.Z_RLE),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_kind_of_deflate_gives_the_bytes_of_zlib(
    file: Path, tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    level, kind = STRATEGIES[strategy]
    monkeypatch.setattr(
        zipfile, "_get_compressor", lambda *_: zlib.compressobj(level, zlib.DEFLATED, -15, 9, kind), raising=True
    )
    whole = {**records(file), "archive/more": bytes(1000) + np.random.default_rng(0).bytes(70000), "archive/none": b""}
    whole["archive/extra/long"] = b"hessian " * 20000
    metadata = json.loads(whole["archive/extra/hesspot.json"])
    script = {name.partition("/")[2]: data for name, data in whole.items() if "/extra/" not in name}
    digest = hashlib.sha256()
    for name in sorted(script):
        digest.update(f"{name} {len(script[name])}\n".encode() + script[name])
    metadata["script_sha256"] = digest.hexdigest()
    text = json.dumps(metadata).encode()
    whole["archive/extra/hesspot.json"] = text
    whole["archive/extra/hesspot.sha256"] = hashlib.sha256(text).hexdigest().encode()
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in whole.items():
            archive.writestr(name, data)
    found = ModelFile((tmp_path / "packed.pt").read_bytes(), "packed.pt")
    for name, data in whole.items():
        assert found.record(name.partition("/")[2]) == data, name
    assert found.record("extra/nothing") is None and found.no_kernel is None


def with_header(path: Path, signature: bytes, place: int, number: int, kind: str) -> bytes:
    """The file with another number in the last header of a kind."""
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, content.rindex(signature) + place, number)
    return bytes(content)


@pytest.mark.parametrize(
    ("signature", "place", "number", "kind", "words"),
    [
        (b"PK\x05\x06", 10, 0xFFFF, "<H", "more than 4 GiB"),
        (b"PK\x05\x06", 16, 0xFFFFFFFE, "<I", "behind its end"),
        (b"PK\x05\x06", 20, 7, "<H", "no directory"),
        (b"PK\x01\x02", 8, 1, "<H", "encrypted"),
        (b"PK\x01\x02", 10, 12, "<H", "compressed in a way"),
        (b"PK\x01\x02", 16, 0, "<I", "the checksum of"),
        (b"PK\x01\x02", 24, 0xFFFFFFFF, "<I", "more than 4 GiB"),
        (b"PK\x01\x02", 24, 0xFFFFFFFE, "<I", "larger together"),
        (b"PK\x01\x02", 42, 0xFFFFFFF0, "<I", "behind its end"),
        (b"PK\x03\x04", 26, 3, "<H", "two names"),
    ],
)
def test_headers_of_the_archive_are_not_believed(
    file: Path, signature: bytes, place: int, number: int, kind: str, words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        ModelFile(with_header(file, signature, place, number, kind), "bent.pt")
    assert "bent.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_the_replay_gives_the_deviations_of_the_one_in_python(file: Path) -> None:
    read = ModelFile(file.read_bytes(), "model.pt")
    model = KernelModel(read.record("extra/hesspot.weights") or b"")
    entries = [FingerprintEntry.model_validate(one) for one in json.loads(read.record(METADATA) or b"")["fingerprint"]]
    in_python = replay(entries, answers_of(model))
    expected = [max(value for _, value in found) for found in in_python.values()]
    np.testing.assert_allclose(read.deviations(model), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("entry", "change", "words"),
    [
        ("energy", lambda value: value + 1e-3, "the energy per atom"),
        ("forces", lambda value: [[x + 1e-3 for x in value[0]], *value[1:]], "a force"),
        ("virial", lambda value: [[x + 1e-2 for x in value[0]], *value[1:]], "the virial"),
        ("hvp", lambda value: [[x + 1e-2 for x in value[0]], *value[1:]], "a Hessian product"),
        ("hvp", lambda value: value[1:], "bad entry hvp: there are 2 rows for 3"),
    ],
)
def test_another_answer_in_the_fingerprint_is_found(file: Path, tmp_path: Path, entry, change, words: str) -> None:
    name = 'Wasser "ü" \U0001f4a7'

    def changed(text: bytes) -> bytes:
        content = json.loads(text)
        first = content["fingerprint"][0]
        first[entry], first["name"] = change(first[entry]), name
        return json.dumps(content).encode()

    rewritten(file, tmp_path / "bent.pt", {"hesspot.json": changed})
    read = ModelFile((tmp_path / "bent.pt").read_bytes(), "bent.pt")
    model = KernelModel(read.record("extra/hesspot.weights") or b"")
    with pytest.raises(UserError, match=words) as caught:
        read.deviations(model)
    assert name in str(caught.value) or "bad entry" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"format_version": 2', "at byte 20: it is no JSON"),
        (b"[" * 100000, "it is no JSON"),
        (b'{"format_version": "two"}', "bad entry format_version: it is not a number"),
        (b'{"format_version": 2, "elements": ["H\\ud800"]}', "it is no JSON"),
        (b"[2]", "it is not an object"),
    ],
)
def test_metadata_that_are_no_metadata(file: Path, tmp_path: Path, text: bytes, words: str) -> None:
    bent = rewritten(file, tmp_path / "bent.pt", {"hesspot.json": lambda _: text})
    with pytest.raises(UserError, match=words):
        ModelFile(bent.read_bytes(), "bent.pt")


def test_edges_that_lead_nowhere(file: Path, tmp_path: Path) -> None:
    edges = bytearray(records(file)[f"archive/{EDGES}"])
    struct.pack_into("<q", edges, 16, 99)
    told = said(edges_sha256=hashlib.sha256(edges).hexdigest())
    rewritten(file, tmp_path / "bent.pt", {"hesspot.edges": lambda _: bytes(edges), "hesspot.json": told})
    read = ModelFile((tmp_path / "bent.pt").read_bytes(), "bent.pt")
    with pytest.raises(UserError, match="fingerprint: an edge ends nowhere"):
        read.deviations(KernelModel(read.record("extra/hesspot.weights") or b""))


def test_another_interface_is_refused(file: Path) -> None:
    assert library().hesspot_abi() == ABI
    pointer, error = ctypes.c_void_p(), ctypes.c_char_p()
    content = file.read_bytes()
    arguments = ABI + 1, content, len(content), b"model.pt", ctypes.byref(pointer), ctypes.byref(error)
    assert library().hesspot_file_read(*arguments) == 1
    told = f"compiled for interface {ABI + 1} of hesspot's kernels, and this library has {ABI}"
    assert told in (error.value or b"").decode()


#: `make sanitize` reads many more of them, and some with checksums and hashes that fit.
DAMAGED = 300


def test_a_damaged_file_ends_in_a_sentence_or_gives_the_right_answer(file: Path) -> None:
    rng = np.random.default_rng(0)
    whole, refused = file.read_bytes(), 0
    directory = whole.rindex(b"PK\x05\x06") - 3000
    for _ in range(DAMAGED):
        content = bytearray(whole)
        place = int(rng.integers(directory if rng.integers(2) else 0, len(content)))
        match rng.integers(3):
            case 0:
                content[place] ^= 1 << int(rng.integers(8))
            case 1:
                del content[place : place + int(rng.integers(1, 64))]
            case _:
                content[place : place + 4] = rng.bytes(4)
        try:
            read = ModelFile(bytes(content), "damaged.pt")
            read.deviations(KernelModel(read.record("extra/hesspot.weights") or b""))
        except UserError as error:
            refused += 1
            assert "damaged.pt" in str(error) and "\n" not in str(error)
    assert refused > DAMAGED // 2
