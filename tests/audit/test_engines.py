"""Engines from a line of text: calculators in a process that may die, drivers of i-PI, and lines that are none."""

import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from hesspot.audit.engines.base import Answer, Refusal
from hesspot.audit.engines.spec import parse_engine, require_heard
from hesspot.audit.structures import made_for
from hesspot.errors import UserError
from hesspot.models.shipped import find_model

#: eV and eV/Å: rounding of positions and energies in bohr and Hartree.
OVER_A_SOCKET = 1e-10


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def test_calculator_in_a_process_of_its_own_answers_as_here():
    spec = parse_engine("ase:ase.calculators.emt:EMT")
    crystal = made_for(["Cu"])["triclinic"]
    try:
        (answer,) = spec.engine.ask([crystal])
    finally:
        spec.engine.close()
    crystal.calc = EMT()
    assert isinstance(answer, Answer)
    assert answer.energy == crystal.get_potential_energy()
    np.testing.assert_array_equal(answer.forces, crystal.get_forces())
    virial = -crystal.get_stress(voigt=False) * crystal.get_volume()
    np.testing.assert_allclose(answer.virial, virial, rtol=1e-14)


def test_calculator_that_dies_leaves_the_other_questions(tmp_path):
    file = write(
        tmp_path / "dies.py",
        """
        import os, signal
        from ase.calculators.emt import EMT

        class Dies(EMT):
            def calculate(self, atoms, *arguments):
                if len(atoms) == 1:
                    os.kill(os.getpid(), signal.SIGSEGV)
                super().calculate(atoms, *arguments)
        """,
    )
    made = made_for(["Cu"])
    engine = parse_engine(f"ase:{file}:Dies").engine
    try:
        first, alone, last = engine.ask([made["crystal"], made["atom alone"], made["crystal"]])
    finally:
        engine.close()
    assert alone == Refusal("its process was ended by SIGSEGV")
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert first.energy == last.energy


def test_calculator_that_cannot_be_made_is_an_error_of_the_user(tmp_path):
    file = write(tmp_path / "none.py", "def make():\n    raise RuntimeError('no licence')\n")
    engine = parse_engine(f"ase:{file}:make").engine
    with pytest.raises(UserError, match="no licence"):
        engine.ask([made_for(["Cu"])["crystal"]])


@pytest.mark.ipi
def test_own_driver_answers_as_the_calculator():
    model = find_model("shipped:water")
    command = f"ipi:{sys.executable} -m ipi_driver.cli {model} --template {{template}} --unix {{address}}"
    driver, file = parse_engine(command).engine, parse_engine("shipped:water").engine
    made = made_for(["H", "O"])
    structures = [made["molecule"], made["cluster"]]
    try:
        for over, here in zip(driver.ask(structures), file.ask(structures), strict=True):
            assert isinstance(over, Answer), over
            assert isinstance(here, Answer)
            assert over.energy == pytest.approx(here.energy, abs=OVER_A_SOCKET)
            np.testing.assert_allclose(over.forces, here.forces, rtol=0, atol=OVER_A_SOCKET)
    finally:
        driver.close()
        file.close()


@pytest.mark.ipi
def test_driver_that_ends_is_a_refusal_with_its_words():
    engine = parse_engine("ipi:hesspot-ipi nothing.pt --template {template} --unix {address}").engine
    try:
        (answer,) = engine.ask([made_for(["H", "O"])["molecule"]])
    finally:
        engine.close()
    assert isinstance(answer, Refusal)
    assert "nothing.pt" in answer.reason


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "is empty; write `lammps:FRAGMENT"),
        ("gulp:in.gin", "is of no known kind; write `lammps:FRAGMENT"),
        ("lammps:missing.in elements=Si", "missing.in"),
        ("lammps:missing.in", "names no elements; write those of LAMMPS's atom types: elements=Si,C"),
        ("lammps:in.si elements=Si rank=2", "has rank=…, which is not known here"),
        ("lammps:in.si elements=Si ranks=0", "ranks=0; write numbers such as ranks=1,2,4"),
        ("ase:emt", "names no factory"),
        ("ase:no_such_module:EMT", "needs the module no_such_module"),
        ("ase:ase.calculators.emt:EMT precision=half", "precision=half; write double or single"),
        ("ipi:i-pi-driver -u -m sg", "has no {address}"),
        ("model.pt", "model.pt"),
    ],
)
def test_line_that_is_no_engine_is_refused(line, words):
    with pytest.raises(UserError, match=re.escape(words)):
        parse_engine(line)


def test_what_a_structure_states_is_heard_or_refused():
    driver = parse_engine("ipi:driver --unix {address}")
    calculator = parse_engine("ase:ase.calculators.emt:EMT")
    ion, triplet, held = molecule("NH3"), molecule("O2"), molecule("H2O")
    ion.info["charge"] = 1
    triplet.info["multiplicity"] = 3
    held.set_constraint(FixAtoms([0]))
    for atoms, words in ((ion, "states charge 1 and multiplicity 2"), (triplet, "states charge 0 and multiplicity 3")):
        require_heard([calculator], "a.xyz 0", atoms)
        with pytest.raises(UserError, match=f"a.xyz 0 {words}, and there is no way to tell `ipi:driver"):
            require_heard([calculator, driver], "a.xyz 0", atoms)
    with pytest.raises(UserError, match="holds atoms in place"):
        require_heard([calculator], "a.xyz 0", held)
    require_heard([driver], "a.xyz 0", molecule("H2O"))
