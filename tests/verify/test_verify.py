"""Verification: what is right passes, and every planted fault is found."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from bent_files import rewritten
from typer.testing import CliRunner

from hesspot.accuracy import directions
from hesspot.accuracy.cases import Case, from_dataset, spread
from hesspot.accuracy.in_torch import in_batches, one_by_one
from hesspot.accuracy.model_errors import ModelErrors, model_errors
from hesspot.accuracy.results import EngineResult
from hesspot.analysis.normal_modes import normal_modes
from hesspot.cli.main import app
from hesspot.data.dataset import Dataset
from hesspot.data.record import Record
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.archive import METADATA, WEIGHTS
from hesspot.export.file import eager_model
from hesspot.export.metadata import Reference
from hesspot.models.analytic import LennardJones
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.units import INVERSE_CM, KCAL_PER_MOL, SQRT_EV_PER_A2_AMU
from hesspot.verification import tolerances
from hesspot.verification.engines import ENGINES, Engine
from hesspot.verification.engines.differences import with_products
from hesspot.verification.report import EngineReport, VerifyReport
from hesspot.verification.run import verify

PYTHON_ENGINES = ["torch", "torchscript", "ase"]
#: Relative, for statistics of planted errors.
ROUNDING = 1e-9

Change = Callable[[int, EngineResult], EngineResult]


@pytest.fixture(scope="module")
def house() -> HouseModel:
    torch.manual_seed(8)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[16]))
    model.scale.fill_(20.0)
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def model_file(house: HouseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "model.pt"
    diamond = bulk("C", "diamond", a=3.6)
    diamond.rattle(0.05, seed=1)
    structures = {"methanol": molecule("CH3OH"), "water": molecule("H2O"), "atom": Atoms("O"), "diamond": diamond}
    write_model(path, house, [fingerprint_entry(house, name, atoms) for name, atoms in structures.items()])
    return path


def test_a_model_that_has_diverged_is_told_from_labels_that_have() -> None:
    atoms = molecule("H2O")
    case = Case("water", "minimum", atoms, -1.0, np.zeros((3, 3)), np.eye(9))
    result = EngineResult(-1.0, np.zeros((3, 3)), None, np.full((9, 9), np.nan))
    with pytest.raises(UserError, match="the model's Hessian of water is not finite: the model has diverged"):
        model_errors([case], [result])


def faked(change: Change) -> Engine:
    """An engine that gives the trained model's answers, each passed through `change`."""

    def ask(model: Path, structures: list[Atoms], ranks: int) -> list[EngineResult]:
        answers = one_by_one(eager_model(read_model(model)), structures)
        return [change(number, answer) for number, answer in enumerate(answers)]

    return Engine(ask, tolerances.HESSIAN_NUMERICAL)


def verified(model_file: Path, monkeypatch: pytest.MonkeyPatch, change: Change) -> EngineReport:
    """The report of a faked LAMMPS."""
    monkeypatch.setitem(ENGINES, "lammps", faked(change))
    report = verify(model_file, engines=["lammps"])
    assert report.passed == report.engines[0].passed
    return report.engines[0]


def moved(array: np.ndarray, index: tuple[int, ...], by: float) -> np.ndarray:
    changed = array.copy()
    changed[index] += by
    return changed


def test_engines_that_are_right_pass(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    arguments = ["verify", str(model_file), "--engines", ",".join(PYTHON_ENGINES), "--json", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "All deployment errors are within their tolerances" in result.output
    report = VerifyReport.model_validate(json.loads(out.read_text()))
    assert report.passed
    assert report.weights_sha256[:12] in report.runs
    assert [engine.engine for engine in report.engines] == PYTHON_ENGINES
    assert report.structures == ["methanol", "water", "atom", "diamond"]
    quantities = ["energy", "forces", "virial", "Hessian", "frequencies", "zero-point energy", "modes"]
    assert all([check.quantity for check in engine.checks] == quantities for engine in report.engines)
    assert [check.quantity for check in report.trained_model.checks][-2:] == ["acoustic sum rule", "asymmetry"]
    # the calculator has a stress, hence a virial, for the crystal alone
    assert [engine.check("virial").n_structures for engine in report.engines] == [4, 4, 1]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("quantity", "change"),
    [
        ("energy", lambda result: replace(result, energy=result.energy + 1e-7)),
        ("forces", lambda result: replace(result, forces=moved(result.forces, (0, 2), 1e-7))),
        ("virial", lambda result: replace(result, virial=moved(result.virial, (1, 2), 1e-6))),
        ("Hessian", lambda result: replace(result, hessian=moved(result.hessian, (1, 2), 1e-3))),
        ("forces", lambda result: replace(result, forces=moved(result.forces, (0, 0), np.nan))),
        ("Hessian", lambda result: replace(result, hessian=moved(result.hessian, (0, 0), np.inf))),
    ],
)
def test_a_planted_error_is_found_and_placed(
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    quantity: str,
    change: Callable[[EngineResult], EngineResult],
) -> None:
    report = verified(model_file, monkeypatch, lambda number, result: change(result) if number == 1 else result)
    failed = [check for check in report.checks if not check.passed]
    assert quantity in [check.quantity for check in failed]
    assert {check.structure for check in failed} == {"water"}


def test_a_force_off_by_1e_7_gives_exit_status_1(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "ipi", faked(lambda _, r: replace(r, forces=moved(r.forces, (0, 0), 1e-7))))
    result = CliRunner().invoke(app, ["verify", str(model_file), "--engines", "torch,ipi"])
    assert result.exit_code == 1
    assert "ipi: FAILED" in result.output
    assert "torch: done" in result.output
    assert "beyond their tolerances" in result.output


def test_frequencies_are_judged_by_themselves_and_soft_modes_by_the_hessian(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stiffen(_: int, result: EngineResult) -> EngineResult:
        return replace(result, hessian=result.hessian * (1 + 1e-7))

    monkeypatch.setattr(tolerances, "FREQUENCIES", 1e-6)
    report = verified(model_file, monkeypatch, stiffen)
    assert [check.quantity for check in report.checks if not check.passed] == ["frequencies"]
    monkeypatch.setattr(tolerances, "SOFT_MODE", 1e6)
    report = verified(model_file, monkeypatch, stiffen)
    assert report.passed
    assert report.soft_modes == 12 + 3 + 0 + 3  # methanol, water, atom, a crystal of two atoms


def bent(atoms: Atoms, hessian: np.ndarray, turn: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """A Hessian whose two stiffest modes are turned into each other by an angle, and whose frequencies are all `shift`
    cm⁻¹ higher."""
    modes = normal_modes(atoms, hessian)
    vectors = modes.vectors.copy()
    vectors[-2:] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ vectors[-2:]
    old, new = (np.sign(f) * (f / SQRT_EV_PER_A2_AMU) ** 2 for f in (modes.frequencies, modes.frequencies + shift))
    root = np.sqrt(np.repeat(modes.masses, 3))
    change = (vectors.T * new) @ vectors - (modes.vectors.T * old) @ modes.vectors
    return hessian + change * np.outer(root, root)


@pytest.mark.parametrize(
    ("quantity", "how"), [("modes", {"turn": 0.2}), ("zero-point energy", {"shift": 0.3})], ids=["modes", "zero-point"]
)
def test_turned_modes_and_a_shifted_zero_point_are_found(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, quantity: str, how: dict[str, float]
) -> None:
    def change(number: int, result: EngineResult) -> EngineResult:
        return replace(result, hessian=bent(molecule("CH3OH"), result.hessian, **how)) if number == 0 else result

    monkeypatch.setattr(tolerances, "HESSIAN_NUMERICAL", 1e3)
    report = verified(model_file, monkeypatch, change)
    assert [check.quantity for check in report.checks if not check.passed] == [quantity]
    assert report.check("frequencies").error <= tolerances.FREQUENCIES


def test_large_structures_are_compared_by_products(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methanol, model = molecule("CH3OH"), eager_model(read_model(model_file))
    (whole,) = one_by_one(model, [methanol])
    monkeypatch.setattr(directions, "LARGEST", 4)
    expected = directions.directions_of(methanol).reshape(-1, 18) @ whole.hessian
    for engine in PYTHON_ENGINES:
        answer = ENGINES[engine].ask(model_file, [molecule("H2O"), methanol], 1)[1]
        np.testing.assert_allclose(answer.products.reshape(-1, 18), expected, atol=tolerances.HESSIAN_ANALYTIC)
    report = verify(model_file, engines=PYTHON_ENGINES)
    assert report.passed
    for engine in report.engines:
        assert engine.check("H·v").structure == "methanol" and engine.check("Hessian").n_structures == 3
    (slow,) = verified(
        model_file, monkeypatch, lambda n, r: replace(r, products=r.products + 1e-3) if n == 0 else r
    ).checks[3:4]
    assert (slow.quantity, slow.passed) == ("H·v", False)
    report = verified(model_file, monkeypatch, lambda n, r: replace(r, products=None))
    assert "nothing as H·v of methanol" in (report.failure or "")


def test_products_by_differences_of_forces(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    structures, model = [molecule("H2O"), molecule("CH3OH")], eager_model(read_model(model_file))
    monkeypatch.setattr(directions, "LARGEST", 4)
    exact = one_by_one(model, structures)

    def evaluate(asked: list[Atoms], *, hessian: bool) -> list[EngineResult]:
        return [r if hessian else replace(r, hessian=None, products=None) for r in one_by_one(model, asked)]

    found = with_products(evaluate, structures, 5e-5)
    assert found[0].products is None and found[0].hessian is not None and found[1].hessian is None
    np.testing.assert_allclose(found[1].products, exact[1].products, atol=tolerances.HESSIAN_NUMERICAL)
    assert np.abs(exact[1].products).max() > 1.0


def test_numerical_hessians_have_a_wider_tolerance(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(_: int, result: EngineResult) -> EngineResult:
        noise = np.random.default_rng(0).uniform(-1e-5, 1e-5, result.hessian.shape)
        return replace(result, hessian=result.hessian + noise)

    assert verified(model_file, monkeypatch, noisy).passed
    monkeypatch.setitem(ENGINES, "ase", replace(faked(noisy), hessian_tolerance=tolerances.HESSIAN_ANALYTIC))
    assert not verify(model_file, engines=["ase"]).passed


def test_an_engine_that_cannot_run_is_a_failure_in_one_sentence(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(model: Path, structures: list[Atoms], ranks: int) -> list[EngineResult]:
        raise RuntimeError("lmp ended with\nstatus 134")

    monkeypatch.setitem(ENGINES, "lammps", Engine(crash, tolerances.HESSIAN_NUMERICAL, parallel=True))
    result = CliRunner().invoke(app, ["verify", str(model_file), "--engines", "lammps", "--ranks", "1,2"])
    assert result.exit_code == 1
    for ranks in (1, 2):
        assert f"lammps n={ranks} could not be compared: RuntimeError: lmp ended with status 134" in " ".join(
            result.output.split()
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: replace(r, hessian=None), "nothing as Hessian of methanol"),
        (lambda r: replace(r, forces=r.forces[:-1]), "shape (5, 3) as forces of methanol"),
        (lambda r: replace(r, virial=None), "nothing as virial of diamond"),
    ],
)
def test_answers_that_lack_something_are_failures(
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[EngineResult], EngineResult],
    words: str,
) -> None:
    report = verified(model_file, monkeypatch, lambda _, result: change(result))
    assert report.failure is not None and words in report.failure


def test_too_few_answers_are_a_failure(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "ipi", Engine(lambda *_: [], tolerances.HESSIAN_NUMERICAL))
    assert "0 answers for 4 structures" in (verify(model_file, engines=["ipi"]).engines[0].failure or "")


def copied(source: Path, target: Path, *, weights: float = 0.0, fingerprint_energy: float = 0.0) -> Path:
    """The model file with the last of its packed weights or one stored energy changed."""

    def bend(block: bytes) -> bytes:
        numbers = np.frombuffer(block, dtype="<f8").copy()
        numbers[-1] += weights
        return numbers.tobytes()

    def tell(text: bytes) -> bytes:
        metadata = json.loads(text)
        metadata["fingerprint"][0]["energy"] += fingerprint_energy
        return json.dumps(metadata).encode()

    return rewritten(source, target, {METADATA: tell, WEIGHTS: bend})


def test_changed_weights_are_refused(model_file: Path, tmp_path: Path) -> None:
    path = copied(model_file, tmp_path / "changed.pt", weights=1e-9)
    with pytest.raises(UserError, match=r"do not match what its hesspot.json says"):
        verify(path, engines=["torch"])
    done = subprocess.run(
        [sys.executable, "-m", "hesspot", "verify", str(path), "--engines", "torch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_trained_model_that_does_not_give_its_fingerprint_fails(model_file: Path, tmp_path: Path) -> None:
    path = copied(model_file, tmp_path / "changed.pt", fingerprint_energy=1e-6)
    report = verify(path, engines=["torch"])
    assert not report.passed
    assert not report.trained_model.passed
    assert report.engines[0].passed


def test_products_column_by_column_give_the_hessian_of_each_structure(house: HouseModel) -> None:
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.1, seed=3)
    structures = [molecule("H2O"), Atoms("C"), crystal, molecule("CH3OH")]
    for first, second in zip(one_by_one(house, structures), in_batches(house, structures), strict=True):
        np.testing.assert_allclose(first.hessian, second.hessian, atol=tolerances.HESSIAN_ANALYTIC)
        np.testing.assert_allclose(first.forces, second.forces, atol=tolerances.FORCES)
        assert first.energy == pytest.approx(second.energy, abs=tolerances.ENERGY)


def test_a_model_of_another_kind_is_its_own_script(tmp_path: Path) -> None:
    both = torch.full((1, 1), 1.0, dtype=torch.float64)
    model = LennardJones(["Ar"], 8.0, 0.01 * both, 3.4 * both)
    dimer = Atoms("Ar2", [[0] * 3, [3.8, 0, 0]])
    write_model(tmp_path / "lj.pt", model, [fingerprint_entry(model, "dimer", dimer)], allow_jump=True)
    assert verify(tmp_path / "lj.pt", engines=PYTHON_ENGINES).passed


def planted(house: HouseModel) -> list[Case]:
    """Reference values that differ from the model's by known amounts."""
    cases = []
    for kind, name, scale in (("minimum", "H2O", 1.21), ("saddle", "CH3OH", 0.81), ("nms", "CO", 1.0)):
        atoms = molecule(name)
        (answer,) = one_by_one(house, [atoms])
        shift = 0.003 * len(atoms)
        forces = answer.forces + np.where(np.arange(answer.forces.size).reshape(-1, 3) % 2, 0.03, -0.01)
        hessian = scale * answer.hessian + (0.5 if kind == "nms" else 0.0)
        cases.append(Case(name, kind, atoms, answer.energy - shift, forces, hessian))
    return cases


def test_model_errors_are_split_by_tags(house: HouseModel) -> None:
    cases = [replace(case, tag="hot" if case.kind != "nms" else "") for case in planted(house)]
    groups = {errors.group: errors for errors in model_errors(cases, one_by_one(house, [case.atoms for case in cases]))}
    assert list(groups) == ["all", "minima", "saddles", "off-equilibrium", "tag hot"]
    assert groups["tag hot"].n_structures == 2
    assert groups["tag hot"].energy_per_atom.mae == pytest.approx(0.003, rel=1e-6)


def test_model_errors_are_the_planted_ones(house: HouseModel) -> None:
    cases = planted(house)
    answers = one_by_one(house, [case.atoms for case in cases])
    groups = {errors.group: errors for errors in model_errors(cases, answers)}
    assert list(groups) == ["all", "minima", "saddles", "off-equilibrium"]

    everything = groups["all"]
    assert everything.n_structures == 3
    sizes = np.array([3, 6, 2])
    assert everything.energy.mae == pytest.approx(0.003 * sizes.mean(), rel=1e-6)
    assert everything.energy.rmse == pytest.approx(0.003 * np.sqrt((sizes**2).mean()), rel=1e-6)
    assert everything.energy_per_atom.mae == pytest.approx(0.003, rel=1e-6)
    assert everything.forces.count == 33

    off = groups["off-equilibrium"]
    assert off.forces.mae == pytest.approx(0.02, rel=ROUNDING)
    assert off.forces.rmse == pytest.approx(np.sqrt((0.03**2 + 0.01**2) / 2), rel=ROUNDING)
    assert off.hessian.mae == off.hessian.rmse == pytest.approx(0.5, rel=ROUNDING)
    assert off.hessian_kcal.mae == pytest.approx(0.5 / KCAL_PER_MOL, rel=ROUNDING)
    assert off.frequencies is None and off.imaginary_right is None and off.zero_point_energy is None

    minima = groups["minima"]
    # a Hessian 1.21 times the model's has frequencies 1.1 times the model's
    frequencies = normal_modes(cases[0].atoms, answers[0].hessian).frequencies
    assert minima.frequencies.mae == pytest.approx(0.1 * np.abs(frequencies).mean(), rel=1e-6)
    assert minima.frequencies.max == pytest.approx(0.1 * np.abs(frequencies).max(), rel=1e-6)
    real = frequencies[frequencies > 0]
    assert minima.zero_point_energy.mae == pytest.approx(0.1 * 0.5 * INVERSE_CM * real.sum(), rel=1e-6)
    assert (minima.imaginary_right, minima.imaginary_wrong) == (1, 0)
    assert minima.mode_overlap_mean is None
    assert groups["saddles"].mode_overlap_min == pytest.approx(1.0, rel=ROUNDING)
    below, above = minima.frequencies_below_400, minima.frequencies_above_400
    assert (below.count if below else 0) + (above.count if above else 0) == 3


def test_isotopes_of_a_dataset_have_their_frequencies(house: HouseModel, tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 2.014, 2.014])
    (answer,) = one_by_one(house, [atoms])
    record = Record.from_atoms(atoms, name="heavy", kind="minimum", part="test", energy=0.0, hessian=2 * answer.hessian)
    Dataset([record], "none").write(tmp_path / "heavy.h5")
    (case,), _ = from_dataset(tmp_path / "heavy.h5")
    (errors,) = model_errors([case], [answer])
    light = normal_modes(molecule("H2O"), answer.hessian).frequencies
    heavy = normal_modes(atoms, answer.hessian).frequencies
    assert errors.frequencies.max == pytest.approx((np.sqrt(2) - 1) * np.abs(heavy).max(), rel=1e-6)
    assert np.abs(light).max() > 1.2 * np.abs(heavy).max()


def test_a_wrong_number_of_imaginary_modes_is_counted(house: HouseModel) -> None:
    atoms = molecule("H2O")
    (answer,) = one_by_one(house, [atoms])
    case = Case("water", "minimum", atoms, hessian=-answer.hessian)
    (errors,) = model_errors([case], [answer])
    modes = normal_modes(atoms, answer.hessian)
    assert modes.n_imaginary != 3 - modes.n_imaginary
    assert (errors.imaginary_right, errors.imaginary_wrong) == (0, 1)
    assert isinstance(errors, ModelErrors) and errors.energy is None


@pytest.mark.parametrize("masses", [None, [15.999, 2.014, 3.016]])
def test_references_may_be_stored_in_the_fingerprint(
    house: HouseModel, tmp_path: Path, masses: list[float] | None
) -> None:
    atoms = molecule("H2O")
    if masses:
        atoms.set_masses(masses)
    (answer,) = one_by_one(house, [atoms])
    frequencies = (normal_modes(atoms, answer.hessian).frequencies + 7.0).tolist()
    reference = Reference(energy=answer.energy + 0.006, frequencies=frequencies)
    write_model(tmp_path / "m.pt", house, [fingerprint_entry(house, "water", atoms, "minimum", reference)])
    (errors,) = verify(tmp_path / "m.pt", engines=["torch"]).model_errors
    assert errors.group == "minima"
    assert errors.energy_per_atom.mae == pytest.approx(0.002, rel=1e-6)
    assert errors.frequencies.mae == pytest.approx(7.0, rel=1e-6)
    bad = Case("water", "minimum", atoms, frequencies=np.zeros(9))
    with pytest.raises(UserError, match="9 frequencies where the structure has 3"):
        model_errors([bad], [answer])


def test_model_errors_are_over_the_whole_part_and_engines_get_a_share(
    house: HouseModel, model_file: Path, tmp_path: Path
) -> None:
    cases = planted(house)
    records = [
        Record(
            c.atoms.numbers,
            c.atoms.positions,
            f"{c.name}-{part}",
            energy=c.energy,
            forces=c.forces,
            part=part,
            kind=c.kind,
        )
        for part in ("train", "test")
        for c in cases
    ]
    Dataset(records, "B3LYP/6-31G(d)").write(tmp_path / "ref.h5")
    out = tmp_path / "report.json"
    arguments = ["--data", str(tmp_path / "ref.h5"), "--max", "2", "--engines", "torch", "--json", str(out)]
    result = CliRunner().invoke(app, ["verify", str(model_file), *arguments])
    assert result.exit_code == 0, result.output
    report = VerifyReport.model_validate_json(out.read_text())
    assert report.structures == ["H2O-test", "CO-test"]
    assert report.model_errors[0].n_structures == 3
    assert report.model_errors[0].hessian is None
    assert report.level_of_theory == "B3LYP/6-31G(d)"
    assert "Model error" in result.output
    with pytest.raises(UserError, match="no structures in its part 'valid'"):
        verify(model_file, data=tmp_path / "ref.h5", part="valid", engines=["torch"])
    with pytest.raises(UserError, match="part 'tst'"):
        verify(model_file, data=tmp_path / "ref.h5", part="tst", engines=["torch"])


def test_the_share_of_structures_is_even_and_always_the_same() -> None:
    cases = [Case(str(i), "other", Atoms("H")) for i in range(10)]
    assert [case.name for case in spread(cases, 4)] == ["0", "3", "6", "9"]
    assert spread(cases, 99) == cases


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"engines": ["torhc"]}, "'torhc' is not known; did you mean torch"),
        ({"engines": []}, "no engine"),
        ({"engines": ["torch"], "ranks": [0]}, r"ranks \[0\]"),
        ({"engines": ["torch"], "max_structures": 0}, "0 structures"),
    ],
)
def test_bad_arguments_are_refused_in_words(model_file: Path, arguments: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        verify(model_file, **arguments)


def test_reports_with_nan_survive_json(model_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ENGINES, "ipi", faked(lambda _, r: replace(r, energy=np.nan)))
    report = verify(model_file, engines=["ipi"])
    report.write(tmp_path / "report.json")
    again = VerifyReport.model_validate_json((tmp_path / "report.json").read_text())
    assert not again.passed and not again.engines[0].passed
    with pytest.raises(UserError, match="nowhere"):
        report.write(tmp_path / "nowhere" / "report.json")


@pytest.mark.lammps
@pytest.mark.ipi
def test_real_engines_give_molecules_and_crystals_as_the_trained_model(house: HouseModel, tmp_path: Path) -> None:
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.05, seed=1)
    structures = {"water": molecule("H2O"), "diamond": crystal}
    write_model(tmp_path / "m.pt", house, [fingerprint_entry(house, name, atoms) for name, atoms in structures.items()])
    report = verify(tmp_path / "m.pt", engines=["lammps", "ipi"], ranks=[1, 2])
    assert [engine.label for engine in report.engines] == ["lammps n=1", "lammps n=2", "ipi"]
    assert report.passed, [(engine.label, engine.failure, engine.checks) for engine in report.engines]
    # numerical Hessians: truncation is there, so that the numbers did not come from the trained model itself
    assert all(engine.check("Hessian").error > tolerances.HESSIAN_ANALYTIC for engine in report.engines)
