"""Risk: a comparison whose numbers are not what they say."""

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon

from hesspot.analysis.normal_modes import normal_modes
from hesspot.contract import build_batch
from hesspot.data import Dataset
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.study.evaluate import Evaluation, StructureErrors, evaluate, read_evaluation, write_evaluation
from hesspot.study.metrics import Metric, Result, metrics_of, paired_tests, summarise

KCAL = 0.0433641153  # eV, a tabulated value

#: eV/Å² and eV/Å: a central difference with a step of 1e-4 Å of functions of order 10 eV.
DIFFERENCES = 1e-5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    model = HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, n_radial=4, n_channels=2, hidden=[6]))
    model.scale.fill_(2.0)
    return model.requires_grad_(False)


def energy_of(model, atoms):
    batch = build_batch([atoms], model.elements, model.cutoff)
    return float(model(batch.species, batch.centers, batch.neighbors, batch.vectors).sum())


def forces_of(model, atoms, step=1e-4):
    forces = np.zeros((len(atoms), 3))
    for index in np.ndindex(*forces.shape):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            ends.append(energy_of(model, moved))
        forces[index] = -(ends[0] - ends[1]) / (2 * step)
    return forces


def hessian_of(model, atoms, step=1e-3):
    rows = []
    for index in np.ndindex(len(atoms), 3):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            ends.append(forces_of(model, moved).ravel())
        rows.append(-(ends[0] - ends[1]) / (2 * step))
    return np.array(rows)


#: eV/Å²: a second central difference with steps of 1e-3 and 1e-4 Å.
SECOND_DIFFERENCES = 1e-3


def test_metrics_are_those_of_finite_differences(model, dataset):
    found = metrics_of(evaluate(model, dataset))
    irc = next(record for record in dataset if record.name == "t-irc-1")
    nms = [record for record in dataset if record.name.startswith("t-nms")]
    force = np.concatenate([(forces_of(model, r.atoms_only()) - r.forces).ravel() for r in nms])
    assert found[Metric("NMS", "force", "RMSE", "meV/Å")] == pytest.approx(
        1e3 * np.sqrt((force**2).mean()), abs=1e3 * DIFFERENCES
    )
    assert found[Metric("NMS", "force", "MAE", "meV/Å")] == pytest.approx(
        1e3 * np.abs(force).mean(), abs=1e3 * DIFFERENCES
    )
    energy = np.array([energy_of(model, r.atoms_only()) - r.energy for r in nms])
    per_atom = energy / [len(r) for r in nms]
    assert found[Metric("NMS", "energy", "RMSE", "meV/atom")] == pytest.approx(1e3 * np.sqrt((per_atom**2).mean()))
    assert found[Metric("NMS", "energy", "MAE", "kcal/mol")] == pytest.approx(np.abs(energy).mean() / KCAL, rel=1e-6)
    curvature = hessian_of(model, irc.atoms_only()) - irc.hessian
    rmse = np.sqrt((curvature**2).mean())
    assert found[Metric("IRC", "Hessian", "RMSE", "eV/Å²")] == pytest.approx(rmse, abs=SECOND_DIFFERENCES)
    assert found[Metric("IRC", "Hessian", "RMSE", "kcal/mol/Å²")] == pytest.approx(
        rmse / KCAL, abs=SECOND_DIFFERENCES / KCAL
    )
    assert found[Metric("IRC", "Hessian", "MAE", "eV/Å²")] == pytest.approx(
        np.abs(curvature).mean(), abs=SECOND_DIFFERENCES
    )


def test_vibrations_and_barriers(model, dataset):
    evaluation = evaluate(model, dataset)
    found = metrics_of(evaluation)
    by_name = {record.name: record for record in dataset}
    saddle = by_name["t-saddle"]
    modes = normal_modes(saddle.atoms_only(), hessian_of(model, saddle.atoms_only()))
    reference = normal_modes(saddle.atoms_only(), saddle.hessian)
    error = np.abs(modes.frequencies - reference.frequencies)
    high = np.abs(reference.frequencies) >= 400
    wavenumbers = 1.0  # cm⁻¹, what SECOND_DIFFERENCES does to a bend of hydrogen
    assert found[Metric("saddles", "frequencies above 400 cm⁻¹", "MAE", "cm⁻¹")] == pytest.approx(
        error[high].mean(), abs=wavenumbers
    )
    right = sum(
        normal_modes(r.atoms_only(), hessian_of(model, r.atoms_only())).n_imaginary == 0 for r in (by_name["t-min"],)
    )
    assert found[Metric("minima", "number of imaginary modes", "right", "of 1")] == right
    assert found[Metric("minima", "number of imaginary modes", "wrong", "of 1")] == 1 - right
    overlap = abs(modes.vectors[0] @ reference.vectors[0])
    assert found[Metric("saddles", "overlap |cos v₁|", "mean", "")] == pytest.approx(overlap, abs=1e-3)

    def barrier(energy):
        top, low, hydrogen = (energy(by_name[name]) for name in ("t-saddle", "t-min", "c1-1"))
        return np.array([top - low, top - low - hydrogen])

    expected = barrier(lambda r: energy_of(model, r.atoms_only())) - barrier(lambda r: r.energy)
    assert found[Metric("reactions", "barrier height", "MAE", "kcal/mol")] == pytest.approx(
        np.abs(expected).mean() / KCAL, rel=1e-6
    )


def test_systems_of_training_and_validation_are_parts_of_their_own(model, dataset):
    parts = {errors.name: errors.part for errors in evaluate(model, dataset).structures}
    assert parts["t-irc-2"] == parts["t-irc-3"] == "IRC (seen)"
    assert parts["t-irc-1"] == "IRC" and parts["t-saddle"] == "Test"


def test_a_dataset_without_a_table_of_reactions_has_no_barriers(model, dataset):
    bare = Dataset(dataset.records, dataset.level_of_theory)
    assert evaluate(model, bare).barriers == []


def test_evaluation_survives_its_files(model, dataset, tmp_path):
    evaluation = evaluate(model, dataset)
    write_evaluation(tmp_path, evaluation)
    assert read_evaluation(tmp_path) == evaluation


def made(errors, part="NMS"):
    """An evaluation whose structures have these Hessian errors and nothing else."""
    return Evaluation(
        [
            StructureErrors(f"s{i}", "s", "nms", part, 3, None, None, None, float(e), float(e), None, None, None)
            for i, e in enumerate(errors)
        ],
        [],
        [],
    )


def test_paired_test_is_scipys_on_the_means_over_seeds():
    random = np.random.default_rng(0)
    reference = random.uniform(1, 2, (2, 12))
    arm = reference * random.uniform(0.5, 1.1, (2, 12))
    evaluations = {("E-F", 1.0, seed): made(reference[seed]) for seed in (0, 1)}
    evaluations |= {("H", 1.0, seed): made(arm[seed]) for seed in (0, 1)}
    (test,) = paired_tests(evaluations, "E-F")
    difference = (arm - reference).mean(0)
    assert test.p == pytest.approx(wilcoxon(arm.mean(0), reference.mean(0)).pvalue)
    assert test.difference == pytest.approx(difference.mean())
    assert test.spread == pytest.approx(np.std((arm - reference).mean(1), ddof=1))
    assert (test.seeds, test.structures, test.better) == (2, 12, int((difference < 0).sum()))


def test_seeds_without_a_partner_are_left_out_of_pairs():
    evaluations = {("E-F", 1.0, 0): made([2.0, 4.0]), ("H", 1.0, 0): made([1.0, 1.0]), ("H", 1.0, 1): made([9.0, 9.0])}
    (test,) = paired_tests(evaluations, "E-F")
    assert (test.seeds, test.difference) == (1, -2.0)


def test_equal_arms_differ_by_nothing():
    evaluations = {("E-F", 1.0, 0): made([2.0, 4.0]), ("H", 1.0, 0): made([2.0, 4.0])}
    (test,) = paired_tests(evaluations, "E-F")
    assert (test.p, test.better, test.difference) == (1.0, 0, 0.0)


def test_summary_is_mean_spread_and_change_with_the_same_seed():
    values = {("E-F", 0): 10.0, ("E-F", 1): 20.0, ("H", 0): 2.0, ("H", 1): 6.0}
    results = [Result(a, 1.0, s, "NMS", "Hessian", "RMSE", "eV/Å²", v) for (a, s), v in values.items()]
    summaries = {summary.arm: summary for summary in summarise(results, "E-F")}
    assert summaries["E-F"].change is None and summaries["E-F"].mean == 15.0
    own = summaries["H"]
    assert (own.mean, own.seeds) == (4.0, 2)
    assert own.spread == pytest.approx(np.std([2, 6], ddof=1))
    assert own.change == pytest.approx(-75.0)  # −80 % and −70 %
    assert own.change_spread == pytest.approx(np.std([-80, -70], ddof=1))


def test_the_figure_of_costs_shows_the_memory_that_was_measured():
    from hesspot.study.cost import Cost
    from hesspot.study.plots import cost

    costs = [Cost("E-F", 1.0, 385.1, 6.3), Cost("E-F-H", 1.7, 385.8, 15.4)]
    memory = cost(costs, ["E-F", "E-F-H"], "E-F").axes[1]
    assert [bar.get_width() for bar in memory.patches] == [385.1, 385.8]
    assert memory.get_xlim()[0] == 0.0 and "MiB" in memory.get_title()
