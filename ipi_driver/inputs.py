"""Input files for i-PI: the start structure and the XML of the runs that hesspot itself makes."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np

from hesspot.errors import UserError

#: Å added to the extent of a molecule to make the cell that i-PI wants; far beyond any cutoff.
VACUUM = 100.0


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


def write_start(path: Path, atoms: ase.Atoms) -> None:
    """Write extended XYZ that serves both as i-PI's start structure (mode 'ase') and as the driver's template."""
    start = with_cell(atoms)
    bare = ase.Atoms(start.get_chemical_symbols(), positions=start.positions, cell=start.cell, pbc=start.pbc)
    ase.io.write(path, bare, format="extxyz")


def dynamics_input(
    start: str,
    *,
    address: str,
    n_beads: int,
    timestep: float,
    steps: int,
    temperature: float,
    thermostat: bool = True,
    batch_size: int = 1,
    stride: int = 10,
    seed: int = 1,
) -> str:
    """XML of a (path integral) run in the NVT ensemble with PILE-L, or NVE without `thermostat`.

    start: file name of the start structure, made by `write_start`, relative to the run's folder; address of a unix
    socket; timestep fs; temperature K, also of the first velocities; every `stride` steps `simulation.out` gets
    step, time, conserved quantity, temperature, centroid-virial kinetic energy and potential energy (fs, K, eV).
    """
    if n_beads < 1 or batch_size < 1 or steps < 1:
        raise UserError(
            f"beads ({n_beads}), batch size ({batch_size}) and steps ({steps}) of an i-PI run must be 1 or more; "
            "raise the one that is not"
        )
    pile = "<thermostat mode='pile_l'><tau units='femtosecond'>100</tau><pile_lambda>0.5</pile_lambda></thermostat>"
    batch = f"<batch_size>{batch_size}</batch_size>\n    " if batch_size > 1 else ""  # i-PI 3.1 does not know it
    return f"""<simulation verbosity='low' safe_stride='100' floatformat='%21.13e'>
  <output prefix='simulation'>
    <properties filename='out' stride='{stride}'>
      [step, time{{femtosecond}}, conserved{{electronvolt}}, temperature{{kelvin}}, kinetic_cv{{electronvolt}}, \
potential{{electronvolt}}]
    </properties>
    <trajectory filename='pos' stride='{10 * stride}' format='ase'> positions </trajectory>
    <checkpoint filename='checkpoint' stride='{100 * stride}'/>
  </output>
  <total_steps>{steps}</total_steps>
  <prng><seed>{seed}</seed></prng>
  <ffsocket mode='unix' name='hesspot' pbc='False'>
    <address>{address}</address>
    {batch}<exit_on_disconnect>True</exit_on_disconnect>
  </ffsocket>
  <system>
    <initialize nbeads='{n_beads}'>
      <file mode='ase'>{start}</file>
      <velocities mode='thermal' units='kelvin'>{temperature}</velocities>
    </initialize>
    <forces><force forcefield='hesspot'></force></forces>
    <motion mode='dynamics'>
      <dynamics mode='{"nvt" if thermostat else "nve"}'>
        <timestep units='femtosecond'>{timestep}</timestep>
        {pile if thermostat else ""}
      </dynamics>
    </motion>
    <ensemble><temperature units='kelvin'>{temperature}</temperature></ensemble>
  </system>
</simulation>
"""
