"""Cost of a training epoch of hesspot, TorchANI and MACE on the same structures, on one core, in one run.

    pip install -c constraints.txt torchani mace-torch
    OMP_NUM_THREADS=1 python benchmarks/training_peers.py

The training part of a dataset in batches of 8; epochs are timed in turn as in training_cost.py. TorchANI trains in
single precision on batches that are padded beforehand; MACE in double precision with its own loader, loss and step, on
graphs that are made beforehand. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from ase.data import chemical_symbols

from hesspot.data import Record
from hesspot.data.sources import read_data
from hesspot.training.config import parse_config
from hesspot.training.trainer import Trainer

BATCH = 8
OURS = {
    "hesspot, E-F": {"mode": "ef"},
    "hesspot, E-F, AdamW": {"mode": "ef", "optimizer": {"method": "adamw"}},
    "hesspot, E-F-H, one direction": {"mode": "efh"},
}

Epoch = Callable[[], object]


def atomic_energies(records: list[Record], elements: list[int]) -> np.ndarray:
    """(elements,) energies in eV whose sums over the atoms are nearest to the energies of the structures."""
    counts = np.array([[(record.numbers == z).sum() for z in elements] for record in records])
    return np.linalg.lstsq(counts, np.array([record.energy for record in records]), rcond=None)[0]


def ani_2x(self_energies: dict[str, float]) -> torch.nn.Module:
    """TorchANI's symmetry functions and one network of ANI-2x for these elements, random weights; ImportError without
    TorchANI."""
    from torchani.arch import simple_ani

    return simple_ani(
        list(self_energies),
        lot="",
        self_energies=self_energies,
        cutoff_fn="cosine",
        radial_start=0.8,
        angular_start=0.8,
        radial_cutoff=5.1,
        container_ctor="ani2x",
        activation="celu",
        bias=True,
        repulsion=False,
    )


def torchani_epoch(records: list[Record], elements: list[int]) -> Epoch:
    """One network of the shape of ANI-2x, for these elements."""
    from torchani.utils import pad_atomic_properties

    symbols = [chemical_symbols[z] for z in elements]
    model = ani_2x(dict(zip(symbols, atomic_energies(records, elements).tolist(), strict=True)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    samples = [
        {
            "species": torch.tensor(record.numbers[None], dtype=torch.long),
            "coordinates": torch.tensor(record.positions[None], dtype=torch.float32),
            "forces": torch.tensor(record.forces[None], dtype=torch.float32),
            "energies": torch.tensor([record.energy]),
        }
        for record in records
    ]
    batches = [pad_atomic_properties(samples[i : i + BATCH]) for i in range(0, len(samples), BATCH)]

    def epoch() -> None:
        for i in torch.randperm(len(batches)).tolist():
            species, positions = batches[i]["species"], batches[i]["coordinates"].requires_grad_()
            sizes = (species >= 0).sum(1)
            energies = model((species, positions)).energies
            forces = -torch.autograd.grad(energies.sum(), positions, create_graph=True)[0]
            of_energies = ((energies - batches[i]["energies"]) ** 2 / sizes).mean()
            of_forces = ((forces - batches[i]["forces"]) ** 2).sum((1, 2)) / (3 * sizes)
            optimizer.zero_grad()
            (of_energies + of_forces.mean()).backward()
            optimizer.step()

    return epoch


@contextmanager
def double_precision() -> Iterator[None]:
    """What torch makes in this block is float64 where nothing else is said."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@double_precision()
def mace_epoch(records: list[Record], elements: list[int], irreps: str, correlation: int, max_ell: int) -> Epoch:
    """Two layers with these channels and otherwise the defaults of `mace_run_train`."""
    import mace.modules  # before e3nn, whose constants it lets torch load
    from e3nn.o3 import Irreps
    from mace.data import AtomicData
    from mace.data.utils import Configuration
    from mace.tools import AtomicNumberTable
    from mace.tools.torch_geometric.dataloader import DataLoader
    from mace.tools.train import take_step

    cutoff, block, table = (
        5.0,
        mace.modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        AtomicNumberTable(elements),
    )
    weights = {"energy": 1.0, "forces": 1.0}
    labelled = [
        Configuration(record.numbers, record.positions, {"energy": record.energy, "forces": record.forces}, weights)
        for record in records
    ]
    graphs = [AtomicData.from_config(each, z_table=table, cutoff=cutoff) for each in labelled]
    model = mace.modules.ScaleShiftMACE(
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        r_max=cutoff,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=max_ell,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(elements),
        hidden_irreps=Irreps(irreps),
        MLP_irreps=Irreps("16x0e"),
        atomic_energies=atomic_energies(records, elements),
        avg_num_neighbors=sum(each.num_edges for each in graphs) / sum(each.num_nodes for each in graphs),
        atomic_numbers=elements,
        correlation=correlation,
        gate=torch.nn.functional.silu,
    )
    loader = DataLoader(graphs, batch_size=BATCH, shuffle=True)
    loss = mace.modules.WeightedEnergyForcesLoss(energy_weight=1.0, forces_weight=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True)
    asked = {"forces": True, "virials": False, "stress": False}

    @double_precision()
    def epoch() -> None:
        for batch in loader:
            take_step(model, loss, batch, optimizer, None, asked, 10.0, torch.device("cpu"))

    return epoch


#: Name, package of PyPI, and what makes its epoch.
PEERS: list[tuple[str, str, Callable[[list[Record], list[int]], Epoch]]] = [
    ("TorchANI, one network of ANI-2x", "torchani", torchani_epoch),
    ("MACE, 32x0e, correlation 2, l ≤ 2", "mace-torch", lambda *data: mace_epoch(*data, "32x0e", 2, 2)),
    (
        "MACE, 32x0e + 32x1o, correlation 3, l ≤ 3",
        "mace-torch",
        lambda *data: mace_epoch(*data, "32x0e + 32x1o", 3, 3),
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="shipped:reactive_chno")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # the peers' imports warn a page
    torch.set_num_threads(1)
    records = list(read_data(options.data).select(part="train").records)
    elements = sorted({int(z) for record in records for z in record.numbers})
    epochs: dict[str, Epoch] = {
        name: Trainer(parse_config({"data": options.data, **way}, name)).train_epoch for name, way in OURS.items()
    }
    for name, package, make in PEERS:
        try:
            epochs[name] = make(records, elements)
        except ModuleNotFoundError as missing:
            remedy = f"`pip install -c constraints.txt {package}` adds it and keeps the torch"
            print(f"without {name}: {missing}; {remedy}", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(options.rounds):
        for name, epoch in epochs.items():
            start = time.process_time()
            epoch()
            times[name].append(time.process_time() - start)
    atoms, least = sum(len(record.numbers) for record in records), min(times["hesspot, E-F"])
    print(f"{len(records)} structures, {atoms} atoms\n")
    print("| training | processor seconds per epoch | ms per atom and epoch | relative to hesspot, E-F |")
    print("| --- | --- | --- | --- |")
    for name, values in times.items():
        print(f"| {name} | {min(values):.3f} | {1e3 * min(values) / atoms:.2f} | {min(values) / least:.1f} |")


if __name__ == "__main__":
    main()
