"""Charge and spin: read wherever they stand, and refused where they cannot be."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hesspot.electrons import electrons_of, stated_electrons
from hesspot.errors import UserError


@pytest.mark.parametrize(
    ("symbols", "info", "expected"),
    [
        ("O2", {}, (0, 1)),
        ("O2", {"spin": 3, "multiplicity": 3}, (0, 3)),
        ("O2", {"spin": 2}, (0, 3)),  # 2S: a multiplicity of 2 does not fit 16 electrons
        ("O2", {"spin": 1}, (0, 1)),
        ("O2", {"spin": 0}, (0, 1)),  # 2S, or nothing, as fairchem's sets have it
        ("OH", {"charge": -1, "spin": 0}, (-1, 1)),
        ("OH", {"charge": -1}, (-1, 1)),
        ("OH", {"spin": 1}, (0, 2)),
        ("OH", {"spin": 2}, (0, 2)),
        ("OH", {"Total_Charge": 1.0, "spin_multiplicity": "3"}, (1, 3)),
        ("H", {"multiplicity": 2}, (0, 2)),
    ],
)
def test_what_is_stated_counts(symbols: str, info: dict, expected: tuple[int, int]) -> None:
    atoms = Atoms(symbols, np.arange(3 * len(Atoms(symbols))).reshape(-1, 3), info=info)
    assert electrons_of(atoms, "it") == expected


@pytest.mark.parametrize(("name", "multiplicity"), [("O2", 3), ("CH3", 2), ("H2O", None), ("CH2_s3B1d", 3)])
def test_magnetic_moments_of_ase_are_a_statement(name: str, multiplicity: int | None) -> None:
    assert stated_electrons(molecule(name), "it") == (None, multiplicity)


def test_no_spin_of_an_odd_number_of_electrons_says_nothing() -> None:
    assert stated_electrons(Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": 0, "spin": 0}), "it") == (0, None)


def test_initial_charges_are_a_statement() -> None:
    assert electrons_of(Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[-1.2, 0.2]), "it") == (-1, 1)


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("OH", [[0, 0, 0], [0, 0, 1]]), "odd number of electrons .*charge=… or multiplicity=2"),
        (
            Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": 0, "spin": 0}),
            "odd number of electrons .*multiplicity=2",
        ),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1]], info={"multiplicity": 2}), "multiplicity 2 with 16 electrons"),
        (Atoms("H", info={"charge": 0, "multiplicity": 4}), "multiplicity 4 with 1 electrons"),
        (Atoms("H", info={"charge": 1}), "no electrons at charge 1"),
        (Atoms("He", info={"charge": "many"}), "charge=many, which is no whole number"),
        (Atoms("He", info={"charge": 0.5}), "charge=0.5, which is no whole number"),
        (Atoms("He", info={"charge": 2, "total_charge": 0}), "two values of its charge: 2 from charge and 0"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1]], info={"multiplicity": 1, "spin": 3}), "two values of its multiplicity"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1]], magmoms=[1.0, 0.7]), "initial_magmoms that sum to 1.7"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(atoms: Atoms, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        electrons_of(atoms, "it")
    assert "\n" not in str(caught.value)
