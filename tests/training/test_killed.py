"""Risk: a run that was killed, or whose disk was full, and ends with other weights or without its checkpoint."""

import csv
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from hesspot import files
from hesspot.errors import UserError
from hesspot.training import loop
from hesspot.training.checkpoint import load_checkpoint
from hesspot.training.config import TrainingConfig, parse_config
from hesspot.training.optimizer import Soap

#: Children are forked from a process that has imported everything: importing torch anew would cost seconds each.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["hesspot.training.loop", "hesspot.training.results"])

SHAPE = {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4]}
WAYS = {
    "probes": {},
    "committee": {"model": {**SHAPE, "members": 2}},
    "plateau": {
        "mode": "ef",
        "optimizer": {
            "epochs": 6,
            "schedule": "plateau",
            "plateau_patience": 1,
            "learning_rate": 0.3,
            "batch_edges": 20,
        },
    },
    "replay": {"mode": "ef", "replay": {"share": 0.4}},
}


@pytest.fixture(scope="module")
def earlier(dataset_file, tmp_path_factory) -> Path:
    """An E-F run to start from."""
    folder = tmp_path_factory.mktemp("earlier") / "run"
    loop.train(settings_of("probes", dataset_file, None, mode="ef"), folder, show=False, final_table=False)
    return folder


def settings_of(way: str, data: Path, earlier: Path | None, **changed) -> TrainingConfig:
    keys = {
        "data": str(data),
        "validate_every": 2,
        "model": SHAPE,
        "optimizer": {"epochs": 6, "batch_size": 5},
        **WAYS[way],
        **changed,
    }
    if "replay" in keys:
        keys.update(start_from=str(earlier), replay={**keys["replay"], "data": str(data)})
    return parse_config(keys, way)


def train(settings, folder, **options):
    return loop.train(settings, folder, show=False, final_table=False, **options)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(settings: TrainingConfig, folder: Path, where: str, number: int, resume: bool) -> None:
    """Train, and be killed at the `number`-th time that something is about to happen."""
    passed = 0

    def counted(function):
        def wrapped(*arguments, **options):
            nonlocal passed
            passed += 1
            if passed == number:
                if where == "half-written checkpoint":
                    path, data = arguments
                    path.write_bytes(data[: len(data) // 2])
                if where == "half-written row":
                    with (folder / "log.csv").open("a") as stream:
                        stream.write("6,0.00")
                kill()
            return function(*arguments, **options)

        return wrapped

    place, name = {
        "step": (Soap, "step"),
        "half-written checkpoint": (Path, "write_bytes"),
        "checkpoint before it is in place": (os, "replace"),
        "half-written row": (loop.RunLog, "write"),
    }[where]
    setattr(place, name, counted(getattr(place, name)))
    train(settings, folder, resume=resume)


def run_and_kill(settings, folder, where, number, resume=False) -> None:
    child = FORKS.Process(target=train_and_die, args=(settings, folder, where, number, resume))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def everything(folder: Path) -> tuple[dict, list]:
    """All weights and all rows but for times."""
    content = load_checkpoint(folder / "last.pt")
    weights = {f"{which}.{key}": value for which in ("last", "average") for key, value in content[which].items()}
    best = load_checkpoint(folder / "best.pt")
    weights.update({f"best.{key}": value for key, value in best["average"].items()})
    rows = [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in csv.DictReader((folder / "log.csv").open())
    ]
    return weights, rows


def assert_same(first: Path, second: Path) -> None:
    (weights, rows), (others, other_rows) = everything(first), everything(second)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert rows == other_rows


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(way, dataset_file, earlier, tmp_path):
    """Bit for bit, on one thread. Each epoch has some three steps, and a checkpoint is written every other."""
    settings = settings_of(way, dataset_file, earlier)
    train(settings, tmp_path / "whole")
    run = tmp_path / "cut"
    run_and_kill(settings, run, "step", 2)
    assert not (run / "last.pt").exists()
    run_and_kill(settings, run, "step", 11, resume=True)
    run_and_kill(settings, run, "half-written checkpoint", 2, resume=True)
    assert list(run.glob("*.part"))
    run_and_kill(settings, run, "half-written row", 1, resume=True)
    run_and_kill(settings, run, "checkpoint before it is in place", 2, resume=True)
    assert load_checkpoint(run / "last.pt")["epoch"] < 6
    train(settings, run, resume=True)
    assert not list(run.glob("*.part"))
    assert_same(tmp_path / "whole", run)


def test_a_run_killed_at_its_end_can_be_resumed(dataset_file, earlier, tmp_path):
    settings = settings_of("probes", dataset_file, earlier, mode="ef")
    train(settings, tmp_path / "whole")
    train(settings, tmp_path / "whole", resume=True)
    assert load_checkpoint(tmp_path / "whole" / "last.pt")["epoch"] == 6


def limited(answers, size: int, settings: TrainingConfig | None, folder: Path) -> None:
    """Train on, or open a log, where no file may have more than `size` bytes: as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        if settings is None:
            with loop.RunLog(folder, tensorboard=False, writes=True):
                pass
        else:
            train(settings, folder, resume=True)
        answers.put("no error")
    except UserError as error:
        answers.put(str(error))


def on_a_full_disk(size: int, settings: TrainingConfig | None, folder: Path) -> str:
    """The sentence that this ends with, in a process of its own: the limit is for all files of a process."""
    answers = FORKS.SimpleQueue()
    child = FORKS.Process(target=limited, args=(answers, size, settings, folder))
    child.start()
    child.join()
    assert child.exitcode == 0
    return answers.get()


def test_a_full_disk_leaves_the_old_checkpoint(dataset_file, earlier, tmp_path):
    settings = settings_of("probes", dataset_file, earlier, mode="ef")
    train(settings, tmp_path / "whole")
    run_and_kill(settings, tmp_path / "cut", "step", 8)
    before = (tmp_path / "cut" / "last.pt").read_bytes()
    sentence = on_a_full_disk(len(before) // 2, settings, tmp_path / "cut")
    assert ".pt cannot be written (File too large); make room, then start again" in sentence
    assert (tmp_path / "cut" / "last.pt").read_bytes() == before
    train(settings, tmp_path / "cut", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "cut")


def test_a_full_disk_in_the_log(tmp_path):
    assert "log.csv cannot be written (File too large); make room" in on_a_full_disk(0, None, tmp_path)


def test_other_errors_of_files_stay_what_they_are(tmp_path):
    with pytest.raises(IsADirectoryError), files.writing(tmp_path):
        tmp_path.write_bytes(b"")
