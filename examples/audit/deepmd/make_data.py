"""Sixty frames of copper from ASE's EMT, in the folder `data`, for `dp train input.json`."""

from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

FRAMES = 60


def main() -> None:
    rng = np.random.default_rng(0)
    names = ("coord", "box", "energy", "force")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for seed in range(FRAMES):
        atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
        strain = (1 + 0.03 * rng.normal()) * (np.eye(3) + 0.02 * rng.normal(size=(3, 3)))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.12, seed=seed)
        atoms.calc = EMT()
        values = (atoms.positions, atoms.cell.array, np.array(atoms.get_potential_energy()), atoms.get_forces())
        for name, value in zip(names, values, strict=True):
            found[name].append(value.ravel())
    folder = Path("data") / "set.000"
    folder.mkdir(parents=True, exist_ok=True)
    for name, values_of in found.items():
        np.save(folder / f"{name}.npy", np.array(values_of))
    (folder.parent / "type.raw").write_text("0 " * len(atoms))
    (folder.parent / "type_map.raw").write_text("Cu\n")


if __name__ == "__main__":
    main()
