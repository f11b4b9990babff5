"""Time of a force call and of a Hessian through ASE beside the kernel alone, of nine atoms, on one core.

    OMP_NUM_THREADS=1 python benchmarks/ase_speed.py

Three water molecules, which move a little before each call; the smallest of several times.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ase import Atoms
from ase.build import molecule

from hesspot.calculators import HesspotCalculator
from hesspot.graph import graph_for
from hesspot.models.shipped import find_model

ROUNDS, CALLS, HESSIANS = 20, 200, 20


def smallest(call: Callable[[], object], calls: int = CALLS) -> float:
    """µs"""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
    return 1e6 * min(times)


def main() -> None:
    atoms = Atoms()
    for number in range(3):
        one = molecule("H2O")
        one.translate([2.9 * number, 0.0, 0.0])
        atoms += one
    atoms.calc = calculator = HesspotCalculator(find_model("shipped:water"))
    graph = graph_for(calculator.model, atoms)

    def step() -> None:
        atoms.positions[0, 0] += 1e-6
        atoms.get_forces()

    kernel, call = smallest(lambda: calculator.model.kernel.answer(graph)), smallest(step)
    print(f"{calculator.describe()}\nkernel {kernel:.0f} µs, force call {call:.0f} µs")
    kernel = smallest(lambda: calculator.model.kernel.hessian(graph), calls=HESSIANS)
    call = smallest(lambda: calculator.get_hessian(atoms), calls=HESSIANS)
    print(f"kernel {kernel:.0f} µs, Hessian {call:.0f} µs")


if __name__ == "__main__":
    main()
