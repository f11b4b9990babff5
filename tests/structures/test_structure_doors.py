"""Every door refuses every bad structure in a sentence that names the value, whatever else it would do with it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import molecule
from test_structures import BAD, house

from hesspot.export import fingerprint_entry, write_model

#: Seconds; a search that has no end would take longer, all doors together take some ten.
TIMEOUT = 300.0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("doors")
    model = house()
    write_model(folder / "model.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])
    program = [sys.executable, str(Path(__file__).with_name("doors.py")), str(folder / "model.pt"), str(folder)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT)
    told = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert ended.returncode == 0, f"status {ended.returncode} at {told[-1:]}: {ended.stderr[-2000:]}"
    return [each for each in told if "outcome" in each]


def test_every_door_refuses_in_a_sentence(outcomes: list[dict[str, str]]) -> None:
    wrong = []
    for each in outcomes:
        words = BAD[each["name"]][1]
        others = "NaN or infinity in its|has the atomic number|are on one place"  # of arrays, and of the driver's loops
        if not re.search(f"^refused: .*({words}|{others})", each["outcome"]):
            wrong.append(f"{each['door']}, {each['name']}: {each['outcome']}")
    assert not wrong, "\n".join(wrong)
    assert len(outcomes) > 200
