"""Potential energies that a run has printed itself, by step: LAMMPS's thermo output, or i-PI's properties."""

from __future__ import annotations

import re
from pathlib import Path

from hesspot.analysis.run_output import column, read_ipi_properties, read_lammps_thermo
from hesspot.errors import UserError
from hesspot.files import require_text
from hesspot.monitor.frames import Frame
from hesspot.units import HARTREE

#: i-PI's units of energy, in eV.
IPI = {"": HARTREE, "atomic_unit": HARTREE, "electronvolt": 1.0}


class Energies:
    """Energies by step; the file is read again when a step is asked for that was not there.

    UserError for a file without steps and potential energies.
    """

    def __init__(self, path: Path):
        self.path = path
        require_text(path, "file of energies", "give LAMMPS's log, or i-PI's properties with step and potential")
        with path.open("rb") as stream:
            self._is_ipi = stream.readline().startswith(b"#")
        self._size, self._known = -1, self._read()

    def at(self, frame: Frame) -> float | None:
        """The energy at a frame, eV; None where it is not printed (yet)."""
        if frame.step not in self._known and self.path.stat().st_size != self._size:
            self._known = self._read()
        energy = self._known.get(frame.step)
        return energy if energy is None or self._is_ipi else frame.energy_unit * energy

    def _read(self) -> dict[int, float]:
        """i-PI's in eV, LAMMPS's in its own unit."""
        self._size = self.path.stat().st_size
        if not self._is_ipi:
            tables = read_lammps_thermo(self.path)
            pairs = [(column(table, "Step"), column(table, "PotEng")) for table in tables]
        else:
            table = read_ipi_properties(self.path)
            name = next((key for key in table if key.partition("{")[0] == "potential"), "potential")
            unit = re.search(r"\{(.*)\}", name)
            if (unit[1] if unit else "") not in IPI:
                raise UserError(f"{self.path} has {name}; let i-PI write potential{{electronvolt}}")
            pairs = [(column(table, "step"), IPI[unit[1] if unit else ""] * column(table, "potential"))]
        return {
            int(step): float(energy) for steps, energies in pairs for step, energy in zip(steps, energies, strict=True)
        }
