"""Real i-PI runs through `run_ipi`: every one is bounded in time, and ends all its processes."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

from hesspot.errors import UserError
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.ipi.launch import run_ipi
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, HBAR

pytestmark = pytest.mark.ipi

#: s; a run that takes longer hangs.
PATIENCE = 200.0

#: eV; the same numbers summed in batches of another size, over 20 steps.
SAME = 1e-9


def run(folder, model, atoms, *, change=lambda xml: xml, n_drivers=1, timeout=PATIENCE, **settings):
    folder.mkdir(exist_ok=True)
    write_start(folder / "start.xyz", atoms)
    options = {"address": "test", "n_beads": 1, "timestep": 0.25, "steps": 20, "temperature": 300.0, "stride": 1}
    (folder / "input.xml").write_text(change(dynamics_input("start.xyz", **{**options, **settings})))
    logs = run_ipi(folder / "input.xml", model, folder / "start.xyz", folder, n_drivers, timeout=timeout)
    return np.loadtxt(folder / "simulation.out"), logs


def to_inet(xml):
    """The same run over TCP, in single messages with a STATUS between them."""
    socket = "<address>localhost</address><port>{}</port><consolidate_messages>False</consolidate_messages>"
    free = 20000 + os.getpid() % 20000
    return xml.replace("mode='unix'", "mode='inet'").replace("<address>test</address>", socket.format(free))


def test_batches_give_the_beads_what_single_requests_give(tmp_path, house, molecule):
    """Five beads in batches of eight over a unix socket; one by one to two drivers over inet."""
    batched, logs = run(tmp_path / "batched", house, molecule, n_beads=5, batch_size=8)
    single, _ = run(tmp_path / "single", house, molecule, n_beads=5, n_drivers=2, change=to_inet)
    np.testing.assert_allclose(batched, single, rtol=0, atol=SAME)
    counts = [
        int(n) for n in re.findall(r"(\d+) evaluations of (\d+) structures \((\d+) distinct", logs.driver_logs[0])[0]
    ]
    assert counts[1] == 8 * counts[0]
    assert counts[2] <= 5 * counts[0]


@pytest.mark.parametrize(("batch", "consolidated"), [(1, False), (4, True)])
def test_shared_memory_gives_the_very_numbers_of_a_unix_socket(tmp_path, house, molecule, batch, consolidated):
    """Four beads; i-PI knows single messages without batches only."""
    messages = f"<consolidate_messages>{consolidated}</consolidate_messages><address>test</address>"

    def change(mode):
        return lambda xml: xml.replace("mode='unix'", f"mode='{mode}'").replace("<address>test</address>", messages)

    settings = {"n_beads": 4, "batch_size": batch}
    stream, _ = run(tmp_path / "stream", house, molecule, change=change("unix"), **settings)
    shared, _ = run(tmp_path / "shared", house, molecule, change=change("shm"), **settings)
    np.testing.assert_array_equal(shared, stream)


def test_nve_conserves_the_energy(tmp_path, springs):
    """Harmonic, ω dt < 0.043: velocity Verlet moves the total energy by (ω dt)²/8 ≈ 2e-4 of itself, no more."""
    model, atoms, _ = springs
    table, _ = run(tmp_path, model, atoms, thermostat="none", steps=120, timestep=0.1)
    conserved, potential = table[:, 2], table[:, 5]
    assert np.ptp(potential) > 0.02
    assert np.ptp(conserved) < 1e-3 * np.ptp(potential)


def exact_potential(masses, k, n_beads, temperature, timestep):
    """⟨V⟩ in eV at finite P and finite time step (OBABO) of ½k|r_a − r_b − d_ab|² for all pairs; 0: dt → 0.

    For each vibration ω and each ring-polymer mode k with M = B·A_k·B on (q, p) of unit mass, B a half kick and A_k
    the exact rotation of the free ring polymer, ⟨q_k²⟩ = (P/β)(−M₁₂/M₂₁).
    """
    n = len(masses)
    weights = 1.0 / (AMU_A2_PER_FS2 * np.sqrt(np.outer(masses, masses)))
    squares = np.linalg.eigvalsh(k * (n * np.eye(n) - np.ones((n, n))) * weights)[1:]
    kt, total = BOLTZMANN * temperature, 0.0
    for square in squares:
        for mode in range(n_beads):
            w = 2.0 * n_beads * kt / HBAR * np.sin(mode * np.pi / n_beads)
            ratio = 1.0 / (square + w**2)
            if timestep:
                kick = np.array([[1.0, 0.0], [-square * timestep / 2, 1.0]])
                c, s = np.cos(w * timestep), np.sin(w * timestep)
                turn = np.array([[c, s / w if w else timestep], [-w * s, c]])
                matrix = kick @ turn @ kick
                ratio = -matrix[0, 1] / matrix[1, 0]
            total += 1.5 * square * kt * ratio
    return total


def test_pimd_of_a_harmonic_system_is_exact_at_finite_time_step(tmp_path, springs):
    """A time step so long that only the formula for this very step is met, not the one for dt → 0."""
    model, atoms, k = springs
    beads, temperature, timestep, steps = 8, 300.0, 2.0, 1500
    table, _ = run(
        tmp_path, model, atoms, n_beads=beads, batch_size=beads, timestep=timestep, steps=steps,
        temperature=temperature, seed=7, change=lambda xml: xml.replace(">100</tau>", ">10</tau>"),
    )  # fmt: skip
    potential = table[100:, 5]
    blocks = potential[: len(potential) // 20 * 20].reshape(20, -1).mean(1)
    mean, error = blocks.mean(), blocks.std(ddof=1) / np.sqrt(len(blocks))
    right = exact_potential(atoms.get_masses(), k, beads, temperature, timestep)
    wrong = exact_potential(atoms.get_masses(), k, beads, temperature, 0.0)
    print(f"measured {mean:.5f} ± {error:.5f} eV, exact {right:.5f}, for dt → 0 {wrong:.5f}")
    assert abs(mean - right) < 4 * error
    assert abs(mean - wrong) > 6 * error


def test_a_structure_without_an_answer_ends_the_whole_run(tmp_path, cliff):
    """Atoms that fly into the region where the model has no answer: a sentence, a file, no hang."""
    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.05]])
    with pytest.raises(UserError, match=r"driver 0 .* ended with status 1 .*not finite"):
        run(tmp_path, cliff, pair, steps=5000)
    (failed,) = tmp_path.glob("hesspot-ipi-failed-*.xyz")
    assert ase.io.read(failed).get_distance(0, 1) < 1.0
    assert "Client shutdown" in (tmp_path / "i-pi.log").read_text() or (tmp_path / "RESTART").is_file()


def test_a_killed_server_is_noticed_and_a_killed_driver_replaced(tmp_path, house, molecule):
    """SIGTERM to a driver in mid-run: i-PI goes on with the next one. kill -9 to i-PI: it ends, with its worker."""
    write_start(tmp_path / "start.xyz", molecule)
    xml = dynamics_input(
        "start.xyz", address="x", n_beads=4, batch_size=4, timestep=0.25, steps=10**6, temperature=300.0, stride=1
    )
    (tmp_path / "input.xml").write_text(xml.replace("<exit_on_disconnect>True</exit_on_disconnect>", ""))
    table = tmp_path / "simulation.out"

    def wait_for_steps(more):
        start = len(table.read_text().splitlines()) if table.is_file() else 0
        deadline = time.monotonic() + PATIENCE
        while not (table.is_file() and len(table.read_text().splitlines()) >= start + more):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with contextlib.ExitStack() as stack:

        def begin(*command):
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        prefix = f"{tmp_path}/s_"
        server = begin(shutil.which("i-pi", path=sysconfig.get_path("scripts")), "-S", prefix, "input.xml")
        command = [sys.executable, "-m", "ipi_driver.cli", str(house), "--template", "start.xyz", "--unix", "x"]
        first = begin(*command, "--prefix", prefix)
        wait_for_steps(20)
        second = begin(*command, "--prefix", prefix)
        first.terminate()
        assert first.wait(PATIENCE) == 128 + signal.SIGTERM
        wait_for_steps(20)
        worker = worker_of(second)
        server.kill()
        _, said = second.communicate(timeout=PATIENCE)
        assert second.returncode == 1
        assert re.search("without saying EXIT|broke", said)
        assert not Path(f"/proc/{worker}").exists()
    steps = np.loadtxt(table)[:, 0]
    np.testing.assert_array_equal(steps, np.arange(len(steps)))


def in_folder(folder):
    """Processes whose working directory it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.joinpath("cwd").resolve() == folder:
                found.append(process.joinpath("cmdline").read_text())
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_run_ipi_leaves_nothing_running(tmp_path, house, molecule, number):
    write_start(tmp_path / "start.xyz", molecule)
    xml = dynamics_input("start.xyz", address="x", n_beads=1, timestep=0.25, steps=10**7, temperature=300.0, stride=1)
    (tmp_path / "input.xml").write_text(xml)
    call = "import pathlib, sys; from hesspot.ipi.launch import run_ipi; run_ipi(*map(pathlib.Path, sys.argv[1:]))"
    arguments = [tmp_path / "input.xml", house, tmp_path / "start.xyz", tmp_path]
    with subprocess.Popen([sys.executable, "-c", call, *map(str, arguments)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "simulation.out").is_file():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        assert len(in_folder(tmp_path)) >= 2
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number
    assert in_folder(tmp_path) == []


def worker_of(driver):
    """The process that evaluates for a driver: its only child."""
    (child,) = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()
    return int(child)


def test_the_example_runs(tmp_path, house):
    example = Path(__file__).parents[2] / "examples/ipi/pimd-h2co"
    shutil.copy(example / "start.xyz", tmp_path)
    text = (example / "input.xml").read_text().replace("<total_steps>2000<", "<total_steps>10<")
    (tmp_path / "input.xml").write_text(text)
    run_ipi(tmp_path / "input.xml", house, tmp_path / "start.xyz", tmp_path, timeout=PATIENCE)
    assert np.loadtxt(tmp_path / "simulation.out").shape == (2, 6)


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<simulation>", "is no XML"),
        ("<simulation></simulation>", "0 ffsocket"),
        ("<simulation><ffsocket mode='tcp'><address>x</address></ffsocket></simulation>", "mode 'tcp'"),
    ],
)
def test_inputs_that_cannot_be_run(tmp_path, house, xml, words):
    (tmp_path / "input.xml").write_text(xml)
    with pytest.raises(UserError, match=words):
        run_ipi(tmp_path / "input.xml", house, tmp_path / "start.xyz", tmp_path)


def test_an_input_that_ipi_refuses_ends_both(tmp_path, house, molecule):
    with pytest.raises(UserError, match=r"i-PI in .* ended with status 1"):
        run(tmp_path, house, molecule, change=lambda xml: xml.replace("'pile_l'", "'no-such'"))
