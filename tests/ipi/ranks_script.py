"""Run by test_mpi.py on several ranks: what they give together, against one evaluator; argument: model file."""

import sys

import ase.build
import numpy as np
from mpi4py import MPI

from hesspot.errors import UserError
from hesspot.export import read_model
from ipi_driver.evaluation.evaluator import Evaluator
from ipi_driver.evaluation.results import EvaluationError
from ipi_driver.serving.ranks import ROOT, Ranks

#: eV, eV/Å: sums in another order.
ROUNDING = 1e-11

comm = MPI.COMM_WORLD
model = read_model(sys.argv[1])
rng = np.random.default_rng(1)
crystal = ase.build.bulk("C", cubic=True)
crystal.rattle(0.05, seed=2)


class Broken(Evaluator):
    """Fails on the last rank."""

    def part(self, *arguments):
        if comm.rank == comm.size - 1:
            raise MemoryError("none left")
        return super().part(*arguments)


for split in ("beads", "atoms", "auto"):
    for kind in (Evaluator, Broken):
        ranks = Ranks(comm, kind(model, crystal.symbols, crystal.pbc), split)
        if comm.rank != ROOT:
            assert ranks.follow() == (kind is Evaluator)
            continue
        if kind is Broken:
            try:
                ranks(crystal.positions[None], crystal.cell.array[None])
            except UserError as error:
                print(error)
            ranks.close(False)
            continue
        alone = Evaluator(model, crystal.symbols, crystal.pbc)
        for count in (1, 2, 7, 1):
            positions = crystal.positions + 0.05 * rng.standard_normal((count, 8, 3))
            positions[-1] = positions[0]
            cells = np.tile(crystal.cell.array, (count, 1, 1))
            got, wanted = ranks(positions, cells), alone(positions, cells)
            for name in ("energy", "forces", "virial"):
                np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=0, atol=ROUNDING)
        try:
            positions[0, 3] = positions[0, 5]
            ranks(positions, cells)
        except EvaluationError as error:
            print(split, error, "in structure", error.index)
        ranks.close(True)
if comm.rank == ROOT:
    print("all the same")
