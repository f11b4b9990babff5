"""Risk: a kernel that is not the model: another number, a lost derivative, a wrong order of edges."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate, hessian, hvp
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.graph import Graph
from hesspot.kernel import KernelModel, NoKernel, instruction_sets, packed, shape_of
from hesspot.models.architectures import ARCHITECTURES
from hesspot.models.core import core_within
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, HouseMean, houses_of, mean_of
from hesspot.models.house import HouseConfig, HouseModel
from hesspot.models.house_weights import fill

ROUNDING = 1e-11  # eV, eV/Å, eV/Å²: the same float64 operations in another order
SINGLE = 2e-4  # relative to the largest value: float32 rounding of some hundred operations
SIGNAL = 1e-2
#: Of the pairs in `batch_of` some are within the inner radius, some on the switch, some outside.
CORE = core_within(["H", "C", "N", "O"], np.full((4, 4), 1.5), 4.0)
HALF_OF_THE_WORK = 0.3  # less than a half, for what the calling thread does besides; 0 without a second thread


def make(**changed) -> HouseModel | HouseEnsemble | HouseMean:
    settings = {"elements": ["H", "C", "N", "O"], "cutoff": 4.0, "hidden": [12, 10], **changed}
    if "models" in settings:
        models, seed = settings.pop("models"), settings.pop("seed", 8)
        return mean_of([make(**settings, seed=seed + number) for number in range(models)])
    torch.manual_seed(settings.pop("seed", 8))
    committee = "members" in settings
    model = HouseEnsemble(EnsembleConfig(**settings)) if committee else HouseModel(HouseConfig(**settings))
    model.shifts = [-13.0, -1030.0, -1480.0, -2040.0][: len(model.elements)]
    model.scale.fill_(10.0)
    model.mean.normal_()
    model.inverse_deviation.uniform_(0.5, 2.0)
    for network in model.networks:
        torch.nn.init.normal_(network.linear.weight, std=0.1)
    return model.requires_grad_(False)


@pytest.fixture(params=["avx512", "avx2", "baseline"])
def instructions(request, monkeypatch) -> str:
    """Models of the test are made for this instruction set."""
    if request.param not in instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", request.param)
    return request.param


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def batch_of(model):
    crystal = ase.Atoms(
        "COH", cell=[3.1, 3.3, 2.9], pbc=True, scaled_positions=[[0, 0, 0], [0.4, 0.5, 0.4], [0.7, 0, 0.8]]
    )
    structures = [molecule("CH3OH"), crystal, ase.Atoms("O"), molecule("HCN")]
    structures[0].rattle(0.1, seed=1)
    return build_batch(structures, model.elements, model.cutoff)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"n_radial": 3, "n_channels": 2},
        {"n_radial": 11, "n_channels": 9, "hidden": [5]},
        {"hidden": [4] * 4},
        {"members": 3},
        {"models": 3},
        {"core": CORE},
        {"core": CORE, "members": 3},
        {"core": CORE, "models": 2, "n_channels": 2},
    ],
)
def test_everything_is_the_models(changed, instructions):
    model = make(**changed)
    kernel = KernelModel.of(model)
    assert kernel.instructions == instructions
    batch = batch_of(model)
    directions = torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mine, theirs = (evaluate(which, batch, virial=True, atom_virial=True) for which in (kernel, model))
    assert theirs.forces.abs().max() > SIGNAL
    for name in ("energy", "atom_energies", "forces", "virial", "atom_virial"):
        torch.testing.assert_close(getattr(mine, name), getattr(theirs, name), atol=ROUNDING, rtol=1e-14)
    product = hvp(model, batch, directions)
    assert product.abs().max() > SIGNAL
    torch.testing.assert_close(hvp(kernel, batch, directions), product, atol=ROUNDING, rtol=1e-13)
    for one, other in zip(hessian(kernel, batch), hessian(model, batch), strict=True):
        torch.testing.assert_close(one, other, atol=ROUNDING, rtol=1e-13)
    chunked = evaluate(kernel, batch, max_edges=20)
    torch.testing.assert_close(chunked.forces, theirs.forces, atol=ROUNDING, rtol=1e-14)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_threads_share_the_centres_to_the_last_bit(threads, dtype):
    model = make(members=2)
    structures = [molecule(name) for name in ("CH3OH", "HCN", "C6H6") for _ in range(16)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    batch = build_batch(structures, model.elements, model.cutoff)
    directions = torch.randn(batch.n_edges, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    answers = []
    for count in (1, threads):
        kernel = KernelModel.of(model, dtype)
        kernel.set_threads(count)
        graph = kernel.edges(batch.species, batch.centers, batch.neighbors)
        vectors = batch.vectors
        answers.append([*graph.evaluate(vectors), *graph.members(vectors), graph.hvp(vectors, directions)])
    for one, several in zip(*answers, strict=True):
        assert one.abs().max() > SIGNAL
        assert torch.equal(one, several)


def test_threads_take_part():
    """CPU time that the calling thread has not spent itself, of a call that is long beside the others' waiting."""
    model = make()
    kernel = KernelModel.of(model)
    kernel.set_threads(2)
    batch = build_batch([molecule("C6H6")] * 1000, model.elements, model.cutoff)
    graph = kernel.edges(batch.species, batch.centers, batch.neighbors)
    own, all_threads = time.thread_time(), time.process_time()
    graph.evaluate(batch.vectors)
    own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    assert all_threads - own > HALF_OF_THE_WORK * all_threads


def test_threads_end_with_the_last_model():
    """They start with a call that needs them: no more than its atoms are worth, however many are allowed. Models share
    them."""
    model = make()
    batch = build_batch([molecule("C6H6")] * 8, model.elements, model.cutoff)
    before = threads_of_this_process()
    kernels = [KernelModel.of(model) for _ in range(3)]
    for kernel in kernels:
        for threads in (2, 10**6):
            kernel.set_threads(threads)
            kernel.edges(batch.species, batch.centers, batch.neighbors).evaluate(batch.vectors)
    assert threads_of_this_process() == before + 2
    del kernel, kernels
    assert threads_of_this_process() == before


def test_one_model_serves_several_callers_at_once():
    model = make()
    kernel = KernelModel.of(model)
    kernel.set_threads(2)
    batches = [build_batch([molecule(name)] * 20, model.elements, model.cutoff) for name in ("C6H6", "CH3OH")]
    graphs = [(kernel.edges(b.species, b.centers, b.neighbors), b.vectors) for b in batches] * 20
    alone = [graph.evaluate(vectors) for graph, vectors in graphs[:2]] * 20
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(lambda one: one[0].evaluate(one[1]), graphs))
    for (energies, gradient), (expected, slope) in zip(together, alone, strict=True):
        assert torch.equal(energies, expected) and torch.equal(gradient, slope)


def test_companions_change_no_bit(instructions):
    """Centres share a register: how many there are, of which element and with how many edges, is nobody's business."""
    model = make()
    kernel = KernelModel.of(model)
    structures = [molecule(name) for name in ("C6H6", "CH3OH", "HCN", "H2", "CO2", "CH3OH")]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    together = evaluate(kernel, build_batch(structures, model.elements, model.cutoff))
    first = 0
    for atoms in structures:
        batch = build_batch([atoms], model.elements, model.cutoff)
        alone = evaluate(kernel, batch)
        assert torch.equal(together.atom_energies[first : first + len(atoms)], alone.atom_energies)
        assert torch.equal(together.forces[first : first + len(atoms)], alone.forces)
        first += len(atoms)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_outside_the_core_no_bit_is_changed(dtype, instructions):
    """Neither by the core itself nor by a close pair in the same register."""
    model = make(members=2)
    far, close = molecule("CH3OH"), molecule("CH3OH")
    far.positions *= 1.6
    close.positions *= 0.5
    batch = build_batch([far, close, far], model.elements, model.cutoff)
    directions = torch.randn(batch.n_edges, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    answers = []
    for core in (None, CORE):
        model.set_core(core)
        graph = KernelModel.of(model, dtype).edges(batch.species, batch.centers, batch.neighbors)
        answers.append([*graph.members(batch.vectors), graph.hvp(batch.vectors, directions)])
    atoms = torch.cat([torch.arange(6), torch.arange(12, 18)])
    edges = torch.isin(batch.centers, atoms)
    assert batch.vectors[edges].norm(dim=1).min() > CORE["H-C"][1]
    for (before, after), outside in zip(zip(*answers, strict=True), (atoms, edges, edges), strict=True):
        of_atoms = [each if each.shape[0] == batch.n_edges else each.transpose(0, 1) for each in (before, after)]
        assert torch.equal(of_atoms[0][outside], of_atoms[1][outside])
        assert (of_atoms[0] - of_atoms[1]).abs().max() > SIGNAL


def test_blocks_from_before_the_core_are_read():
    """Version 1 has no core; what it gives is what a block without one gives, bit for bit."""
    model = make(members=2)
    old = ARCHITECTURES["house-ensemble"].pack(model, 1)
    assert "core_outer" not in shape_of(old) and shape_of(packed(model))["core_outer"] == [0.0] * 16
    batch = batch_of(model)
    answers = [evaluate(KernelModel(block), batch) for block in (old, packed(model))]
    assert torch.equal(answers[0].energy, answers[1].energy) and torch.equal(answers[0].forces, answers[1].forces)
    other = make(members=2, seed=100)
    fill(other, old)
    assert torch.equal(other.mix, model.mix)
    other.set_core(CORE)
    with pytest.raises(UserError, match="have no core, and the model has one"):
        fill(other, old)


def test_edges_beyond_the_cutoff_count_for_nothing(instructions):
    """Engines keep lists with a skin; vectors may be much longer than the cutoff."""
    model = make()
    kernel = KernelModel.of(model)
    atoms = molecule("CH3OH")
    near, all_pairs = (build_batch([atoms], model.elements, reach) for reach in (model.cutoff, 50.0))
    far = near.vectors.norm(dim=1).argmax()
    vectors = near.vectors.clone()
    vectors[far] *= 1e6
    for batch in (replace(near, vectors=vectors), all_pairs):
        edges = batch.vectors.norm(dim=1) < model.cutoff
        inside = replace(
            batch, centers=batch.centers[edges], neighbors=batch.neighbors[edges], vectors=batch.vectors[edges]
        )
        torch.testing.assert_close(
            evaluate(kernel, batch).forces, evaluate(model, inside).forces, atol=ROUNDING, rtol=1e-14
        )
        direction = torch.ones(batch.n_atoms, 3, dtype=torch.float64)
        direction[0] = -2.0
        torch.testing.assert_close(
            hvp(kernel, batch, direction), hvp(model, inside, direction), atol=ROUNDING, rtol=1e-13
        )


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_none_is_passed_on(wrong, instructions):
    model = make()
    batch = build_batch([molecule("CH3OH"), molecule("CH3OH")], model.elements, model.cutoff)
    vectors = batch.vectors.clone()
    vectors[0, 1] = wrong
    energies = KernelModel.of(model)(batch.species, batch.centers, batch.neighbors, vectors)
    assert batch.centers[0] == 0 and not energies[0].isfinite()
    assert energies[1:].isfinite().all()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, ROUNDING), (torch.float32, SINGLE)])
def test_activations_far_out(dtype, tolerance, instructions):
    """Neurons that are shut or wide open: e^x must neither overflow nor be cut."""
    model = make()
    for network in model.networks:
        network.layers[0].bias.copy_(torch.linspace(-900.0, 900.0, 12))
    batch = batch_of(model)
    expected = evaluate(model, batch).forces
    assert expected.isfinite().all() and expected.abs().max() > SIGNAL
    found = evaluate(KernelModel.of(model, dtype), batch.to(dtype=dtype)).forces
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, atol=tolerance * scale, rtol=0.0)
    directions = 1e3 * torch.randn(batch.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    product = hvp(model, batch, directions)
    assert product.isfinite().all() and product.abs().max() > SIGNAL
    found = hvp(KernelModel.of(model, dtype), batch.to(dtype=dtype), directions.to(dtype))
    torch.testing.assert_close(found.double(), product, atol=tolerance * float(product.abs().max()), rtol=0.0)


@pytest.mark.parametrize("kind", ["members", "models"])
def test_members_of_a_committee(kind, instructions):
    """Each member's energies and forces, and no third way to the mean."""
    model = make(**{kind: 3})
    kernel = KernelModel.of(model)
    assert kernel.n_members == 3
    batch = batch_of(model)
    answers = []
    for which in (kernel, model):
        vectors = batch.vectors.clone().requires_grad_(True)
        energies = which.members(batch.species, batch.centers, batch.neighbors, vectors)
        gradients = [torch.autograd.grad(one.sum(), vectors, retain_graph=True)[0] for one in energies]
        answers.append((energies.detach(), torch.stack(gradients)))
    (energies, gradients), (their_energies, their_gradients) = answers
    assert energies.std(0).min() > SIGNAL and gradients.std(0).max() > SIGNAL
    torch.testing.assert_close(energies, their_energies, atol=ROUNDING, rtol=1e-14)
    torch.testing.assert_close(gradients, their_gradients, atol=ROUNDING, rtol=1e-14)
    mean = evaluate(kernel, batch).atom_energies
    torch.testing.assert_close(energies.mean(0), mean, atol=ROUNDING, rtol=1e-14)


@pytest.mark.parametrize("changed", [{"members": 2}, {"models": 2, "core": CORE}])
def test_descriptors_are_those_of_the_first_description(changed, instructions):
    model = make(**changed)
    kernel = KernelModel.of(model)
    batch = batch_of(model)
    house = houses_of(model)[0]
    own = house.descriptors(batch.species, batch.centers, batch.neighbors, batch.vectors)
    expected = ((own - house.mean[batch.species]) * house.inverse_deviation[batch.species]).numpy()
    assert np.abs(expected).max() > SIGNAL
    graph = Graph(*(each.numpy() for each in (batch.species, batch.centers, batch.neighbors, batch.vectors)))
    for held in (10**6, 3 * kernel.n_descriptors):
        portions = list(kernel.descriptors(graph, held))
        assert (len(portions) > 1) == (held < 10**6)
        np.testing.assert_allclose(np.concatenate(portions), expected, atol=ROUNDING, rtol=1e-12)
    with pytest.raises(UserError, match="has no descriptors to give"):
        list(KernelModel.of(model, "float32").descriptors(graph))


def test_weighted_energies_differentiate_twice():
    """Not only the sum of energies: torch's own checks of first and second derivatives, by differences."""
    model = make(elements=["H", "O"], n_radial=3, n_channels=2, hidden=[4])
    kernel = KernelModel.of(model)
    batch = build_batch([molecule("H2O")], model.elements, model.cutoff)
    weights = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)

    def energy(vectors):
        return (kernel(batch.species, batch.centers, batch.neighbors, vectors) * weights).sum()

    vectors = batch.vectors.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(energy, vectors)
    assert torch.autograd.gradgradcheck(energy, vectors)


def test_third_derivatives_are_refused():
    model = make()
    batch = batch_of(model)
    vectors = batch.vectors.clone().requires_grad_(True)
    energies = KernelModel.of(model)(batch.species, batch.centers, batch.neighbors, vectors)
    (first,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(2).sum(), vectors, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivatives; use the torchscript backend"):
        torch.autograd.grad(second.sum(), vectors)


def test_single_precision_is_near_and_not_the_same(instructions):
    model = make()
    batch = batch_of(model)
    expected = evaluate(model, batch).forces
    rounded = evaluate(KernelModel.of(model, torch.float32), batch.to(dtype=torch.float32)).forces
    difference = float((rounded - expected).abs().max() / expected.abs().max())
    assert 1e-12 < difference < SINGLE


def test_edges_in_disorder_are_refused():
    model = make()
    batch = batch_of(model)
    with pytest.raises(UserError, match="sorted by centre"):
        KernelModel.of(model)(batch.species, batch.centers.flip(0), batch.neighbors.flip(0), batch.vectors.flip(0))


def test_files_choose_their_backend(house_model_file, lj_model_file):
    batch = build_batch([molecule("CH3OH")], ["H", "C", "N", "O"], 4.0)
    kernel, scripted = (read_model(house_model_file, backend=backend) for backend in ("auto", "torchscript"))
    assert kernel.kernel is not None and scripted.kernel is None
    np.testing.assert_allclose(evaluate(kernel, batch).forces, evaluate(scripted, batch).forces, atol=ROUNDING, rtol=0)
    assert read_model(lj_model_file).kernel is None
    with pytest.raises(UserError, match="architecture torchscript has no kernel"):
        read_model(lj_model_file, backend="kernel")


def test_what_is_written_into_the_kernel_is_compared():
    model = make()
    model.frequencies *= 1.0 + 1e-8
    with pytest.raises(NoKernel, match="frequencies of this model"):
        packed(model)
    model = make(models=2)
    model.houses[1].envelope_power = 5
    with pytest.raises(NoKernel, match="have envelopes of powers 4 and 5, packed weights one"):
        packed(model)
    model = make()
    model.envelope_power = 5
    with pytest.raises(NoKernel, match="are for an envelope of power 5, and the kernel has power 4"):
        KernelModel.of(model)
    with pytest.raises(NoKernel, match="SiLU is of no architecture that has a kernel"):
        KernelModel.of(torch.nn.SiLU())


@pytest.mark.parametrize("changed", [{}, {"members": 3}, {"models": 2, "hidden": [4]}])
def test_a_block_gives_the_model_back(changed):
    model, other = make(**changed), make(**changed, seed=100)
    block = packed(model)
    fill(other, block)
    for house, filled in zip(houses_of(model), houses_of(other), strict=True):
        assert filled.shifts == house.shifts
        for name, value in house.state_dict().items():
            assert torch.equal(filled.state_dict()[name], value), name
    n_weights = sum(t.numel() for t in model.parameters()) + sum(
        len(h.shifts) + h.scale.numel() + h.mean.numel() + h.inverse_deviation.numel() for h in houses_of(model)
    )
    shape = shape_of(block)
    n_words = 11 + len(shape["hidden"]) + len(shape["elements"]) + 4 * len(shape["elements"]) ** 2  # docs/export.md
    assert len(block) == 8 * (n_words + n_weights)
    assert (shape["elements"], shape["cutoff"]) == (model.elements, model.cutoff)
    assert shape["n_members"] * shape["n_descriptions"] == changed.get("members", changed.get("models", 1))
    with pytest.raises(UserError, match="another shape than the model"):
        fill(make(hidden=[3]), block)


def changed_word(block: bytes, place: int, value: int) -> bytes:
    return block[: 8 * place] + struct.pack("<q", value) + block[8 * place + 8 :]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda block: b"", "end after 0 bytes"),
        (lambda block: block[:50], "end after 50 bytes"),
        (lambda block: block[:-8], "before their last number"),
        (lambda block: block + bytes(8), "go on for 8 bytes"),
        (lambda block: b"x" + block[1:], "do not begin"),
        (lambda block: changed_word(block, 1, 99), "are for version 99 of the kernel"),
        (lambda block: changed_word(block, 2, 6), "an envelope of power 6"),
        (lambda block: changed_word(block, 4, 0), "state 0 as number of members"),
        (lambda block: changed_word(block, 6, 1 << 40), "state 1099511627776 as number of radial functions"),
        (lambda block: changed_word(block, 6, 1 << 15), "before their last number"),
        (lambda block: changed_word(block, 8, 1), "go on for"),
        (lambda block: changed_word(block, 34, 1), "state a core that cannot be"),
    ],
)
def test_a_damaged_block_is_one_sentence(damage, words):
    with pytest.raises(UserError, match=f"the packed weights .*{words}"):
        KernelModel(damage(packed(make())))
