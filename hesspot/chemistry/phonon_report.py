"""What `hesspot phonons` says: sentences, rows of tables, a figure, JSON, a page."""

from __future__ import annotations

import json
from collections.abc import Sequence

import ase
import numpy as np
from matplotlib.figure import Figure

from hesspot.analysis.html_report import Report
from hesspot.analysis.plots import COLORS, panels
from hesspot.chemistry.crystal import space_group
from hesspot.chemistry.crystal_run import CrystalProperties
from hesspot.chemistry.elastic import Elastic
from hesspot.chemistry.phonons import IMAGINARY, SYMMETRIC, Phonons, Thermodynamics
from hesspot.units import ENERGIES, SPEED_OF_LIGHT

#: THz in cm⁻¹, and eV/K per atom in J/(mol K).
INVERSE_CM, PER_MOLE = 1e-3 / SPEED_OF_LIGHT, 1e3 / ENERGIES["kj/mol"]

THERMO_COLUMNS = ("T, K", "free energy, meV/atom", "entropy, J/(mol K)", "heat capacity, J/(mol K)")
ELASTIC_COLUMNS = ("GPa", "xx", "yy", "zz", "yz", "xz", "xy")
AVERAGE_COLUMNS = ("GPa", "Voigt", "Reuss", "Hill")


def notes(found: CrystalProperties) -> list[str]:
    """What the tables do not say, a sentence each."""
    atoms, phonons = found.atoms, found.phonons
    lengths = " ".join(f"{x:.4f}" for x in atoms.cell.lengths())
    angles = " ".join(f"{x:.2f}" for x in atoms.cell.angles())
    cells = " x ".join(map(str, phonons.multiples))
    n_atoms = len(atoms) * int(phonons.multiples.prod())
    return [
        f"{atoms.symbols}, {space_group(atoms, SYMMETRIC)}: primitive cell of {_atoms(len(atoms))}, {lengths} Å, "
        f"{angles}°, {atoms.get_volume():.4f} Å³, pressure {found.pressure:.3f} GPa".replace("-0.000", "0.000"),
        f"force constants: exact, to {phonons.reach:.2f} Å; a translation gives {found.net_force:.1g} eV/Å²",
        f"supercell for phonopy: {cells} cells, {_atoms(n_atoms)}: "
        + (
            "holds them all, so that nothing is interpolated"
            if phonons.exact
            else "too small for them, so that they are folded in and bands are interpolated between its own q-points"
        ),
        *_polar(atoms),
        _stability(phonons),
        _elastic_stability(found.elastic),
    ]


def _atoms(number: int) -> str:
    return f"{number} atom{'s' * (number != 1)}"


def _polar(atoms: ase.Atoms) -> list[str]:
    if len(set(atoms.numbers)) == 1:
        return []
    return [
        "without Born charges, which no strictly local model has: where ions carry charge, LO and TO branches are not "
        "split at Γ"
    ]


def _stability(phonons: Phonons) -> str:
    if phonons.stable:
        return f"dynamically stable: no imaginary branch on the path and on a mesh; highest {_both(phonons.highest)}"
    return (
        f"NOT dynamically stable: the deepest imaginary branch has {_both(-phonons.lowest)}i {phonons.where}; "
        f"{100 * phonons.unstable:.2g} % of the modes of the zone are imaginary, and the thermodynamics leaves them out"
    )


def _elastic_stability(elastic: Elastic) -> str:
    softest = f"softest strain {elastic.stiffnesses[0]:.4g} GPa"
    words = f"elastically stable (Born): {softest}" if elastic.stable else f"NOT elastically stable (Born): {softest}"
    if elastic.relaxed is None:
        words += "; of atoms that move with the cell, as theirs in the cell have no minimum"
    return words


def _both(frequency: float) -> str:
    return f"{frequency:.3f} THz ({INVERSE_CM * frequency:.1f} cm⁻¹)"


def thermo_rows(rows: Sequence[Thermodynamics]) -> list[list[str]]:
    """Cells of the table of `THERMO_COLUMNS`."""
    return [
        [
            f"{row.temperature:g}",
            f"{1e3 * row.free_energy:.2f}",
            f"{PER_MOLE * row.entropy:.3f}",
            f"{PER_MOLE * row.heat_capacity:.3f}",
        ]
        for row in rows
    ]


def elastic_rows(constants: np.ndarray) -> list[list[str]]:
    """Cells of the table of `ELASTIC_COLUMNS`."""
    return [
        [name, *(f"{x + 0.0:.2f}".replace("-0.00", "0.00") for x in row)]
        for name, row in zip(ELASTIC_COLUMNS[1:], constants, strict=True)
    ]


def average_rows(elastic: Elastic) -> list[list[str]]:
    """Cells of the table of `AVERAGE_COLUMNS`; none for an unstable crystal."""
    averages = elastic.averages()
    if averages is None:
        return []
    return [
        ["bulk modulus", *(f"{x:.2f}" for x in (averages.bulk_voigt, averages.bulk_reuss, averages.bulk))],
        ["shear modulus", *(f"{x:.2f}" for x in (averages.shear_voigt, averages.shear_reuss, averages.shear))],
        ["Young's modulus", "", "", f"{averages.young:.2f}"],
        ["Poisson's ratio", "", "", f"{averages.poisson:.4f}"],
        ["universal anisotropy", "", "", f"{averages.anisotropy:.4f}"],
    ]


def bands_and_dos(phonons: Phonons) -> Figure:
    """Bands along the path with the density of states beside it, THz; imaginary branches below zero."""
    figure, (axis, beside) = panels(7.4, 4.2, [3.2, 1.0])
    for line in phonons.lines:
        axis.plot(line.distances, line.frequencies, color=COLORS[0], linewidth=1.3)
    places, labels = _ticks(phonons)
    for place in places:
        axis.axvline(place, color="0.75", linewidth=0.8, zorder=0)
    axis.set_xticks(places, labels)
    axis.grid(False)
    axis.set(ylabel="frequency, THz", xlim=(places[0], places[-1]))
    frequencies, states = phonons.dos.T
    beside.fill_betweenx(frequencies, states, color=COLORS[0], alpha=0.25, linewidth=0)
    beside.plot(states, frequencies, color=COLORS[0], linewidth=1.3)
    beside.set(xlabel="states per THz and cell", xlim=(0.0, None))
    if not phonons.stable:
        for each in (axis, beside):
            each.axhspan(1.1 * phonons.lowest, 0.0, color=COLORS[1], alpha=0.12, linewidth=0)
    axis.set_ylim(min(0.0, 1.1 * phonons.lowest), 1.05 * phonons.highest)
    return figure


def _ticks(phonons: Phonons) -> tuple[list[float], list[str]]:
    """Where the lines of the path meet, and the names there; of a jump both."""
    places, labels = [float(phonons.lines[0].distances[0])], [phonons.lines[0].start]
    for line in phonons.lines:
        if labels[-1] != line.start:
            labels[-1] += f"|{line.start}"
        places.append(float(line.distances[-1]))
        labels.append(line.end)
    return places, labels


def as_json(found: CrystalProperties) -> bytes:
    """All numbers, THz, GPa, eV and Å; `hesspot phonons --help` tells the rest."""
    phonons, elastic = found.phonons, found.elastic
    averages = elastic.averages()
    return json.dumps(
        {
            "model": found.model,
            "symbols": list(found.atoms.symbols),
            "cell": found.atoms.cell.tolist(),
            "positions": found.atoms.positions.tolist(),
            "masses": found.atoms.get_masses().tolist(),
            "space_group": space_group(found.atoms, SYMMETRIC),
            "pressure": found.pressure,
            "force_constants": {"reach": phonons.reach, "acoustic_sum_rule": found.net_force},
            "supercell": {"multiples": phonons.multiples.tolist(), "exact": phonons.exact},
            "stable": phonons.stable,
            "lowest": {"frequency": phonons.lowest, "where": phonons.where, "imaginary_part": phonons.unstable},
            "path": [
                {
                    "from": line.start,
                    "to": line.end,
                    "points": line.points.tolist(),
                    "distances": line.distances.tolist(),
                    "frequencies": line.frequencies.tolist(),
                }
                for line in phonons.lines
            ],
            "density_of_states": {"frequencies": phonons.dos[:, 0].tolist(), "states": phonons.dos[:, 1].tolist()},
            "thermodynamics_per_atom": [vars(row) for row in phonons.thermodynamics],
            "elastic": {
                "clamped": elastic.clamped.tolist(),
                "relaxed": None if elastic.relaxed is None else elastic.relaxed.tolist(),
                "stable": elastic.stable,
                "stiffnesses": elastic.stiffnesses.tolist(),
                "averages": None
                if averages is None
                else {
                    **vars(averages),
                    **{name: getattr(averages, name) for name in ("bulk", "shear", "young", "poisson", "anisotropy")},
                },
            },
        },
        indent=1,
        ensure_ascii=False,
    ).encode()


def page(found: CrystalProperties) -> Report:
    """The page of one crystal."""
    report = Report(f"Phonons of {found.atoms.symbols}")
    report.text(f"Model `{found.model}`.\n\n" + "\n".join(f"- {line}" for line in notes(found)))
    report.section("Bands and density of states")
    report.figure(
        bands_and_dos(found.phonons),
        f"Along the path of seekpath; branches deeper than {IMAGINARY} THz below zero are imaginary.",
    )
    report.section("Thermodynamics")
    report.text("Harmonic, at fixed volume; the free energy holds the zero-point energy. A mole is one of atoms.")
    report.table(thermo_rows(found.phonons.thermodynamics), THERMO_COLUMNS)
    report.section("Elastic constants")
    report.text("In the axes of the structure, Voigt's order.")
    if found.elastic.relaxed is not None:
        report.table(elastic_rows(found.elastic.relaxed), ELASTIC_COLUMNS, "atoms relax with the strain")
    if found.elastic.relaxed is None or len(found.atoms) > 1:
        report.table(elastic_rows(found.elastic.clamped), ELASTIC_COLUMNS, "atoms move with the cell")
    if rows := average_rows(found.elastic):
        report.table(rows, AVERAGE_COLUMNS, "polycrystal")
    return report
