"""A cold run at constant energy from the minimum nearest to a structure: harmonic, so that its spectrum is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hesspot.errors import UserError

#: eV/Å, of the length of all forces together, at which a structure is at its minimum; steps until it is given up.
AT_REST, LONGEST = 1e-6, 20_000


@dataclass(frozen=True)
class ColdRun:
    """memory: the file to be written, of steps and Σ m v(0)·v(t), amu (Å/ps)². temperature K, of the motion; timestep
    fs; steps, of which every `stride`th is written; seed of the velocities."""

    memory: str
    temperature: float
    timestep: float
    steps: int
    stride: int
    seed: int

    def begin(self, engine: Any) -> None:
        """Take the fixes and dumps of the script away, minimise, and draw velocities, half of which becomes potential
        energy; UserError for other units than metal."""
        if engine.extract_global("units") != "metal":
            raise UserError("the spectrum of a run needs `units metal` in the LAMMPS script; write it in these")
        for kind, away in (("fix", "unfix"), ("dump", "undump")):
            for name in engine.available_ids(kind):
                engine.command(f"{away} {name}")
        engine.command("min_style cg")
        engine.command(f"minimize 0.0 {AT_REST} {LONGEST} {10 * LONGEST}")
        rotation = "no" if any(engine.extract_box()[5]) else "yes"
        engine.command(
            f"velocity all create {2.0 * self.temperature} {self.seed} mom yes rot {rotation} dist gaussian loop geom"
        )

    def velocities(self, engine: Any) -> np.ndarray:
        """Of all atoms in ascending order of their IDs, (n, 3) Å/ps, on every rank."""
        from mpi4py import MPI  # starts MPI, which only a process of mpirun may

        n_local = engine.extract_setting("nlocal")
        arrays = engine.numpy
        mine = [np.array(arrays.extract_atom(name)[:n_local]) for name in ("id", "v")]
        parts = MPI.COMM_WORLD.allgather(mine)
        ids = np.concatenate([part[0] for part in parts])
        return np.asarray(np.concatenate([part[1].reshape(-1, 3) for part in parts])[np.argsort(ids)])

    def run(self, engine: Any) -> None:
        """The run; on all ranks."""
        commands = f"""
            reset_timestep 0
            timestep {1e-3 * self.timestep}
            fix hesspot_first all store/state 0 vx vy vz
            variable hesspot_memory atom mass*(vx*f_hesspot_first[1]+vy*f_hesspot_first[2]+vz*f_hesspot_first[3])
            compute hesspot_memory all reduce sum v_hesspot_memory
            fix hesspot_cold all nve
            thermo_style custom step temp pe etotal c_hesspot_memory
            thermo {max(self.stride, self.steps // 10)}
            fix hesspot_told all print {self.stride} "$(step) $(c_hesspot_memory:%.15g)" file {self.memory} screen no
            run {self.steps}
        """
        for command in commands.strip().splitlines():
            engine.command(command.strip())
