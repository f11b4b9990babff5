"""How a process of the driver speaks, and how signals end it."""

from __future__ import annotations

import signal

from hesspot.console import say


class Terminated(Exception):
    """A signal asked the process to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def log(text: str) -> None:
    """One line on stderr, at once."""
    say(f"hesspot-ipi: {text}", stderr=True)


def raise_on_signals() -> None:
    """SIGTERM and SIGINT become `Terminated`, so that everything is closed in order; a second one changes nothing."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
