"""The exception that a signal becomes."""

from __future__ import annotations

import signal


class Terminated(Exception):
    """A signal asked the process to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number
