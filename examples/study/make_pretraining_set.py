"""Makes a set of GFN2-xTB labels to pretrain on before the labels of density functional theory come.

    OMP_NUM_THREADS=1 python examples/study/make_pretraining_set.py xtb.h5

Small molecules of H, C, N, O, relaxed, and normal-mode samples of each with their Hessians; none is a system of the
held-out reactions of the reactive set, valid ones included. Some CPU minutes.
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from tblite.ase import TBLite

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record
from hesspot.reference.method import NotConverged
from hesspot.reference.sampling import sample_modes
from hesspot.reference.tblite_labels import TbliteMethod

sys.path.insert(0, str(Path(__file__).parents[1] / "reference_data"))
from make_reactive_set import MINIMA, PART_OF, REACTIONS

METHOD = TbliteMethod()
#: closed-shell molecules of ASE's G2 collection that are no system of a held-out reaction
G2 = [
    "2-butyne",
    "C2H6NH",
    "C3H4_C2v",
    "C3H4_D2d",
    "C3H6_D3h",
    "C3H8",
    "C4H4NH",
    "C4H4O",
    "C5H5N",
    "C6H6",
    "CH2NHCH2",
    "CH2OCH2",
    "CH3CH2NH2",
    "CH3CH2OCH3",
    "CH3COCH3",
    "CH3CONH2",
    "CH3COOH",
    "CH3NO2",
    "CH3ONO",
    "H2CCHCN",
    "HCOOCH3",
    "N2O",
    "NCCN",
    "bicyclobutane",
    "butadiene",
    "cyclobutane",
    "cyclobutene",
    "isobutene",
    "C2H6CHOH",
    "methylenecyclopropane",
]
SAMPLES = 10
TEMPERATURES = (300.0, 2000.0)  #: K
SIDES = 6  #: samples with distorted saddle points are worth as much as those of minima


def points() -> dict[str, Atoms]:
    """Guesses of all minima by name."""
    known = {minimum.system: minimum.guess for minimum in MINIMA if PART_OF[minimum.system] == "train"}
    return known | {name: molecule(name) for name in G2}


def labelled(atoms: Atoms, name: str, system: str, kind: str) -> Record:
    labels = METHOD.labels(atoms)
    return Record.from_atoms(
        atoms, name, system=system, kind=kind, energy=labels.energy, forces=labels.forces, hessian=labels.hessian
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    records: list[Record] = []
    for system, guess in points().items():
        atoms = guess.copy()
        atoms.calc = TBLite(method=METHOD.method, verbosity=0)
        BFGS(atoms, logfile=None, maxstep=0.1).run(fmax=1e-3, steps=300)
        atoms.calc = None
        records += samples(labelled(atoms, f"{system}_minimum", system, "other"), SAMPLES)
        print(f"{len(records):5d}  {system}", flush=True)
    for reaction in REACTIONS:
        if reaction.part == "train":
            records += samples(labelled(reaction.guess, f"{reaction.name}_guess", reaction.name, "other"), SIDES)
    dataset = Dataset(records, METHOD.level_of_theory, METHOD.provenance())
    dataset.write(out)
    print(f"{out}: {len(records)} structures")


def samples(centre: Record, count: int) -> list[Record]:
    """The centre and `count` samples of its normal modes; every tenth one is for validation."""
    found = [centre]
    if len(centre) > 1 and len(normal_modes(centre.atoms_only(), centre.hessian).frequencies):
        for i, temperature in enumerate(np.linspace(*TEMPERATURES, count)):
            name = f"{centre.system}_nms_{i:02d}"
            rng = np.random.default_rng([1, zlib.crc32(name.encode())])
            assert centre.hessian is not None
            atoms = sample_modes(centre.atoms_only(), centre.hessian, float(temperature), rng)
            try:
                found.append(labelled(atoms, name, centre.system, "nms"))
            except NotConverged as error:
                print(f"{name}: left out, {error}")
    found[len(found) // 2].part = "valid"
    return found


if __name__ == "__main__":
    main()
