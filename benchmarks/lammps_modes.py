"""Lowest modes of a box of water: python benchmarks/lammps_modes.py MODEL.pt --side 15 --ranks 2

Molecules at 1 g/cm³ on a cubic grid, turned at random: 3 side³ atoms. The structure is taken as it is, so that its
lowest modes are imaginary; or it is minimised first with --minimize STEPS, and then repeated --repeat times each way.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from hesspot.lammps import run_lammps
from hesspot.lammps.curvature_run import run_curvature
from hesspot.lammps.structure import write_data

VOLUME = 29.9  # Å³ per molecule


def water(side: int) -> Atoms:
    """Side³ molecules in a cubic box."""
    generator = np.random.default_rng(1)
    one = molecule("H2O")
    one.positions -= one.positions.mean(0)
    spacing = VOLUME ** (1 / 3)
    box = Atoms(cell=[side * spacing] * 3, pbc=True)
    for place in np.ndindex(side, side, side):
        turned = one.copy()
        turned.positions = one.positions @ Rotation.random(random_state=generator).as_matrix().T
        turned.positions += (np.array(place) + 0.5) * spacing
        box += turned
    return box


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="exported model with O and H")
    parser.add_argument("--side", type=int, default=6)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--minimize", type=int, default=0, help="steps of conjugate gradients")
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hesspot-modes-") as temporary:
        folder = Path(temporary)
        write_data(folder / "water.data", water(arguments.side), ["O", "H"])
        head = "units metal\natom_style atomic\nread_data water.data\n"
        pair = f'pair_style hesspot\npair_coeff * * "{arguments.model.absolute()}" O H\n'
        if arguments.minimize:
            minimize = f"minimize 0 1e-5 {arguments.minimize} {3 * arguments.minimize}\nwrite_data water.data nocoeff\n"
            ended = run_lammps(head + pair + minimize, arguments.ranks, folder)
            if ended.returncode != 0:
                raise SystemExit(ended.stdout)
        script = folder / "in.modes"
        script.write_text(head + "replicate" + f" {arguments.repeat}" * 3 + "\n" + pair)
        ended = run_curvature(
            "modes", script, folder / "modes.npz", ranks=arguments.ranks, workdir=folder, n_modes=arguments.number
        )
        raise SystemExit(ended.returncode)


if __name__ == "__main__":
    main()
