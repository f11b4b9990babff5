"""Some of the streams of fuzz.py, in each way that a stream is damaged."""

import fuzz


def test_damaged_streams_get_what_the_protocol_says(capsys):
    fuzz.main(4000)
    assert "no crash" in capsys.readouterr().out
