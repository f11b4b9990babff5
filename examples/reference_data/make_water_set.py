"""Makes the shipped dataset water_gfn1: clusters and periodic boxes of water at GFN1-xTB, from nothing.

    python examples/reference_data/make_water_set.py water_gfn1.h5 --jobs 2
    mpirun -n 9 python -m mpi4py.futures examples/reference_data/make_water_set.py water_gfn1.h5 --mpi

Clusters of 1 to 8 molecules: optimised from random places, then molecular dynamics with GFN1-xTB; all small ones
and half of the larger ones with Hessians, the others with Hessian products. Boxes: short dynamics with GFN1-xTB, then
rounds of active learning: a model is trained on what there is, runs at several temperatures and densities, and
samples of its runs are labelled; last, the minima of the clusters. The parts train, valid and test are different
trajectories.

Finished trajectories, labels and models are kept in OUT.parts/: a stopped run continues where it was.
"""

import argparse
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
import yaml
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.geometry import find_mic
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS, FIRE

from hesspot.data import Record
from hesspot.files import held, replacing
from hesspot.pool import executor
from hesspot.reference.labelling import complete
from hesspot.reference.method import NotConverged
from hesspot.reference.partial_results import PartStore, assemble
from hesspot.reference.tblite_labels import TbliteMethod

METHOD = TbliteMethod(method="GFN1-xTB")
CONFIGURATION = Path(__file__).parents[1] / "water" / "water.yaml"
#: g/cm³ at 300 K and 1 bar.
DENSITY = 0.997
#: Molecules up to which every sampled cluster has a Hessian; of larger ones every second, the others have products.
ALL_HESSIANS, PRODUCTS = 4, 4
#: Epochs of the first model and of those that start from it.
EPOCHS, MORE_EPOCHS = 30, 15
#: Steps of the models' runs in each round.
ROUNDS = (400, 1000, 2000)
#: fs
TIMESTEP = 1.0
#: eV/Å, largest force of what counts as a minimum; eV/Å², least curvature that an optimisation begins with.
STATIONARY, SOFTEST = 8e-4, 0.3
#: eV; minima of as many molecules whose energies are so close are the same.
SAME_ENERGY = 1e-4
#: A model's run has failed when a hydrogen is so far (Å) from all oxygens, or T is so many times what it should be.
BROKEN, HOT = 1.5, 2.5


@dataclass(frozen=True)
class Trajectory:
    """One molecular-dynamics run and how many of its frames are labelled."""

    name: str
    molecules: int
    temperature: float
    frames: int
    part: str = "train"
    density: float | None = None

    @property
    def periodic(self) -> bool:
        return self.density is not None

    @property
    def run(self) -> str:
        """The run that the frames belong to; a minimum belongs to that which it was optimised from."""
        return self.name.removesuffix("_minimum")

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())


def clusters() -> list[Trajectory]:
    runs = []
    for n in range(1, 9):
        for label, temperature, frames, part in (
            ("a", 500.0, 10, "train"),
            ("v", 400.0, 3, "valid"),
            ("t", 400.0, 5, "test"),
        ):
            runs.append(Trajectory(f"cluster{n}{label}", n, temperature, frames, part))
    return [*runs, Trajectory("cluster1h", 1, 2000.0, 8), Trajectory("cluster2h", 2, 1000.0, 8)]


def minimum_of(plan: Trajectory) -> Trajectory:
    return replace(plan, name=f"{plan.name}_minimum")


def first_box() -> Trajectory:
    return Trajectory("box", 32, 600.0, 8, density=DENSITY)


def round_boxes(number: int) -> list[Trajectory]:
    """What the model of a round runs."""
    runs = [
        ("a", 32, 300.0, 5, "train", DENSITY),
        ("b", 32, 400.0, 5, "train", DENSITY),
        ("c", 32, 600.0, 5, "train", DENSITY),
        ("d", 32, 350.0, 4, "train", 0.85),
        ("e", 32, 350.0, 4, "train", 1.15),
        ("f", 64, 300.0, 2, "train", DENSITY),
        ("v", 32, 350.0, 3, "valid", DENSITY),
        ("t", 32, 300.0, 3, "test", DENSITY),
        ("u", 32, 450.0, 2, "test", 1.08),
    ]
    return [Trajectory(f"round{number}_{label}", *rest) for label, *rest in runs]


def turned_molecule(rng: np.random.Generator) -> Atoms:
    atoms = molecule("H2O")
    atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
    return atoms


def packed_cluster(n: int, rng: np.random.Generator) -> Atoms:
    """Molecules at random in a sphere, no two oxygens nearer than 2.7 Å."""
    radius = 1.9 * n ** (1 / 3)
    while True:
        places = rng.uniform(-radius, radius, size=(n, 3))
        distances = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(n, 1)]
        if (np.linalg.norm(places, axis=1) <= radius).all() and (distances > 2.7).all():
            break
    cluster = Atoms()
    for place in places:
        water = turned_molecule(rng)
        water.positions += place
        cluster += water
    return cluster


def packed_box(n: int, density: float, rng: np.random.Generator) -> Atoms:
    """Molecules turned at random on a face-centred (32) or simple (64) cubic lattice."""
    crystal = bulk("O", {32: "fcc", 64: "sc"}[n], a=1.0, cubic=True)
    crystal = crystal.repeat({32: 2, 64: 4}[n])
    box = Atoms(cell=crystal.cell, pbc=True)
    box.set_cell(np.eye(3) * box_length(n, density))
    for place in crystal.get_scaled_positions():
        water = turned_molecule(rng)
        water.positions += place @ box.cell.array
        box += water
    return box


def box_length(n: int, density: float) -> float:
    """Å, of a cubic box of n molecules."""
    mass = n * molecule("H2O").get_masses().sum() / units.kg * 1e3
    return float((mass / density) ** (1 / 3) * 1e8)


def with_density(box: Atoms, density: float) -> Atoms:
    """The box stretched; molecules stay as they are."""
    box = box.copy()
    factor = box_length(len(box) // 3, density) / box.cell.lengths()[0]
    oxygen = np.repeat(np.arange(0, len(box), 3), 3)
    inside = find_mic(box.positions - box.positions[oxygen], box.cell, pbc=True)[0]
    box.positions = box.positions[oxygen] * factor + inside
    box.set_cell(box.cell * factor)
    return box


def run(atoms: Atoms, temperature: float, steps: int, keep: Iterable[int], seed: int) -> list[Atoms]:
    """Langevin dynamics; the structures after the steps of `keep`, as far as the run is sound."""
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    frames: list[Atoms] = []
    wanted = set(keep)
    for _ in range(steps):
        dynamics.run(1)
        if (dynamics.nsteps in wanted or dynamics.nsteps % 10 == 0) and (
            broken(atoms) or (len(atoms) > 24 and atoms.get_temperature() > HOT * temperature)
        ):
            break
        if dynamics.nsteps in wanted:
            frames.append(bare(atoms))
    return frames


def broken(atoms: Atoms) -> bool:
    """Whether a hydrogen has left all oxygens; molecules may swap hydrogens."""
    oxygen, hydrogen = atoms.positions[atoms.numbers == 8], atoms.positions[atoms.numbers == 1]
    across = (hydrogen[:, None] - oxygen).reshape(-1, 3)
    distances = np.linalg.norm(find_mic(across, atoms.cell, atoms.pbc)[0], axis=1)
    return bool(distances.reshape(len(hydrogen), -1).min(axis=1).max() > BROKEN)


def bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def spread(steps: int, frames: int) -> list[int]:
    """Steps after which frames are kept: evenly spread over the last four fifths."""
    return [int(step) for step in np.linspace(0.2 * steps, steps, frames)]


def write_frames(file: Path, frames: list[Atoms]) -> None:
    with replacing(file) as temporary:
        ase.io.write(temporary, frames, format="extxyz")


def cluster_run(file: Path, plan: Trajectory) -> str:
    """An optimised cluster (the first frame) and its dynamics with GFN1-xTB."""
    from tblite.ase import TBLite

    rng = np.random.default_rng(plan.seed)
    atoms = packed_cluster(plan.molecules, rng)
    atoms.calc = TBLite(method=METHOD.method, accuracy=0.01, verbosity=0)
    FIRE(atoms, logfile=None).run(fmax=0.3, steps=60)
    BFGS(atoms, logfile=None).run(fmax=STATIONARY, steps=150)
    frames = [bare(atoms)]
    atoms.calc.set(accuracy=1.0)
    frames += run(atoms, plan.temperature, 150, spread(150, plan.frames), plan.seed)
    write_frames(file, frames)
    return f"{len(frames)} frames"


def box_run(file: Path, plan: Trajectory) -> str:
    """A short run of a box with GFN1-xTB."""
    from tblite.ase import TBLite

    assert plan.density is not None
    atoms = packed_box(plan.molecules, plan.density, np.random.default_rng(plan.seed))
    atoms.calc = TBLite(method=METHOD.method, verbosity=0)
    FIRE(atoms, logfile=None).run(fmax=1.0, steps=4)
    frames = run(atoms, plan.temperature, 24, spread(24, plan.frames), plan.seed)
    write_frames(file, frames)
    return f"{len(frames)} frames"


def model_run(file: Path, plan: Trajectory, start: Path | None, run_folder: Path, steps: int) -> str:
    """A run of a box with the model of a round."""
    from hesspot.calculators import HesspotCalculator
    from hesspot.kernel import KernelModel
    from hesspot.training.checkpoint import load_checkpoint, model_of

    assert plan.density is not None
    if start is None:
        atoms = packed_box(plan.molecules, plan.density, np.random.default_rng(plan.seed))
    else:
        atoms = with_density(ase.io.read(start, "-1"), plan.density)
    atoms.calc = HesspotCalculator(KernelModel.of(model_of(load_checkpoint(run_folder / "best.pt"))))
    FIRE(atoms, logfile=None).run(fmax=1.0, steps=40)
    keep = np.geomspace(0.1 * steps, steps, plan.frames).astype(int)  # a bad model shows itself early
    relaxed = bare(atoms)
    frames = run(atoms, plan.temperature, steps, keep, plan.seed)
    write_frames(file, frames or [relaxed])
    return "stable" if len(frames) == plan.frames else f"failed, {len(frames)} of {plan.frames} frames"


def minimum_run(file: Path, plan: Trajectory, start: Path, run_folder: Path) -> str:
    """The minimum next to an optimised cluster: with a model first, then with GFN1-xTB from the model's Hessian."""
    from tblite.ase import TBLite

    from hesspot.calculators import HesspotCalculator
    from hesspot.kernel import KernelModel
    from hesspot.training.checkpoint import load_checkpoint, model_of

    atoms = ase.io.read(start, "0")
    atoms.calc = HesspotCalculator(KernelModel.of(model_of(load_checkpoint(run_folder / "best.pt"))))
    BFGS(atoms, logfile=None).run(fmax=STATIONARY, steps=500)
    values, modes = np.linalg.eigh(atoms.calc.get_hessian(atoms))
    atoms.calc = TBLite(method=METHOD.method, accuracy=0.01, verbosity=0)
    optimiser = BFGS(atoms, logfile=None)
    optimiser.H0 = (modes * np.maximum(np.abs(values), SOFTEST)) @ modes.T
    optimiser.run(fmax=0.5 * STATIONARY, steps=200)
    write_frames(file, [bare(atoms)])
    return f"a force of {np.linalg.norm(atoms.get_forces(), axis=1).max():.1e} eV/Å after {optimiser.nsteps} steps"


def label(folder: Path, record: Record, hessian: bool, products: int) -> Record | str:
    store = PartStore(folder, METHOD)
    done = store.get(record.name, record, hessian=hessian, products=products)
    if done is None:
        try:
            done = complete(record, METHOD, hessian=hessian, products=products)
        except NotConverged as error:
            return str(error)
        store.put(done)
    return done


class Maker:
    """Hands tasks to the workers and keeps what comes back."""

    def __init__(self, out: Path, pool: Executor) -> None:
        self.out, self.pool = out, pool
        self.folder = out.with_name(out.name + ".parts")
        PartStore(self.folder, METHOD)
        self.records: dict[str, Record] = {}
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{(time.monotonic() - self.started) / 60:6.1f} min  {text}", flush=True)

    def trajectory(self, plan: Trajectory) -> Path:
        return self.folder / f"{plan.name}.extxyz"

    def dynamics(self, tasks: dict[Trajectory, tuple]) -> None:
        """Run the trajectories that are not there yet: plan → (function, further arguments…)."""
        futures = {
            self.pool.submit(function, self.trajectory(plan), plan, *more): plan.name
            for plan, (function, *more) in tasks.items()
            if not self.trajectory(plan).exists()
        }
        for future in as_completed(futures):
            self.say(f"{futures[future]}: {future.result()}")

    def label(self, plans: list[Trajectory]) -> None:
        """Label all frames of finished trajectories."""
        futures = {}
        for plan in plans:
            frames = ase.io.read(self.trajectory(plan), ":")
            system = f"water_{plan.molecules}" if plan.periodic else f"(H2O){plan.molecules}"
            for i, atoms in enumerate(frames):
                optimised = i == 0 and not plan.periodic
                properties = {"trajectory": plan.run} | ({} if optimised else {"temperature": plan.temperature})
                record = Record.from_atoms(
                    bare(atoms),
                    f"{plan.name}_{i:02d}",
                    part=plan.part,
                    system=system,
                    properties=properties | ({"density": plan.density} if plan.periodic else {}),
                )
                hessian = not plan.periodic and (plan.molecules <= ALL_HESSIANS or i % 2 == 0)
                products = 0 if hessian or plan.periodic else PRODUCTS
                futures[self.pool.submit(label, self.folder, record, hessian, products)] = record.name
        for future in as_completed(futures):
            name, result = futures[future], future.result()
            if isinstance(result, str):
                self.say(f"{name}: left out, {result}")
            else:
                optimised = "temperature" not in result.properties
                at_rest = optimised and np.abs(result.forces).max() < STATIONARY
                self.records[name] = replace(result, kind="minimum" if at_rest else "other")
        self.say(f"{len(futures)} frames labelled")

    def train(self, number: int) -> Path:
        """The model of a round, from all labels of the earlier ones."""
        from hesspot.training.config import parse_config
        from hesspot.training.loop import train

        folder = self.folder / f"round{number}_model"
        if not (folder / "done").exists():
            data = self.folder / f"round{number}.h5"
            self.write(data)
            content = yaml.safe_load(CONFIGURATION.read_text()) | {"data": str(data), "mode": "ef"}
            epochs = EPOCHS if number == 1 else MORE_EPOCHS
            content["optimizer"] = content["optimizer"] | {"epochs": epochs, "warmup_epochs": 1}
            content["validate_every"] = epochs // 4
            if number > 1:
                content["start_from"] = str(self.folder / f"round{number - 1}_model")
            train(parse_config(content, str(CONFIGURATION)), folder, resume=(folder / "last.pt").exists(), show=False)
            (folder / "done").touch()
            self.say(f"the model of round {number} is trained on {len(self.records)} structures")
        return folder

    def active_round(self, number: int, steps: int) -> Path:
        """Train, run, label; returns the folder of the model."""
        model = self.train(number)
        plans = round_boxes(number)
        before = first_box() if number == 1 else round_boxes(number - 1)[0]
        tasks = {}
        for plan in plans:
            earlier = [p for p in (round_boxes(number - 1) if number > 1 else []) if p.name[-1] == plan.name[-1]]
            starts = [self.trajectory(p) for p in (*earlier, before) if p.molecules == plan.molecules]
            start = next((file for file in starts if file.exists()), None)
            tasks[plan] = (model_run, start, model, steps)
        self.dynamics(tasks)
        self.label(plans)
        return model

    def minima(self, model: Path) -> None:
        """Minima of the larger clusters, which were not reached without a model."""
        plans = {minimum_of(plan): plan for plan in clusters() if plan.molecules > 1}
        self.dynamics({new: (minimum_run, self.trajectory(plan), model) for new, plan in plans.items()})
        self.label(list(plans))

    def write(self, out: Path) -> None:
        """The set so far, without minima for testing that training knows: small clusters have only one."""
        minima = [record for record in self.records.values() if record.kind == "minimum"]
        known = [(len(record), record.energy) for record in minima if record.part == "train"]
        copies = {
            record.name
            for record in minima
            if record.part != "train"
            and any(len(record) == size and abs(record.energy - energy) < SAME_ENERGY for size, energy in known)
        }
        records = [self.records[name] for name in sorted(self.records.keys() - copies)]
        script = "examples/reference_data/make_water_set.py"
        assemble(records, METHOD, out, script=script, densities="g/cm³", temperatures="K")
        self.say(f"{out}: {len(records)} structures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--mpi", action="store_true", help="the ranks of mpirun … python -m mpi4py.futures instead")
    arguments = parser.parse_args()
    with held(f"{arguments.out}.parts", "the labels"), executor(arguments.jobs, mpi=arguments.mpi) as pool:
        maker = Maker(arguments.out, pool)
        maker.dynamics({first_box(): (box_run,)} | {plan: (cluster_run,) for plan in clusters()})
        maker.label([first_box(), *clusters()])
        maker.write(arguments.out)
        for number, steps in enumerate(ROUNDS, 1):
            model = maker.active_round(number, steps)
            maker.write(arguments.out)
        maker.minima(model)
        maker.write(arguments.out)


if __name__ == "__main__":
    main()
