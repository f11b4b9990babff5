"""The wire layer and the state machine against streams made by hand, whole, split, coalesced and hostile."""

import socket
import struct
import threading
from pathlib import Path

import ase
import numpy as np
import pytest
import scipy.constants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ipi_server import Reply, batched_posdata, init, posdata, word

from hesspot.errors import UserError
from ipi_driver.evaluation.results import Results
from ipi_driver.serving.driver import Driver, InStream
from ipi_driver.serving.responder import Responder
from ipi_driver.wire import protocol
from ipi_driver.wire.protocol import Connection, ProtocolError, ServerClosed, ServerGone, Structures

ANGSTROM = 1e-10 / scipy.constants.value("Bohr radius")
EV = scipy.constants.e / scipy.constants.value("Hartree energy")

#: scipy's CODATA release may differ from the one in hesspot.units by some 1e-10.
UNITS = 1e-8

ATOMS = ase.Atoms("OH2", positions=[[0, 0, 0], [0.9, 0, 0], [0, 0.9, 0]])


class Well:
    """E = ½Σx², F = −x, and a virial equal to the cell, whose rows must be the lattice vectors; eV, Å."""

    def __call__(self, positions, cells):
        return Results(0.5 * (positions**2).sum((1, 2)), -positions, cells)


def expected(cells, positions):
    x = np.array(positions) / ANGSTROM
    return 0.5 * (x**2).sum((1, 2)) * EV, -x * EV / ANGSTROM, np.array(cells) / ANGSTROM * EV


def start(tmp_path=Path(".")):
    """A driver on one end of a socket pair, in a thread; the server's end; where its outcome will be."""
    server, client = socket.socketpair()
    server.settimeout(30.0)
    outcome = []

    def serve():
        connection = Connection(client)
        try:
            answers = Responder(Well(), ATOMS, ATOMS.pbc, tmp_path / "failed.xyz")
            Driver(connection, answers, len(ATOMS), InStream()).run()
            outcome.append(None)
        except UserError as error:
            outcome.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return server, thread, outcome


def structures(rng, count):
    cells = np.eye(3) * 20 + rng.uniform(-1, 1, (count, 3, 3))
    return cells, rng.uniform(-5, 5, (count, 3, 3))


@st.composite
def conversations(draw):
    """(pieces of the server's stream, what it must get back) in any legal order."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    batch = draw(st.integers(1, 4))
    noise = draw(st.sampled_from(["", " ", "key : 1 , note: é,", " batch_sizes: 9 ,"]))
    stream, answers, state = b"", [], "NEEDINIT"

    def ask_status():
        nonlocal stream
        if draw(st.booleans()):
            stream += word("STATUS")
            answers.append(state)

    ask_status()
    stream += init(draw(st.integers(0, 100)), noise if batch == 1 else f"{noise} batch_size:{batch}")
    state = "READY"
    for _ in range(draw(st.integers(0, 3))):
        ask_status()
        cells, positions = structures(rng, batch)
        stream += posdata(cells[0], positions[0]) if batch == 1 else batched_posdata(cells, positions)
        state = "HAVEDATA"
        ask_status()
        stream += word("GETFORCE")
        answers.append((cells, positions))
        state = "READY"
    stream += word("EXIT")
    cuts = sorted(draw(st.lists(st.integers(1, len(stream) - 1), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)], answers


@settings(max_examples=150, deadline=None)
@given(conversations())
def test_every_split_of_every_legal_stream_is_answered(conversation):
    pieces, answers = conversation
    server, thread, outcome = start()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    for piece in pieces:
        server.sendall(piece)
    reply = Reply(server)
    for answer in answers:
        if isinstance(answer, str):
            assert reply.header() == answer.ljust(12)
            continue
        cells, positions = answer
        energies, forces, virials, extras = reply.forces(3, len(cells))
        for got, wanted in zip((energies, forces, virials), expected(cells, positions), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=UNITS)
        assert extras == [b""] * len(cells)
    assert server.recv(1) == b""
    server.close()
    thread.join(10.0)
    assert outcome == [None]


def run_on(stream: bytes):
    """What becomes of a driver that is fed `stream` and then the end of the stream."""
    server, thread, outcome = start()
    server.sendall(stream)
    server.shutdown(socket.SHUT_WR)
    answers = b""
    while piece := server.recv(1 << 16):
        answers += piece
    server.close()
    thread.join(10.0)
    assert not thread.is_alive()
    return outcome[0], answers


CELL, PLACES = np.eye(3) * 20, np.arange(9.0).reshape(3, 3)
GOOD = word("STATUS") + init(3, "batch_size:1") + posdata(CELL, PLACES) + word("GETFORCE") + word("EXIT")

hostile = st.one_of(
    st.binary(max_size=400),
    st.builds(lambda tail: word("STATUS") + tail, st.binary(max_size=60)),
    st.builds(lambda n, tail: word("INIT") + struct.pack("=ii", 0, n) + tail, st.integers(-(1 << 31), (1 << 31) - 1),
              st.binary(max_size=60)),
    st.builds(lambda text: init(0, text) + posdata(CELL, PLACES) + word("GETFORCE"), st.text(max_size=30)),
    st.builds(lambda n: init(0, f"batch_size:{n}") + posdata(CELL, PLACES), st.integers(-5, 1 << 40)),
    st.builds(lambda at, byte: GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], st.integers(0, len(GOOD) - 1),
              st.integers(0, 255)),
    st.builds(lambda at: GOOD[:at], st.integers(0, len(GOOD) - 1)),
    st.lists(st.sampled_from([word("STATUS"), word("GETFORCE"), word("POSDATA"), word("EXIT"), init(), GOOD[:12],
                              posdata(CELL, PLACES)]), max_size=6).map(b"".join),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile)
def test_no_stream_makes_it_crash_or_hang(stream):
    outcome, _ = run_on(stream)
    assert outcome is None or isinstance(outcome, UserError)
    if outcome is not None:
        assert "\n" not in str(outcome)


def test_a_damaged_stream_never_gets_forces_of_other_positions():
    """Bytes lost in the middle: the driver ends without an answer."""
    stream = init() + posdata(CELL, PLACES)[:-8] + word("GETFORCE")
    outcome, answers = run_on(stream)
    assert isinstance(outcome, ServerGone)
    assert answers == b""


@pytest.mark.parametrize(
    ("stream", "kind", "words"),
    [
        (word("HELLO"), ProtocolError, ["HELLO", "i-PI server"]),
        (word("status"), ProtocolError, ["status"]),
        (word("GETFORCE"), ProtocolError, ["GETFORCE", "NEEDINIT"]),
        (init() + word("GETFORCE"), ProtocolError, ["GETFORCE", "READY"]),
        (posdata(CELL, PLACES), ProtocolError, ["POSDATA", "NEEDINIT"]),
        (init() + posdata(CELL, PLACES) * 2, ProtocolError, ["POSDATA", "HAVEDATA"]),
        (init() + posdata(CELL, np.zeros((5, 3))), ProtocolError, ["5 atoms", "has 3", "--template"]),
        (init() + posdata(CELL, np.zeros((0, 3))), ProtocolError, ["0 atoms", "has 3"]),
        (word("INIT") + struct.pack("=ii", 0, -1), ProtocolError, ["-1 bytes"]),
        (word("INIT") + struct.pack("=ii", 0, 2**31 - 1), ProtocolError, ["2147483647 bytes"]),
        (init(0, "batch_size:0"), ProtocolError, ["batch_size '0'"]),
        (init(0, "batch_size: many"), ProtocolError, ["batch_size 'many'"]),
        (init(0, "batch_size:2000000000") + word("POSDATA"), ProtocolError, ["2000000000", "smaller batch_size"]),
        (b"", ServerClosed, ["EXIT"]),
        (word("STATUS")[:5], ServerClosed, ["EXIT"]),
        (init() + posdata(CELL, PLACES)[:100], ServerClosed, ["EXIT"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(stream, kind, words):
    outcome, _ = run_on(stream)
    assert type(outcome) is kind
    for part in words:
        assert part in str(outcome)


def test_another_order_of_the_elements_is_seen_at_the_first_positions():
    """Same geometry, H and O exchanged: i-PI never sends the elements, but the places tell."""
    places = ATOMS.positions[[1, 0, 2]] * ANGSTROM
    outcome, _ = run_on(init() + posdata(CELL, places))
    assert "order of the atoms" in str(outcome)


def test_positions_far_from_the_template_say_nothing_about_its_order():
    """Found by the streams above: a search in the tree of the template must not run over."""
    for far in (5.0, 1e8, 1e300):
        outcome, _ = run_on(init() + posdata(CELL, ATOMS.positions * ANGSTROM + far) + word("EXIT"))
        assert outcome is None


def test_left_handed_lattice_vectors_are_refused(tmp_path):
    """The remedy that the sentence names works; where nothing is periodic the cell has no meaning."""
    left = Structures(np.diag([20.0, 21.0, -22.0])[None], ATOMS.positions[None] * ANGSTROM)
    with pytest.raises(UserError, match=r"left-handed.*set_cell\(-atoms\.cell\)"):
        Responder(Well(), ATOMS, [True, True, False], tmp_path / "failed.xyz")(left)
    Responder(Well(), ATOMS, [True, True, False], tmp_path / "failed.xyz")(Structures(-left.cells, left.positions))
    Responder(Well(), ATOMS, [False] * 3, tmp_path / "failed.xyz")(left)


def test_extras_are_counted_in_bytes():
    text = '{"é": 1}'.encode()
    message = protocol.encode_forces(np.zeros(2), np.zeros((2, 1, 3)), np.zeros((2, 3, 3)), [text, b""])
    near, far = socket.socketpair()
    near.sendall(message)
    assert Reply(far).forces(1, 2)[3] == [text, b""]
    near.close()
    assert far.recv(1) == b""


def test_forces_of_float32_models_travel_as_float64():
    message = protocol.encode_forces(
        np.zeros(1, np.float32), np.ones((1, 2, 3), np.float32), np.zeros((1, 3, 3), np.float32)
    )
    assert len(message) == 12 + 8 + 4 + 48 + 72 + 4


def test_closing_leaves_no_unread_data():
    """The server sees the end of the stream, not a reset, although it had sent more than the driver read."""
    server, thread, outcome = start()
    server.sendall(word("GARBAGE") + bytes(5000))
    server.settimeout(10.0)
    assert server.recv(1) == b""
    server.sendall(word("EXIT"))
    server.close()
    thread.join(10.0)
    assert isinstance(outcome[0], ProtocolError)


def test_reads_of_any_length_get_the_bytes_in_order(rng):
    """Shorter and longer than the window, and while room is made in it."""
    lengths = [*rng.integers(0, 40, 50), protocol.BUFFER, 3 * protocol.BUFFER + 1, 7, protocol.CHUNK + 5, 12]
    lengths = [int(length) for length in rng.permutation(lengths)]
    stream = rng.bytes(sum(lengths))
    server, client = socket.socketpair()
    thread = threading.Thread(target=server.sendall, args=(stream,))
    thread.start()
    connection, at = Connection(client), 0
    for number, length in enumerate(lengths):
        assert bytes(connection.read(length)) == stream[at : at + length]
        at += length
        if number % 10 == 0:
            connection.make_room(protocol.BUFFER + 1000 * number)
    thread.join()
    server.close()
    with pytest.raises(ServerGone):
        connection.read(1)
    connection.close()
