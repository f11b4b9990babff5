"""Risk: curvature from a calculator's forces with a step that does not fit it, labels of no potential, and statements
that a calculator does not listen to."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.vibrations import Vibrations
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.data.quality import check_dataset, in_words
from hesspot.errors import UserError
from hesspot.models.shipped import find_model
from hesspot.reference.ase_labels import AseMethod
from hesspot.reference.calculator_factory import CalculatorFactory, parse_arguments
from hesspot.reference.force_lines import Differences, along, measure, one_after_another, random_directions
from hesspot.reference.labelling import label_file

WATER = find_model("shipped:water")

#: The estimate of an error against the error itself: noise is drawn, and the truncation of one line stands for others.
ESTIMATE = 4.0
#: eV/Å²: ASE's and phonopy's differences with steps of 0.005 to 0.01 Å leave as much; the elements are some 10.
DIFFERENCES = 2e-2
#: eV/Å³, of EMT's energy by differences of 1e-4 in the strain.
STRESS = 1e-6
#: eV/Å², double precision: products of exact Hessians.
EXACT = 1e-9

MODULE = '''
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

class Bent(Calculator):
    """EMT with noise, rounding, a part that is no gradient, or an error."""
    implemented_properties = ["energy", "forces"]
    calls = 0

    def __init__(self, noise=0.0, single=False, curl=0.0, worst=None, **more):
        super().__init__(**more)
        self.noise, self.single, self.curl, self.worst = noise, single, curl, worst
        self.rng = np.random.default_rng(0)

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes or ["positions"])
        Bent.calls += 1
        if self.worst is not None and np.abs(atoms.positions).max() > self.worst:
            raise RuntimeError("too far out")
        moved = atoms.copy()
        moved.calc = EMT()
        x = atoms.positions
        energy = moved.get_potential_energy()
        forces = moved.get_forces() + self.noise * self.rng.normal(size=x.shape)
        forces += self.curl * np.stack([x[:, 1], -x[:, 0], 0 * x[:, 0]], axis=1)
        if self.single:
            energy, forces = float(np.float32(energy - 1000)), forces.astype(np.float32)
        self.results = {"energy": energy, "forces": forces}

class NoForces(Calculator):
    implemented_properties = ["energy"]

def of_states(charge=0, multiplicity=1):
    calculator = Bent()
    calculator.curl, calculator.shift = 0.0, 10.0 * charge + multiplicity
    calculate = calculator.calculate
    def shifted(*words, **more):
        calculate(*words, **more)
        calculator.results["energy"] += calculator.shift
    calculator.calculate = shifted
    return calculator

def needs_more():
    import a_module_that_is_not_there

number = 3
'''


def emt() -> AseMethod:
    return AseMethod(calculator=CalculatorFactory(name="ase.calculators.emt:EMT"))


@pytest.fixture
def bent(tmp_path: Path) -> Path:
    file = tmp_path / "bent.py"
    file.write_text(MODULE)
    return file


def method(file: Path, factory: str = "Bent", **arguments: object) -> AseMethod:
    return AseMethod(calculator=CalculatorFactory(name=f"{file}:{factory}", arguments=arguments))


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def ethane() -> Atoms:
    atoms = molecule("C2H6")
    atoms.rattle(0.03, seed=1)
    return atoms


def written(folder: Path, *structures: Atoms) -> Path:
    ase.io.write(folder / "in.xyz", list(structures), format="extxyz")
    return folder / "in.xyz"


def evaluator(calculator: Calculator, atoms: Atoms):
    moved = atoms.copy()
    moved.calc = calculator

    def evaluate(positions: np.ndarray) -> tuple[float, np.ndarray]:
        moved.positions = positions
        return moved.get_potential_energy(), moved.get_forces().copy()

    return evaluate


def extrapolated(calculator: Calculator, atoms: Atoms, direction: np.ndarray) -> np.ndarray:
    """H·v by Richardson's extrapolation of two differences: an error of h⁴."""
    evaluate, step = evaluator(calculator, atoms), 1e-3
    ends = [[evaluate(atoms.positions + sign * k * step * direction)[1] for sign in (1, -1)] for k in (1, 2)]
    one, two = ((behind - ahead) / (2 * k * step) for k, (ahead, behind) in zip((1, 2), ends, strict=True))
    return (4 * one - two) / 3


class Noisy(EMT):
    """EMT with normal noise in its forces; energies are of single precision where there is noise."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise, self.rng = noise, np.random.default_rng(1)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = self.results["forces"] + self.noise * self.rng.normal(size=(len(self.atoms), 3))
        if self.noise:
            self.results["energy"] = float(np.float32(self.results["energy"] - 1000.0))


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-4, 1e-3])
@pytest.mark.parametrize("make", [copper, ethane])
def test_step_and_error_fit_the_noise(noise: float, make) -> None:
    """The noise is found; the error that is told is that of the product; other steps are worse, or not better."""
    atoms = make()
    first, *others = random_directions("it", len(atoms), 4)
    evaluate = evaluator(Noisy(noise), atoms)
    differences = measure(one_after_another(evaluate), atoms.positions, first).differences
    if noise:
        assert differences.force_noise == pytest.approx(noise, rel=0.5)
    centre = evaluate(atoms.positions)
    errors, told = [], []
    for direction in others:
        line = along(evaluate, atoms.positions, direction, centre, differences)
        errors.append(np.sqrt(np.mean((line.product - extrapolated(EMT(), atoms, direction)) ** 2)))
        told.append(line.error)
    error = np.sqrt(np.mean(np.square(errors)))
    assert error / ESTIMATE < np.sqrt(np.mean(np.square(told))) < error * ESTIMATE
    for factor in (0.2, 5.0) if noise else (5.0,):
        other = differences.model_copy(update={"step": factor * differences.step})
        worse = along(evaluate, atoms.positions, others[0], centre, other)
        error = np.sqrt(np.mean((worse.product - extrapolated(EMT(), atoms, others[0])) ** 2))
        assert error > 2 * errors[0]
        assert error / ESTIMATE < worse.error < error * ESTIMATE


def test_energies_tell_what_a_step_leaves_of_a_stiffer_structure() -> None:
    """f‴ that was measured on a soft structure says nothing of it."""
    atoms = ethane()
    evaluate = evaluator(EMT(), atoms)
    soft = Differences(step=0.03, force_noise=1e-10, energy_noise=1e-10, third=1.0)
    errors, told = [], []
    for direction in random_directions("stiff", len(atoms), 8):
        line = along(evaluate, atoms.positions, direction, evaluate(atoms.positions), soft)
        errors.append(np.sqrt(np.mean((line.product - extrapolated(EMT(), atoms, direction)) ** 2)))
        told.append(line.error)
    error = np.sqrt(np.mean(np.square(errors)))
    assert error / ESTIMATE < np.sqrt(np.mean(np.square(told))) < error * ESTIMATE


def test_a_soft_potential_is_differentiated_well() -> None:
    atoms = Atoms("Ar4", [[0, 0, 0], [3.7, 0, 0], [0, 3.9, 0], [0.2, 0.1, 3.6]])
    calculator = LennardJones(sigma=3.4, epsilon=0.01, rc=20.0)
    first, second = random_directions("argon", 4, 2)
    evaluate = evaluator(calculator, atoms)
    found = measure(one_after_another(evaluate), atoms.positions, first)
    assert found.mismatch < 1e-9
    line = along(evaluate, atoms.positions, second, evaluate(atoms.positions), found.differences)
    error = np.sqrt(np.mean((line.product - extrapolated(calculator, atoms, second)) ** 2))
    assert error / ESTIMATE < line.error < error * ESTIMATE
    assert line.error < 1e-4 * np.abs(line.product).max()


def test_labels_of_copper_are_those_of_emt(tmp_path: Path) -> None:
    (record,) = label_file(written(tmp_path, copper()), tmp_path / "out.h5", emt(), products=2, part="train")
    atoms = record.atoms_only()
    atoms.calc = EMT()
    assert record.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(record.forces, atoms.get_forces(), atol=1e-9)
    assert (record.charge, record.multiplicity) == (None, None)

    def energy(strain: float) -> float:
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array * [[1 + strain, 1, 1]], scale_atoms=True)
        moved.calc = EMT()
        return moved.get_potential_energy()

    slope = (energy(1e-4) - energy(-1e-4)) / 2e-4 / atoms.get_volume()
    assert record.stress is not None
    assert record.stress[0, 0] == pytest.approx(slope, abs=STRESS)
    assert abs(slope) > 100 * STRESS
    expected = (record.directions.reshape(2, -1) @ record.hessian).reshape(record.products.shape)
    np.testing.assert_allclose(record.products, expected, atol=DIFFERENCES)
    assert not in_words(check_dataset(Dataset.read(tmp_path / "out.h5")))


def test_hessians_are_those_of_ase_and_phonopy(tmp_path: Path) -> None:
    atoms = ethane()
    atoms.calc = EMT()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005, nfree=4)
    vibrations.run()
    expected = vibrations.get_vibrations().get_hessian_2d()
    crystal = bulk("Cu", cubic=True)
    (tmp_path / "a").mkdir()
    molecular, periodic = label_file(written(tmp_path / "a", atoms, crystal), tmp_path / "o.h5", emt(), part="train")
    np.testing.assert_allclose(molecular.hessian, expected, atol=DIFFERENCES)
    phonopy = pytest.importorskip("phonopy")
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(crystal.symbols, cell=crystal.cell, positions=crystal.positions)
    own = phonopy.Phonopy(cell, np.eye(3), primitive_matrix="P")
    own.generate_displacements(distance=0.01)
    forces = []
    for cell in own.supercells_with_displacements:
        moved = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True)
        moved.calc = EMT()
        forces.append(moved.get_forces())
    own.forces = forces
    own.produce_force_constants()
    constants = own.force_constants.transpose(0, 2, 1, 3).reshape(12, 12)
    np.testing.assert_allclose(periodic.hessian, constants, atol=DIFFERENCES)


def test_a_calculators_own_hessian_is_taken_if_it_is_that_of_its_forces(tmp_path: Path, capsys) -> None:
    from hesspot import HesspotCalculator

    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    own = AseMethod(calculator=CalculatorFactory(name="hesspot:HesspotCalculator", arguments={"model": str(WATER)}))
    file = written(tmp_path, water)
    (record,) = label_file(file, tmp_path / "a.h5", own, hessian=False, products=2, part="train")
    assert record.hessian is None and "product_error" not in record.properties
    hessian = HesspotCalculator(WATER).get_hessian(record.atoms_only())
    expected = (record.directions.reshape(2, -1) @ hessian).reshape(record.products.shape)
    np.testing.assert_allclose(record.products, expected, atol=EXACT)
    forces_only = own.model_copy(update={"differences": True})
    (by_forces,) = label_file(file, tmp_path / "f.h5", forces_only, hessian=False, products=2, part="train")
    assert by_forces.properties["product_error"] < 1e-3
    np.testing.assert_allclose(by_forces.products, expected, atol=DIFFERENCES)
    (tmp_path / "wrong.py").write_text(
        "from hesspot import HesspotCalculator\n"
        "class Wrong(HesspotCalculator):\n"
        "    def get_hessian(self, atoms=None):\n        return -super().get_hessian(atoms)\n"
    )
    wrong = method(tmp_path / "wrong.py", "Wrong", model=str(WATER))
    capsys.readouterr()
    (other,) = label_file(file, tmp_path / "b.h5", wrong, hessian=False, products=2, part="train")
    assert "differences are taken" in capsys.readouterr().err
    assert "product_error" in other.properties
    np.testing.assert_allclose(other.products, expected, atol=DIFFERENCES)


def test_single_precision_gets_a_longer_step_and_says_its_error(bent: Path, tmp_path: Path, capsys) -> None:
    file = written(tmp_path, copper())
    (exact,) = label_file(file, tmp_path / "a.h5", method(bent), hessian=False, products=2, part="train")
    (single,) = label_file(
        file, tmp_path / "b.h5", method(bent, noise=1e-5, single=True), hessian=False, products=2, part="train"
    )
    assert single.properties["difference_step"] > exact.properties["difference_step"]
    error = np.sqrt(np.mean((single.products - exact.products) ** 2))
    assert error / ESTIMATE < single.properties["product_error"] < error * ESTIMATE
    assert single.properties["gradient_mismatch"] < 1e-3
    assert single.stress is None and "has no stress" in capsys.readouterr().err


def test_forces_that_are_no_gradient_are_refused_or_flagged(bent: Path, tmp_path: Path, capsys) -> None:
    file, out = written(tmp_path, copper()), tmp_path / "out.h5"
    direct = method(bent, curl=0.02)
    for curvature in ({"products": 2}, {}):
        with pytest.raises(UserError, match=r"not the gradient of its energy.* --allow-nonconservative"):
            label_file(file, out, direct, hessian=False, part="train", **curvature)
    assert not out.exists() and not list(tmp_path.glob("*.parts"))
    label_file(
        file, out, direct.model_copy(update={"allow_nonconservative": True}), hessian=False, products=3, part="train"
    )
    assert "warning: the forces" in capsys.readouterr().err
    (sentence,) = in_words(check_dataset(Dataset.read(out)))
    assert sentence.startswith("forces that are not the gradient of the energy")


def test_too_long_a_step_is_found_by_data_check(tmp_path: Path) -> None:
    """Energies at the same points tell what a step leaves."""
    file = written(tmp_path, ethane())
    rough = emt().model_copy(update={"step": 0.1, "level": "EMT"})
    (record,) = label_file(file, tmp_path / "out.h5", rough, hessian=False, products=2, part="train")
    assert Dataset.read(tmp_path / "out.h5").level_of_theory == "EMT"
    expected = [extrapolated(EMT(), ethane(), v) for v in record.directions]
    error = np.sqrt(np.mean((record.products - expected) ** 2))
    assert error / ESTIMATE < record.properties["product_error"] < error * ESTIMATE
    assert error > 0.1 * np.sqrt(np.mean(record.products**2))
    assert any(
        "from differences" in sentence for sentence in in_words(check_dataset(Dataset.read(tmp_path / "out.h5")))
    )


def test_one_structure_that_raises_is_left_out_with_its_reason(bent: Path, tmp_path: Path, capsys) -> None:
    far = ethane()
    far.positions += 30.0
    file, out = written(tmp_path, far, ethane()), tmp_path / "out.h5"
    limited = method(bent, worst=20.0)
    (record,) = label_file(file, out, limited, hessian=False, products=1, jobs=2, part="train")
    assert record.name == "in_00001"
    assert "in_00000: left out, RuntimeError: too far out" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.h5.parts" / "differences.json").read_text())
    ase.io.write(tmp_path / "gold.xyz", Atoms("NaCl", [[0, 0, 0], [0, 0, 2.5]]))
    with pytest.raises(UserError, match=r"EMT computes none of the structures \(gold_00000: NotImplementedError"):
        label_file(tmp_path / "gold.xyz", tmp_path / "gold.h5", emt())


def test_a_run_goes_on_with_the_step_that_it_began_with(bent: Path, tmp_path: Path, capsys) -> None:
    """Also where the noise would be measured to be another: nothing is computed twice."""
    file = written(tmp_path, copper(), ethane())
    noisy = method(bent, noise=1e-4)
    whole = label_file(file, tmp_path / "whole.h5", noisy, hessian=False, products=1, part="train")
    far = ethane()
    far.positions += 30.0
    ase.io.write(tmp_path / "in.xyz", [copper(), ethane(), far])
    limited = method(bent, noise=1e-4, worst=20.0)
    label_file(file, tmp_path / "out.h5", limited, hessian=False, products=1, part="train")
    first = capsys.readouterr().err
    again = label_file(file, tmp_path / "out.h5", limited, hessian=False, products=1, part="train", overwrite=True)
    told = capsys.readouterr().err
    assert "differentiated" in first and "differentiated" not in told
    assert "2 of 3 structures are taken" in told
    assert again.provenance["differences"]["differences"]["force_noise"] == pytest.approx(1e-4, rel=0.5)
    assert len(whole) == 2


def test_charges_and_multiplicities_reach_the_calculator_or_are_refused(bent: Path, tmp_path: Path) -> None:
    ion = Atoms("H2", [[0, 0, 0], [0, 0, 1.0]], info={"charge": 1, "multiplicity": 2, "name": "ion"})
    file = written(tmp_path, ion, Atoms("H2", ion.positions, info={"name": "neutral"}))
    records = label_file(file, tmp_path / "a.h5", method(bent, "of_states"), hessian=False, part="train")
    assert [(record.charge, record.multiplicity) for record in records] == [(1, 2), (None, None)]
    assert records[0].energy - records[1].energy == pytest.approx(11.0, abs=1e-9)
    with pytest.raises(UserError, match=r"'ion' states the charge \+1, which .*Bent does not look at"):
        label_file(file, tmp_path / "b.h5", method(bent), hessian=False, part="train")
    with pytest.raises(UserError, match="charge=1, and --calculator-args charge=0"):
        label_file(file, tmp_path / "b.h5", method(bent, "of_states", charge=0), hessian=False, part="train")


def test_a_semi_empirical_program_behind_ase_gives_what_it_gives_itself(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    from hesspot.reference.tblite_labels import TbliteMethod

    radical = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"multiplicity": 2})
    anion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    file = written(tmp_path, radical, anion)
    behind = AseMethod(
        calculator=CalculatorFactory(
            name="tblite.ase:TBLite", arguments={"method": "GFN1-xTB", "accuracy": 1e-4, "verbosity": 0}
        )
    )
    ours = label_file(file, tmp_path / "a.h5", behind, products=1, hessian=False, part="train")
    theirs = label_file(
        file, tmp_path / "b.h5", TbliteMethod(method="GFN1-xTB"), products=1, hessian=False, part="train"
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-3)  # the two round constants differently
        assert abs(one.energy - ours[0].energy) < 1e-6 or abs(one.energy - ours[0].energy) > 0.5


def test_command_line_writes_a_dataset(tmp_path: Path) -> None:
    file, out = written(tmp_path, copper()), tmp_path / "out.h5"
    words = ["label", str(file), "--out", str(out), "--program", "ase", "--calculator", "ase.calculators.emt:EMT"]
    words += ["--calculator-args", "asap_cutoff=true", "--no-hessian", "--products", "1", "--part", "train"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    dataset = Dataset.read(out)
    assert dataset.level_of_theory == "ase.calculators.emt:EMT(asap_cutoff=True) (ASE calculator)"
    assert dataset.provenance["arguments"] == {"asap_cutoff": True}
    atoms = dataset[0].atoms_only()
    atoms.calc = EMT(asap_cutoff=True)
    assert dataset[0].energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_arguments_are_yaml_or_json() -> None:
    assert parse_arguments(["a=1", "b=x", "c=[1, 2.5]", '{"d": {"e": null}}']) == {
        "a": 1,
        "b": "x",
        "c": [1, 2.5],
        "d": {"e": None},
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--program ase needs --calculator"),
        (["--calculator", "EMT"], "names no factory"),
        (
            ["--calculator", "sevenn_x.calculator:S"],
            "needs the module sevenn_x, which is not installed: `pip install sevenn_x`",
        ),
        (["--calculator", "mace.calculators:mace_mp"], "pip install mace-torch"),
        (["--calculator", "ase.calculators.emtt:EMT"], "ase.calculators.emtt, which ase here does not have"),
        (["--calculator", "ase.calculators.emt:emt"], "is it EMT"),
        (["--calculator", "nowhere.py:Bent"], "there is no file nowhere.py"),
        (["--calculator", "BENT:NoForces"], "computes no forces"),
        (["--calculator", "BENT:number"], "nothing callable named number"),
        (["--calculator", "BENT:needs_more"], "needs the module a_module_that_is_not_there"),
        (["--calculator", "BENT:Bent", "--calculator-args", "[1]"], "is no argument"),
        (
            ["--calculator", "BENT:of_states", "--calculator-args", "depth=1"],
            r"cannot be made with depth=1 \(TypeError",
        ),
        (["--calculator", "BENT:Bent", "--calculator-args", "noise=1", "--calculator-args", "noise=2"], "noise twice"),
        (["--calculator", "BENT:Bent", "--step", "3"], "--step 3 is not possible"),
        (["--calculator", "BENT:Bent", "--xc", "PBE"], "--xc belongs to --program pyscf"),
        (["--program", "tblite", "--calculator", "BENT:Bent"], "--calculator belongs to --program ase"),
    ],
)
def test_bad_input_gives_one_sentence(options: list[str], words: str, bent: Path, tmp_path: Path) -> None:
    file = written(tmp_path, copper())
    given = ["label", str(file), "--out", str(tmp_path / "out.h5"), "--program", "ase", "--part", "train"]
    result = CliRunner().invoke(app, [*given, *(word.replace("BENT", str(bent)) for word in options)])
    with pytest.raises(UserError, match=words):
        raise result.exception
    assert "\n" not in str(result.exception)
    assert not list(tmp_path.glob("out*"))
