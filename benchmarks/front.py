"""Error against cost of the model's presets on data of strangers: acetylacetone (PBE-D3/def2-SVP), in one run.

    OMP_NUM_THREADS=1 python benchmarks/front.py FOLDER

FOLDER holds train_300K.xyz and test_MD_300K.xyz of dataset_acac in github.com/davkovacs/BOTNet-datasets (MIT licence).
The first 450 of the 500 geometries train, 50 validate; errors are those of the 650 of the test. Costs are processor
time of one core for energies and forces of the test by the kernel in double precision, the smallest of several. With
--seeds each preset is trained so often, and the mean of these models is one more. Runs are kept in --out, and one that
was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from matplotlib.figure import Figure

from hesspot import train
from hesspot.analysis.plots import COLORS
from hesspot.contract import build_batch
from hesspot.data import Dataset, Record
from hesspot.derivatives import evaluate
from hesspot.kernel import KernelModel
from hesspot.models.ensemble import mean_of
from hesspot.models.house import House
from hesspot.training.config import PRESETS

LEVEL = "PBE-D3/def2-SVP"
N_TRAIN = 450

#: RMSE of energies (meV) and of components of forces (meV/Å) on the test by models that were trained on the same 500.
PUBLISHED = {"MACE": (0.9, 5.1), "NequIP": (0.8, 5.9), "BOTNet": (0.9, 6.3)}

SETTINGS: dict[str, Any] = {
    "mode": "ef",
    "loss": {"energy": 10.0},
    "optimizer": {"learning_rate": 0.002},
}


def records(path: Path, first_test: int) -> list[Record]:
    """The structures of a file, of the part train, valid or test."""
    found = []
    for number, atoms in enumerate(ase.io.read(path, index=":")):
        part = "test" if not first_test else "train" if number < first_test else "valid"
        found.append(
            Record(
                numbers=atoms.numbers,
                positions=atoms.positions,
                name=f"{path.stem}-{number}",
                energy=float(atoms.get_potential_energy()),
                forces=atoms.get_forces(),
                part=part,
            )
        )
    return found


def kernel_cost(model: KernelModel, structures: list[ase.Atoms], rounds: int) -> float:
    """µs of the processor for energy and forces of an atom, the smallest of several rounds."""
    batch = build_batch(structures, model.elements, model.cutoff)
    edges = model.edges(batch.species, batch.centers, batch.neighbors)
    times = []
    for _ in range(rounds):
        start = time.process_time()
        edges.evaluate(batch.vectors)
        times.append(time.process_time() - start)
    return 1e6 * min(times) / len(batch.species)


def errors(model: KernelModel, test: Sequence[Record]) -> tuple[float, float]:
    """RMSE of the test's energies, meV, and of components of its forces, meV/Å."""
    found = evaluate(model, build_batch([record.atoms_only() for record in test], model.elements, model.cutoff))
    differences = (
        found.energy.numpy() - [record.energy for record in test],
        found.forces.numpy() - np.concatenate([record.forces for record in test]),
    )
    energy, forces = (1000 * float(np.sqrt(np.mean(each**2))) for each in differences)
    return energy, forces


def draw(points: dict[str, tuple[float, float, float]]) -> Figure:
    """points: µs per atom, RMSE of energies and of forces by preset."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots(1, 2)
    for place, (axis, label) in enumerate(zip(axes, ("energy, meV", "forces, meV/Å"), strict=True)):
        axis.spines[["top", "right"]].set_visible(False)
        costs = [point[0] for point in points.values()]
        axis.plot(costs, [point[1 + place] for point in points.values()], "o-", color=COLORS[0])
        for name, point in points.items():
            axis.annotate(name, (point[0], point[1 + place]), xytext=(0, 6), textcoords="offset points")
        for color, (name, published) in zip(COLORS[1:], PUBLISHED.items(), strict=False):
            axis.axhline(published[place], color=color, linewidth=1, linestyle="--", label=f"{name}, published")
        axis.set(xlabel="µs per atom, one core", ylabel=f"RMSE of {label}")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
    axes[1].legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("front"), help="where the runs are kept")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--figure", type=Path, default=Path("front.png"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    test = records(options.folder / "test_MD_300K.xyz", 0)
    data = str(options.out / "acac.h5")
    Dataset([*records(options.folder / "train_300K.xyz", N_TRAIN), *test], LEVEL).write(data)
    structures = [record.atoms_only() for record in test]
    points: dict[str, tuple[float, float, float]] = {}
    print("| preset | seed | energy, meV | forces, meV/Å | µs per atom |")
    print("| --- | --- | --- | --- | --- |")

    def measure(preset: str, seed: str, house: House) -> None:
        model = KernelModel.of(house)
        energy, forces = errors(model, test)
        cost = kernel_cost(model, structures[:64], options.rounds)
        if seed in ("0", "mean"):
            points[preset if seed == "0" else f"{preset}, mean"] = (cost, energy, forces)
        print(f"| {preset} | {seed} | {energy:.2f} | {forces:.2f} | {cost:.1f} |", flush=True)

    for preset in options.presets:
        houses = []
        for seed in range(options.seeds):
            run = options.out / f"{preset}-{options.epochs}-{seed}"
            settings = SETTINGS["optimizer"] | {"epochs": options.epochs}
            keys = SETTINGS | {"data": data, "seed": seed, "model": {"preset": preset}, "optimizer": settings}
            resumed = (run / "last.pt").exists()
            houses.append(train(keys, run, resume=resumed, show=False, final_table=False).model)
            measure(preset, str(seed), houses[-1])
        if len(houses) > 1:
            measure(preset, "mean", mean_of(houses))
    draw(points).savefig(options.figure)


if __name__ == "__main__":
    main()
