"""Makes the shipped dataset copper_emt: crystals of copper at ASE's effective-medium theory, from nothing.

    OMP_NUM_THREADS=1 python examples/reference_data/make_copper_set.py copper_emt.h5

Half a minute of one core. Cells of 32 atoms that are displaced, strained, sheared, lack an atom, or come from dynamics
at 300 to 1200 K, each with its stress and one Hessian product; for testing such ones of other random numbers, and two
cells of the perfect crystal with their Hessians.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import ase
import ase.io
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from hesspot.data import Dataset
from hesspot.reference.ase_labels import AseMethod
from hesspot.reference.calculator_factory import CalculatorFactory
from hesspot.reference.labelling import label_file
from hesspot.sampling.sample import sample

FACTORY = CalculatorFactory(name="ase.calculators.emt:EMT")
METHOD = AseMethod(calculator=FACTORY, level="EMT (K. W. Jacobsen et al., Surf. Sci. 366, 394, 1996; ASE)")
WAYS = {
    "train": {"rattle": 10, "strain": 6, "deform": 10, "vacancy": 6, "thermal": 12},
    "valid": {"rattle": 2, "deform": 2, "vacancy": 1, "thermal": 3},
    "test": {"rattle": 4, "deform": 4, "vacancy": 2, "thermal": 6},
}
FMAX = 1e-4  #: eV/Å, at the perfect crystal


def crystal() -> ase.Atoms:
    """The cubic cell at its minimum."""
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=FMAX)
    return ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


def make(out: Path) -> Dataset:
    with TemporaryDirectory() as folder:
        cubic, here = crystal(), Path(folder)
        frames: list[ase.Atoms] = []
        for seed, (part, ways) in enumerate(WAYS.items()):
            ase.io.write(here / f"{part}-start.xyz", cubic * (2, 2, 2))
            made = sample(
                here / f"{part}-start.xyz",
                here / f"{part}.xyz",
                ways,
                calculator=FACTORY,
                amplitude=0.2,
                seed=seed,
                say=print,
            )
            for each in made[1:] if part != "train" else made:  # the start is among the first only
                each.info["part"] = part
                frames.append(each)
        ase.io.write(here / "frames.xyz", frames)
        labelled = label_file(
            here / "frames.xyz", here / "frames.h5", METHOD, hessian=False, products=1, system="copper"
        )
        ase.io.write(here / "minima.xyz", [cubic, cubic * (2, 1, 1)])
        minima = label_file(
            here / "minima.xyz", here / "minima.h5", METHOD, part="test", kind="minimum", system="crystal"
        )
    records = [*labelled, *minima]
    dataset = Dataset(records, labelled.level_of_theory, labelled.provenance)
    dataset.write(out)
    return dataset


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the dataset to write")
    print(make(parser.parse_args().out))
