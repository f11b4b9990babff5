"""Time of a full analytic Hessian: hesspot's library beside TorchANI's, on one core, in one run.

    pip install -c constraints.txt torchani
    OMP_NUM_THREADS=1 python benchmarks/hessian_speed.py

Ethanol and clusters of 7 and 34 water molecules, all models with random weights (cost without accuracy): hesspot's
default model in double precision, and TorchANI's with the symmetry functions and networks of ANI-2x in double, too, and
in single, which is what it runs in. The smallest of several times, in turn.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from training_peers import ani_2x

from hesspot.graph import build_graph
from hesspot.kernel import KernelModel
from hesspot.models.house import HouseConfig, HouseModel

ELEMENTS = ["H", "C", "N", "O"]

#: Å between molecules of a cluster, on a grid: the density of the liquid.
SPACING = 3.1


def cluster(count: int) -> Atoms:
    """The molecules nearest to the middle of a grid, turned at random."""
    random, grid = np.random.default_rng(1), np.arange(-2, 3) * SPACING
    places = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3)
    places = places[np.argsort(np.linalg.norm(places, axis=1), kind="stable")][:count]
    atoms = Atoms()
    for place in places:
        one = molecule("H2O")
        one.euler_rotate(*random.uniform(0, 360, 3), center="COM")
        one.translate(place)
        atoms += one
    return atoms


def ours() -> Callable[[Atoms], np.ndarray]:
    torch.manual_seed(0)
    kernel = KernelModel.of(HouseModel(HouseConfig(elements=ELEMENTS)))
    return lambda atoms: kernel.hessian(build_graph(atoms, kernel.elements, kernel.cutoff))


def torchani(dtype: torch.dtype) -> Callable[[Atoms], np.ndarray]:
    from torchani.grad import energies_forces_and_hessians

    model = ani_2x(dict.fromkeys(ELEMENTS, 0.0)).requires_grad_(False).to(dtype)

    def hessian(atoms: Atoms) -> np.ndarray:
        species, positions = torch.tensor(atoms.numbers[None]), torch.tensor(atoms.positions[None], dtype=dtype)
        return energies_forces_and_hessians(model, species, positions)[2][0].numpy()

    return hessian


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    ways = {"hesspot": ours(), "single": torchani(torch.float32), "double": torchani(torch.float64)}
    print("| atoms | hesspot, ms | TorchANI in single, ms | ratio | in double, ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for atoms in (molecule("CH3CH2OH"), cluster(7), cluster(34)):
        times = dict.fromkeys(ways, np.inf)
        for _ in range(arguments.rounds):
            for name, hessian in ways.items():
                start = time.perf_counter()
                hessian(atoms)
                times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
        peers = " | ".join(f"{times[name]:.0f} | {times[name] / times['hesspot']:.0f}" for name in ("single", "double"))
        print(f"| {len(atoms)} | {times['hesspot']:.1f} | {peers} |", flush=True)


if __name__ == "__main__":
    main()
