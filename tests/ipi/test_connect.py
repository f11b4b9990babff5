"""Addresses, and what is said about sockets that nobody listens on."""

import socket
import threading

import pytest

from hesspot.errors import UserError
from ipi_driver.wire.connect import InetAddress, UnixAddress, connect, inet_address, unix_address

SHORT = 0.3  # s, the time to give up in tests


def test_addresses():
    assert unix_address("water", "/tmp/ipi_") == UnixAddress("/tmp/ipi_water")
    assert inet_address("localhost:31415") == InetAddress("localhost", 31415)
    assert inet_address("[::1]:7") == InetAddress("::1", 7)


@pytest.mark.parametrize("text", ["localhost", "localhost:", ":31415", "a:b:1", "host:0", "host:70000", "host:-1"])
def test_bad_inet_addresses_are_refused(text):
    with pytest.raises(UserError, match="HOST:PORT"):
        inet_address(text)


def test_a_path_that_is_too_long_is_refused_in_bytes():
    unix_address("x" * 98, "/tmp/ipi_")
    with pytest.raises(UserError, match="108 bytes"):
        unix_address("x" * 99, "/tmp/ipi_")
    with pytest.raises(UserError, match="bytes"):
        unix_address("é" * 60, "/tmp/ipi_")


def left_behind(path):
    """A socket file whose server is gone."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()
    return UnixAddress(str(path))


def test_a_stale_socket_is_told_from_a_missing_one(tmp_path):
    stale = left_behind(tmp_path / "stale")
    with pytest.raises(UserError, match=r"nobody listens.*rm .*stale"):
        connect(stale, SHORT)
    with pytest.raises(UserError, match=r"no i-PI server at.*start i-PI"):
        connect(UnixAddress(str(tmp_path / "missing")), SHORT)


def test_a_stale_socket_is_told_while_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr("ipi_driver.wire.connect.STALE_AFTER", 0.0)
    told = []
    with pytest.raises(UserError):
        connect(left_behind(tmp_path / "stale"), SHORT, told.append)
    assert len(told) == 1
    assert "still trying" in told[0]


def test_a_file_that_is_no_socket(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="no socket"):
        connect(UnixAddress(str(tmp_path / "file")), 60.0)


def test_an_unknown_host_is_said_at_once():
    with pytest.raises(UserError, match="not known"):
        connect(InetAddress("no-such-host.invalid", 31415), 60.0)


def test_a_closed_port_is_tried_again_until_the_time_is_over():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=f"localhost:{port}.*address and port"):
        connect(InetAddress("localhost", port), SHORT)


def test_it_waits_for_a_server_that_comes_later(tmp_path):
    path = tmp_path / "late"
    server = socket.socket(socket.AF_UNIX)

    def listen():
        server.bind(str(path))
        server.listen(1)

    timer = threading.Timer(0.2, listen)
    timer.start()
    with connect(UnixAddress(str(path)), 30.0) as client:
        assert client.getpeername() == str(path)
    timer.join()
    server.close()
