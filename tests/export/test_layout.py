"""Risk: docs/export.md tells another layout than files have, so that a reader written from it gets other numbers."""

import array
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from hesspot.export import fingerprint_entry, write_model
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.house import HouseConfig, HouseModel

# A reader as docs/export.md describes it, with the standard library alone.


def read(path: Path) -> tuple[dict, dict]:
    """The metadata of a file, and the head and the arrays of its packed weights, flat and by name."""
    with zipfile.ZipFile(path) as archive:
        records = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    text = records["extra/hesspot.json"]
    metadata = json.loads(text)
    assert metadata["format_version"] == 2
    assert records["extra/hesspot.sha256"].decode() == hashlib.sha256(text).hexdigest()
    block = records["extra/hesspot.weights"]
    assert metadata["weights_sha256"] == hashlib.sha256(block).hexdigest()

    assert block[:8] == b"hesspotw"
    names = "version power descriptions members elements radial channels descriptors hidden"
    head = dict(zip(names.split(), array.array("q", block[8:80]), strict=True))
    place = 80
    widths = list(array.array("q", block[place : place + 8 * head["hidden"]]))
    place += 8 * len(widths)
    n_elements, n_descriptors = head["elements"], head["descriptors"]
    symbols = [block[place + 8 * i : place + 8 * i + 8].rstrip(b"\0").decode() for i in range(n_elements)]
    place += 8 * n_elements
    numbers = array.array("d", block[place:])
    cutoff = numbers.pop(0)

    def take(count: int) -> list[float]:
        nonlocal numbers
        taken, numbers = numbers[:count], numbers[count:]
        return list(taken)

    pairs = n_elements * n_elements
    core = {name: take(pairs) for name in ("inner", "outer", "strength", "screening")} if head["version"] > 1 else {}
    arrays = {}
    for d in range(head["descriptions"]):
        arrays[f"{d}.scale"] = take(1)
        arrays[f"{d}.mix"] = take(4 * n_elements * n_elements * head["radial"] * head["channels"])
        arrays[f"{d}.shifts"] = take(n_elements)
        for name in ("mean", "inverse_deviation"):
            arrays[f"{d}.{name}"] = take(n_elements * n_descriptors)
        for network in range(head["members"] * n_elements):
            own, inputs = f"{d}.networks.{network}", n_descriptors
            for layer, width in enumerate(widths):
                arrays[f"{own}.layers.{2 * layer}.weight"] = take(width * inputs)
                arrays[f"{own}.layers.{2 * layer}.bias"] = take(width)
                inputs = width
            arrays[f"{own}.readout.weight"], arrays[f"{own}.readout.bias"] = take(inputs), take(1)
            arrays[f"{own}.linear.weight"] = take(n_descriptors)
    assert not numbers
    return metadata, {**head, "symbols": symbols, "cutoff": cutoff, "widths": widths, "core": core, "arrays": arrays}


@pytest.mark.parametrize("members", [1, 2])
def test_a_reader_from_the_page_alone_finds_the_weights(members: int, tmp_path: Path) -> None:
    torch.manual_seed(2)
    entries = {"elements": ["H", "O"], "cutoff": 3.5, "n_radial": 3, "n_channels": 2, "hidden": [5, 4]}
    entries["core"] = {"H-H": (0.3, 0.5), "H-O": (0.4, 0.6), "O-O": (0.7, 1.1)}
    model = HouseModel(HouseConfig(**entries)) if members == 1 else HouseEnsemble(EnsembleConfig(members=2, **entries))
    model.shifts = [-13.5, -2040.25]
    for parameter in model.requires_grad_(False).parameters():
        parameter.normal_(0.0, 0.3)
    write_model(tmp_path / "model.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])

    metadata, found = read(tmp_path / "model.pt")
    assert found["symbols"] == metadata["elements"] == ["H", "O"]
    assert found["cutoff"] == metadata["cutoff"] == 3.5
    assert found["widths"] == [5, 4] and found["descriptions"] * found["members"] == members
    assert found["core"]["inner"] == [0.3, 0.4, 0.4, 0.7] and found["core"]["outer"] == [0.5, 0.6, 0.6, 1.1]
    strengths = 14.399645 * np.array([1, 8, 8, 64])  # e²/(4πε₀) in eV Å, times both charges
    np.testing.assert_allclose(found["core"]["strength"], strengths, rtol=1e-6)
    state = model.state_dict()
    for name, numbers in found["arrays"].items():
        inner = name.partition(".")[2]
        expected = model.shifts if inner == "shifts" else state[inner].numpy().ravel()
        np.testing.assert_array_equal(numbers, expected, err_msg=name)
