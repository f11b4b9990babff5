"""Structures too large for a Hessian by differences, and the directions along which their curvature is compared."""

import numpy as np
from ase import Atoms

#: Atoms; larger structures are compared by H·v: 6n force calls, and a matrix of 9n² numbers, are too many.
LARGEST = 48

#: Directions of a structure.
COUNT = 3


def is_large(atoms: Atoms) -> bool:
    """Whether H·v stands for the Hessian."""
    return len(atoms) > LARGEST


def directions_of(atoms: Atoms) -> np.ndarray:
    """(COUNT, n, 3): random, the same at every call, their largest component 1."""
    drawn = np.random.default_rng(len(atoms)).normal(size=(COUNT, len(atoms), 3))
    return np.asarray(drawn / np.abs(drawn).max((1, 2), keepdims=True))
