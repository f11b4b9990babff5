"""The usual i-PI runs, from a structure and a model: a folder with input.xml, start.xyz and run.sh."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np

from hesspot.data.sources import require_known_level
from hesspot.electrons import require_trained
from hesspot.errors import UserError
from hesspot.export import LoadedModel, read_model
from hesspot.export.loaded import committee_size
from hesspot.files import write_atomically
from hesspot.ipi import curvature, inputs
from hesspot.ipi.curvature import ADDRESS
from hesspot.ipi.gle import read_matrices
from hesspot.ipi.inputs import RunSettings
from hesspot.ipi.run_script import new_run, write_run_script
from hesspot.models.shipped import find_model
from hesspot.structures import fixed_coordinates

#: Tells i-PI that the extras hold the members.
PARSE_JSON = "<parse_json>True</parse_json>"


#: Cases whose velocities mean something.
WITH_VELOCITIES = ("nve", "nvt", "pimd", "trpmd")

#: Total momentum, √(eV amu), below which a structure is at rest as a whole.
AT_REST = 1e-8

#: Writes the files of a case but input.xml, whose text it returns.
Writer = Callable[[ase.Atoms, Sequence[Path], Path, RunSettings], str]


@dataclass(frozen=True)
class Case:
    """A kind of run: what it is, the beads it has unless told otherwise, and how its input is written."""

    about: str
    beads: int
    write: Writer


def write_case(
    name: str,
    atoms: ase.Atoms,
    models: Sequence[str | Path],
    folder: str | Path,
    settings: RunSettings,
    overwrite: bool = False,
) -> None:
    """Write the folder of one of `CASES`. UserError for what cannot run, and for a folder that holds a run, unless it
    may be overwritten."""
    if name not in CASES:
        raise UserError(f"there is no case {name!r}; choose one of {', '.join(CASES)}")
    if not models or (len(models) > 1 and name != "committee"):
        raise UserError(
            f"{len(models)} models were given for {name}; a committee may have several, every other case one"
        )
    if settings.velocities_every and name not in WITH_VELOCITIES:
        raise UserError(
            f"--velocities-every {settings.velocities_every} is for spectra, and {name} has no dynamics that gives "
            f"one; take {', '.join(WITH_VELOCITIES)}"
        )
    files = [find_model(model) for model in models]
    with new_run(folder, overwrite) as part:
        xml = CASES[name].write(atoms, files, part, settings)
        write_atomically(part / "input.xml", xml.encode())
        if name == "committee":
            drivers = dict(zip(_addresses(part, len(files)), files, strict=True))
            options = ["--extras", "committee"] if len(files) == 1 else []
            write_run_script(part, drivers, private=False, options=options)
        else:
            write_run_script(part, {ADDRESS: files[0]})


def _addresses(folder: Path, n_models: int) -> list[str]:
    """Addresses of a committee, which are the same in every folder's name space: so they carry the folder's mark."""
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return [f"{ADDRESS}-{mark}-{number}" for number in range(n_models)]


def _checked_start(atoms: ase.Atoms, models: Sequence[Path], folder: Path) -> tuple[ase.Atoms, LoadedModel]:
    """The start structure as i-PI will read it and the first model, after all models have evaluated it."""
    (start,) = inputs.write_start(folder / "start.xyz", atoms)
    loaded = [read_model(model) for model in models]
    for model in loaded:
        require_trained(atoms, "the start structure", model.electrons)
    levels = {f"model {model.path}": model.metadata.level_of_theory for model in loaded}
    if len(levels) > 1:
        require_known_level(levels, False, "give models of one level")
    for model in loaded:
        curvature.derivatives(model, [start])
    return start, loaded[0]


def _moving(
    start: ase.Atoms, settings: RunSettings, thermostat: str, forcefield: str = "hesspot", barostat: str = ""
) -> str:
    """A system with dynamics from `start`, with its velocities if they are wanted, and what it holds."""
    first, fixcom = inputs.drawn_velocities(settings.temperature), True
    if settings.velocities == "file" and start.has("momenta"):
        if settings.beads > 1:
            raise UserError(
                f"the start structure has velocities of one bead, and the run has {settings.beads}; draw them "
                "from the temperature (--velocities thermal)"
            )
        first = inputs.stated_velocities(start)
        fixcom = bool(np.abs(start.get_momenta().sum(0)).max() < AT_REST)
    held = inputs.held_coordinates(start)
    contents = [
        inputs.initial_beads("start.xyz", settings.beads, first),
        f"<forces>{inputs.force(forcefield)}</forces>",
        inputs.dynamics(settings.timestep, thermostat, barostat, held, fixcom),
    ]
    return inputs.system(contents, settings.temperature, pressure=settings.pressure if barostat else None)


def _dynamics(about: str, thermostat: str) -> Writer:
    def write(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
        start, _ = _checked_start(atoms, models, folder)
        blocks = [
            inputs.dynamics_output(settings.stride, more=inputs.centroid_output(settings.velocities_every)),
            inputs.ffsocket("hesspot", ADDRESS, settings.beads),
            _moving(start, settings, inputs.thermostat_block(thermostat)),
        ]
        return inputs.simulation(about, blocks, settings.steps, settings.seed, stride=settings.stride)

    return write


def _constant_pressure(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
    if not atoms.pbc.all():
        raise UserError(
            f"constant pressure needs a structure that is periodic in all directions, and {atoms.symbols} is not "
            f"(pbc {' '.join('FT'[int(p)] for p in atoms.pbc)}); take nvt"
        )
    if fixed_coordinates(atoms, "the start structure").any():
        raise UserError(
            "atoms of the start structure are held, and a barostat of i-PI moves them with the cell; take nvt, or "
            "remove the constraint"
        )
    start, _ = _checked_start(atoms, models, folder)
    about = (
        f"Constant temperature and pressure ({settings.pressure:g} bar), {settings.beads} "
        f"bead{'s' * (settings.beads > 1)}; mind that the pressure of small cells scatters by thousands of bar."
    )
    blocks = [
        inputs.dynamics_output(settings.stride, inputs.PRESSURE_COLUMNS),
        inputs.ffsocket("hesspot", ADDRESS, settings.beads),
        _moving(start, settings, inputs.thermostat_block("pile"), barostat=inputs.barostat_block(settings.barostat)),
    ]
    return inputs.simulation(about, blocks, settings.steps, settings.seed, stride=settings.stride)


def _committee(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
    start, loaded = _checked_start(atoms, models, folder)
    if len(models) == 1:
        committee_size(loaded)  # refuses a file that is no committee
        how = "the members of one committee file, all from one driver"
        of_members = f"<weights>[1.0]</weights>\n    <!-- the members are in the driver's extras -->\n    {PARSE_JSON}"
    else:
        how = f"{len(models)} models, each served by its own driver"
        of_members = f"<weights>[{', '.join(['1.0'] * len(models))}]</weights>"
    if settings.threshold:
        of_members += f"""
    <!-- structures whose members' energies differ by more (standard deviation) are written: JSON, Bohr; run.sh makes
         doubtful.xyz of them, as `hesspot ipi-frames` does -->
    <active_thresh units='electronvolt'>{settings.threshold}</active_thresh>
    <active_output>doubtful</active_output>"""
    members = "\n    ".join(
        inputs.ffsocket(f"member-{number}", address, settings.beads).replace("\n", "\n  ")
        for number, address in enumerate(_addresses(folder, len(models)))
    )
    committee = f"""<ffcommittee name='committee' pbc='False'>
    {of_members}
    <!-- factor between the spread of the members and the error; calibrate it on test data -->
    <alpha>1.0</alpha>
    {members}
  </ffcommittee>"""
    spread = f"""
    <!-- energies (Ha), their standard deviation and forces (Ha/Bohr) of the members -->
    <trajectory filename='pots' stride='{settings.stride}' extra_type='committee_pot'> extras </trajectory>
    <trajectory filename='spread' stride='{settings.stride}' extra_type='committee_uncertainty'> extras </trajectory>
    <trajectory filename='forces' stride='{10 * settings.stride}' extra_type='committee_force'> extras </trajectory>"""
    blocks = [
        inputs.dynamics_output(settings.stride, more=spread),
        committee,
        _moving(start, settings, inputs.thermostat_block("pile"), "committee"),
    ]
    about = f"Dynamics on the mean of a committee: {how}; their disagreement is written."
    return inputs.simulation(about, blocks, settings.steps, settings.seed, stride=settings.stride)


def _piglet(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
    if settings.gle is None:
        raise UserError(
            "piglet needs the matrices for this temperature and number of beads; make them at "
            "https://gle4md.org (PIGLET, in i-PI's format) and give the file with --gle"
        )
    matrices = read_matrices(settings.gle, settings.beads, settings.temperature)
    start, _ = _checked_start(atoms, models, folder)
    about = (
        "Path integrals with a few beads and the PIGLET thermostat (Ceriotti and Manolopoulos, Phys. Rev. Lett. 109,\n"
        "100604, 2012). The column conserved drifts: the thermostat is driven."
    )
    blocks = [
        inputs.dynamics_output(settings.stride),
        inputs.ffsocket("hesspot", ADDRESS, settings.beads),
        _moving(start, settings, matrices.thermostat()),
    ]
    return inputs.simulation(about, blocks, settings.steps, settings.seed, stride=settings.stride)


def _integration(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
    if settings.velocities == "file" and atoms.has("momenta"):
        raise UserError(
            "the start structure has velocities, which have no meaning at the minimum that a thermodynamic integration "
            "starts from; draw them from the temperature (--velocities thermal)"
        )
    model = read_model(models[0])
    (start,) = inputs.write_start(folder / "start.xyz", curvature.relaxed(model, atoms))
    reference = curvature.ffdebye(curvature.derivatives(model, [start]), folder)
    nodes, weights = np.polynomial.legendre.leggauss(settings.points)
    systems = []
    for number, (coupling, weight) in enumerate(zip((nodes + 1) / 2, weights / 2, strict=True)):
        contents = [
            f"<!-- lambda {coupling:.6f}, weight in the integral {weight:.6f} -->",
            inputs.initial_beads("start.xyz", settings.beads, inputs.drawn_velocities(settings.temperature)),
            f"<forces>{inputs.force('harmonic', 1 - coupling)}{inputs.force('hesspot', coupling)}</forces>",
            inputs.dynamics(settings.timestep, inputs.thermostat_block("pile"), held=inputs.held_coordinates(start)),
        ]
        systems.append(inputs.system(contents, settings.temperature, prefix=f"l{number}"))
    columns = (
        "step, time{femtosecond}, conserved{electronvolt}, pot_component_raw{electronvolt}(0), "
        "pot_component_raw{electronvolt}(1)"
    )
    about = (
        "Thermodynamic integration from the harmonic reference to the model, all couplings (Gauss-Legendre) in one\n"
        "run: F = F_harmonic + sum over systems of weight * mean(column 5 - column 4) of lN_simulation.out, in eV.\n"
        "Meant for crystals, and for molecules that keep their orientation: the harmonic reference holds it, the\n"
        "model of a free molecule does not."
    )
    blocks = [
        inputs.dynamics_output(settings.stride, columns),
        reference,
        inputs.ffsocket("hesspot", ADDRESS, settings.beads),
        *systems,
    ]
    return inputs.simulation(about, blocks, settings.steps, settings.seed, stride=settings.stride)


def _instanton(atoms: ase.Atoms, models: Sequence[Path], folder: Path, settings: RunSettings) -> str:
    model = read_model(models[0])
    saddle = curvature.relaxed(model, atoms)
    path = curvature.path_over_saddle(model, saddle, settings.temperature, settings.beads)
    here = curvature.derivatives(model, inputs.write_start(folder / "start.xyz", *path))
    return curvature.input_for("instanton", here, folder, settings)


CASES = {
    "nve": Case(
        "constant energy", 1, _dynamics("Classical dynamics at constant energy: watch the column conserved.", "none")
    ),
    "nvt": Case("constant temperature", 1, _dynamics("Classical dynamics with a Langevin thermostat.", "pile")),
    "npt": Case("constant temperature and pressure, classical or with beads", 1, _constant_pressure),
    "pimd": Case(
        "path integrals with the PILE thermostat",
        32,
        _dynamics(
            "Path integral dynamics with the PILE-L thermostat. Beads: converged when P is several times\n"
            "hbar omega / kT of the highest frequency.",
            "pile",
        ),
    ),
    "trpmd": Case(
        "thermostatted ring-polymer dynamics, for spectra and diffusion",
        32,
        _dynamics(
            "Thermostatted ring-polymer dynamics (Rossi, Ceriotti, Manolopoulos, J. Chem. Phys. 140, 234116, 2014):\n"
            "all modes but the centroid are thermostatted. Start it from the end of a pimd run: put that run's\n"
            "checkpoint in the place of start.xyz, with mode='chk'.",
            "trpmd",
        ),
    ),
    "piglet": Case("path integrals with few beads, with the matrices of --gle", 6, _piglet),
    "committee": Case("several models, their mean and their disagreement", 1, _committee),
    "ti": Case("free energy, from the harmonic reference to the model", 1, _integration),
    "instanton": Case("tunnelling rate over a saddle point", 20, _instanton),
}
