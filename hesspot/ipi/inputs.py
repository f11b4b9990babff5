"""Input files for i-PI: the start structure, and the blocks that every input is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ase
import ase.io
import numpy as np
from ase.constraints import FixAtoms, FixCartesian

from hesspot.console import say
from hesspot.errors import UserError
from hesspot.files import replacing
from hesspot.structures import check_structure, fixed_coordinates, in_a_box, read_structures
from hesspot.units import AMU, HARTREE

#: How the cell moves: its volume alone, or all its vectors.
Barostat = Literal["isotropic", "flexible"]

Velocities = Literal["file", "thermal"]

#: Å added to the extent of a molecule to make the cell that i-PI wants; far beyond any cutoff.
VACUUM = 100.0

#: A rotation nearer to none than this is none.
UNTURNED = 1e-12

#: What `simulation.out` of a run with dynamics holds.
DYNAMICS_COLUMNS = (
    "step, time{femtosecond}, conserved{electronvolt}, temperature{kelvin}, kinetic_cv{electronvolt}, "
    "potential{electronvolt}"
)

#: The same at constant pressure.
PRESSURE_COLUMNS = DYNAMICS_COLUMNS + ", pressure_cv{bar}, volume{angstrom3}, cell_h{angstrom}"


@dataclass(frozen=True)
class RunSettings:
    """temperature K; timestep fs; stride of the properties, steps; points: couplings of a thermodynamic integration;
    gle: file with the matrices of PIGLET; threshold: disagreement of a committee in eV from which structures are kept;
    pressure bar and barostat of constant pressure; velocities: those of the start structure (`file`), or drawn.
    velocities_every: steps between two frames of the centroid's positions and velocities, which spectra are made of; 0:
    none are written.
    """

    temperature: float = 300.0
    beads: int = 1
    timestep: float = 0.5
    steps: int = 10_000
    stride: int = 10
    points: int = 5
    seed: int = 1
    gle: Path | None = None
    threshold: float = 0.0
    pressure: float = 1.0
    barostat: Barostat = "isotropic"
    velocities: Velocities = "file"
    velocities_every: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "beads", "timestep", "steps", "stride", "points"):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise UserError(f"{name} of an i-PI run is {value}; it must be positive")
        if not np.isfinite(self.pressure):
            raise UserError(f"pressure of an i-PI run is {self.pressure}; give a number of bar")


def read_beads(path: str | Path, elements: Sequence[str] | None = None) -> list[ase.Atoms]:
    """All structures of a file, as the beads of one path; UserError if they are not of the same atoms.

    elements: of LAMMPS's atom types, see `read_structures`.
    """
    beads = read_structures(path, elements)
    for number, atoms in enumerate(beads):
        if atoms.get_chemical_symbols() != beads[0].get_chemical_symbols():
            raise UserError(
                f"structure {number} of {path} has other atoms than the first; give the beads of one path, in one order"
            )
        if not np.array_equal(atoms.get_masses(), beads[0].get_masses()):
            raise UserError(f"structure {number} of {path} has other masses than the first; give the same to all beads")
    return beads


def standard_form(atoms: ase.Atoms) -> tuple[ase.Atoms, np.ndarray]:
    """The structure in a right-handed cell, turned so that its lattice matrix is triangular as i-PI wants it, and the
    rotation Q (3, 3).

    Turned vectors are x·Qᵀ. Elements, masses, momenta, cell, periodic directions, and atoms or coordinates that are
    held, are kept, nothing else. UserError for constraints that i-PI does not have.
    """
    cell, rotation = in_a_box(atoms, VACUUM).cell.standard_form()
    turned = ase.Atoms(
        atoms.get_chemical_symbols(),
        positions=atoms.positions @ rotation.T,
        cell=np.tril(cell.array),
        pbc=atoms.pbc,
        masses=atoms.get_masses() if atoms.has("masses") else None,
    )
    if atoms.has("momenta"):
        turned.set_momenta(atoms.get_momenta() @ rotation.T)
    fixed = fixed_coordinates(atoms, "the start structure")
    whole = fixed.all(1)
    single = fixed.any(1) & ~whole
    if single.any() and not np.allclose(rotation, np.eye(3), rtol=0, atol=UNTURNED):
        raise UserError(
            f"coordinates of atom {int(np.flatnonzero(single)[0])} are held, but the cell must be turned for i-PI, so "
            "that they are no coordinates any more; give lattice vectors with a along x and b in the xy plane"
        )
    held = [FixCartesian([atom], fixed[atom]) for atom in np.flatnonzero(single)]
    turned.set_constraint([FixAtoms(np.flatnonzero(whole)), *held] if whole.any() else held)
    return turned, rotation


def write_start(path: str | Path, *beads: ase.Atoms) -> list[ase.Atoms]:
    """Write extended XYZ that serves both as i-PI's start structure (mode 'ase') and as the driver's template.

    One structure, or one for each bead. Returns them as i-PI will read them: turned by `standard_form`, and
    with the digits of the file. UserError for a structure that cannot be evaluated.
    """
    for number, atoms in enumerate(beads):
        check_structure(atoms, "the start structure" if len(beads) == 1 else f"bead {number} of the start")
    if beads[0].pbc.any() and np.linalg.det(beads[0].cell.array) < 0:
        say("the lattice vectors are left-handed, and i-PI gets their negatives: the same lattice", stderr=True)
    with replacing(path) as part:
        ase.io.write(part, [standard_form(atoms)[0] for atoms in beads], format="extxyz")
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


def initial_beads(start: str, n_beads: int, velocities: str = "") -> str:
    """Positions, masses and cell of `n_beads` beads from a file, and their velocities: a block of those below."""
    lines = [f"<file mode='ase'>{start}</file>", *([velocities] if velocities else [])]
    return f"<initialize nbeads='{n_beads}'>\n      " + "\n      ".join(lines) + "\n    </initialize>"


def drawn_velocities(temperature: float) -> str:
    """Of `temperature` K."""
    return f"<velocities mode='thermal' units='kelvin'>{temperature}</velocities>"


def stated_velocities(atoms: ase.Atoms) -> str:
    """Those of a structure's momenta."""
    velocities = atoms.get_velocities() / np.sqrt(HARTREE * AMU)  # √(eV/amu) → atomic units
    return f"<velocities mode='manual' bead='0'>{array(velocities)}</velocities>"


def held_coordinates(atoms: ase.Atoms) -> str:
    """The element of a motion with the coordinates that the structure's constraints hold, or nothing."""
    held = np.flatnonzero(fixed_coordinates(atoms, "the start structure"))
    return f"<fixatoms_dof>[{', '.join(map(str, held))}]</fixatoms_dof>" if len(held) else ""


def thermostat_block(kind: str) -> str:
    """`none`; `pile`: Langevin on every ring-polymer mode, for one bead the usual Langevin thermostat; `trpmd`: on all
    modes but the centroid."""
    if kind == "none":
        return ""
    about, tau = {
        "pile": ("time constant of the centroid; the other modes are damped at 2 * pile_lambda * their frequency", 100),
        "trpmd": ("the centroid is not thermostatted (practically infinite time constant)", 1e12),
    }[kind]
    return f"""<thermostat mode='pile_l'>
          <!-- {about} -->
          <tau units='femtosecond'>{tau:g}</tau>
          <pile_lambda>0.5</pile_lambda>
        </thermostat>"""


def dynamics(timestep: float, thermostat: str, barostat: str = "", held: str = "", fixcom: bool = True) -> str:
    """The motion of molecular dynamics; timestep fs; the blocks of a thermostat and a barostat, if there are any.

    held: as `held_coordinates` gives it; fixcom: whether the momentum of the whole is taken out.
    """
    mode = "npt" if barostat else "nvt" if thermostat else "nve"
    inside = [f"<timestep units='femtosecond'>{timestep}</timestep>", thermostat, barostat]
    parts = "\n        ".join(part for part in inside if part)
    after = f"\n      {held}" if held else "" if fixcom else "\n      <fixcom>False</fixcom>"
    return f"""<motion mode='dynamics'>
      <dynamics mode='{mode}'>
        {parts}
      </dynamics>{after}
    </motion>"""


def barostat_block(kind: Barostat) -> str:
    """The barostat of constant pressure: the volume moves, or all lattice vectors."""
    about = {
        "isotropic": "the volume alone moves (Bussi, Zykova-Timan, Parrinello, J. Chem. Phys. 130, 074101, 2009)",
        "flexible": "all lattice vectors move (Martyna, Hughes, Tuckerman, J. Chem. Phys. 110, 3275, 1999)",
    }[kind]
    return f"""<barostat mode='{kind}'>
          <!-- {about} -->
          <tau units='femtosecond'>200</tau>
          <thermostat mode='langevin'> <tau units='femtosecond'>100</tau> </thermostat>
        </barostat>"""


def dynamics_output(stride: int, columns: str = DYNAMICS_COLUMNS, more: str = "") -> str:
    """Properties every `stride` steps, positions of every bead ten times and a checkpoint a hundred times as rarely."""
    return f"""<output prefix='simulation'>
    <properties filename='out' stride='{stride}'>
      [{columns}]
    </properties>
    <trajectory filename='pos' stride='{10 * stride}' format='ase'> positions </trajectory>{more}
    <checkpoint filename='checkpoint' stride='{100 * stride}'/>
  </output>"""


def centroid_output(stride: int) -> str:
    """Positions and velocities of the centroid every `stride` steps, as `more` of `dynamics_output`; nothing for 0."""
    if not stride:
        return ""
    return f"""
    <!-- for `hesspot spectrum` -->
    <trajectory filename='xc' stride='{stride}' format='xyz'> x_centroid </trajectory>
    <trajectory filename='vc' stride='{stride}' format='xyz'> v_centroid </trajectory>"""


def system(
    contents: Sequence[str], temperature: float | None = None, prefix: str = "", pressure: float | None = None
) -> str:
    """A system with its initialisation, forces and motion, in an ensemble of `temperature` K and `pressure` bar."""
    of_pressure = f" <pressure units='bar'>{pressure}</pressure>" if pressure is not None else ""
    of_temperature = f"<temperature units='kelvin'>{temperature}</temperature>"
    ensemble = [f"<ensemble>{of_temperature}{of_pressure}</ensemble>"] if temperature else []
    name = f" prefix='{prefix}'" if prefix else ""
    return f"<system{name}>\n    " + "\n    ".join([*contents, *ensemble]) + "\n  </system>"


def simulation(
    about: str, blocks: Sequence[str], steps: int, seed: int = 1, first_step: int = 0, stride: int = 100
) -> str:
    """The whole input; `about` becomes the comment at its top. A run that is ended goes on at a multiple of `stride`
    steps: that of its tables, so that no row is written twice."""
    first = f"\n  <step>{first_step}</step>" if first_step else ""
    body = "\n  ".join(blocks)
    return f"""<!--
{about}
-->
<simulation verbosity='low' safe_stride='{stride}' floatformat='%21.13e'>
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
    socket; timestep fs; temperature K, also of the first velocities; thermostat as in `thermostat_block`; every
    `stride` steps `simulation.out` gets step, time, conserved quantity, temperature, centroid-virial kinetic energy and
    potential energy (fs, K, eV).
    """
    if n_beads < 1 or batch_size < 1 or steps < 1:
        raise UserError(
            f"beads ({n_beads}), batch size ({batch_size}) and steps ({steps}) of an i-PI run must be 1 or more; "
            "raise the one that is not"
        )
    contents = [
        initial_beads(start, n_beads, drawn_velocities(temperature)),
        f"<forces>{force('hesspot')}</forces>",
        dynamics(timestep, thermostat_block(thermostat)),
    ]
    blocks = [dynamics_output(stride), ffsocket("hesspot", address, batch_size), system(contents, temperature)]
    return simulation(about, blocks, steps, seed, stride=stride)
