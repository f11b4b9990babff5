"""What the tests of a watch have in common."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ase.build import molecule

from hesspot.cli.main import main
from hesspot.export import fingerprint_entry, write_model
from hesspot.models.house import HouseConfig, HouseModel


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit status, stdout and stderr of `hesspot monitor`."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hesspot", "monitor", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return int(ended.value.code or 0), *capfd.readouterr()

    return call


@pytest.fixture(scope="session")
def other_model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another house model of H and O."""
    torch.manual_seed(21)
    model = HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8]))
    model.scale.fill_(10.0)
    model.requires_grad_(False).eval()
    path = tmp_path_factory.mktemp("other") / "other.pt"
    write_model(path, model, [fingerprint_entry(model, "water", molecule("H2O"))])
    return path
