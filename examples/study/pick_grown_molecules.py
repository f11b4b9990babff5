"""Picks the molecules of `shipped:grown_chno` from the set that make_pretraining_set.py makes, for labels by PySCF.

    python examples/study/make_pretraining_set.py xtb.h5
    python examples/study/pick_grown_molecules.py xtb.h5 grown.xyz
    OMP_NUM_THREADS=1 hesspot label grown.xyz --out grown_chno.h5 --grid 50,194 --jobs 2

All that are not in the reactive set, with up to three heavy atoms, or with four and up to seven atoms in all, at the
minimum of GFN2-xTB; of eight atoms the first ones, of those with hydrogen taken away up to six. None has the bond graph
of a held-out molecule. The labels take three hours of one core; the smaller grid changes frequencies by less than
0.4 cm⁻¹. Some are left out whose Hessians break the rotational sum rule on that grid by more than 0.02 eV/Å.
"""

import argparse
from pathlib import Path

import ase.io
from make_pretraining_set import JOINED, graph, heavy

from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset

HEAVY = 4
ATOMS = {True: 7, False: 6}  #: of molecules with so many heavy atoms, joined or with hydrogen taken away
LAST = 906  #: number of the last molecule of the first round
EIGHT_UP_TO = 219  #: number of the last molecule of eight atoms
LEFT_OUT = ("039-C3H6", "244-H2O4", "046-CH3NO2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    reactive = Dataset.read(find_dataset("shipped:reactive_chno"))
    known = {graph(record.atoms_only()) for record in reactive if record.kind == "minimum"}
    picked = []
    for record in Dataset.read(arguments.source):
        atoms = record.atoms_only()
        number = record.name.split("-")[0]
        grown = record.name == record.system and number.isdigit() and int(number) <= LAST
        if not grown or record.name in LEFT_OUT or graph(atoms) in known:
            continue
        joined = int(number) <= JOINED[0]
        if not joined and 1 not in atoms.numbers:
            continue
        small = len(atoms) <= ATOMS[joined] or (len(atoms) == ATOMS[True] + 1 and int(number) <= EIGHT_UP_TO)
        if heavy(atoms) < HEAVY or (heavy(atoms) == HEAVY and small):
            atoms.info.update(name=record.name, system=record.system, part=record.part, kind="other")
            picked.append(atoms)
    picked.sort(key=lambda atoms: (heavy(atoms), len(atoms)))
    ase.io.write(arguments.out, picked, format="extxyz")
    print(f"{arguments.out}: {len(picked)} molecules")


if __name__ == "__main__":
    main()
