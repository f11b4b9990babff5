"""Dynamics of a committee in LAMMPS, until its members disagree or the whole length is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np
from pydantic import BaseModel, ConfigDict

from hesspot.distill.config import RunSection
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.files import write_atomically
from hesspot.lammps import run_lammps
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import write_data
from hesspot.sampling.ways import TIMESTEPS

#: Of the deviation that stops a run: frames above it are kept as candidates.
DOUBT = 0.5
#: fs, of the thermostat and the barostat.
DAMPING = 100.0, 1000.0

#: The outcome of a run, its frames in doubt, and the deviation along it.
OUTCOME, FRAMES, DEVIATIONS = "run.json", "doubt.xyz", "deviation.txt"

_INPUT = """units           metal
atom_style      atomic
boundary        {boundary}
read_data       start.data
pair_style      hesspot
pair_coeff      * * "{model}" {elements}
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes
velocity        all create {temperature} {seed} mom yes rot {rotation} loop geom
timestep        {timestep}
fix             1 all {integrator}
compute         doubt all hesspot/deviation
variable        worst equal c_doubt[1]
fix             told all print {every} "$(step) $(temp) $(c_doubt[1])" file deviation.txt screen no title "step K eV/A"
fix             halt all halt {every} v_worst > {limit} error continue
compute         near all coord/atom cutoff {reach}
compute         fewest all reduce min c_near
variable        fewest equal c_fewest
fix             lost all halt {every} v_fewest < 1 error hard
variable        calm equal "c_doubt[1] < {doubt}"
dump            1 all extxyz {every} doubt.xyz
dump_modify     1 element {elements} skip v_calm
thermo_style    custom step temp pe press c_doubt[*]
thermo          {every}
run             {steps}
"""


class Outcome(BaseModel):
    """How a run ended.

    steps: done, of `asked`; timestep: fs; deviation: the largest met, eV/Å; broken: what LAMMPS said where a run fell
    apart. A run holds that did all steps and met no deviation above the limit.
    """

    model_config = ConfigDict(extra="forbid")

    start: int
    walker: int
    steps: int
    asked: int
    timestep: float
    deviation: float
    limit: float
    broken: str = ""

    @property
    def held(self) -> bool:
        return not self.broken and self.steps >= self.asked and self.deviation <= self.limit

    @property
    def picoseconds(self) -> float:
        return 1e-3 * self.steps * self.timestep

    def describe(self) -> str:
        """In words."""
        whole = f"{1e-3 * self.asked * self.timestep:g} ps"
        if self.broken:
            return f"fell apart after {self.picoseconds:g} of {whole} ({self.broken})"
        if self.held:
            return f"ran {whole} with a deviation of {self.deviation:.3g} eV/Å at most (limit {self.limit:g})"
        return f"stopped after {self.picoseconds:g} of {whole}, where members differ by {self.deviation:.3g} eV/Å"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame of a run, and the deviation there, eV/Å."""

    atoms: ase.Atoms
    deviation: float


def explore(
    model: LoadedModel, start: ase.Atoms, settings: RunSection, folder: Path, *, number: int, walker: int, seed: int
) -> Outcome:
    """Run in `folder` from a start structure; a finished run is not run again.

    UserError with what LAMMPS says where no step was done.
    """
    kept = folder / OUTCOME
    if kept.exists():
        return Outcome.model_validate_json(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for old in (FRAMES, DEVIATIONS):
        (folder / old).unlink(missing_ok=True)
    atoms = start.repeat([n if periodic else 1 for n, periodic in zip(settings.repeat, start.pbc, strict=True)])
    timestep = settings.timestep or TIMESTEPS[0 if 1 in atoms.numbers else 1]
    steps = settings.steps(timestep)
    write_data(folder / "start.data", atoms, model.elements, electrons=model.electrons)
    ended = run_lammps(_script(model, atoms, settings, timestep, seed), settings.ranks, folder)
    (folder / "output.txt").write_text(ended.stdout)
    told = deviations_of(folder)
    if not len(told):
        raise UserError(f"LAMMPS did no step in {folder}: {error_of(ended.stdout)}; its output is output.txt there")
    outcome = Outcome(
        start=number,
        walker=walker,
        steps=int(told[-1, 0]),
        asked=steps,
        timestep=timestep,
        deviation=float(told[:, 2].max()),
        limit=settings.deviation,
        broken=error_of(ended.stdout) if ended.returncode else "",
    )
    write_atomically(kept, outcome.model_dump_json(indent=1).encode())
    return outcome


def _script(model: LoadedModel, atoms: ase.Atoms, settings: RunSection, timestep: float, seed: int) -> str:
    t, p = settings.temperature, settings.pressure
    thermostat, barostat = (1e-3 * each for each in DAMPING)
    integrator = {
        "nve": "nve",
        "nvt": f"nvt temp {t!r} {t!r} {thermostat!r}",
        "npt": f"npt temp {t!r} {t!r} {thermostat!r} iso {p!r} {p!r} {barostat!r}",
    }[settings.ensemble]
    return _INPUT.format(
        boundary=" ".join("p" if periodic else "s" for periodic in atoms.pbc),
        model=model.location,
        elements=" ".join(model.elements),
        temperature=t,
        seed=seed,
        rotation="no" if atoms.pbc.any() else "yes",
        timestep=1e-3 * timestep,
        integrator=integrator,
        every=settings.every,
        limit=settings.deviation,
        doubt=DOUBT * settings.deviation,
        reach=model.cutoff,
        steps=settings.steps(timestep),
    )


def deviations_of(folder: Path) -> np.ndarray:
    """(looks, 3): step, temperature, deviation; a last line that was cut is left out."""
    path = folder / DEVIATIONS
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    rows = [[float(word) for word in line.split()] for line in lines if len(line.split()) == 3]
    return np.array(rows).reshape(-1, 3)


def candidates(folder: Path, limit: float) -> list[Candidate]:
    """Frames in doubt of the run in `folder`, and how far the members are apart there."""
    path = folder / FRAMES
    if not path.exists() or not path.stat().st_size:
        return []
    at = {int(step): deviation for step, _, deviation in deviations_of(folder)}
    found = []
    for atoms in ase.io.read(path, index=":", format="extxyz"):
        step = int(atoms.info.get("Timestep", -1))
        if step > 0 and np.isfinite(atoms.positions).all():
            cell = atoms.cell if atoms.pbc.any() else None
            bare = ase.Atoms(atoms.numbers, atoms.positions, cell=cell, pbc=atoms.pbc)
            found.append(Candidate(bare, at.get(step, limit)))
    return found
