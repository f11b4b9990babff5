"""Risk: what Python hands to C++ is not what it takes it for: a crash, or a number from memory that nobody wrote."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from hesspot import compiled
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.kernel import HEADERS, KernelModel, instruction_sets, magics, packed, version
from hesspot.models.architectures import ARCHITECTURES
from hesspot.models.house import HouseConfig, HouseModel

#: Seconds after which a child process that should take a moment is taken to hang.
HANGS = 120.0


@pytest.fixture(scope="module")
def kernel() -> KernelModel:
    return KernelModel.of(HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, hidden=[4])))


def water(n_copies=1):
    batch = build_batch([molecule("H2O")] * n_copies, ["H", "O"], 4.0)
    return batch.species, batch.centers, batch.neighbors, batch.vectors


def changed(tensor, index, value):
    tensor = tensor.clone()
    tensor[index] = value
    return tensor


@pytest.mark.parametrize("way", ["__call__", "members"])
@pytest.mark.parametrize(
    "place, change, sentence",
    [
        (0, lambda t: changed(t, 1, 7), "species 7 of centre 1 is no element of the model; they are 0 to 1"),
        (0, lambda t: changed(t, 2, -1), "species -1 of centre 2"),
        (0, lambda t: changed(t, 0, 2**62), f"species {2**62} of centre 0"),
        (0, lambda t: t.int(), r"species are torch.int32 of shape \(3,\)"),
        (0, lambda t: t.double(), "species are torch.float64"),
        (0, lambda t: t[None], r"species are torch.int64 of shape \(1, 3\)"),
        (0, lambda t: t[:2], "centers go from 0 to 2, but there are 2 atoms"),
        (0, lambda t: t.to("meta"), r"species are torch.int64 of shape \(3,\) on meta"),
        (1, lambda t: t.int(), "centers are torch.int32"),
        (1, lambda t: t.flip(0), "sorted by centre"),
        (1, lambda t: changed(t, -1, 3), "centers go from 0 to 3"),
        (1, lambda t: changed(t, 0, -1), "centers go from -1 to 2"),
        (1, lambda t: t[:-1], "5 centers of edges, but 6 neighbors"),
        (2, lambda t: t.int(), "neighbors are torch.int32"),
        (2, lambda t: changed(t, 3, 3), "neighbors go from 0 to 3"),
        (2, lambda t: changed(t, 3, -1), "neighbors go from -1 to 2"),
        (3, lambda t: t[:-1], r"vectors are torch.float64 of shape \(5, 3\) .* takes .* \(6, 3\)"),
        (3, lambda t: t.T, r"vectors are torch.float64 of shape \(3, 6\)"),
        (3, lambda t: t.long(), "vectors are torch.int64"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(kernel, way, place, change, sentence):
    arguments = list(water())
    arguments[place] = change(arguments[place])
    with pytest.raises(UserError, match=sentence):
        getattr(kernel, way)(*arguments)


def test_directions_are_checked(kernel):
    species, centers, neighbors, vectors = water()
    graph = kernel.edges(species, centers, neighbors)
    with pytest.raises(UserError, match=r"directions are torch.float64 of shape \(5, 3\)"):
        graph.hvp(vectors, vectors[1:])
    with pytest.raises(UserError, match="species 3 of centre 0"):
        kernel.edges(species + 2, centers, neighbors).hvp(vectors, vectors)


def test_c_checks_what_python_does_not(kernel):
    """Callers of the C functions other than this package's Python."""
    species, centers, neighbors, vectors = water()
    graph = kernel.edges(species, centers, neighbors)
    for first_edge, sentence in [
        ([1, 2, 4, 6], "do not follow one another; first_edge must rise from 0"),
        ([0, 4, 2, 6], "do not follow one another"),
        ([0, 2, 4, 7], "end at 7, but there are 6"),
    ]:
        graph._kept = species, torch.tensor(first_edge), species[neighbors]
        with pytest.raises(UserError, match=sentence):
            graph.evaluate(vectors)
    graph._kept = species, torch.tensor([0, 2, 4, 6]), changed(species[neighbors], 5, -3)
    with pytest.raises(UserError, match="species -3 of the neighbour of edge 5"):
        graph.hvp(vectors, vectors)
    graph._n_centers = -1
    with pytest.raises(UserError, match="-1 centres with 6 edges cannot be"):
        graph.hvp(vectors, vectors)


@pytest.mark.parametrize("threads", [0, -5])
def test_threads_are_checked(kernel, threads):
    with pytest.raises(UserError, match=f"{threads} threads cannot be; give 1 or more"):
        kernel.set_threads(threads)


def test_views_give_what_their_copies_give(kernel):
    """Strides, slices and read-only memory are no reason for another number."""
    arguments = water(3)
    expected = kernel(*arguments)
    doubled = [torch.stack([t, t + 1], dim=-1)[..., 0] for t in arguments]
    assert not any(t.is_contiguous() for t in doubled)
    assert torch.equal(kernel(*doubled), expected)
    transposed = arguments[3].T.contiguous().T
    assert torch.equal(kernel(*arguments[:3], transposed), expected)


def test_no_atoms_and_no_edges(kernel):
    none = torch.zeros(0, dtype=torch.int64)
    assert kernel(none, none, none, torch.zeros(0, 3, dtype=torch.float64)).shape == (0,)
    alone = kernel(torch.tensor([1]), none, none, torch.zeros(0, 3, dtype=torch.float64))
    assert alone.shape == (1,) and alone.isfinite().all()


tensors = st.builds(
    lambda kind, shape, seed, low, high: torch.from_numpy(
        np.random.default_rng(seed).integers(low, low + high, size=shape).astype(kind)
    ),
    st.sampled_from(["int64", "int64", "int64", "int32", "float64", "float32", "uint8", "bool"]),
    st.sampled_from([(6,), (6,), (6, 3), (6, 3), (3,), (0,), (0, 3), (6, 2), (1, 6), ()]),
    st.integers(0, 9),
    st.integers(-2, 1),
    st.integers(1, 4),
)


@settings(max_examples=300, deadline=None)
@given(st.tuples(tensors, tensors, tensors, tensors), st.sets(st.integers(0, 3)))
def test_nothing_that_tensors_can_be_crashes(kernel, strange, places):
    """Finite energies of all atoms, or a sentence."""
    arguments = [strange[i] if i in places else good for i, good in enumerate(water())]
    for way in (kernel, kernel.members):
        try:
            energies = way(*arguments)
        except UserError as error:
            assert len(str(error)) > 20
        else:
            assert energies.shape[-1:] == arguments[0].shape


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 6),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.integers(0, 20),
    st.integers(0, 60),
    st.integers(0, 99),
)
def test_models_of_all_sizes_take_all_edges(n_elements, n_radial, n_channels, hidden, n_atoms, n_edges, seed):
    """Whatever the sizes, energies are the scripted model's."""
    generator = torch.Generator().manual_seed(seed)
    config = HouseConfig(
        elements=["H", "C", "N", "O"][:n_elements],
        cutoff=4.0,
        n_radial=n_radial,
        n_channels=n_channels,
        hidden=hidden,
    )
    model = HouseModel(config).requires_grad_(False)
    n_edges = n_edges if n_atoms else 0
    species = torch.randint(n_elements, (n_atoms,), generator=generator)
    ends = [torch.randint(max(n_atoms, 1), (n_edges,), generator=generator) for _ in range(2)]
    vectors = 2.0 * torch.randn(n_edges, 3, dtype=torch.float64, generator=generator)
    arguments = species, ends[0].sort().values, ends[1], vectors
    torch.testing.assert_close(KernelModel.of(model)(*arguments), model(*arguments), atol=1e-11, rtol=1e-11)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 23), st.sampled_from([-1, 0, 1, 2, 3, 9, 1 << 15, 1 << 40, -(1 << 63)]))),
    st.integers(0, 40) | st.none(),
)
def test_no_damage_of_packed_weights_crashes(words, cut):
    """A model of finite energies, or a sentence."""
    model = HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, n_radial=2, n_channels=1, hidden=[3]))
    block = bytearray(packed(model))
    for place, value in words:
        block[8 * place : 8 * place + 8] = value.to_bytes(8, "little", signed=True)
    try:
        kernel = KernelModel(bytes(block if cut is None else block[: 8 * cut + 1]))
    except UserError as error:
        assert str(error).startswith("the packed weights ")
    else:
        kernel(*water())


def test_python_and_cpp_know_the_same_architectures():
    assert {one.magic for one in ARCHITECTURES.values()} == set(magics())
    assert all(version(one) >= 1 for one in ARCHITECTURES.values())
    assert version(replace(ARCHITECTURES["house"], magic=b"hesspotx")) == 0


@pytest.mark.parametrize("wanted, sentence", [("avx3", "HESSPOT_INSTRUCTIONS is avx3"), ("AVX2", "is AVX2")])
def test_unknown_instructions_are_refused(monkeypatch, wanted, sentence):
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", wanted)
    with pytest.raises(UserError, match=f"{sentence}, but this processor .* have: .*baseline"):
        KernelModel.of(HouseModel(HouseConfig(elements=["H"], cutoff=4.0)))


def test_the_best_instructions_are_taken(monkeypatch):
    """The processor's own list of features, as Linux shows it, tells which they are."""
    monkeypatch.delenv("HESSPOT_INSTRUCTIONS", raising=False)
    with open("/proc/cpuinfo") as file:
        features = {word for line in file if line.startswith("flags") for word in line.split()[2:]}
    needs = {"avx512": {"avx512f", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}, "baseline": set()}
    expected = [name for name, words in needs.items() if words <= features]
    assert instruction_sets() == expected
    assert KernelModel.of(HouseModel(HouseConfig(elements=["H"], cutoff=4.0))).instructions == expected[0]


def evaluated(graph, vectors):
    return [*graph.evaluate(vectors), *graph.members(vectors), graph.hvp(vectors, torch.ones_like(vectors))]


def in_child(graph, vectors, queue):
    queue.put([value.numpy() for value in evaluated(graph, vectors)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("used_before", [True, False])
def test_threads_after_a_fork(used_before):
    """Child, grandchild of the same model, and then the parent again: all have threads, and the same numbers."""
    kernel = KernelModel.of(HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, hidden=[4])))
    kernel.set_threads(2)
    species, centers, neighbors, vectors = water(100)
    graph = kernel.edges(species, centers, neighbors)
    before = evaluated(graph, vectors) if used_before else None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(graph, vectors, queue), daemon=True)
    child.start()
    answers = queue.get(timeout=HANGS)
    child.join(HANGS)
    assert child.exitcode == 0
    after = evaluated(graph, vectors)
    for one, other in zip(answers, after, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    if before is not None:
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_model_ends_in_a_forked_child():
    """Its threads are not there to be waited for."""
    kernels = [KernelModel.of(HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0)))]
    kernels[0].set_threads(2)
    species, centers, neighbors, vectors = water(100)
    evaluated(kernels[0].edges(species, centers, neighbors), vectors)
    child = multiprocessing.get_context("fork").Process(target=kernels.clear, daemon=True)
    child.start()
    child.join(HANGS)
    assert child.exitcode == 0


def test_memory_that_runs_out_is_no_other_error(kernel):
    """In a process of its own, since what is left of the memory is nobody's."""
    script = """
import resource, torch
from hesspot.kernel import KernelModel
from hesspot.models.house import HouseConfig, HouseModel
kernel = KernelModel.of(HouseModel(HouseConfig(elements=["H"], cutoff=4.0, hidden=[4])))
n = 300_000
edges = torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64)
graph = kernel.edges(torch.zeros(2, dtype=torch.int64), *edges)
vectors = torch.ones(n, 3, dtype=torch.float64)
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 27), taken + (1 << 27)))
try:
    graph.evaluate(vectors)
except MemoryError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HANGS)
    assert ended.stdout == "the kernel ran out of memory\n", ended.stderr


def test_a_library_of_other_headers_is_refused(tmp_path, monkeypatch):
    """As after a pull without a new build."""
    header = tmp_path / "hesspot_kernel.h"
    header.write_text(HEADERS[0].read_text() + "/* newer */")
    folder = HEADERS[0].parent
    with pytest.raises(UserError, match=r"_kernels\.so is of another version than the code beside it; .*pip install"):
        compiled.load(folder, "_kernels", "hesspot_kernel_interface", [header])
    with pytest.raises(UserError, match=r"_kernels\.so is of another version"):
        compiled.load(folder, "_kernels", "no_such_function", HEADERS)
    monkeypatch.setenv("HESSPOT_LIBRARIES", str(tmp_path))
    with pytest.raises(UserError, match=f"{tmp_path}/_kernels.so is not there"):
        compiled.load(folder, "_kernels", "hesspot_kernel_interface", HEADERS)
    (tmp_path / "_kernels.so").write_bytes(os.urandom(100))
    with pytest.raises(UserError, match=r"_kernels\.so cannot be opened"):
        compiled.load(folder, "_kernels", "hesspot_kernel_interface", HEADERS)
