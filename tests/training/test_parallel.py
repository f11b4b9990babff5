"""Risk: several processes that train another model than one does, or that hang when one of them fails."""

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from hesspot.training.checkpoint import load_checkpoint
from hesspot.training.config import TrainingConfig, parse_config
from hesspot.training.loop import train

#: Sums over the structures of a batch in another order, through some thirty steps of AdamW that divide by small
#: second moments: relative to the largest weight. (SOAP turns rounding into steps where a gradient has no component.)
ROUNDING = 1e-9
SIGNAL = 1e-3  # what the steps change
#: s, a hang; no limit on speed: two processes need some seconds.
HANGING = 600


def settings_of(data: Path, epochs: int = 8) -> TrainingConfig:
    return parse_config(
        {
            "data": str(data),
            "validate_every": 2,
            "model": {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4], "members": 2},
            "optimizer": {"method": "adamw", "epochs": epochs, "batch_size": 3},
        },
        "a test",
    )


def train_as_rank(rank: int, port: int, settings: TrainingConfig, folder: Path, resume: bool) -> None:
    """What torchrun starts."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = str(port)
    result = train(settings, folder, resume=resume, show=False)
    assert bool(result.rows) == (rank == 0)


def train_on_two(settings: TrainingConfig, folder: Path, resume: bool = False) -> None:
    forks = multiprocessing.get_context("forkserver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [forks.Process(target=train_as_rank, args=(rank, port, settings, folder, resume)) for rank in (0, 1)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(HANGING)
    assert [rank.exitcode for rank in ranks] == [0, 0]


def weights(folder: Path, which: str = "last.pt") -> dict[str, torch.Tensor]:
    content = load_checkpoint(folder / which)
    return {f"{kind}.{key}": value for kind in ("last", "average") for key, value in content[kind].items()}


def test_two_processes_train_what_one_does(dataset_file, tmp_path):
    """Twelve structures in batches of three: one process has two of each, the other one."""
    settings = settings_of(dataset_file)
    train_on_two(settings, tmp_path / "two")
    train(settings, tmp_path / "one", show=False)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    largest = max(float(value.abs().max()) for value in one.values())
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < ROUNDING * largest
    assert (one["last.mix"] - one["average.mix"]).abs().max() > SIGNAL
    rows = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 5
    # what two processes wrote, each of any number resumes
    train_on_two(settings, tmp_path / "two", resume=True)
    train(settings, tmp_path / "two", resume=True, show=False)
    assert all(torch.equal(value, two[key]) for key, value in weights(tmp_path / "two").items())


def test_an_error_of_one_process_ends_all(dataset_file, tmp_path):
    """The process that writes fails alone; the other waits for it and must not do so for ever."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings_of(dataset_file).model_dump()))
    (tmp_path / "file").write_text("")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("-m", "hesspot", "train", str(config), "--out", str(tmp_path / "file" / "run")),
        ],
        capture_output=True,
        text=True,
        timeout=HANGING,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode != 0
    assert "folder" in run.stderr and "cannot be written" in run.stderr


@pytest.fixture(scope="module", autouse=True)
def imported_once():
    """Children are forked from a process that has imported everything."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["hesspot.training.loop"])
