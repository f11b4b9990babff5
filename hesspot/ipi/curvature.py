"""Analytic Hessians of a model, in files that i-PI reads in the place of its own finite differences.

i-PI takes a Hessian in Ha/Bohr², or a dynamical matrix H_ab/√(m_a m_b) in atomic units, as an array read from a text
file. Both are written with all their digits, at the positions that i-PI will read and in the frame that it will use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np

from hesspot.analysis.normal_modes import IMAGINARY, NormalModes, mass_weighted, normal_modes, rigid_basis
from hesspot.analysis.stationary import stationary_point
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.graph import graph_for
from hesspot.ipi import inputs
from hesspot.ipi.inputs import RunSettings
from hesspot.structures import fixed_coordinates
from hesspot.units import BOHR, BOLTZMANN, HARTREE, HARTREE_PER_BOHR2, INVERSE_CM, IPI_AMU

#: eV/Å; a geometry with larger forces is no stationary point.
STATIONARY = 1e-3

#: Å that the farthest-moving atom of the first path of an instanton is away from the saddle point at its ends.
STRETCH = 0.1

#: Ha/Bohr², the softest curvature that a minimisation starts with; about that of a torsion.
SOFTEST = 1e-3

#: Moments of inertia that differ by less than this part of the largest are taken for equal.
SYMMETRIC_TOP = 1e-4

#: The address of the socket in the inputs that hesspot writes.
ADDRESS = "hesspot"


@dataclass(frozen=True, eq=False)
class Curvature:
    """A structure, or the beads of a path, with its derivatives.

    beads: P structures; energies (P,) eV, forces (P, n, 3) eV/Å, hessians (P, 3n, 3n) eV/Å².
    """

    beads: list[ase.Atoms]
    energies: np.ndarray
    forces: np.ndarray
    hessians: np.ndarray

    @property
    def force_calls(self) -> int:
        """Force calls of i-PI's own central differences: two for each coordinate of each bead."""
        return 6 * len(self.beads[0]) * len(self.beads)

    @property
    def largest_force(self) -> float:
        """Largest component of any force, eV/Å, but for coordinates that are held."""
        return float(np.abs(self.forces[:, ~self.held.reshape(-1, 3)]).max(initial=0.0))

    @property
    def held(self) -> np.ndarray:
        """(3n,) bool: the coordinates that constraints hold."""
        return fixed_coordinates(self.beads[0], str(self.beads[0].symbols)).ravel()

    def modes(self) -> NormalModes:
        """Vibrations of the first bead."""
        return normal_modes(self.beads[0], self.hessians[0])

    def dynamical_matrix(self) -> np.ndarray:
        """(3n, 3n) eV/(Å² amu): the mass-weighted Hessian of the first bead, without translations and rotations.

        With coordinates that are held it is that of the others alone (the rest is zero), without the motions of the
        whole that leave these at rest.
        """
        free = np.diag(~self.held).astype(float)
        rigid = self.rigid() @ free
        vibrations = free - rigid.T @ rigid
        return vibrations @ mass_weighted(self.hessians[0], self.beads[0].get_masses()) @ vibrations

    def frequencies(self) -> np.ndarray:
        """Of the first bead, ascending, cm⁻¹, imaginary ones negative; without held coordinates."""
        return self.modes().frequencies

    def rigid(self) -> np.ndarray:
        """Translations and rotations of the first bead in mass-weighted coordinates, as rows."""
        return rigid_basis(self.beads[0], self.beads[0].get_masses())

    def sum_rule(self) -> str:
        """i-PI's name of the projection that fits: it has none for linear molecules, and that for others is wrong for
        symmetric tops (it takes their axes of inertia from `numpy.linalg.eig`, which are then not orthogonal)."""
        if self.held.any():
            return "none"
        if self.beads[0].pbc.any():
            return "crystal"
        return "poly" if len(self.rigid()) == 6 else "none"


def derivatives(model: LoadedModel, beads: list[ase.Atoms]) -> Curvature:
    """Energies, forces and Hessians of all beads."""
    places = ["the start structure"] if len(beads) == 1 else [f"structure {number}" for number in range(len(beads))]
    graphs = [graph_for(model, bead, place) for bead, place in zip(beads, places, strict=True)]
    answers = [model.potential.answer(graph) for graph in graphs]
    curvature = Curvature(
        beads,
        np.array([answer.energy for answer in answers]),
        np.stack([answer.forces for answer in answers]),
        np.stack([model.potential.hessian(graph) for graph in graphs]),
    )
    if not (np.isfinite(curvature.forces).all() and np.isfinite(curvature.hessians).all()):
        raise UserError(
            f"the model gives a force or a Hessian of {beads[0].symbols} that is not a finite number; "
            "check that the geometry is one the model was trained for"
        )
    return curvature


def relaxed(model: LoadedModel, atoms: ase.Atoms) -> ase.Atoms:
    """The model's own stationary point next to `atoms`, a minimum or a saddle point; what is held stays in place."""

    def forces_and_hessian(structure: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
        here = derivatives(model, [structure])
        return here.forces[0], here.hessians[0]

    return stationary_point(atoms, forces_and_hessian)[0]


def path_over_saddle(
    model: LoadedModel, saddle: ase.Atoms, temperature: float, n_beads: int, stretch: float = STRETCH
) -> list[ase.Atoms]:
    """Half a ring polymer over a saddle point: a cosine along the imaginary mode, as i-PI starts an instanton.

    The atom that moves farthest is `stretch` Å from the saddle point at both ends. UserError if the structure is no
    saddle point of first order, or the temperature (K) not below the crossover ħω/(2πk), above which there is no
    instanton.
    """
    here = derivatives(model, [saddle])
    modes = here.modes()
    if modes.n_imaginary != 1:
        raise UserError(
            f"{saddle.symbols} has {modes.n_imaginary} imaginary frequencies in this model; an instanton starts from a "
            "saddle point with one"
        )
    crossover = INVERSE_CM * -modes.frequencies[0] / (2.0 * np.pi * BOLTZMANN)
    if temperature >= crossover:
        raise UserError(
            f"there is no instanton at {temperature:g} K over a barrier of {modes.frequencies[0]:.0f} cm⁻¹; choose a "
            f"temperature below {crossover:.0f} K"
        )
    if n_beads < 2:
        raise UserError(f"an instanton of {n_beads} beads has no path; take 10 or more")
    direction = modes.displacements()[0]
    direction *= stretch / np.linalg.norm(direction, axis=1).max()
    beads = []
    for phase in np.linspace(0.0, np.pi, n_beads):
        bead = saddle.copy()
        bead.positions += np.cos(phase) * direction
        beads.append(bead)
    return beads


def read_path(file: str | Path, like: ase.Atoms) -> list[ase.Atoms]:
    """The beads that i-PI wrote, with the masses and the boundary conditions of `like`."""
    beads = []
    for frame in ase.io.iread(file, ":", format="xyz"):
        bead = like.copy()
        bead.positions = frame.positions
        beads.append(bead)
    return beads


def ffdebye(curvature: Curvature, folder: str | Path, name: str = "harmonic") -> str:
    """The forcefield ½(x − x₀)·H·(x − x₀) + V₀ around a minimum, which i-PI evaluates itself."""
    _refuse_unless_minimum(curvature)
    np.savetxt(Path(folder) / "hessian.dat", curvature.hessians[0] / HARTREE_PER_BOHR2, fmt="%.17e")
    positions = curvature.beads[0].positions / BOHR
    return f"""<ffdebye name='{name}'>
    <!-- Ha/Bohr²; positions in Bohr, energy in Ha -->
    {_from_file("hessian", curvature.hessians[0].shape)}
    <x_reference shape='({positions.size})'>{inputs.array(positions)}</x_reference>
    <v_reference>{float(curvature.energies[0] / HARTREE)!r}</v_reference>
  </ffdebye>"""


def input_for(purpose: str, curvature: Curvature, folder: str | Path, settings: RunSettings | None = None) -> str:
    """Write the matrix of one of `PURPOSES` to `folder`, and return the XML of the run that reads it.

    The beads of `curvature` must be the structures that `write_start` wrote there as start.xyz and returned. UserError
    for a geometry that i-PI cannot start from.
    """
    if purpose not in PURPOSES:
        raise UserError(f"i-PI takes no Hessian for {purpose!r}; choose one of {', '.join(PURPOSES)}")
    if len(curvature.beads) > 1 and purpose != "instanton":
        raise UserError(f"{len(curvature.beads)} structures were given for {purpose}, which takes one; give it alone")
    held = curvature.held.reshape(-1, 3)
    if purpose == "scp" and held.any():
        raise UserError(
            f"atoms of {curvature.beads[0].symbols} are held, which i-PI's self-consistent phonons do not take into "
            "account; remove the constraint, or use imf"
        )
    if purpose == "instanton" and (held.any(1) & ~held.all(1)).any():
        raise UserError(
            f"single coordinates of atoms of {curvature.beads[0].symbols} are held, and i-PI's instantons hold whole "
            "atoms only; use FixAtoms"
        )
    return PURPOSES[purpose](curvature, Path(folder), settings or RunSettings())


def _vibrations(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    _write_dynmat(curvature, folder)
    size = curvature.hessians.shape[1]
    motion = f"""<motion mode='vibrations'>
      <vibrations mode='fd'>
        <!-- H_ab / sqrt(m_a m_b), atomic units, without translations and rotations -->
        {_from_file("dynmat", (size, size))}
        <asr>none</asr>
        <prefix>phonons</prefix>
      </vibrations>
    </motion>"""
    about = (
        "Normal modes from an analytic Hessian. i-PI starts behind its last displacement (step = 3N), so it needs no\n"
        "forces and no driver; it writes simulation.phonons.hess, .eigval, .eigvec and .mode."
    )
    return _input(about, curvature, motion, steps=size + 1, first_step=size)


def _minimize(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    """The trust-radius step of i-PI is Newton's only where the matrix is positive definite: so curvatures are taken by
    their size, and translations and rotations, along which there is no force, are as stiff as the stiffest mode."""
    rigid = rigid_basis(curvature.beads[0], np.ones(len(curvature.beads[0])))
    still = np.concatenate([rigid, np.eye(curvature.held.size)[curvature.held]])
    vibrations = np.linalg.svd(still, full_matrices=True)[2][len(still) :]
    matrix = curvature.hessians[0] / HARTREE_PER_BOHR2
    values, vectors = np.linalg.eigh(vibrations @ (matrix + matrix.T) @ vibrations.T / 2.0)
    values = np.maximum(np.abs(values), SOFTEST)
    vectors = vibrations.T @ vectors
    matrix = vectors @ np.diag(values) @ vectors.T + values.max(initial=1.0) * still.T @ still
    np.savetxt(folder / "hessian.dat", matrix, fmt="%.17e")
    motion = f"""<motion mode='minimize'>
      <optimizer mode='bfgstrm'>
        <!-- Ha/Bohr², made positive definite -->
        {_from_file("hessian_trm", matrix.shape, "hessian")}
        <tolerances> <energy>1e-8</energy> <force>1e-5</force> <position>1e-4</position> </tolerances>
      </optimizer>{_held(curvature)}
    </motion>"""
    about = "Geometry optimisation with a trust radius, started from an analytic Hessian instead of the unit matrix."
    return _input(about, curvature, motion, steps=500, stride=1)


def _scp(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    atoms = curvature.beads[0]
    moments = atoms.get_moments_of_inertia()
    if not atoms.pbc.any() and np.diff(moments).min() < SYMMETRIC_TOP * moments.max():
        raise UserError(
            f"{atoms.symbols} is linear or a symmetric top, whose rotations i-PI's self-consistent phonons do not take "
            "out correctly; use imf"
        )
    _refuse_unless_minimum(curvature)
    _write_dynmat(curvature, folder)
    size, samples, iterations = curvature.hessians.shape[1], 200, 10
    motion = f"""<motion mode='scp'>
      <scp mode='qn'>
        <prefix>phonons</prefix>
        <asr>{curvature.sum_rule()}</asr>
        <!-- H_ab / sqrt(m_a m_b), atomic units: the first trial potential -->
        {_from_file("dynmat", (size, size))}
        <!-- structures drawn in each iteration; i-PI 3.3 fails with more than one of them at a time -->
        <max_steps>{samples}</max_steps>
        <nparallel>1</nparallel>
        <max_iter>{iterations}</max_iter>
        <displace_mode>nmik</displace_mode>
      </scp>
    </motion>"""
    about = "Self-consistent phonons that start from an analytic dynamical matrix."
    return _input(about, curvature, motion, settings, steps=iterations * (samples + 2) + 1)


def _imf(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    _refuse_unless_minimum(curvature)
    _write_dynmat(curvature, folder)
    size = curvature.hessians.shape[1]
    motion = f"""<motion mode='normalmodes'>
      <normalmodes mode='imf'>
        <prefix>modes</prefix>
        <asr>none</asr>
        <!-- H_ab / sqrt(m_a m_b), atomic units, without translations and rotations -->
        {_from_file("dynmat", (size, size))}
        <!-- spacing of the points along a mode, in its rms displacement; energy up to which they go, in its harmonic
             energy; basis functions; convergence of the free energy, Ha -->
        <fnmrms>0.5</fnmrms> <nevib>10.0</nevib> <nbasis>10</nbasis> <athresh>1e-6</athresh>
      </normalmodes>
    </motion>"""
    about = (
        "Anharmonic free energy of independent modes along those of an analytic Hessian. The result is at the end of\n"
        "i-PI's log. mode='vscf' couples them in pairs."
    )
    return _input(about, curvature, motion, settings, steps=size + 1)


def _ffdebye(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    contents = [
        inputs.initial_beads("start.xyz", 1, inputs.drawn_velocities(settings.temperature)),
        f"<forces>{inputs.force('harmonic')}</forces>",
        inputs.dynamics(
            settings.timestep, inputs.thermostat_block("pile"), held=inputs.held_coordinates(curvature.beads[0])
        ),
    ]
    about = "Dynamics in the harmonic potential of an analytic Hessian. i-PI evaluates it: there is no driver."
    blocks = [
        inputs.dynamics_output(10),
        ffdebye(curvature, folder),
        inputs.system(contents, settings.temperature),
    ]
    return inputs.simulation(about, blocks, settings.steps, settings.seed)


def _instanton(curvature: Curvature, folder: Path, settings: RunSettings) -> str:
    n_beads, size = curvature.hessians.shape[:2]
    if n_beads < 2:
        raise UserError("an instanton of one bead has no path; take 10 beads or more")
    side_by_side = np.concatenate(list(curvature.hessians), axis=1) / HARTREE_PER_BOHR2
    np.savetxt(folder / "hessian.dat", side_by_side, fmt="%.17e")
    motion = f"""<motion mode='instanton'>
      <instanton mode='rate'>
        <tolerances> <energy>1e-6</energy> <force>1e-5</force> <position>1e-3</position> </tolerances>
        <biggest_step>0.3</biggest_step>
        <opt>nichols</opt>
        <!-- Ha/Bohr², those of all beads side by side; Powell's update keeps them up to date without force calls -->
        {_from_file("hessian", (size, n_beads * size))}
        <hessian_init>False</hessian_init>
        <hessian_update>powell</hessian_update>
        <hessian_asr>{curvature.sum_rule()}</hessian_asr>
        <!-- files of the last step only: simulation.instanton_FINAL_*.xyz and .hess_* -->
        <alt_out>-1</alt_out>
        <!-- hesspot ipi-hessian on the final path gives its exact Hessians, without 6N displacements of all beads -->
        <hessian_final>False</hessian_final>
      </instanton>{_held(curvature)}
    </motion>"""
    about = (
        "Instanton rate: half a ring polymer over the saddle point, optimised from analytic Hessians of its beads.\n"
        f"{n_beads} beads stand for the {2 * n_beads} of the full ring."
    )
    return _input(about, curvature, motion, settings, steps=300, batch_size=n_beads, stride=1)


#: Purposes whose runs need no forces of the model.
WITHOUT_DRIVER = ("vibrations", "ffdebye")

#: What i-PI reads a Hessian for.
PURPOSES: dict[str, Callable[[Curvature, Path, RunSettings], str]] = {
    "vibrations": _vibrations,
    "instanton": _instanton,
    "ffdebye": _ffdebye,
    "scp": _scp,
    "imf": _imf,
    "minimize": _minimize,
}


def _input(
    about: str,
    curvature: Curvature,
    motion: str,
    settings: RunSettings | None = None,
    *,
    steps: int,
    first_step: int = 0,
    batch_size: int = 1,
    stride: int = 1000,
) -> str:
    """An input with one system served by the driver, in an ensemble if there are settings."""
    contents = [
        inputs.initial_beads("start.xyz", len(curvature.beads)),
        f"<forces>{inputs.force('hesspot')}</forces>",
        motion,
    ]
    output = f"""<output prefix='simulation'>
    <properties filename='out' stride='{stride}'> [step, potential{{electronvolt}}] </properties>
    <checkpoint filename='checkpoint' stride='1000'/>
  </output>"""
    blocks = [
        output,
        inputs.ffsocket("hesspot", ADDRESS, batch_size),
        inputs.system(contents, settings.temperature if settings else None),
    ]
    return inputs.simulation(about, blocks, steps, settings.seed if settings else 1, first_step, min(stride, 100))


def _held(curvature: Curvature) -> str:
    """The line of a motion that moves coordinates one by one, and would move what is held."""
    held = inputs.held_coordinates(curvature.beads[0])
    return f"\n      {held}" if held else ""


def _write_dynmat(curvature: Curvature, folder: Path) -> None:
    """`dynmat.dat`, with the masses as i-PI has them."""
    np.savetxt(folder / "dynmat.dat", curvature.dynamical_matrix() / HARTREE_PER_BOHR2 / IPI_AMU, fmt="%.17e")


def _from_file(tag: str, shape: tuple[int, ...], stem: str = "") -> str:
    return f"<{tag} mode='file' shape='{shape}'>{stem or tag}.dat</{tag}>"


def _refuse_unless_minimum(curvature: Curvature) -> None:
    what = curvature.beads[0].symbols
    if curvature.largest_force > STATIONARY:
        raise UserError(
            f"the largest force on {what} is {curvature.largest_force:.2g} eV/Å, so that it is no minimum of this "
            "model; relax it first (--relax)"
        )
    lowest = curvature.frequencies().min(initial=np.inf)
    if lowest < -IMAGINARY:
        raise UserError(f"{what} has an imaginary frequency ({lowest:.0f} cm⁻¹): it is no minimum; start from one")
