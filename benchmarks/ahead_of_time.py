"""Energies, gradients and H·v of models that keep the contract, compiled ahead of time instead of scripted.

    python benchmarks/ahead_of_time.py

For each model one function that gives energies, g = ∂E/∂vectors and ∂(Σ g·v)/∂vectors is traced with all its
derivatives (`make_fx`), exported with open numbers of atoms and edges (`torch.export`), compiled (AOTInductor, which
needs g++), and compared with eager torch in float64 on the traced structure and on others: the largest deviation as a
part of the largest value. The last column is the other way: energies and g alone are traced, and differentiated
afterwards.
"""

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import ase
import numpy as np
import torch
from ase.build import bulk, molecule
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from hesspot.contract import Model, build_batch
from hesspot.models.analytic import LennardJones, StillingerWeber
from hesspot.models.house import HouseConfig, HouseModel

#: Calls of which the fastest counts.
ROUNDS = 20


class Normalised(torch.nn.Module):
    """A network on distances and directions, whose inputs are divided by their deviation, as LayerNorm does."""

    elements: Sequence[str] = ("H", "C", "O")
    cutoff = 4.0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.widths = torch.linspace(0.5, 3.5, 8, dtype=torch.float64)
        self.mix = torch.randn(3, 8, 8, dtype=torch.float64)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(16, 16), torch.nn.SiLU(), torch.nn.Linear(16, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        ).double()
        self.requires_grad_(False)

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        r = torch.sqrt((vectors * vectors).sum(1, keepdim=True))
        radial = torch.exp(-((r - self.widths) ** 2)) * (1.0 - (r / self.cutoff) ** 2) ** 4
        radial = torch.einsum("en,enc->ec", radial, self.mix[species[neighbors]])
        none = torch.zeros(species.shape[0], 8, dtype=torch.float64)
        sums = none.index_add(0, centers, radial)
        moments = torch.zeros(species.shape[0], 3, 8, dtype=torch.float64)
        moments = moments.index_add(0, centers, (vectors / r).unsqueeze(2) * radial.unsqueeze(1))
        features = torch.cat([sums, (moments * moments).sum(1)], dim=1)
        deviation = torch.sqrt(features.var(1, keepdim=True, correction=0) + 1e-5)
        energies: Tensor = self.layers((features - features.mean(1, keepdim=True)) / deviation).squeeze(1)
        return energies


def lennard_jones() -> Model:
    one = torch.ones(1, 1, dtype=torch.float64)
    return LennardJones(["Ar"], 6.0, 0.0103 * one, 3.4 * one)


def house() -> Model:
    torch.manual_seed(1)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8]))
    model.scale.fill_(20.0)
    return model.requires_grad_(False)


def molecules() -> list[ase.Atoms]:
    one_edge = ase.Atoms("OH", positions=[[0, 0, 0], [0, 0, 1.0]])
    return [molecule("CH3OH"), molecule("CH3CH2OH"), molecule("C6H6"), one_edge]


def crystals(symbol: str, a: float) -> list[ase.Atoms]:
    cell = bulk(symbol, cubic=True, a=a)
    return [cell, cell * (2, 1, 1), cell * (2, 2, 2)]


Function = Callable[..., tuple[Tensor, ...]]


def energies_and_gradient(model: Model) -> Function:
    def function(species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
        energies = model(species, centers, neighbors, vectors)
        return energies, torch.autograd.grad(energies.sum(), vectors, create_graph=True)[0]

    return function


def all_derivatives(model: Model) -> Function:
    both = energies_and_gradient(model)

    def function(
        species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor, along: Tensor
    ) -> tuple[Tensor, ...]:
        vectors = vectors.detach().requires_grad_(True)
        energies, gradient = both(species, centers, neighbors, vectors)
        (product,) = torch.autograd.grad((gradient * along).sum(), vectors)
        return energies.detach(), gradient.detach(), product

    return function


def inputs(model: Model, structures: list[ase.Atoms]) -> list[tuple[Tensor, ...]]:
    found = []
    generator = torch.Generator().manual_seed(3)
    for atoms in structures:
        atoms.rattle(0.05, seed=4)
        batch = build_batch([atoms], list(model.elements), model.cutoff)
        along = torch.randn(batch.vectors.shape, generator=generator, dtype=torch.float64)
        found.append((batch.species, batch.centers, batch.neighbors, batch.vectors, along))
    return found


def worst(function: Function, examples: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]]) -> str:
    """Largest deviations, relative to the largest value, of energies, g and H·v."""
    deviations = [
        [float((a - b).abs().max() / b.abs().max()) for a, b in zip(function(*example), values, strict=True)]
        for example, values in zip(examples, expected, strict=True)
    ]
    return ", ".join(f"{deviation:.0e}" for deviation in np.max(deviations, axis=0))


def fastest(function: Function, example: tuple[Tensor, ...]) -> float:
    """ms."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        function(*example)
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times)


def differentiated_afterwards(
    model: Model, examples: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]]
) -> str:
    traced = make_fx(energies_and_gradient(model), tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        *examples[0][:3], examples[0][3].requires_grad_(True)
    )

    def function(*example: Tensor) -> tuple[Tensor, ...]:
        vectors = example[3].detach().requires_grad_(True)
        energies, gradient = traced(*example[:3], vectors)
        return energies, gradient, torch.autograd.grad((gradient * example[4]).sum(), vectors)[0]

    return worst(function, examples, expected).rpartition(", ")[2]


def exported(function: Function, example: tuple[Tensor, ...], path: Path) -> torch.export.ExportedProgram:
    """Written to a file and read back."""
    traced = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example)
    atoms, edges = torch.export.Dim("n_atoms", min=2), torch.export.Dim("n_edges", min=2)
    dynamic = ({0: atoms}, {0: edges}, {0: edges}, {0: edges}, {0: edges})
    program = torch.export.export(traced, example, dynamic_shapes=dynamic, strict=False)
    torch.export.save(program, path)
    return torch.export.load(path)


def compiled(program: torch.export.ExportedProgram, path: Path) -> Function:
    loaded = torch._inductor.aoti_load_package(
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    )
    return lambda *values: tuple(loaded(*values))


def main() -> None:
    warnings.filterwarnings("ignore")
    print("Deviations of energies, g and H·v from eager torch; ms a call: eager, exported, compiled.\n")
    print("| model | exported | compiled | seconds to compile | ms | H·v differentiated afterwards |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, model, structures in (
        ("Lennard-Jones", lennard_jones(), crystals("Ar", 5.3)),
        ("Stillinger-Weber", StillingerWeber(), crystals("Si", 5.43)),
        ("network with LayerNorm", Normalised(), molecules()),
        ("house model", house(), molecules()),
    ):
        examples = inputs(model, structures)
        function = all_derivatives(model)
        expected = [function(*example) for example in examples]
        with tempfile.TemporaryDirectory() as folder:
            try:
                program = exported(function, examples[0], Path(folder, "exported.pt2"))
            except Exception as error:
                print(f"| {name} | {type(error).__name__}: {str(error).splitlines()[0]} | | | | |", flush=True)
                continue
            begin = time.perf_counter()
            fast = compiled(program, Path(folder, "compiled.pt2"))
            seconds = time.perf_counter() - begin
        ways = (function, program.module(), fast)
        deviations = [worst(way, examples, expected) for way in ways[1:]]
        times = ", ".join(f"{fastest(way, examples[1]):.2g}" for way in ways)
        after = differentiated_afterwards(model, examples, expected)
        print(f"| {name} | {deviations[0]} | {deviations[1]} | {seconds:.0f} | {times} | {after} |", flush=True)


if __name__ == "__main__":
    main()
