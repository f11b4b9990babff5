"""`hesspot-ipi` as a process: how it starts, and how it ends."""

import contextlib
import os
import signal
import subprocess
import sys

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator
from ipi_server import Reply, batched_posdata, init, listen, posdata, word

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.export import read_model
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR

#: s; far more than the start of torch takes, so that a hang is a failure and not an endless test.
PATIENCE = 120.0

#: The same float64 operations on positions that went from Å to Bohr and back.
ROUNDING = 1e-10

#: ASE's own Hartree and Bohr.
ROUNDING_OF_ASE = 1e-6

BOX = np.eye(3) * 50.0


@contextlib.contextmanager
def driver(folder, model, template, *options):
    """The process, with its standard error as text at the end."""
    template.write(folder / "template.xyz", format="extxyz")
    command = [sys.executable, "-m", "ipi_driver.cli", str(model), "--template", "template.xyz"]
    process = subprocess.Popen([*command, *options], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ending(process):
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def accept(server):
    server.settimeout(PATIENCE)
    connection, _ = server.accept()
    connection.settimeout(PATIENCE)
    return connection, Reply(connection)


def test_a_whole_conversation_ends_with_status_0(tmp_path, house, molecule, rng):
    """A batch of three structures in a triclinic periodic cell, against derivatives of ASE structures."""
    cell = np.array([[6.0, 0, 0], [1.0, 7.0, 0], [-0.5, 0.7, 8.0]])
    start = ase.Atoms(molecule.numbers, positions=molecule.positions, cell=cell, pbc=True)
    positions = molecule.positions + 0.1 * rng.standard_normal((3, 4, 3))
    server = listen(tmp_path / "s_x")
    with driver(tmp_path, house, start, "--unix", "x", "--prefix", f"{tmp_path}/s_") as process:
        connection, reply = accept(server)
        connection.sendall(word("STATUS"))
        assert reply.header() == "NEEDINIT    "
        connection.sendall(init(0, " key : 1 , batch_size:3") + word("STATUS"))
        assert reply.header() == "READY       "
        connection.sendall(batched_posdata([cell / BOHR] * 3, positions / BOHR) + word("GETFORCE"))
        energies, forces, virials, _ = reply.forces(4, 3)
        connection.sendall(word("EXIT"))
        status, said = ending(process)
    assert status == 0, said
    assert "periodic along abc" in said
    model = read_model(house)
    structures = [ase.Atoms(molecule.numbers, positions=p, cell=cell, pbc=True) for p in positions]
    wanted = derivatives.evaluate(model, build_batch(structures, model.elements, model.cutoff), virial=True)
    np.testing.assert_allclose(energies * HARTREE, wanted.energy, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose((forces * HARTREE_PER_BOHR).reshape(-1, 3), wanted.forces, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(virials * HARTREE, wanted.virial, rtol=0, atol=ROUNDING)


def test_ases_socket_calculator_ends_it_with_status_0(tmp_path, house, molecule):
    """Which closes the socket and never says EXIT."""
    name, atoms = f"hesspot-test-{os.getpid()}", molecule.copy()
    with driver(tmp_path, house, molecule, "--unix", name) as process:
        with SocketIOCalculator(unixsocket=name, timeout=PATIENCE) as calculator:
            atoms.calc = calculator
            for _ in range(3):
                atoms.rattle(0.02, rng=np.random.default_rng(1))
                wanted = derivatives.evaluate(read_model(house), build_batch([atoms], ["H", "C", "N", "O"], 4.0))
                assert abs(atoms.get_potential_energy() - float(wanted.energy[0])) < ROUNDING_OF_ASE
                np.testing.assert_allclose(atoms.get_forces(), wanted.forces, rtol=0, atol=ROUNDING_OF_ASE)
        status, said = ending(process)
    assert status == 0
    assert "3 evaluations" in said and "after its last answer" in said


@pytest.mark.parametrize("asked", [True, False])
def test_it_ends_with_status_1_when_the_server_is_gone(tmp_path, house, molecule, asked):
    """Between two steps as within one: i-PI says EXIT at every end that is in order."""
    server = listen(tmp_path / "s_x")
    with driver(tmp_path, house, molecule, "--unix", "x", "--prefix", f"{tmp_path}/s_") as process:
        connection, reply = accept(server)
        connection.sendall(init(0, " ") + posdata(BOX, molecule.positions / BOHR) + word("GETFORCE"))
        reply.forces(4)
        if asked:
            connection.sendall(posdata(BOX, molecule.positions / BOHR))
            connection.sendall(word("STATUS"))
            assert reply.header() == "HAVEDATA    "
        connection.close()
        status, said = ending(process)
    assert status == 1
    assert "without saying EXIT" in said


def test_sigterm_ends_it_without_a_reset(tmp_path, house, molecule):
    server = listen(tmp_path / "s_x")
    with driver(tmp_path, house, molecule, "--unix", "x", "--prefix", f"{tmp_path}/s_") as process:
        connection, reply = accept(server)
        connection.sendall(word("STATUS"))
        reply.header()
        process.send_signal(signal.SIGTERM)
        assert connection.recv(1) == b""
        connection.close()
        status, said = ending(process)
    assert status == 128 + signal.SIGTERM
    assert "ended by SIGTERM" in said


def test_a_number_that_is_not_finite_is_never_sent(tmp_path, cliff):
    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.0]])
    server = listen(tmp_path / "s_x")
    with driver(tmp_path, cliff, pair, "--unix", "x", "--prefix", f"{tmp_path}/s_", "--failed", "bad.xyz") as process:
        connection, reply = accept(server)
        connection.sendall(init() + posdata(BOX, pair.positions / BOHR) + word("GETFORCE"))
        assert np.isfinite(reply.forces(2)[1]).all()
        near = np.array([[0, 0, 0], [0, 0, 0.9]])
        connection.sendall(posdata(BOX, near / BOHR) + word("GETFORCE"))
        assert connection.recv(1) == b""
        connection.close()
        status, said = ending(process)
    assert status == 1
    assert "not finite" in said
    assert "bad.xyz" in said
    np.testing.assert_allclose(ase.io.read(tmp_path / "bad.xyz").positions, near, atol=1e-7)


@pytest.mark.parametrize("lone", ["error", "allow"])
def test_a_lost_atom_ends_the_driver_unless_it_may_go(lone, tmp_path, house):
    atoms = ase.Atoms("OH2", [[0, 0, 0], [0.8, 0.5, 0], [-0.8, 0.5, 0]])
    lost = atoms.positions + np.array([[0, 0, 0], [0, 0, 0], [0, 13.0, 0]])
    server = listen(tmp_path / "s_x")
    options = ["--pbc", "false", "--failed", "bad.xyz", *(["--lone-atoms", lone] if lone == "allow" else [])]
    with driver(tmp_path, house, atoms, "--unix", "x", "--prefix", f"{tmp_path}/s_", *options) as process:
        connection, reply = accept(server)
        for positions in (atoms.positions, atoms.positions + 1e-3):  # the second one goes by the fast lane
            connection.sendall(init() + posdata(BOX, positions / BOHR) + word("GETFORCE"))
            reply.forces(3)
        connection.sendall(posdata(BOX, lost / BOHR) + word("GETFORCE"))
        if lone == "allow":
            assert not reply.forces(3)[1].reshape(3, 3)[2].any()
            connection.sendall(word("EXIT"))
        else:
            assert connection.recv(1) == b""
        connection.close()
        status, said = ending(process)
    assert status == int(lone == "error")
    assert ("atom 2 has no neighbour within 4 Å" in said) == (lone == "error")
    if lone == "error":
        assert "bad.xyz" in said and "--lone-atoms allow" in said
        np.testing.assert_allclose(ase.io.read(tmp_path / "bad.xyz").positions, lost, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "one of --unix NAME, --shm NAME, --inet"),
        (["--unix", "x", "--inet", "localhost:1"], "one of --unix NAME, --shm NAME, --inet"),
        (["--unix", "x" * 200], "bytes"),
        (["--unix", "x", "--timeout", "0"], "no i-PI server"),
        (["--unix", "x", "--device", "cuda:77"], "device cuda:77 is not there"),
        (["--unix", "x", "--template", "missing.xyz"], "missing.xyz does not exist"),
        (["--unix", "x", "--template", "empty.xyz"], "empty.xyz cannot be read"),
        (["--unix", "x", "--template", "gold.xyz"], "element Au"),
        (["--unix", "x", "--expect", "C O H H"], "atom 0 of the template is"),
        (["--unix", "x", "--expect", "HOH"], "no multiple"),
        (["--unix", "x", "--expect", "Hx"], "neither a file nor symbols"),
        (["--unix", "x", "--expect", "gold.xyz"], "1 of --expect"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, house, molecule, options, words, monkeypatch, capsys):
    """In this process, because the start of torch takes seconds."""
    from ipi_driver.cli import main

    monkeypatch.chdir(tmp_path)
    molecule.write("template.xyz", format="extxyz")
    ase.Atoms("Au").write("gold.xyz")
    (tmp_path / "empty.xyz").write_text("")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    arguments = ["--prefix", f"{tmp_path}/", "--template", "template.xyz", "--restarts", "0", *options]
    monkeypatch.setattr(sys, "argv", ["hesspot-ipi", str(house), *arguments])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 1
    assert words in said
    assert len([line for line in said.splitlines() if "fingerprint" not in line]) == 1
