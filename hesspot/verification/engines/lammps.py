"""LAMMPS's answers, from a real `mpirun -n RANKS lmp` run with the plugin.

Energy, forces and virial come out with all digits; the Hessian is that of LAMMPS's own `dynamical_matrix` (central
differences of forces), with all masses 1 so that it is not mass-weighted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from hesspot.accuracy.results import EngineResult
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.lammps import run_lammps
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import boundary, write_data
from hesspot.models.shipped import find_model
from hesspot.processes import Output

#: Displacement of the central differences, Å. With fourth derivatives of the energy up to 1e4 eV/Å⁴ the truncation
#: is below 5e-6 eV/Å²; forces good to 1e-12 eV/Å add 2e-8 eV/Å² of rounding.
SHIFT = 5e-5

#: Skin of the neighbour list, Å.
SKIN = 0.5

#: eV/Å³ in bar as LAMMPS's units metal has it (`nktv2p`): only to undo LAMMPS's own conversion, digit by digit.
LAMMPS_BAR = 1.6021765e6

#: LAMMPS's order of the components of a symmetric tensor.
VOIGT = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


def evaluate(
    model: str | Path,
    structures: Sequence[Atoms],
    *,
    ranks: int = 1,
    hessian: bool = True,
    workdir: str | Path | None = None,
) -> list[EngineResult]:
    """Ask LAMMPS on `ranks` MPI ranks for every structure, all in one process.

    The run's files stay in `workdir`, or are removed if there is none. UserError with LAMMPS's own message if it fails.
    """
    model = find_model(model)
    workdir = None if workdir is None else Path(workdir)
    with tempfile.TemporaryDirectory(prefix="hesspot-lammps-") as temporary:
        folder = workdir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        loaded = read_model(model)
        metadata = loaded.metadata
        rotations, script = [], []
        for number, atoms in enumerate(structures):
            if len(atoms) == 0:
                raise UserError(f"structure {number} has no atoms; LAMMPS cannot run it, leave it out")
            file, masses = folder / f"{number}.data", [1.0] * len(metadata.elements)
            rotations.append(write_data(file, atoms, metadata.elements, masses, electrons=loaded.electrons))
            script.append(_script(number, atoms, Path(model).absolute(), metadata.elements, metadata.cutoff, hessian))
        if not structures:
            return []
        kinds = ["json", "forces", *(["hessian"] if hessian else [])]
        outputs = [Output(folder / f"{number}.{kind}") for number in range(len(structures)) for kind in kinds]
        ended = run_lammps("\n".join(script), ranks, folder, ["-log", "none"])
        if ended.returncode != 0:
            raise UserError(f"LAMMPS on {ranks} rank(s) ended with status {ended.returncode}: {error_of(ended.stdout)}")
        if missing := [output.path for output in outputs if not output.is_new()]:
            raise UserError(f"LAMMPS on {ranks} rank(s) ended without an error, but did not write {missing[0]}")
        return [
            _read(folder, number, len(atoms), rotation, hessian)
            for number, (atoms, rotation) in enumerate(zip(structures, rotations, strict=True))
        ]


def _script(number: int, atoms: Atoms, model: Path, elements: Sequence[str], cutoff: float, hessian: bool) -> str:
    # dynamical_matrix only sees pairs of atoms that one rank has, be it as ghosts, but atoms up to two cutoffs apart
    # act on each other through a third: hence comm_modify.
    virial = ", ".join(f"$(c_virial[{k}]:%.17g)" for k in range(1, 7))
    return f"""clear
units metal
atom_style atomic
atom_modify map yes
boundary {boundary(atoms)}
read_data {number}.data
comm_modify cutoff {2.0 * cutoff + 2.0 * SKIN}
neighbor {SKIN} bin
pair_style hesspot
pair_coeff * * "{model}" {" ".join(elements)}
compute virial all pressure NULL virial
thermo_style custom step pe vol c_virial[*]
run 0 post no
print '{{"energy": $(pe:%.17g), "volume": $(vol:%.17g), "pressure": [{virial}]}}' file {number}.json screen no
write_dump all custom {number}.forces fx fy fz modify sort id format float %.17g
{f"dynamical_matrix all regular {SHIFT} file {number}.hessian binary yes" if hessian else ""}
"""


def _read(folder: Path, number: int, n_atoms: int, rotation: np.ndarray, hessian: bool) -> EngineResult:
    """What one structure's part of the run left, turned back to the structure's own axes."""
    told = json.loads((folder / f"{number}.json").read_text())
    virial = np.zeros((3, 3))
    for (a, b), pressure in zip(VOIGT, told["pressure"], strict=True):
        virial[a, b] = virial[b, a] = pressure * told["volume"] / LAMMPS_BAR
    forces = np.loadtxt(folder / f"{number}.forces", skiprows=9, ndmin=2)
    matrix = None
    if hessian:
        matrix = np.fromfile(folder / f"{number}.hessian").reshape(n_atoms, 3, n_atoms, 3)
        matrix = np.einsum("iajb,ca,db->icjd", matrix, rotation, rotation).reshape(3 * n_atoms, 3 * n_atoms)
    return EngineResult(
        energy=float(told["energy"]),
        forces=forces @ rotation.T,
        virial=rotation @ virial @ rotation.T,
        hessian=matrix,
    )
