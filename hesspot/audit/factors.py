"""Factors by their names: units, signs and orders of components that engines confuse."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from hesspot.units import BOHR, HARTREE, JOULE, KCAL_PER_MOL, METER

GPA = 1e9 * JOULE / METER**3
BAR = 1e-4 * GPA

#: What is found over what is right, and what that means.
FACTORS = {
    "two times too large, as if each pair counted twice": 2.0,
    "half of what it should be, as if each pair counted half": 0.5,
    "a third of what it should be": 1 / 3,
    "three times too large": 3.0,
    "in Hartree for eV": 1 / HARTREE,
    "in eV for Hartree": HARTREE,
    "in Rydberg for eV": 2 / HARTREE,
    "in kcal/mol for eV": 1 / KCAL_PER_MOL,
    "in eV for kcal/mol": KCAL_PER_MOL,
    "in kJ/mol for eV": 4.184 / KCAL_PER_MOL,
    "in eV for kJ/mol": KCAL_PER_MOL / 4.184,
    "in Hartree/bohr for eV/Å": BOHR / HARTREE,
    "in eV/Å for Hartree/bohr": HARTREE / BOHR,
    "per bohr for per Å": BOHR,
    "per Å for per bohr": 1 / BOHR,
    "per bohr² for per Å²": BOHR**2,
    "per Å² for per bohr²": 1 / BOHR**2,
    "in atm for bar": 1 / 1.01325,
    "in bar for atm": 1.01325,
    "in GPa for eV/Å³": 1 / GPA,
    "in eV/Å³ for GPa": GPA,
    "in kbar for eV/Å³": 10 / GPA,
    "in bar for eV/Å³": 1 / BAR,
    "in Hartree/bohr³ for eV/Å³": BOHR**3 / HARTREE,
}

#: Of the larger of the two, how well a multiple must fit, and how well its factor.
FITS, SAME = 0.01, 1e-3

#: Of the independent components xx yy zz yz xz xy: names of wrong orders.
ORDERS: dict[tuple[int, ...], str] = {
    (0, 1, 2, 5, 4, 3): "its components yz and xy are exchanged: the order xx yy zz xy xz yz for xx yy zz yz xz xy",
    (0, 1, 2, 3, 5, 4): "its components xz and xy are exchanged",
    (0, 1, 2, 4, 3, 5): "its components yz and xz are exchanged",
    (0, 3, 5, 4, 2, 1): "its components stand in the order xx xy xz yy yz zz for xx yy zz yz xz xy",
}


def factor_of(found: np.ndarray, right: np.ndarray, fits: float = FITS) -> float | None:
    """The number by which `found` is a multiple of `right`; None if it is none."""
    norm = float(np.vdot(right, right))
    if norm == 0.0:
        return None
    factor = float(np.vdot(found, right)) / norm
    left = np.linalg.norm(found - factor * right)
    return factor if factor and left <= fits * np.linalg.norm(found) else None


def named_factor(found: np.ndarray, right: np.ndarray, fits: float = FITS) -> str:
    """In words, what factor lies between the two; empty if there is none. fits: how well it must."""
    factor = factor_of(found, right, fits)
    if factor is None or abs(factor - 1) < SAME:
        return ""
    sign = "of the wrong sign" if factor < 0 else ""
    size = abs(factor)
    if abs(size - 1) < SAME:
        return sign
    near = min(FACTORS, key=lambda name: abs(np.log(size / FACTORS[name])))
    name = near if abs(size / FACTORS[near] - 1) < SAME else f"{size:.5g} times what it should be"
    return " and ".join(filter(None, (sign, name)))


def named_order(found: np.ndarray, right: np.ndarray) -> str:
    """In words, which order of its components makes the one (6,) the other; empty if none does, or it is the right."""
    size = np.abs(right).max()
    if np.allclose(found, right, rtol=0, atol=FITS * size):
        return ""
    for order in sorted(permutations(range(6)), key=lambda each: each not in ORDERS):
        if np.allclose(found[list(order)], right, rtol=0, atol=FITS * size):
            return ORDERS.get(order, f"its components are in another order: {[int(k) for k in order]}")
    return ""
