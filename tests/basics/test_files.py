"""Risk: a file that is half written, lost with the power, readable to the wrong people, or misplaced."""

import os
import stat
from contextlib import contextmanager

import pytest

from hesspot.errors import UserError
from hesspot.files import replacing, write_atomically


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path, mask, mode):
    with umask(mask):
        write_atomically(tmp_path / "new", b"1")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "old").write_bytes(b"1")
    (tmp_path / "old").chmod(0o640)
    write_atomically(tmp_path / "old", b"2")
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640
    assert (tmp_path / "old").read_bytes() == b"2"


def test_file_and_folder_are_on_the_disk_in_that_order(tmp_path, monkeypatch):
    calls = []

    def name_of(handle):
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(name_of(handle)), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "new.dat", b"1")
    part, *rest = calls
    assert part.startswith("new") and part.endswith(".part")
    assert rest == ["replace", tmp_path.name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "old").write_bytes(b"1")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "old") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"1"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("there/real")
    write_atomically(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "real").read_bytes() == b"2"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"1")
    assert os.read(reader, 10) == b"1"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="is a folder; give the name of a file in it"):
        write_atomically(tmp_path, b"1")
    with pytest.raises(UserError, match=r"folder .*none for x does not exist; make it first"):
        write_atomically(tmp_path / "none" / "x", b"1")
