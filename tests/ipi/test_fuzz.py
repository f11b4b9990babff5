"""Some of the streams of fuzz.py, in each way that a stream is damaged."""

import fuzz

from ipi_driver.serving import fast_lane


def test_damaged_streams_get_what_the_protocol_says(capsys, monkeypatch):
    for unit in ("BOHR", "HARTREE", "HARTREE_PER_BOHR"):  # main sets them
        monkeypatch.setattr(fast_lane, unit, 1.0)
    fuzz.main(4000)
    assert "no crash" in capsys.readouterr().out
