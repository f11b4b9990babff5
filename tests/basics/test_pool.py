"""Risk: workers that crowd the processors, or a pool that leaves its settings behind."""

import os

import pytest

from hesspot.pool import executor


@pytest.mark.parametrize("before", [None, "3"])
def test_workers_have_one_thread_and_the_caller_keeps_its_own(monkeypatch, before):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if before is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    with executor(2) as pool:
        assert [pool.submit(os.getenv, "OMP_NUM_THREADS").result() for _ in range(2)] == ["1", "1"]
    assert os.environ.get("OMP_NUM_THREADS") == before
    with pytest.raises(KeyboardInterrupt), executor(1):
        raise KeyboardInterrupt
    assert os.environ.get("OMP_NUM_THREADS") == before
