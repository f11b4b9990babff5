"""kill -9 at random moments: the first of the runs that faults.py makes."""

import random

import faults
import pytest


@pytest.mark.ipi
def test_nothing_is_lost_when_a_worker_or_ipi_is_killed(tmp_path, house, molecule):
    rng = random.Random(3)
    faults.files_of(tmp_path / "wanted", house, molecule)
    wanted = faults.undisturbed(tmp_path / "wanted")
    for name, kill in (("worker", faults.kill_worker), ("server", faults.kill_server)):
        faults.files_of(tmp_path / name, house, molecule)
        kill(tmp_path / name, rng, wanted)
