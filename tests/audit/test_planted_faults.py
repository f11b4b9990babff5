"""Each fault that engines have had is caught, named and placed; an engine without one raises no alarm."""

import re

import numpy as np
import pair_potential as pp
import pytest
from ase import Atoms

from hesspot.audit.checks import dynamics, gradient, history, invariance, precision, smoothness, strain
from hesspot.audit.consistency import ANSWERS, consistency
from hesspot.audit.engines.calculator import CalculatorEngine
from hesspot.audit.factors import GPA
from hesspot.audit.structures import made_for
from hesspot.units import HARTREE, KCAL_PER_MOL

STRUCTURES = made_for(["Cu", "Ag"])


def findings(calculator, *names, checks=None, **options):
    structures = {name: STRUCTURES[name] for name in names}
    engine = CalculatorEngine(calculator, "pair", **options)
    groups = {"checks": checks.split()} if checks else {}
    return consistency(engine, structures, accuracy=1e-6, **groups).findings


def failures(found):
    return {finding.check: finding.note for finding in found if finding.verdict == "FAIL"}


ALL = {ANSWERS, gradient.FORCES, gradient.SYMMETRIC, gradient.BALANCED, strain.VIRIAL, strain.SUM}
ALL |= {invariance.PERMUTED, invariance.MOVED, invariance.TURNED, invariance.IMAGES, invariance.LATTICE}
ALL |= {invariance.SUPERCELL, history.AGAIN, history.AFTER, smoothness.ENERGY, smoothness.FORCES}
ALL |= {smoothness.CURVATURE, precision.PRECISION, dynamics.CONSERVED}


def test_a_right_engine_raises_no_alarm():
    found = findings(pp.Pair(), "molecule", "cluster", "triclinic", "small cell", "atom alone")
    found += findings(pp.Pair(), *STRUCTURES, checks="precision gradient strain invariance")
    assert failures(found) == {}
    assert {finding.check for finding in found if finding.verdict == "PASS"} == ALL


def scaled(key, factor):
    def change(results, atoms):
        if key in results:
            results[key] = factor * results[key]

    return pp.bent(change)


def reordered(results, atoms):
    if "stress" in results:
        results["stress"] = results["stress"][[0, 1, 2, 5, 4, 3]]


def rotating_field(results, atoms):
    results["forces"] += 0.01 * np.cross([0, 0, 1.0], atoms.positions)


def in_single(results, atoms):
    for key in results:
        results[key] = np.float32(results[key]).astype(float)


def offset(results, atoms):
    results["energy"] += 1.2


def not_summing(results, atoms):
    results["energies"][0] += 0.01


def first_counts_more(results, atoms):
    results["energy"] += 0.01 * results["energies"][0]


def field_along_z(results, atoms):
    results["energy"] += 1e-3 * (atoms.positions[:, 2] ** 2).sum()
    results["forces"][:, 2] -= 2e-3 * atoms.positions[:, 2]


def one_atom_heavier(results, atoms):
    results["forces"][0] *= 1.001


def noise(results, atoms, rng=np.random.default_rng(1)):  # noqa: B008
    results["energy"] += 1e-4 * rng.normal()


def nothing_for_one_atom(results, atoms):
    if len(atoms) == 1:
        results["energy"] = np.nan


GRADIENT, STRAIN, INVARIANT = "gradient", "strain", "invariance"
FAULTS = {
    "virial of the wrong sign": (scaled("stress", -1.0), "crystal", STRAIN, strain.VIRIAL, "of the wrong sign"),
    "virial in GPa": (scaled("stress", 1 / GPA), "crystal", STRAIN, strain.VIRIAL, "in GPa for eV/Å³"),
    "virial in atm for bar": (scaled("stress", 1 / 1.01325), "crystal", STRAIN, strain.VIRIAL, "in atm for bar"),
    "virial of half the pairs": (scaled("stress", 0.5), "crystal", STRAIN, strain.VIRIAL, "half"),
    "virial in another order": (pp.bent(reordered), "triclinic", STRAIN, strain.VIRIAL, "yz and xy are exchanged"),
    "forces of the wrong sign": (scaled("forces", -1.0), "cluster", GRADIENT, gradient.FORCES, "of the wrong sign"),
    "forces in Hartree/Å": (scaled("forces", 1 / HARTREE), "cluster", GRADIENT, gradient.FORCES, "in Hartree for eV"),
    "energy in kcal/mol": (
        scaled("energy", 1 / KCAL_PER_MOL), "cluster", GRADIENT, gradient.FORCES, "in eV for kcal/mol",
    ),
    "a force of one ghost is missing": (
        pp.ForceMissingOnAGhost(), "crystal", GRADIENT, gradient.FORCES, r"on atom 1 \(Ag",
    ),
    "forces of no potential": (pp.bent(rotating_field), "cluster", GRADIENT, gradient.SYMMETRIC, "of no energy"),
    "a force of one atom is off": (
        pp.bent(one_atom_heavier), "crystal", GRADIENT, gradient.FORCES, r"on atom 0 \(Cu",
    ),
    "forces that do not balance": (pp.bent(one_atom_heavier), "crystal", GRADIENT, gradient.BALANCED, "sum to zero"),
    "rows of the Hessian exchanged": (
        pp.RowExchanged(), "cluster", GRADIENT, gradient.OWN_HESSIAN, r"in 2 rows: y of atom 1 .*, y of atom 2",
    ),
    "single precision": (pp.bent(in_single), "crystal", "precision", precision.PRECISION, "as in single precision"),
    "energies of atoms do not sum": (pp.bent(not_summing), "crystal", STRAIN, strain.SUM, "energies of atoms sum to"),
    "a constant off": (pp.bent(offset), "crystal", INVARIANT, invariance.SUPERCELL, "energy differs by 0.6 eV"),
    "nearest images alone": (
        pp.NearestImagesAlone(), "small cell", INVARIANT, invariance.SUPERCELL, "differs",
    ),
    "order of atoms matters": (pp.bent(first_counts_more), "cluster", INVARIANT, invariance.PERMUTED, "energy differs"),
    "place matters": (pp.bent(field_along_z), "cluster", INVARIANT, invariance.MOVED, "depends on the place"),
    "orientation matters": (pp.bent(field_along_z), "cluster", INVARIANT, invariance.TURNED, "orientation"),
    "atoms are not wrapped": (pp.NoWrapping(), "crystal", INVARIANT, invariance.IMAGES, "differs"),
    "cell transposed": (pp.CellTransposed(), "triclinic", INVARIANT, invariance.IMAGES, "cell is given transposed"),
    "another answer each time": (pp.bent(noise), "cluster", "history", history.AGAIN, "two answers"),
    "list of the structure before": (pp.ListFromBefore(), "crystal", "history", history.AFTER, "remembers"),
    "list too short": (pp.ListTooShort(), "cluster", "smoothness", smoothness.ENERGY, "a step of .* is pulled"),
    "energy shifted alone": (pp.EnergyShiftedAlone(), "cluster", "smoothness", smoothness.FORCES, "a step of"),
    "switched off too quickly": (pp.SwitchedOffTooQuickly(), "cluster", "smoothness", smoothness.CURVATURE, "a step"),
    "no number for one atom": (pp.bent(nothing_for_one_atom), "atom alone", "precision", ANSWERS, "not finite"),
    "energy not kept": (pp.bent(rotating_field), "cluster", "gradient dynamics", dynamics.CONSERVED, "ratio"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught_and_named(fault):
    calculator, structure, checks, check, words = FAULTS[fault]
    notes = failures(findings(calculator, structure, checks=checks))
    assert check in notes
    assert re.search(words, notes[check]), notes[check]


def test_single_precision_that_says_so_passes():
    assert failures(findings(pp.bent(in_single), "crystal", checks="precision", precision="single")) == {}


def test_atoms_alone_have_no_forces():
    def push(results, atoms):
        results["forces"] += 0.01

    assert gradient.BALANCED in failures(findings(pp.bent(push), "atom alone", checks="gradient"))


def test_structures_are_what_their_names_say():
    assert len(STRUCTURES["atom alone"]) == 1
    assert isinstance(STRUCTURES["small cell"], Atoms)
    heights = STRUCTURES["small cell"].cell.lengths()
    assert heights.max() < pp.CUTOFF
    scaled_positions = STRUCTURES["on faces"].cell.scaled_positions(STRUCTURES["on faces"].positions)
    assert (scaled_positions[0] == 0).any()
    assert scaled_positions.min() < -0.4
    assert np.triu(STRUCTURES["triclinic"].cell.array, 1).any() or np.tril(STRUCTURES["triclinic"].cell.array, -1).any()
