"""Risk: a wrong force that is not found, a watch that loses or repeats frames, bad input that ends in a traceback."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units
from trajectories import Step, dump_text, waters

from hesspot.calculators import HesspotCalculator

#: eV/Å; rounding of forces that were written with twelve digits.
PRINTED = 1e-8


@pytest.fixture(scope="module")
def run(house_model_file: Path) -> list[Step]:
    return waters(house_model_file)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()[1:]]


def test_a_wrong_force_is_found_in_its_frame_and_at_its_atom(
    tmp_path: Path, house_model_file: Path, run: list[Step], call
) -> None:
    forces = run[2].forces.copy()
    forces[5, 1] += 0.02
    (tmp_path / "run.dump").write_text(dump_text([*run[:2], replace(run[2], forces=forces), run[3]]))
    code, told, _ = call(house_model_file, tmp_path / "run.dump", "--once", "--out", tmp_path / "out")
    assert code == 3
    assert "step 200: force 0.02 above 0.01 eV/Å at atom 26" in told
    rows = rows_of(tmp_path / "out")
    assert [len(row["flags"]) for row in rows] == [0, 0, 1, 0]
    assert max(rows[k]["force"] for k in (0, 1, 3)) < PRINTED
    assert rows[2]["flags"][0]["atoms"] == [26]


def test_lengths_in_another_unit_are_noticed(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    """The same structures, written in Bohr and in nm by a program that does not say so."""
    path = tmp_path / "run.dump"

    def scaled(step: Step, factor: float) -> Step:
        atoms = step.atoms.copy()
        atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        return replace(step, atoms=atoms)

    for unit, name in ((units.Bohr, "Bohr"), (units.nm, "nm")):
        path.write_text(dump_text([scaled(step, 1.0 / unit) for step in run]))
        code, _, told = call(house_model_file, path, "--once", "--out", tmp_path / name)
        assert code == 1 and f"seem to be in {name}, not in Å" in told and told.count("\n") == 1
        assert not (tmp_path / name).exists()
    forces = units.Ha / units.Bohr
    electron = [replace(scaled(step, 1.0 / units.Bohr), forces=step.forces / forces) for step in run]
    path.write_text(dump_text(electron, head="ITEM: UNITS\nelectron\n"))
    assert call(house_model_file, path, "--once", "--out", tmp_path / "electron")[0] == 0
    assert max(row["force"] for row in rows_of(tmp_path / "electron")) < 1e-6  # ASE's constants are of 2014


def test_energies_are_compared_with_those_of_the_log(
    tmp_path: Path, house_model_file: Path, run: list[Step], call
) -> None:
    """In kcal/mol; one of them is wrong, and that of the last frame is not written yet."""
    (tmp_path / "run.dump").write_text(dump_text(run, "id element x y z"))
    energies = [HesspotCalculator(house_model_file).get_potential_energy(step.atoms) for step in run[:3]]
    energies[1] += 0.9
    rows = [
        f"{step.step} 300 {energy / (units.kcal / units.mol):.9f}\n"
        for step, energy in zip(run, energies, strict=False)
    ]
    (tmp_path / "log").write_text("Step Temp PotEng\n" + "".join(rows) + "Loop time of 1\n")
    words = ["--units", "real", "--energies", tmp_path / "log", "--limit", "energy_error=0.01"]
    code, told, _ = call(house_model_file, tmp_path / "run.dump", "--once", "--out", tmp_path / "out", *words)
    assert code == 3 and "step 100: energy_error 0.09999 above 0.01 eV per atom" in told
    errors = [row.get("energy_error") for row in rows_of(tmp_path / "out")]
    np.testing.assert_allclose(errors[:3], [0.0, 0.1, 0.0], atol=1e-3)  # ASE's constants are of 2014, energies of 6 keV
    assert errors[3] is None


def test_a_good_run_passes(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    (tmp_path / "run.dump").write_text(dump_text(run))
    code, told, _ = call(house_model_file, tmp_path / "run.dump", "--once", "--out", tmp_path / "out", "--lowest", "9")
    assert code == 0
    assert all(row["force"] < PRINTED for row in rows_of(tmp_path / "out"))
    assert (tmp_path / "out" / "frames.png").read_bytes().startswith(b"\x89PNG")
    assert len(told.splitlines()) == 3 + len(run), "what runs, no distances, titles, a line for each frame"


def test_a_watch_goes_on_where_it_stopped(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    """Killed while it wrote a line; the rows are those of a watch that was not."""
    path, whole, stopped = tmp_path / "run.dump", tmp_path / "whole", tmp_path / "stopped"
    path.write_text(dump_text(run))
    call(house_model_file, path, "--once", "--out", whole)
    path.write_text(dump_text(run[:3]))
    call(house_model_file, path, "--once", "--out", stopped)
    written = stopped / "frames.jsonl"
    written.write_text(written.read_text()[:-20])
    path.write_text(dump_text(run))
    code, _, told = call(house_model_file, path, "--once", "--out", stopped)
    assert code == 1 and "pass --resume to go on" in told
    code, _, told = call(house_model_file, path, "--once", "--out", stopped, "--resume", "--lowest", "3")
    assert code == 1 and "is of another watch (lowest 0, not 3)" in told
    assert call(house_model_file, path, "--once", "--out", stopped, "--resume")[0] == 0
    rows = [[{**row, "seconds": 0} for row in rows_of(folder)] for folder in (whole, stopped)]
    assert rows[0] == rows[1]


def test_some_frames_are_looked_at(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    """Every second one, with a stop after the first and one that was skipped."""
    path, out = tmp_path / "run.dump", tmp_path / "out"
    for count, resume in ((2, []), (3, ["--resume"]), (4, ["--resume"])):
        path.write_text(dump_text(run[:count]))
        call(house_model_file, path, "--once", "--out", out, "--every", "2", *resume)
    assert [row["step"] for row in rows_of(out)] == [0, 200]


def test_a_limit_of_curvature_is_passed_from_above(
    tmp_path: Path, house_model_file: Path, run: list[Step], call
) -> None:
    """A random model has imaginary modes."""
    (tmp_path / "run.dump").write_text(dump_text(run[:1]))
    words = ["--once", "--out", tmp_path / "out", "--lowest", "27", "--limit", "lowest=-1", "--radius", "1"]
    code, told, _ = call(house_model_file, tmp_path / "run.dump", *words)
    hessian = HesspotCalculator(house_model_file).get_hessian(run[0].atoms)
    scale = 1.0 / np.sqrt(np.repeat(run[0].atoms.get_masses(), 3))
    values, vectors = np.linalg.eigh(scale[:, None] * hessian * scale)
    assert values[0] < 0 and code == 3
    worst = 11 + 3 * int((vectors[:, 0].reshape(-1, 3) ** 2).sum(1).argmax())
    (flag,) = rows_of(tmp_path / "out")[0]["flags"]
    assert (flag["what"], flag["atom"], flag["atoms"]) == ("lowest", worst, [worst])
    assert f"below -1 cm⁻¹ at atom {worst}" in told
    assert [path.name for path in (tmp_path / "out" / "clusters").iterdir()] == [f"step0-atom{worst}-flag.xyz"]


def test_a_passed_limit_runs_a_command_and_ends_the_watch(
    tmp_path: Path, house_model_file: Path, run: list[Step], call
) -> None:
    (tmp_path / "run.dump").write_text(dump_text(run))
    told = tmp_path / "told"
    command = f'echo "$HESSPOT_STEP $HESSPOT_WHAT" >> {told}'
    words = ["--once", "--out", tmp_path / "out", "--limit", "temperature=1", "--on-limit", command, "--stop"]
    code, said, _ = call(house_model_file, tmp_path / "run.dump", *words)
    assert code == 3 and "the watch ends" in said
    assert told.read_text() == "0 temperature\n"
    assert len(rows_of(tmp_path / "out")) == 1


def test_bad_input_gets_one_sentence(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    path = tmp_path / "run.dump"

    def refused(text: str, *words: object) -> str:
        path.write_text(text)
        code, _, told = call(house_model_file, path, "--once", "--out", tmp_path / "out", *words)
        (tmp_path / "out" / "frames.jsonl").unlink(missing_ok=True)
        assert code == 1 and told.startswith("hesspot: ") and told.count("\n") == 1, told
        return told

    good = dump_text(run)
    assert "has Ne, which model" in refused(good.replace(" O ", " Ne "))
    still = dump_text(run, "id element x y z fx fy fz")
    assert "has no velocities, which the curvature along the motion needs" in refused(still, "--along")
    assert "is of nothing that is known" in refused(good, "--limit", "froce=1")
    assert "no number behind the =" in refused(good, "--limit", "force=x")
    for name, reason in {
        "spread=1": "the model is no committee",
        "distance=1": "does not know its training data",
        "lowest=-9": "give --lowest 20",
        "energy_error=1": "give --energies",
    }.items():
        assert reason in refused(good, "--limit", name)
    bare = dump_text(run, "id element x y z")
    assert "has no forces" in refused(bare, "--limit", "force=1")
    assert "has no velocities" in refused(bare, "--limit", "temperature=1")
    assert "leave --units out" in refused(dump_text(run, head="ITEM: UNITS\nmetal\n"), "--units", "real")
    assert "dump has columns fx fy fz" in refused(good, "--forces", path)


def test_a_run_that_has_blown_up_is_flagged(tmp_path: Path, house_model_file: Path, run: list[Step], call) -> None:
    atoms = run[1].atoms.copy()
    atoms.positions[4] = atoms.positions[7]
    (tmp_path / "run.dump").write_text(dump_text([run[0], replace(run[1], atoms=atoms)]))
    code, told, _ = call(house_model_file, tmp_path / "run.dump", "--once", "--out", tmp_path / "out")
    assert code == 3 and "on one place" in told
    assert "on one place" in rows_of(tmp_path / "out")[1]["broken"]
