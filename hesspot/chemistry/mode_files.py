"""Normal modes in files that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from hesspot.chemistry.thermochemistry import Conditions, Thermochemistry
from hesspot.chemistry.vibrations import Vibrations
from hesspot.files import replacing, write_atomically
from hesspot.units import BOHR, MILLIDYNE_PER_A


def write_structure(path: Path, found: Vibrations) -> None:
    """The stationary point as extended XYZ, with its masses and what is held."""
    with replacing(path) as part:
        ase.io.write(part, found.atoms, format="extxyz")


def write_xyz(path: Path, found: Vibrations) -> None:
    """Extended XYZ, a frame for each mode with its direction as the column `mode`, as ASE writes it for Jmol."""
    frames = []
    for number, displacement in enumerate(found.displacements):
        atoms = found.atoms.copy()
        atoms.calc = None
        atoms.set_constraint()
        atoms.arrays["mode"] = displacement
        atoms.info = {
            "mode_number": number,
            "frequency": float(found.frequencies[number]),
            "reduced_mass": float(found.reduced_masses[number]),
            "character": found.characters[number].words,
        }
        frames.append(atoms)
    with replacing(path) as part:
        ase.io.write(part, frames, format="extxyz")


def write_molden(path: Path, found: Vibrations) -> None:
    """Molden's format: [FREQ] cm⁻¹, [FR-COORD] Bohr and [FR-NORM-COORD]."""
    rows = "".join
    symbols = found.atoms.get_chemical_symbols()
    text = "[Molden Format]\n[FREQ]\n" + rows(f"{value:16.8f}\n" for value in found.frequencies)
    text += "[FR-COORD]\n" + rows(
        f"{symbol:3s} {_row(place)}" for symbol, place in zip(symbols, found.atoms.positions / BOHR, strict=True)
    )
    text += "[FR-NORM-COORD]\n"
    for number, displacement in enumerate(found.displacements, 1):
        text += f"vibration {number}\n" + rows(map(_row, displacement))
    write_atomically(path, text.encode())


def _row(vector: np.ndarray) -> str:
    return "".join(f"{value:15.8f}" for value in vector) + "\n"


def write_json(
    path: Path, model: str, found: Vibrations, conditions: Conditions, thermo: list[Thermochemistry], notes: list[str]
) -> None:
    """All numbers: eV, Å, amu, cm⁻¹, K, bar and mdyn/Å."""
    told: dict[str, Any] = {
        "model": model,
        "formula": found.atoms.get_chemical_formula(),
        "symbols": found.atoms.get_chemical_symbols(),
        "positions": found.atoms.positions.tolist(),
        "masses": found.point.modes.masses.tolist(),
        "energy": found.point.energy,
        "largest_force": found.point.force,
        "translations_and_rotations": found.point.modes.n_rigid,
        "held_coordinates": found.n_held,
        "frequency_scale": found.scale,
        "modes": [
            {
                "frequency": float(found.frequencies[number]),
                "reduced_mass": float(found.reduced_masses[number]),
                "force_constant": float(found.force_constants[number] / MILLIDYNE_PER_A),
                "character": character.words,
                "shares": character.shares,
                "atoms": list(character.atoms),
                "displacement": found.displacements[number].tolist(),
            }
            for number, character in enumerate(found.characters)
        ],
        "zero_point_energy": found.zero_point_energy,
        "conditions": vars(conditions),
        "thermochemistry": {
            each.treatment: {
                "internal_energy": each.internal,
                "entropy": each.entropies,
                "pv": each.pv,
                "H": each.enthalpy,
                "S": each.entropy,
                "G": each.gibbs,
            }
            for each in thermo
        },
        "notes": notes,
        "units": "eV, Å, amu, cm⁻¹, K, bar, eV/Å; force constants in mdyn/Å, entropies in eV/K",
    }
    write_atomically(path, json.dumps(told, indent=1, ensure_ascii=False).encode())
