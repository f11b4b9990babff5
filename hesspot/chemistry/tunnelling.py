"""Rates with tunnelling: instantons that i-PI optimises, with exact Hessians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase

from hesspot.analysis.instanton import instanton_rate, transition_state_rate
from hesspot.analysis.molecules import fragments
from hesspot.chemistry.reaction import Reaction, Side
from hesspot.errors import UserError
from hesspot.export import LoadedModel
from hesspot.files import write_atomically
from hesspot.ipi import curvature
from hesspot.ipi.inputs import RunSettings, write_start
from hesspot.ipi.launch import run_ipi
from hesspot.ipi.run_script import new_run, write_run_script

#: Beads of half the ring.
BEADS = 24


@dataclass(frozen=True)
class Rates:
    """1/s, without symmetry numbers, at `kelvin`: transition state theory with classical vibrations, with quantum ones
    and with Wigner's factor too, and the instanton."""

    kelvin: float
    classical: float
    quantum: float
    wigner: float
    instanton: float


def instanton_rates(
    model: LoadedModel,
    reaction: Reaction,
    kelvins: Sequence[float],
    folder: Path,
    tell: Callable[[str], None],
    overwrite: bool = False,
) -> list[Rates]:
    """Rates from the first side of a reaction at temperatures below the crossover, the highest first, each path
    starting from the one before. Every i-PI run stays in a folder of its own.

    UserError for a temperature above the crossover, a first side that is several molecules, or one that is linear.
    """
    side = reaction.sides[0]
    _check(reaction, side, kelvins)
    rates: list[Rates] = []
    beads: list[ase.Atoms] = []
    for kelvin in sorted(kelvins, reverse=True):
        beads = beads or curvature.path_over_saddle(model, reaction.saddle.atoms, kelvin, BEADS)
        run = folder / f"instanton-{kelvin:g}K"
        with new_run(run, overwrite) as part:
            here = curvature.derivatives(model, write_start(part / "start.xyz", *beads))
            write_atomically(
                part / "input.xml", curvature.input_for("instanton", here, part, RunSettings(kelvin)).encode()
            )
            write_run_script(part, {curvature.ADDRESS: model.path})
        run_ipi(run / "input.xml", model.path, run / "start.xyz", run)
        beads = _path_of(run, reaction.saddle.atoms)
        path = curvature.derivatives(model, beads)
        barrier = reaction.saddle.energy - side.minimum.energy
        classical, quantum = transition_state_rate(
            side.minimum.atoms, side.minimum.modes, reaction.saddle.atoms, reaction.saddle.modes, barrier, kelvin
        )
        found = instanton_rate(
            side.minimum.atoms,
            side.minimum.modes,
            path.beads,
            path.energies - side.minimum.energy,
            path.hessians,
            kelvin,
        )
        rates.append(Rates(kelvin, classical, quantum, quantum * reaction.wigner(kelvin), found))
        tell(f"instanton at {kelvin:g} K: {found:.3g} 1/s; transition state theory: {quantum:.3g} 1/s")
    return rates


def _check(reaction: Reaction, side: Side, kelvins: Sequence[float]) -> None:
    hottest = max(kelvins)
    if hottest >= reaction.crossover:
        raise UserError(
            f"there is no instanton at {hottest:g} K over a barrier of {reaction.imaginary:.0f}i cm⁻¹; choose a "
            f"temperature below {reaction.crossover:.0f} K"
        )
    if reaction.saddle.atoms.pbc.any() or reaction.saddle.atoms.constraints:
        raise UserError("rates by instantons are of free molecules; leave --instanton out for cells and held atoms")
    if side.minimum.modes.n_rigid < 6:
        raise UserError(f"rates by instantons are of molecules that are not linear, and {side.name} is; leave them out")
    if len(fragments(side.minimum.atoms)) > 1:
        raise UserError(
            f"rates by instantons are of one molecule, and the reaction begins with {side.name}; give the ends the "
            "other way round"
        )


def _path_of(run: Path, like: ase.Atoms) -> list[ase.Atoms]:
    """The beads of the path that i-PI wrote last."""
    final = max(run.glob("simulation.instanton_FINAL_[0-9]*.xyz"), key=lambda path: path.stat().st_mtime_ns)
    return curvature.read_path(final, like)
