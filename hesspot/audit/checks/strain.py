"""Is the virial minus the slope of the energy with strain, and do the energies of atoms sum to the energy?"""

from __future__ import annotations

import numpy as np

from hesspot.audit.checks.gradient import best_step, richardson
from hesspot.audit.factors import named_factor, named_order
from hesspot.audit.findings import Finding, judged, not_run
from hesspot.audit.subject import CHANCE, Subject

VIRIAL = "virial is the slope of the energy with strain"
SUM = "energies of atoms sum to the energy"

#: Å: a step of strain moves neighbours at this distance by a step of coordinates.
NEIGHBOUR = 2.5
#: Between which a step of strain lies.
STEPS = 2e-4, 5e-3
#: Independent components in ASE's order.
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def check(subject: Subject) -> list[Finding]:
    return [_virial(subject), _sum(subject)]


def _sum(subject: Subject) -> Finding:
    answer = subject.answer
    if answer.energies is None:
        return not_run(SUM, subject.name, "the engine gives no energies of atoms")
    error = abs(float(answer.energies.sum()) - answer.energy)
    fault = f"energies of atoms sum to {answer.energies.sum():.8g} eV, and the energy is {answer.energy:.8g} eV"
    signal = float(np.abs(answer.energies).max())
    return judged(SUM, subject.name, error, subject.energy_tolerance, signal, "eV", fault)


def _virial(subject: Subject) -> Finding:
    """Six symmetric strains, four calculations each."""
    answer, atoms = subject.answer, subject.atoms
    if answer.virial is None:
        return not_run(VIRIAL, subject.name, "the engine gives no virial or stress of it")
    if len(atoms) == 1 and not atoms.pbc.any():
        error, signal = float(np.abs(answer.virial).max()), None
        fault = "one atom with nothing else has a virial"
        return judged(VIRIAL, subject.name, error, subject.virial_tolerance, signal, "eV", fault)
    noise = subject.noise
    step = float(np.clip(best_step(noise) / NEIGHBOUR, *STEPS))
    structures = []
    for a, b in VOIGT:
        for count in (-2, -1, 1, 2):
            strain = np.eye(3)
            strain[a, b] += 0.5 * count * step
            strain[b, a] += 0.5 * count * step
            strained = atoms.copy()
            if atoms.cell.rank:
                strained.set_cell(atoms.cell.array @ strain)
            strained.positions = atoms.positions @ strain
            structures.append(strained)
    energies = np.array([a.energy for a in subject.ask(structures)]).reshape(6, 4)
    right, bar = richardson(-energies, step, noise.energy_noise)
    found = np.array([0.5 * (answer.virial[a, b] + answer.virial[b, a]) for a, b in VOIGT])
    allowed = CHANCE * bar + subject.virial_tolerance
    errors = np.abs(found - right) / allowed
    worst = int(np.argmax(np.nan_to_num(errors, nan=np.inf)))
    fault = ""
    if not errors[worst] <= 1:
        a, b = VOIGT[worst]
        factor, order = named_factor(found, right), named_order(found, right)
        named = f"the virial is {factor}" if factor else f"of the virial {order}" if order else ""
        plain = f"component {'xyz'[a]}{'xyz'[b]} is {found[worst]:.6g} eV, the slope {right[worst]:.6g} eV"
        fault = "; ".join(filter(None, (named, plain)))
    error = float(abs(found[worst] - right[worst]))
    return judged(VIRIAL, subject.name, error, float(allowed[worst]), float(np.abs(right).max()), "eV", fault)
