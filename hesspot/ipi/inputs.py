"""Input files for i-PI: the start structure, and the blocks that every input is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np

from hesspot.errors import UserError

#: Å added to the extent of a molecule to make the cell that i-PI wants; far beyond any cutoff.
VACUUM = 100.0

#: What `simulation.out` of a run with dynamics holds.
DYNAMICS_COLUMNS = (
    "step, time{femtosecond}, conserved{electronvolt}, temperature{kelvin}, kinetic_cv{electronvolt}, "
    "potential{electronvolt}"
)


def read_structures(path: str | Path) -> list[ase.Atoms]:
    """All structures of a file in any format that ASE reads; UserError if they have no atoms, or different ones."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"structure file {path} does not exist; give a file that ASE reads")
    try:
        structures = list(ase.io.iread(path, ":"))
    except Exception as error:
        raise UserError(
            f"structure file {path} cannot be read by ASE ({type(error).__name__}: {error}); give it as extended XYZ"
        ) from error
    if not structures or len(structures[0]) == 0:
        raise UserError(f"structure file {path} has no atoms; give one with atoms")
    for number, atoms in enumerate(structures):
        if atoms.get_chemical_symbols() != structures[0].get_chemical_symbols():
            raise UserError(
                f"structure {number} of {path} has other atoms than the first; give the beads of one path, in one order"
            )
    return structures


def with_cell(atoms: ase.Atoms) -> ase.Atoms:
    """A copy whose directions that are not periodic have a lattice vector too, longer than the structure by 100 Å."""
    atoms = atoms.copy()
    if not atoms.pbc.all():
        cell = atoms.cell.complete().array
        for axis in np.flatnonzero(~atoms.pbc):
            direction = cell[axis] / np.linalg.norm(cell[axis])
            cell[axis] = direction * (np.ptp(atoms.positions @ direction) + VACUUM)
        atoms.set_cell(cell)
    return atoms


def standard_form(atoms: ase.Atoms) -> tuple[ase.Atoms, np.ndarray]:
    """The structure turned so that its lattice matrix is triangular, as i-PI wants it, and the rotation Q (3, 3).

    Turned vectors are x·Qᵀ. Elements, masses, cell and periodic directions are kept, nothing else.
    """
    turned = with_cell(atoms)
    cell, rotation = turned.cell.standard_form()
    lower = cell.array
    if np.linalg.det(rotation) < 0:
        flip = np.diag([1.0, 1.0, -1.0])
        lower, rotation = lower @ flip, flip @ rotation
    bare = ase.Atoms(
        atoms.get_chemical_symbols(),
        positions=atoms.positions @ rotation.T,
        cell=np.tril(lower),
        pbc=atoms.pbc,
        masses=atoms.get_masses() if atoms.has("masses") else None,
    )
    return bare, rotation


def write_start(path: str | Path, *beads: ase.Atoms) -> list[ase.Atoms]:
    """Write extended XYZ that serves both as i-PI's start structure (mode 'ase') and as the driver's template.

    One structure, or one for each bead. Returns them as i-PI will read them: turned by `standard_form`, and
    with the digits of the file.
    """
    path = Path(path)
    ase.io.write(path, [standard_form(atoms)[0] for atoms in beads], format="extxyz")
    return list(ase.io.iread(path, ":", format="extxyz"))


def array(values: np.ndarray) -> str:
    """Numbers as i-PI's XML reads them, with all their digits."""
    return "[" + ", ".join(repr(float(value)) for value in np.asarray(values).ravel()) + "]"


def ffsocket(name: str, address: str, batch_size: int = 1) -> str:
    """A forcefield that a hesspot driver serves over a unix socket."""
    batch = f"\n    <batch_size>{batch_size}</batch_size>" if batch_size > 1 else ""  # i-PI 3.1 does not know it
    return f"""<!-- pbc='False': i-PI must not fold molecules into the cell; the driver knows what is periodic -->
  <ffsocket mode='unix' name='{name}' pbc='False'>
    <address>{address}</address>{batch}
    <!-- a lost driver ends the run with a RESTART file, instead of waiting for ever for another one -->
    <exit_on_disconnect>True</exit_on_disconnect>
  </ffsocket>"""


def initial_beads(start: str, n_beads: int, temperature: float | None = None) -> str:
    """Positions of `n_beads` beads from a file, velocities of `temperature` K or none."""
    thermal = f"\n      <velocities mode='thermal' units='kelvin'>{temperature}</velocities>" if temperature else ""
    return f"""<initialize nbeads='{n_beads}'>
      <file mode='ase'>{start}</file>{thermal}
    </initialize>"""


def dynamics(timestep: float, thermostat: str) -> str:
    """The motion of molecular dynamics; timestep in fs.

    thermostat: `none` (constant energy), `pile` (Langevin on every ring-polymer mode, for one bead the usual
    Langevin thermostat), or `trpmd` (on all modes but the centroid).
    """
    if thermostat == "none":
        return f"""<motion mode='dynamics'>
      <dynamics mode='nve'>
        <timestep units='femtosecond'>{timestep}</timestep>
      </dynamics>
    </motion>"""
    about, tau = {
        "pile": ("time constant of the centroid; the other modes are damped at 2 * pile_lambda * their frequency", 100),
        "trpmd": ("the centroid is not thermostatted (practically infinite time constant)", 1e12),
    }[thermostat]
    return f"""<motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'>{timestep}</timestep>
        <thermostat mode='pile_l'>
          <!-- {about} -->
          <tau units='femtosecond'>{tau:g}</tau>
          <pile_lambda>0.5</pile_lambda>
        </thermostat>
      </dynamics>
    </motion>"""


def dynamics_output(stride: int, columns: str = DYNAMICS_COLUMNS, more: str = "") -> str:
    """Properties every `stride` steps, positions of every bead ten times and a checkpoint a hundred times as rarely."""
    return f"""<output prefix='simulation'>
    <properties filename='out' stride='{stride}'>
      [{columns}]
    </properties>
    <trajectory filename='pos' stride='{10 * stride}' format='ase'> positions </trajectory>{more}
    <checkpoint filename='checkpoint' stride='{100 * stride}'/>
  </output>"""


def system(contents: Sequence[str], temperature: float | None = None, prefix: str = "") -> str:
    """A system with its initialisation, forces and motion, in an ensemble of `temperature` K."""
    ensemble = [f"<ensemble><temperature units='kelvin'>{temperature}</temperature></ensemble>"] if temperature else []
    name = f" prefix='{prefix}'" if prefix else ""
    return f"<system{name}>\n    " + "\n    ".join([*contents, *ensemble]) + "\n  </system>"


def simulation(about: str, blocks: Sequence[str], steps: int, seed: int = 1, first_step: int = 0) -> str:
    """The whole input; `about` becomes the comment at its top."""
    first = f"\n  <step>{first_step}</step>" if first_step else ""
    body = "\n  ".join(blocks)
    return f"""<!--
{about}
-->
<simulation verbosity='low' safe_stride='100' floatformat='%21.13e'>
  <total_steps>{steps}</total_steps>{first}
  <prng><seed>{seed}</seed></prng>
  {body}
</simulation>
"""


def force(forcefield: str, weight: float = 1.0) -> str:
    """One term of the forces of a system."""
    return f"<force forcefield='{forcefield}' weight='{weight}'></force>"


def dynamics_input(
    start: str,
    *,
    address: str,
    n_beads: int,
    timestep: float,
    steps: int,
    temperature: float,
    thermostat: str = "pile",
    batch_size: int = 1,
    stride: int = 10,
    seed: int = 1,
    about: str = "Molecular dynamics with a hesspot model.",
) -> str:
    """XML of a run with (path integral) molecular dynamics.

    start: file name of the start structure, made by `write_start`, relative to the run's folder; address of a unix
    socket; timestep fs; temperature K, also of the first velocities; thermostat as in `dynamics`; every `stride`
    steps `simulation.out` gets step, time, conserved quantity, temperature, centroid-virial kinetic energy and
    potential energy (fs, K, eV).
    """
    if n_beads < 1 or batch_size < 1 or steps < 1:
        raise UserError(
            f"beads ({n_beads}), batch size ({batch_size}) and steps ({steps}) of an i-PI run must be 1 or more; "
            "raise the one that is not"
        )
    contents = [
        initial_beads(start, n_beads, temperature),
        f"<forces>{force('hesspot')}</forces>",
        dynamics(timestep, thermostat),
    ]
    return simulation(
        about,
        [dynamics_output(stride), ffsocket("hesspot", address, batch_size), system(contents, temperature)],
        steps,
        seed,
    )
