"""A charge or spin that a structure states is one that the model was trained on, at every door, or is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from test_structures import house
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import app
from hesspot.contract import batch_for
from hesspot.data import Dataset, Record
from hesspot.electrons import require_trained, trained_states
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.file import rewrite_model
from hesspot.lammps.structure import write_data
from hesspot.training.export_run import export_run
from hesspot.training.loop import train
from hesspot.verification.run import verify
from ipi_driver.evaluation.load import open_evaluator

LEVEL = "GFN2-xTB"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network, as trained on neutral singlets, on anions too, on a triplet too, or on who knows what."""
    model, folder = house(), tmp_path_factory.mktemp("models")
    states = {"neutral": [(0, 1)], "anions": [(-1, 1), (0, 1)], "triplets": [(0, 1), (0, 3)], "unknown": None}
    for name, electrons in states.items():
        entries = [fingerprint_entry(model, "water", molecule("H2O"))]
        write_model(folder / f"{name}.pt", model, entries, electrons=electrons, level_of_theory=LEVEL)
    return {name: folder / f"{name}.pt" for name in states}


def stated(symbols: str = "H2O", **said: object) -> Atoms:
    """A molecule of ASE with what it states; `charges` and `magmoms` of atoms."""
    of_atoms = {key: said.pop(key) for key in ("charges", "magmoms") if key in said}
    atoms = molecule(symbols)
    atoms = Atoms(atoms.numbers, atoms.positions, info=said, **of_atoms)
    return atoms


#: A structure, the models that know it, and what the others say.
STRUCTURES: dict[str, tuple[Atoms, set[str], str]] = {
    "nothing": (stated(), {"neutral", "anions", "triplets", "unknown"}, ""),
    "neutral": (stated(charge=0, spin=1), {"neutral", "anions", "triplets", "unknown"}, ""),
    "not said": (stated(charge=None), {"neutral", "anions", "triplets", "unknown"}, ""),
    "QCSchema": (stated(molecular_charge=0.0), {"neutral", "anions", "triplets", "unknown"}, ""),
    "partial charges": (stated(charges=[-0.8, 0.4, 0.4]), {"neutral", "anions", "triplets", "unknown"}, ""),
    "open singlet": (stated("O2", magmoms=[1, -1]), {"neutral", "anions", "triplets", "unknown"}, ""),
    "hydroxide": (stated("OH", charge=-1), {"anions"}, r"states the charge -1, "),
    "charges of atoms": (stated("OH", charges=[-1.2, 0.2]), {"anions"}, r"states the charge -1, "),
    "dianion": (stated(charge=-2), set(), r"states the charge -2, "),
    "cation": (stated("H2O", charge="1", multiplicity=2), set(), r"states the charge \+1 and the multiplicity 2"),
    "oxygen": (molecule("O2"), {"triplets"}, "states the multiplicity 3, "),
    "spin": (stated("O2", spin=3), {"triplets"}, "states the multiplicity 3, "),
    "radical": (molecule("OH"), {"unknown"}, "states the multiplicity 2, "),
    "contradiction": (stated("OH", charge=-1, multiplicity=2), set(), "multiplicity 2 with 10 electrons"),
}


def on_file(atoms: Atoms, folder: Path) -> Path:
    atoms.write(folder / "stated.traj")
    return folder / "stated.traj"


def force(model: Path, atoms: Atoms, folder: Path) -> None:
    atoms = atoms.copy()
    atoms.calc = HesspotCalculator(model)
    atoms.get_forces()


def command(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception


def verified(model: Path, atoms: Atoms, folder: Path) -> None:
    record = Record.from_atoms(atoms, name="it", part="test", energy=0.0)
    Dataset([record], LEVEL).write(folder / "set.h5")
    report = verify(model, data=folder / "set.h5", engines=["torch"])
    assert report.engines[0].failure is None


def ipi_template(model: Path, atoms: Atoms, folder: Path) -> None:
    open_evaluator(model, on_file(atoms, folder), "float64", "cpu", "auto", 1.0, lambda text: None)


def data_file(model: Path, atoms: Atoms, folder: Path) -> None:
    write_data(folder / "x.data", atoms, ["H", "O"], electrons=read_model(model).electrons)


DOORS: dict[str, Callable[[Path, Atoms, Path], object]] = {
    "forces": force,
    "Hessian": lambda model, atoms, folder: HesspotCalculator(model).get_hessian(atoms),
    "batch": lambda model, atoms, folder: batch_for(read_model(model), [molecule("H2O"), atoms]),
    "verify": verified,
    "LAMMPS data": data_file,
    "template": ipi_template,
    "ipi-input": lambda model, atoms, folder: command(
        *("ipi-input", "nvt", on_file(atoms, folder), model, "--out", folder / "run", "--overwrite")
    ),
    "ipi-hessian": lambda model, atoms, folder: command(
        *("ipi-hessian", model, on_file(atoms, folder), "--for", "vibrations", "--out", folder / "modes", "--overwrite")
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_a_model_knows(name: str, models: dict[str, Path]) -> None:
    atoms, knowing, words = STRUCTURES[name]
    for kind, model in models.items():
        trained = read_model(model).electrons
        if kind in knowing:
            require_trained(atoms, "it", trained)
            continue
        with pytest.raises(UserError, match=f"^it (has the )?{words}") as caught:
            require_trained(atoms, "it", trained)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_looks(door: str, models: dict[str, Path], tmp_path: Path) -> None:
    for name, kind, other in (("hydroxide", "anions", "neutral"), ("oxygen", "triplets", "unknown")):
        atoms, _, words = STRUCTURES[name]
        DOORS[door](models[kind], atoms, tmp_path)
        with pytest.raises(UserError, match=words):
            DOORS[door](models[other], atoms, tmp_path)


def test_a_charge_that_is_said_later_is_looked_at(models: dict[str, Path]) -> None:
    """ASE does not see that `info` changes, and would give what it has kept."""
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(models["neutral"])
    energy = atoms.get_potential_energy()
    atoms.info["charge"] = 1
    with pytest.raises(UserError, match=r"the structure states the charge \+1"):
        atoms.get_potential_energy()
    atoms.info["charge"] = 0
    assert atoms.get_potential_energy() == energy


def test_moments_of_crystals_are_no_total_spin() -> None:
    require_trained(bulk("Fe"), "it", [(0, 1)])
    require_trained(bulk("NaCl", "rocksalt", 5.6), "it", None)


def test_states_of_structures() -> None:
    assert trained_states([(10, None, None), (9, None, None)]) is None
    assert trained_states([(10, 0, 1), (10, None, None), (9, None, None), (9, -1, 1)]) == [(-1, 1), (0, 1), (0, 2)]


def test_a_model_says_what_it_was_trained_on(models: dict[str, Path], tmp_path: Path) -> None:
    """From a dataset to the exported file, and from that to the next one."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(6):
        symbols, state = (("OH", {"charge": -1}), ("O2", {"multiplicity": 3}), ("H2O", {}))[number % 3]
        atoms = Atoms(symbols, molecule(symbols).positions, info=state)
        atoms.rattle(0.05, rng=rng)
        records.append(
            Record.from_atoms(atoms, name=str(number), energy=0.1 * number, forces=np.zeros((len(atoms), 3)))
        )
    stated_in_test_only = Record.from_atoms(Atoms("H", info={"charge": 1}), name="proton", part="test", energy=0.0)
    Dataset([*records, stated_in_test_only], LEVEL).write(tmp_path / "set.h5")
    settings = {
        "data": str(tmp_path / "set.h5"),
        "mode": "ef",
        "allow_mixed_charges": True,
        "model": {"cutoff": 3.0, "n_radial": 3, "n_channels": 2, "hidden": [4]},
        "optimizer": {"epochs": 1},
    }
    train(settings, tmp_path / "run", show=False, final_table=False)
    assert export_run(tmp_path / "run", tmp_path / "model.pt").electrons == [(-1, 1), (0, 1), (0, 3)]
    rewrite_model(tmp_path / "model.pt", tmp_path / "again.pt")
    assert read_model(tmp_path / "again.pt").electrons == [(-1, 1), (0, 1), (0, 3)]
