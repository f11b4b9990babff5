"""Somebody else's architecture through the contract: ANI-2x, against its formulas, and served by the engines."""

import importlib.util
from itertools import combinations
from math import acos, cos, exp, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import hesspot
from hesspot.calculators import HesspotCalculator
from hesspot.errors import UserError

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_models" / "ani.py"

#: eV, of sums of some hundred terms.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def ani():
    spec = importlib.util.spec_from_file_location("ani_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(ani):
    torch.manual_seed(3)
    return ani.Ani(["H", "C", "O"]).requires_grad_(False).eval()


def described(atoms, elements: list[str]) -> np.ndarray:
    """Symmetry functions of the atoms, (n, 16 s + 32 s (s + 1) / 2), one by one as the publication has them."""
    kinds = [elements.index(symbol) for symbol in atoms.symbols]
    n = len(elements)
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    found = np.zeros((len(atoms), 16 * n + 32 * len(pairs)))
    images = atoms.get_all_distances()
    for i in range(len(atoms)):
        others = [j for j in range(len(atoms)) if j != i]
        for j in (j for j in others if images[i, j] < 5.1):
            fade = 0.5 * cos(pi * images[i, j] / 5.1) + 0.5
            for m in range(16):
                shift = 0.8 + m * (5.1 - 0.8) / 16
                found[i, 16 * kinds[j] + m] += 0.25 * exp(-19.7 * (images[i, j] - shift) ** 2) * fade
        for j, k in combinations([j for j in others if images[i, j] < 3.5], 2):
            fade = (0.5 * cos(pi * images[i, j] / 3.5) + 0.5) * (0.5 * cos(pi * images[i, k] / 3.5) + 0.5)
            angle = acos(0.95 * cos(np.deg2rad(atoms.get_angle(j, i, k))))
            place = 16 * n + 32 * pairs.index(tuple(sorted((kinds[j], kinds[k]))))
            for m in range(8):
                near = exp(-12.5 * ((images[i, j] + images[i, k]) / 2 - 0.8 - m * (3.5 - 0.8) / 8) ** 2)
                for a in range(4):
                    turned = 2 * ((1 + cos(angle - pi / 8 - a * pi / 4)) / 2) ** 14.1
                    found[i, place + 4 * m + a] += near * turned * fade
    return found


def test_its_energies_are_those_of_its_formulas(ani, model) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    inputs = torch.from_numpy(described(atoms, model.elements))
    rows = [
        model.networks[model.elements.index(symbol)](row) for symbol, row in zip(atoms.symbols, inputs, strict=True)
    ]
    atoms.calc = HesspotCalculator(model)
    expected = ani.HARTREE * torch.cat(rows).numpy()
    np.testing.assert_allclose(atoms.get_potential_energies(), expected, atol=ROUNDING)
    assert np.ptp(expected) > 0.1


def test_a_crystal_smaller_than_the_cutoff_is_its_supercell(model) -> None:
    energies = []
    for size in (1, 2):
        crystal = bulk("C", "diamond", a=3.6) * size
        crystal.calc = HesspotCalculator(model)
        energies.append(crystal.get_potential_energy() / len(crystal))
    assert energies[0] == pytest.approx(energies[1], abs=ROUNDING)


def test_the_jump_at_its_cutoff_has_to_be_meant(model, tmp_path: Path) -> None:
    entry = hesspot.fingerprint_entry(model, "water", molecule("H2O"))
    with pytest.raises(UserError, match=r"the Hessian product .* jumps by .* crosses the cutoff of 5\.1 Å"):
        hesspot.write_model(tmp_path / "ani.pt", model, [entry])


@pytest.mark.lammps
def test_engines_serve_its_file(model, tmp_path: Path) -> None:
    entry = hesspot.fingerprint_entry(model, "water", molecule("H2O"))
    hesspot.write_model(tmp_path / "ani.pt", model, [entry], allow_jump=True)
    report = hesspot.verify(tmp_path / "ani.pt", engines=["torchscript", "ase", "lammps"], ranks=1)
    assert report.passed and {each.engine for each in report.engines} >= {"torchscript", "ase", "lammps"}
