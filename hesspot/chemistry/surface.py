"""The potential-energy surface of a model, and how often it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np

from hesspot.calculators import HesspotCalculator
from hesspot.graph import Graph, Potential, graph_for


class Surface:
    """Energy, forces and Hessians of a model in float64, counted.

    Args:
        model: path of an exported file, shipped:NAME, or a model in memory that keeps the contract.
    """

    def __init__(self, model: Any) -> None:
        self.name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self.calculator = _Counting(model)

    @property
    def n_forces(self) -> int:
        """Calls for energy and forces so far."""
        return self.calculator.n_forces

    @property
    def n_hessians(self) -> int:
        """Exact Hessians so far."""
        return self.calculator.n_hessians

    def attach(self, atoms: ase.Atoms) -> ase.Atoms:
        """A copy with its constraints and this calculator."""
        copy = atoms.copy()
        copy.calc = self.calculator
        return copy

    def graph(self, atoms: ase.Atoms) -> Graph:
        """The structure as the model sees it."""
        return graph_for(self.calculator.model, atoms)

    @property
    def potential(self) -> Potential:
        """What evaluates graphs; not counted."""
        return self.calculator.potential

    @staticmethod
    def plain(atoms: ase.Atoms) -> ase.Atoms:
        """A copy without a calculator."""
        copy: ase.Atoms = atoms.copy()
        return copy

    def energy_and_forces(self, atoms: ase.Atoms) -> tuple[float, np.ndarray]:
        """eV, and (n, 3) eV/Å of all atoms, whatever their constraints."""
        forces = self.calculator.get_property("forces", atoms)
        return float(self.calculator.get_property("energy", atoms)), np.asarray(forces)

    def hessian(self, atoms: ase.Atoms) -> np.ndarray:
        """(3n, 3n) eV/Å² of all atoms, whatever their constraints."""
        return self.calculator.get_hessian(atoms)


class _Counting(HesspotCalculator):
    n_forces = n_hessians = 0

    def calculate(self, *arguments: Any, **named: Any) -> None:
        super().calculate(*arguments, **named)
        self.n_forces += 1

    def get_hessian(self, atoms: ase.Atoms | None = None) -> np.ndarray:
        hessian = super().get_hessian(atoms)
        self.n_hessians += 1
        return hessian
