"""The architecture of ANI-2x as a model of hesspot beside TorchANI's own: energies, forces, Hessians.

    pip install -c constraints.txt torchani
    OMP_NUM_THREADS=1 python benchmarks/ani_check.py

The same random weights in double precision; TorchANI keeps the constants of its symmetry functions in single.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from training_peers import ani_2x

from hesspot.calculators import HesspotCalculator

sys.path.append(str(Path(__file__).parents[1] / "examples" / "own_models"))


def main() -> None:
    from ani import HARTREE, from_torchani
    from torchani.grad import energies_forces_and_hessians

    warnings.filterwarnings("ignore")
    theirs = ani_2x({"H": -0.5, "C": -38.0, "N": -54.0, "O": -75.0}).double()
    calculator = HesspotCalculator(from_torchani(theirs))
    print("| molecule | energy, eV | forces, eV/Å | of at most | Hessian, eV/Å² | of at most |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("H2O", "CH3CONH2", "C6H6"):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=1)
        atoms.calc = calculator
        told = energies_forces_and_hessians(
            theirs, torch.tensor(atoms.numbers[None]), torch.tensor(atoms.positions[None])
        )
        energy, forces, hessian = (HARTREE * each.detach().numpy()[0] for each in told)
        cells = [f"{abs(energy - atoms.get_potential_energy()):.0e}"]
        for mine, other in ((atoms.get_forces(), forces), (calculator.get_hessian(atoms), hessian)):
            cells += [f"{np.abs(mine - other.reshape(mine.shape)).max():.0e}", f"{np.abs(other).max():.2g}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
