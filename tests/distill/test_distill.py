"""Risk: a loop that repeats or loses work, miscounts what the teacher was asked, or ends as if it had succeeded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.distill import run as loop
from hesspot.distill import teacher
from hesspot.distill.config import parse_distillation
from hesspot.distill.explore import Outcome, candidates
from hesspot.distill.rounds import Round
from hesspot.distill.run import distill
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.reference import labelling
from hesspot.training.trainer import Trainer

pytestmark = pytest.mark.lammps


class Killed(BaseException):
    pass


def stopping(function: Any, at: int) -> Any:
    """The function, which ends with Killed at its call number `at`."""
    calls = []

    def stopped(*words: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return function(*words, **more)

    return stopped


def hashes(folder: Path) -> list[str]:
    return [read_model(path).metadata.weights_sha256 for path in sorted(folder.glob("round-*/model.pt"))]


def test_a_distillation_that_is_killed_anywhere_goes_on_to_the_same_models(
    keys: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = distill(parse_distillation(keys, "a test"), tmp_path / "whole")
    places = [
        (labelling, "complete", 2),  # in the labels of the test set
        (teacher, "sample", 1),  # of the first round
        (labelling, "complete", 3),  # in the first round's labels
        (Trainer, "train_epoch", 4),  # in the first training, after its first checkpoint
        (loop, "export_run", 1),
        (loop, "explore", 1),
        (loop, "farthest", 1),
        (labelling, "complete", 1),  # in the second round's labels
        (Trainer, "train_epoch", 2),  # in the second training, before its first checkpoint
        (loop, "explore", 1),
    ]
    config = parse_distillation(keys, "a test")
    for number, (owner, name, at) in enumerate(places):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stopping(getattr(owner, name), at))
            with pytest.raises(Killed):
                distill(config, tmp_path / "killed", resume=number > 0)
    with pytest.raises(UserError, match="--resume"):
        distill(config, tmp_path / "killed")
    (ending,) = distill(config, tmp_path / "killed", resume=True)
    assert len(hashes(tmp_path / "whole")) == 2 and hashes(tmp_path / "whole") == hashes(tmp_path / "killed")
    assert ending.sentence == whole[0].sentence.replace("whole", "killed")


def test_a_budget_that_is_used_keeps_the_best_model_and_says_what_is_missing(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    """Two structures of three calls more fit after six of the first round and eleven for the noise: 6·3 + 11 + 2·3."""
    keys["budget"], keys["run"]["walkers"] = {"rounds": 9, "per_round": 9, "calls": 37}, 2
    (tmp_path / "distill.yaml").write_text(yaml.safe_dump(keys))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["distill", str(tmp_path / "distill.yaml"), "--out", str(out)])
    assert result.exit_code == 1 and isinstance(result.exception, UserError)
    told = str(result.exception)
    assert (
        told.startswith("the 37 calls of budget.calls are used, and no model holds yet") and f"{out}/model.pt" in told
    )
    assert len(hashes(out)) == 2
    counts = [len(Dataset.read(path)) for path in sorted(out.glob("round-*/labels.h5"))]
    assert counts == [6, 2]
    assert "35 force calls so far" in result.stdout
    page = (out / "report.html").read_text()
    assert "no model holds yet" in page and ">29</td>" in page and ">35</td>" in page
    names = [record.name for path in sorted(out.glob("round-*/labels.h5")) for record in Dataset.read(path)]
    assert len(set(names)) == 8

    # a larger budget goes on, a shorter one of another kind does not
    keys["budget"]["calls"], keys["budget"]["rounds"] = 60, 3
    (ending,) = distill(parse_distillation(keys, "a test"), out, resume=True)
    assert ending.sentence.startswith("the 3 rounds of budget.rounds are used") and not ending.held
    assert len(hashes(out)) == 3
    keys["run"]["deviation"] = 1.0
    with pytest.raises(UserError, match=r"another configuration \(run differ\)"):
        distill(parse_distillation(keys, "a test"), out, resume=True)


def test_the_first_round_must_fit_into_the_budget(keys: dict[str, Any], tmp_path: Path) -> None:
    keys["budget"]["calls"] = 20
    with pytest.raises(UserError, match=r"takes 29 calls of the teacher, and budget\.calls is 20"):
        distill(parse_distillation(keys, "a test"), tmp_path / "out")


def test_runs_stop_where_members_differ_and_leave_frames_with_their_deviation(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    keys["budget"]["rounds"], keys["run"] = 1, {"length": 0.08, "deviation": 1e-9, "every": 5, "walkers": 2}
    distill(parse_distillation(keys, "a test"), tmp_path / "out")
    outcomes = Round(tmp_path / "out", 0).outcomes
    assert [outcome.walker for outcome in outcomes] == [0, 1]
    assert all(outcome.steps == 5 and outcome.asked == 40 and outcome.deviation > 1e-9 for outcome in outcomes)
    frames = [candidates(tmp_path / f"out/round-00/run-0-{walker}", 1e-9) for walker in (0, 1)]
    assert [len(found) for found in frames] == [1, 1]
    model = read_model(tmp_path / "out/model.pt")
    for (found,), outcome in zip(frames, outcomes, strict=True):
        assert found.deviation == pytest.approx(deviation(model, found.atoms), rel=1e-4)
        assert found.deviation <= outcome.deviation
    assert not np.allclose(frames[0][0].atoms.positions, frames[1][0].atoms.positions, atol=1e-3)


def deviation(model: Any, atoms: Any) -> float:
    """The largest force deviation of an atom, from forces of the members by differences of their energies."""
    from hesspot.contract import build_batch

    def energies(positions: np.ndarray) -> np.ndarray:
        moved = atoms.copy()
        moved.positions = positions
        batch = build_batch([moved], model.elements, model.cutoff)
        return np.asarray(model.kernel.members(batch.species, batch.centers, batch.neighbors, batch.vectors).sum(1))

    step, forces = 1e-4, []
    for atom in range(len(atoms)):
        for axis in range(3):
            shift = np.zeros((len(atoms), 3))
            shift[atom, axis] = step
            forces.append((energies(atoms.positions - shift) - energies(atoms.positions + shift)) / (2 * step))
    members = np.array(forces).T.reshape(-1, len(atoms), 3)
    return float(np.sqrt(((members - members.mean(0)) ** 2).sum(2).mean(0)).max())


def test_structures_that_the_teacher_refuses_are_kept_aside_with_the_reason(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "shy.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Shy(EMT):\n"
        "    def calculate(self, atoms, *words, **more):\n"
        "        if abs(atoms.get_volume() / 47.04 - 1) > 0.01:\n"
        "            raise RuntimeError('only of this volume')\n"
        "        super().calculate(atoms, *words, **more)\n"
    )
    keys["teacher"]["calculator"] = f"{tmp_path}/shy.py:Shy"
    keys["budget"]["rounds"] = 1
    distill(parse_distillation(keys, "a test"), tmp_path / "out")
    current = Round(tmp_path / "out", 0)
    refused = dict(current.refused)
    assert len(refused) == 2 and all("strain" in name for name in refused)
    assert set(refused.values()) == {"RuntimeError: only of this volume"}
    assert current.n_labelled == 4
    assert "only of this volume" in (tmp_path / "out/report.html").read_text()


def test_a_run_that_held_met_no_deviation_and_did_all_steps() -> None:
    known = {"start": 0, "walker": 0, "steps": 40, "asked": 40, "timestep": 2.0, "deviation": 0.05, "limit": 0.1}
    assert Outcome(**known).held
    for change in ({"steps": 30}, {"deviation": 0.2}, {"broken": "Lost atoms"}):
        assert not Outcome(**known | change).held
