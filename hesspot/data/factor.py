"""A factor between numbers that should be equal."""

from dataclasses import dataclass

import numpy as np

#: Cosine of both sides of a rule; below it they differ by more than a factor, which is no matter of units.
PROPORTIONAL = 0.9


@dataclass
class Factor:
    """A factor between two numbers that should be equal: sums over what is added, one pair or many."""

    count: int = 0
    found_found: float = 0.0
    found_expected: float = 0.0
    expected_expected: float = 0.0

    def add(self, found: np.ndarray | float, expected: np.ndarray | float) -> None:
        self.count += 1
        self.found_found += float(np.sum(np.square(found)))
        self.found_expected += float(np.sum(found * expected))
        self.expected_expected += float(np.sum(np.square(expected)))

    @property
    def value(self) -> float | None:
        """The factor by least squares; None where found and expected differ by more than a factor."""
        size = (self.found_found * self.expected_expected) ** 0.5
        if size == 0.0 or abs(self.found_expected) < PROPORTIONAL * size:
            return None
        return self.found_expected / self.expected_expected
