"""Risks: the best model is replaced by a run that begins anew, or two runs write into one folder at once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.files import held
from hesspot.reference.labelling import label_file
from hesspot.training.checkpoint import load_checkpoint
from hesspot.training.config import TrainingConfig, parse_config
from hesspot.training.loop import train


def config(data: Path, epochs: int = 3) -> TrainingConfig:
    model = {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4]}
    keys = {"data": str(data), "mode": "ef", "validate_every": 1, "model": model, "optimizer": {"epochs": epochs}}
    return parse_config(keys, "a test")


def finish(data: Path, folder: Path, resume: bool = False) -> None:
    train(config(data), folder, resume=resume, show=False, final_table=False)


@pytest.fixture
def finished(dataset_file: Path, tmp_path: Path) -> Path:
    finish(dataset_file, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_without_its_last_state_a_run_goes_on_from_its_best_model(
    damage: str, dataset_file: Path, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    best, last = (finished / "best.pt").read_bytes(), (finished / "last.pt").read_bytes()
    (finished / "last.pt").unlink()
    if damage == "cut":
        (finished / "last.pt").write_bytes(last[: len(last) // 2])
        with pytest.raises(
            UserError, match=r"last\.pt .*; delete it, and `hesspot train .* --resume` goes on from best"
        ):
            finish(dataset_file, finished, resume=True)
        (finished / "last.pt").unlink()
    with pytest.raises(UserError, match=r"holds a run already; pass --resume"):
        finish(dataset_file, finished)
    assert (finished / "best.pt").read_bytes() == best
    capfd.readouterr()
    finish(dataset_file, finished, resume=True)
    assert "goes on from best.pt, after epoch" in capfd.readouterr().err
    assert load_checkpoint(finished / "last.pt")["epoch"] == 3


def test_without_its_best_model_a_run_does_not_go_on_unasked(dataset_file: Path, finished: Path) -> None:
    (finished / "best.pt").write_bytes(b"PK damaged")
    with pytest.raises(UserError, match=r"best\.pt .*; copy .*last\.pt over it to take the last model"):
        finish(dataset_file, finished, resume=True)
    (finished / "best.pt").write_bytes((finished / "last.pt").read_bytes())
    finish(dataset_file, finished, resume=True)
    assert load_checkpoint(finished / "best.pt")["epoch"] == 3


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_the_log_of_a_run_alone_is_not_begun_anew(
    resume: bool, dataset_file: Path, finished: Path
) -> None:
    log = (finished / "log.csv").read_bytes()
    for name in ("last.pt", "best.pt"):
        (finished / name).unlink()
    with pytest.raises(UserError, match="log of a run whose checkpoints are gone; choose another --out"):
        finish(dataset_file, finished, resume)
    assert (finished / "log.csv").read_bytes() == log


HOLDER = """
import sys, time
from hesspot.files import held
with held(sys.argv[1], "the run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_until_its_process_has_ended_however(dataset_file: Path, tmp_path: Path) -> None:
    """By trainings and by labels, from other processes and from this one; a lock does not survive kill -9."""
    run, parts = tmp_path / "run", tmp_path / "labels.h5.parts"
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for folder in (run, parts)
    ]
    assert [holder.stdout.readline() for holder in holders if holder.stdout] == ["held\n"] * 2
    with pytest.raises(
        UserError, match=rf"the run in .* by another process \(process {holders[0].pid} on .*wait until"
    ):
        finish(dataset_file, run)
    assert not (run / "config.yaml").exists()
    with pytest.raises(UserError, match="is being written by another process"):
        label(tmp_path)
    for holder in holders:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    finish(dataset_file, run)
    label(tmp_path)
    assert not parts.exists()
    with held(run, "the run"), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        finish(dataset_file, run, resume=True)
    finish(dataset_file, run, resume=True)


class Zero:
    """A maker of labels that are all zero."""

    level_of_theory = "none"
    counts_electrons = True

    def provenance(self) -> dict[str, str]:
        return {}

    def check_input(self, *_: object, **__: object) -> None: ...

    def prepare(self, *_: object, **__: object) -> "Zero":
        return self

    def labels(self, atoms, *, hessian: bool):
        from hesspot.reference.method import Labels

        return Labels(energy=0.0, forces=atoms.positions * 0.0, hessian=None, properties={})


def label(folder: Path) -> Dataset:
    (folder / "a.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.74\n")
    return label_file(folder / "a.xyz", folder / "labels.h5", Zero(), hessian=False, part="train")
