"""Risk: a Hessian of the library that is not the second derivative, or another one with threads, images or members."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.graph import build_graph
from hesspot.kernel import KernelModel, instruction_sets
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble, mean_of
from hesspot.models.house import HouseConfig, HouseModel

#: eV/Å²; central differences of forces with 3e-5 Å: truncation of some 1e-5 (within the core F‴ is 1e5 eV/Å⁴).
DIFFERENCES = 1e-4
#: Of the largest element: sums of thousands of terms in another order; single precision has 7 digits.
ROUNDING, SINGLE = 1e-13, 1e-5

CUTOFF = 4.0
#: With pairs of the structures below inside, so that the core has second derivatives, too.
CORE = {
    "H-H": (0.9, 1.2),
    "H-C": (0.9, 1.3),
    "H-O": (0.8, 1.1),
    "C-C": (1.0, 1.5),
    "C-O": (1.0, 1.3),
    "O-O": (1.0, 1.3),
}
SHAPE = {"elements": ["H", "C", "O"], "cutoff": CUTOFF, "n_radial": 4, "n_channels": 3, "hidden": [12, 7], "core": CORE}


def model(kind: str) -> torch.nn.Module:
    torch.manual_seed(5)
    if kind == "committee":
        made: torch.nn.Module = HouseEnsemble(EnsembleConfig(**SHAPE, members=3))
    elif kind == "mean":
        made = mean_of([HouseModel(HouseConfig(**SHAPE)) for _ in range(2)])
    else:
        made = HouseModel(HouseConfig(**SHAPE))
        made.scale.fill_(5.0)
    return made.requires_grad_(False).eval()


def structures() -> dict[str, Atoms]:
    """A molecule, a triclinic cell and one atom for which the cutoff is longer than the cell, and a lone atom."""
    cell = [[3.5, 0.2, 0], [0.7, 3.2, 0.4], [-0.5, 0.6, 3.8]]
    places = [[0, 0, 0], [0.4, 0.45, 0.5], [0.8, 0.1, 0.7]]
    return {
        "molecule": molecule("CH3CH2OH"),
        "triclinic": Atoms("COH", scaled_positions=places, cell=cell, pbc=True),
        "tiny": bulk("C", "sc", a=2.5),
        "slab": Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], cell=[3, 3, 12], pbc=[True, True, False]),
        "lone": Atoms("H"),
    }


def graph_of(atoms: Atoms):
    return build_graph(atoms, SHAPE["elements"], CUTOFF)


@pytest.mark.parametrize("name", list(structures()))
def test_it_is_the_derivative_of_the_forces(name: str) -> None:
    atoms, kernel, step = structures()[name], KernelModel.of(model("one")), 3e-5
    columns = []
    for i in range(3 * len(atoms)):
        forces = []
        for sign in (-1, 1):
            moved = atoms.copy()
            moved.positions[i // 3, i % 3] += sign * step
            forces.append(kernel.answer(graph_of(moved)).forces.ravel())
        columns.append((forces[0] - forces[1]) / (2 * step))
    found = kernel.hessian(graph_of(atoms))
    np.testing.assert_allclose(found, np.array(columns).T, rtol=0, atol=DIFFERENCES)
    assert np.abs(found).max() > 1.0 or len(atoms) == 1


@pytest.mark.parametrize("instructions", ["avx512", "avx2", "baseline"])
@pytest.mark.parametrize("kind", ["one", "committee", "mean"])
def test_it_is_that_of_torch(kind: str, instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if instructions not in instruction_sets():
        pytest.skip(f"this processor has no {instructions}")
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", instructions)
    trained = model(kind)
    for atoms in structures().values():
        batch = build_batch([atoms], SHAPE["elements"], CUTOFF)
        expected = derivatives.hessian(trained, batch)[0].numpy()
        for dtype, tolerance in (("float64", ROUNDING), ("float32", SINGLE)):
            found = KernelModel.of(trained, dtype).hessian(graph_of(atoms))
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))
            np.testing.assert_array_equal(found, found.T)


def test_threads_and_companions_change_no_bit() -> None:
    kernel = KernelModel.of(model("one"))
    alone = [kernel.hessian(graph_of(atoms)) for atoms in structures().values()]
    kernel.set_threads(3)
    batch = build_batch(list(structures().values()), SHAPE["elements"], CUTOFF)
    for one, other in zip(alone, derivatives.hessian(kernel, batch), strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(one, other.numpy())


def test_products_are_those_of_the_hessian() -> None:
    kernel, rng = KernelModel.of(model("committee")), np.random.default_rng(2)
    for atoms in structures().values():
        graph, directions = graph_of(atoms), rng.standard_normal((len(atoms), 3))
        expected = (kernel.hessian(graph) @ directions.ravel()).reshape(-1, 3)
        np.testing.assert_allclose(kernel.products(graph, directions), expected, rtol=0, atol=1e3 * ROUNDING)
    with pytest.raises(UserError, match=r"directions of shape \(2, 3\); the kernel takes \(1, 3\)"):
        kernel.products(graph, np.ones((2, 3)))


def test_bad_graphs_are_refused() -> None:
    kernel, graph = KernelModel.of(model("one")), graph_of(molecule("H2O"))
    for name, value, words in (
        ("neighbors", graph.neighbors + 2, r"neighbour \d of edge \d is none of the 3 atoms"),
        ("species", graph.species + 2, "is no element of the model"),
    ):
        for call in (kernel.answer, kernel.hessian, lambda bad: kernel.products(bad, np.zeros((3, 3)))):
            with pytest.raises(UserError, match=words):
                call(replace(graph, **{name: value}))
