"""The ASE calculator against ASE's own finite differences of its energy, and against ASE's Lennard-Jones."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, compare_atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.io import read, write
from ase.neighborlist import neighbor_list
from ase.vibrations import Vibrations, VibrationsData

from hesspot.analysis.normal_modes import normal_modes
from hesspot.analysis.stationary import stationary_point
from hesspot.calculators import HesspotCalculator
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, write_model
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.models.shipped import find_model
from hesspot.structures import read_structure
from ipi_driver.evaluation.evaluator import Evaluator

WATER = find_model("shipped:water")

#: eV/Å; central differences with 1e-4 Å of energies near 10 eV: 1e-15·10/1e-4 rounding plus E‴·1e-8 truncation.
FORCE = 1e-6
#: eV/Å³, the same for strains of 1e-4 and volumes of some 20 Å³.
STRESS = 1e-6
#: eV/Å²; central differences of analytic forces with 1e-3 Å: F‴·1e-6/6 truncation.
HESSIAN = 1e-4
ROUNDING = 1e-9
#: float32 keeps 7 digits of forces of some eV/Å.
SINGLE = 1e-4


def house(seed: int = 3) -> HouseModel:
    torch.manual_seed(seed)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[16]))
    model.scale.fill_(5.0)
    return model.requires_grad_(False).eval()


def structures() -> dict[str, Atoms]:
    tiny = bulk("C", "diamond", a=3.6)  # shorter than the cutoff: an atom sees its own images
    triclinic = Atoms(
        "COH",
        scaled_positions=[[0, 0, 0], [0.4, 0.45, 0.5], [0.8, 0.1, 0.7]],
        cell=[[3.5, 0.2, 0], [0.7, 3.2, 0.4], [-0.5, 0.6, 3.8]],
        pbc=True,
    )
    slab = Atoms("CO", [[0, 0, 0], [0, 0, 1.3]], cell=[3, 3, 12], pbc=[True, True, False])
    far = Atoms("COH", [[0, 0, 0], [0, 0, 1.2], [0, 0, 30]])
    return {"molecule": molecule("CH3OH"), "tiny": tiny, "triclinic": triclinic, "slab": slab, "isolated": far}


@pytest.mark.parametrize("name", list(structures()))
def test_forces_stress_and_hessian_are_the_derivatives_of_the_energy(name: str) -> None:
    atoms = structures()[name]
    atoms.rattle(0.05, seed=2)
    atoms.calc = HesspotCalculator(house())
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=FORCE)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-4), atol=STRESS)
        np.testing.assert_allclose(atoms.get_stresses().sum(0), atoms.get_stress(), atol=ROUNDING)
    analytic = atoms.calc.get_property("hessian", atoms)
    assert analytic.shape == (3 * len(atoms), 3 * len(atoms))
    step, columns = 1e-3, []
    for index in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index // 3, index % 3] += sign * step
            moved.calc = atoms.calc
            forces.append(moved.get_forces().ravel())
        columns.append((forces[1] - forces[0]) / (2 * step))
    np.testing.assert_allclose(analytic, np.array(columns).T, atol=HESSIAN)


def matrix(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def test_as_the_lennard_jones_of_ase() -> None:
    atoms = bulk("Ar", "fcc", a=5.2, cubic=True)
    atoms.rattle(0.1, seed=4)
    cutoff = 6.0
    atoms.calc = HesspotCalculator(LennardJones(["Ar"], cutoff, matrix(0.0104), matrix(3.4)))
    mine = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    # ASE shifts the pair energy to zero at the cutoff
    n_pairs = len(neighbor_list("i", atoms, cutoff)) / 2
    shift = 4 * 0.0104 * ((3.4 / cutoff) ** 12 - (3.4 / cutoff) ** 6)
    atoms.calc = AseLennardJones(epsilon=0.0104, sigma=3.4, rc=cutoff)
    assert mine[0] == pytest.approx(atoms.get_potential_energy() + n_pairs * shift, abs=ROUNDING)
    np.testing.assert_allclose(mine[1], atoms.get_forces(), atol=ROUNDING)
    np.testing.assert_allclose(mine[2], atoms.get_stress(), atol=ROUNDING)


def test_molecules_without_a_cell_have_no_stress() -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_results_follow_the_atoms_and_can_be_written(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    before = atoms.get_potential_energy()
    atoms.calc.get_hessian(atoms)
    write(tmp_path / "water.traj", atoms)
    assert read(tmp_path / "water.traj").get_potential_energy() == pytest.approx(before, abs=ROUNDING)
    atoms.positions[0, 2] += 0.1
    assert abs(atoms.get_potential_energy() - before) > FORCE


def test_the_frequencies_of_ase_follow_from_the_analytic_hessian(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.calc = HesspotCalculator(house())
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    numerical = normal_modes(atoms, vibrations.get_vibrations().get_hessian_2d())
    analytic = normal_modes(atoms, atoms.calc.get_hessian(atoms))
    np.testing.assert_allclose(analytic.frequencies, numerical.frequencies, atol=0.1)  # cm⁻¹, truncation


def test_single_precision_is_close_and_bad_dtypes_are_refused(tmp_path: Path) -> None:
    model = house()
    path = tmp_path / "model.pt"
    write_model(path, model, [fingerprint_entry(model, "water", molecule("H2O"))])
    atoms = molecule("CH3OH")
    answers = {}
    for dtype in ("float64", "float32"):
        atoms.calc = HesspotCalculator(path, dtype=dtype)
        answers[dtype] = atoms.get_forces()
        assert answers[dtype].dtype == np.float64
    difference = np.abs(answers["float32"] - answers["float64"]).max()
    assert 0.0 < difference < SINGLE
    with pytest.raises(UserError, match=r"'float16'.*float64 or float32"):
        HesspotCalculator(path, dtype="float16")


def test_a_calculator_says_what_runs() -> None:
    calculator = HesspotCalculator(WATER, dtype="float32")
    for word in ("water.pt", calculator.model.metadata.weights_sha256[:12], "H O", "5 Å", "float32", "kernel ("):
        assert word in repr(calculator)
    assert "HouseModel in memory in float64" in repr(HesspotCalculator(house()))


def test_elements_that_the_model_lacks_are_named() -> None:
    atoms = molecule("NH3")
    atoms.calc = HesspotCalculator(house())
    with pytest.raises(UserError, match="element N of atom 0"):
        atoms.get_potential_energy()


def written(tmp_path: Path) -> Path:
    model = house()
    write_model(tmp_path / "model.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])
    return tmp_path / "model.pt"


def energy_of(calculator: HesspotCalculator, atoms: Atoms) -> float:
    atoms.calc = calculator
    return float(atoms.get_potential_energy())


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", ["file", "in memory"])
@pytest.mark.parametrize("again", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy, copy.copy])
def test_a_calculator_can_be_copied_and_sent(tmp_path, monkeypatch, used, kind, again) -> None:
    monkeypatch.chdir(tmp_path)
    calculator = HesspotCalculator(written(tmp_path).name if kind == "file" else house(), directory="runs")
    atoms, ethanol = molecule("H2O"), molecule("CH3CH2OH")
    before = energy_of(calculator, ethanol)
    if used:
        energy_of(calculator, atoms)
        calculator.get_hessian(atoms)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    copied = again(calculator)
    if used:
        assert copied.results["energy"] == calculator.results["energy"]
    assert energy_of(copied, ethanol) == before
    assert copied.directory == "runs" and copied.dtype == calculator.dtype
    np.testing.assert_array_equal(copied.get_hessian(atoms), calculator.get_hessian(atoms))


def test_a_structure_with_its_calculator_goes_to_other_processes(tmp_path) -> None:
    calculator, frames = HesspotCalculator(written(tmp_path)), []
    for number in range(4):
        frames.append(molecule("CH3OH"))
        frames[-1].rattle(0.05, seed=number)
        frames[-1].calc = copy.deepcopy(calculator)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        energies = list(pool.map(Atoms.get_potential_energy, frames))
    assert energies == [frame.get_potential_energy() for frame in frames]
    assert len(set(energies)) == 4


def test_a_file_that_was_changed_since_is_refused(tmp_path) -> None:
    sent = pickle.dumps(HesspotCalculator(written(tmp_path)))
    other = house(seed=4)
    write_model(tmp_path / "model.pt", other, [fingerprint_entry(other, "water", molecule("H2O"))])
    with pytest.raises(UserError, match=r"model.pt is another one than the calculator was made with"):
        pickle.loads(sent)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"default_dtype": "float32"}, "'default_dtype' of HesspotCalculator is not known; did you mean dtype"),
        ({"devise": "cpu"}, "'devise' .* did you mean device"),
        ({"foo": 1}, "'foo' .* give some of model, dtype, device, atoms, label, directory"),
        ({"restart": "old"}, "'restart' .* is not known"),
        ({"device": "gpu"}, "device 'gpu' is not known to torch .torch calls a GPU cuda.; use cpu"),
        ({"device": "meta"}, "device meta cannot be used with float64"),
        ({"device": None}, "device None is not known to torch"),
        ({"dtype": "float32"}, "the model in memory is in float64 on cpu, the calculator is asked for float32 on cpu"),
    ],
)
def test_keywords_that_would_be_ignored_are_refused(settings, words) -> None:
    with pytest.raises(UserError, match=words):
        HesspotCalculator(house(), **settings)
    with pytest.raises(UserError, match="'foo'"):
        HesspotCalculator(house()).set(foo=1)


def test_keywords_of_ase_have_their_effect(tmp_path) -> None:
    atoms = molecule("H2O")
    calculator = HesspotCalculator(house(), torch.float64, atoms=atoms, label="water", directory=tmp_path)
    assert atoms.calc is calculator and np.isfinite(atoms.get_potential_energy())
    assert calculator.label == f"{tmp_path}/water"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_to_be_so(tmp_path) -> None:
    for model in (house(), written(tmp_path)):
        with pytest.raises(UserError, match=r"device cuda is not there: torch .* finds no GPU; use device cpu"):
            HesspotCalculator(model, device="cuda")


def test_after_a_caught_error_all_is_as_before() -> None:
    calculator = HesspotCalculator(house())
    good, bad = molecule("CH3OH"), molecule("CH3OH")
    energy = energy_of(calculator, good)
    for spoil in ({"positions": np.full((6, 3), np.nan)}, {"pbc": True}, {"numbers": np.full(6, 26)}):
        for name, value in spoil.items():
            setattr(bad, name, value)
        bad.calc = calculator
        for _ in range(2):
            with pytest.raises(UserError):
                bad.get_potential_energy()
            with pytest.raises(UserError):
                calculator.calculate(bad, ["energy"])
            assert calculator.results["energy"] == energy
            assert calculator.get_potential_energy() == energy
            assert calculator.get_property("forces", good, allow_calculation=False) is not None
            assert calculator.get_property("forces", bad, allow_calculation=False) is None
            good.get_potential_energy()
        bad = molecule("CH3OH")


def test_results_follow_cell_and_periodic_directions() -> None:
    calculator = HesspotCalculator(house())
    atoms = bulk("C", "diamond", a=3.6)
    alone = energy_of(calculator, Atoms("C2", atoms.positions))
    found = [energy_of(calculator, atoms)]
    atoms.pbc = [True, True, False]
    found.append(atoms.get_potential_energy())
    atoms.set_cell(atoms.cell * 1.1)
    found.append(atoms.get_potential_energy())
    atoms.pbc = False
    assert atoms.get_potential_energy() == pytest.approx(alone, abs=ROUNDING)
    assert len({round(energy, 6) for energy in [*found, alone]}) == 4


def test_a_left_handed_cell_has_the_same_physics() -> None:
    atoms = structures()["triclinic"]
    left = atoms.copy()
    left.set_cell(atoms.cell[[0, 2, 1]])
    for each in (atoms, left):
        each.calc = HesspotCalculator(house())
    assert np.linalg.det(left.cell) < 0 < np.linalg.det(atoms.cell)
    np.testing.assert_allclose(left.get_forces(), atoms.get_forces(), atol=ROUNDING)
    np.testing.assert_allclose(left.get_stress(), atoms.get_stress(), atol=ROUNDING)
    np.testing.assert_allclose(left.get_stress(), calculate_numerical_stress(left, eps=1e-4), atol=STRESS)


def test_heavy_water_has_its_frequencies(tmp_path: Path) -> None:
    """From a file with the symbol D to the stretches, against ASE's analysis and experiment's order of magnitude."""
    calculator = HesspotCalculator(WATER)

    def derivatives(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        return calculator.get_property("forces", atoms), calculator.get_hessian(atoms)

    found = {}
    for symbol in ("H", "D"):
        rows = [f"{symbol if a.symbol == 'H' else a.symbol} {a.x} {a.y} {a.z}" for a in molecule("H2O")]
        (tmp_path / "start.xyz").write_text("3\n\n" + "\n".join(rows) + "\n")
        atoms, matrix = stationary_point(read_structure(tmp_path / "start.xyz"), derivatives)
        found[symbol] = normal_modes(atoms, matrix).frequencies
        expected = VibrationsData.from_2d(atoms, matrix).get_frequencies().real
        np.testing.assert_allclose(found[symbol], np.sort(expected)[-3:], atol=0.1)
    ratios = found["H"] / found["D"]  # measured: 1595/1178, 3657/2671, 3756/2788
    np.testing.assert_allclose(ratios, [1.354, 1.369, 1.347], atol=0.03)


CHANGES = {
    "nothing": lambda atoms: None,
    "info": lambda atoms: atoms.info.update(note="new"),
    "masses": lambda atoms: atoms.set_masses([16.0, 1.0, 2.0]),
    "positions": lambda atoms: atoms.positions.__iadd__(1e-12),
    "numbers": lambda atoms: atoms.set_atomic_numbers([6, 1, 1]),
    "cell": lambda atoms: atoms.set_cell([9.0, 9.0, 9.1]),
    "pbc": lambda atoms: atoms.set_pbc(True),
    "charges": lambda atoms: atoms.set_initial_charges([-0.8, 0.4, 0.4]),
    "moments": lambda atoms: atoms.set_initial_magnetic_moments([0.0, 0.0, 0.0]),
    "more atoms": lambda atoms: atoms.extend(Atoms("H", [[3.0, 0.0, 0.0]])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_those_that_ase_sees(change: str) -> None:
    atoms = molecule("H2O")
    atoms.calc = calculator = HesspotCalculator(house())
    energy = atoms.get_potential_energy()
    CHANGES[change](atoms)
    assert sorted(calculator.check_state(atoms)) == sorted(compare_atoms(calculator.atoms, atoms, tol=1e-15))
    assert (calculator.get_property("energy", atoms, allow_calculation=False) == energy) is (
        change in ("nothing", "info", "masses")
    )


def test_a_small_difference_counts_as_asked() -> None:
    atoms = molecule("H2O")
    atoms.calc = calculator = HesspotCalculator(house())
    atoms.get_potential_energy()
    atoms.positions += 1e-8
    assert calculator.check_state(atoms) == ["positions"] and calculator.check_state(atoms, tol=1e-6) == []


def test_what_is_given_shares_no_memory() -> None:
    atoms, other = molecule("H2O"), molecule("CH3OH")
    calculator = HesspotCalculator(house())
    atoms.calc = other.calc = calculator
    forces = atoms.get_forces()
    seen = calculator.atoms
    forces += 1.0
    assert not np.array_equal(atoms.get_forces(), forces)
    atoms.positions[0, 0] += 0.1
    assert seen.positions[0, 0] == 0.0 and calculator.atoms is seen
    energies = [each.get_potential_energy() for each in (atoms, other, atoms)]  # they share the calculator
    assert energies[0] == energies[2] != energies[1]
    assert seen.positions[0, 0] == 0.0 and calculator.atoms is not seen


def test_the_driver_gives_the_same_bits(tmp_path: Path) -> None:
    calculator = HesspotCalculator(written(tmp_path))
    for name in ("H2O", "CH3OH", "CH3CH2OH"):
        atoms = molecule(name)
        atoms.calc = calculator
        results = Evaluator(calculator.model, atoms.get_chemical_symbols(), atoms.pbc)(
            atoms.positions[None], atoms.cell.array[None]
        )
        assert results.energy[0] == atoms.get_potential_energy()
        np.testing.assert_array_equal(results.forces[0], atoms.get_forces())


def test_molecules_need_no_torch_even_where_it_is(tmp_path: Path) -> None:
    code = (
        "import sys, hesspot; from ase.build import molecule\n"
        "atoms = molecule('H2O'); atoms.calc = hesspot.HesspotCalculator(sys.argv[1])\n"
        "atoms.get_forces(), atoms.calc.get_hessian(atoms); print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(WATER)], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
