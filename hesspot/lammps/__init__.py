"""LAMMPS with `pair_style hesspot`: find it, build the plugin for it, run it."""

from hesspot.lammps.build import build_plugin
from hesspot.lammps.environment import Environment, find_environment
from hesspot.lammps.run import lammps_environ, mpirun_command, run_lammps

__all__ = ["Environment", "build_plugin", "find_environment", "lammps_environ", "mpirun_command", "run_lammps"]
