"""Do atoms that start on top of each other come apart? Random clusters with a pair at 0.3 Å, in LAMMPS.

    OMP_NUM_THREADS=1 python benchmarks/random_starts.py shipped:grown --count 10000

Each cluster has 4 to 8 atoms of the model's elements at random places, 0.9 of the sum of their covalent radii apart at
least, and one more at 0.3 Å from one of them. A run holds many, far from one another: 0.15 ps of Langevin dynamics at
300 K with steps no longer than 0.02 Å. At the end a cluster is repelled if no pair is nearer than 0.85 of the core's
outer radius (docs/model.md), and collapsed otherwise. All clusters of a run that LAMMPS ends with an error are stopped.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.data import atomic_masses, atomic_numbers, covalent_radii

from hesspot.console import Progress
from hesspot.export import read_model
from hesspot.lammps import run_lammps
from hesspot.lammps.run import error_of
from hesspot.models.core import Core, core_within, pairs_of
from hesspot.models.shipped import find_model

PAIR = 0.3  # Å
ATOMS = 4, 8
APART = 0.9  # of the sum of covalent radii
SPACING = 40.0  # Å, between clusters, within which no atom gets from one to another
LONGEST = 0.02  # Å, of a step
STEPS, TIMESTEP, DAMPING = 600, 0.25e-3, 0.02  # ps
TEMPERATURE = 300.0  # K
NEAR = 0.85
TOGETHER = 500  #: clusters in a run


def cluster(elements: list[str], rng: np.random.Generator) -> ase.Atoms:
    """Around the origin; the last two atoms are `PAIR` apart."""
    symbols = rng.choice(elements, rng.integers(ATOMS[0], ATOMS[1] + 1))
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in symbols]]
    places: list[np.ndarray] = []
    size = 1.5
    while len(places) < len(symbols):
        place = rng.uniform(-size, size, 3)
        own = radii[len(places)]
        if all(np.linalg.norm(place - other) > APART * (own + r) for other, r in zip(places, radii, strict=False)):
            places.append(place)
        size *= 1.001
    direction = rng.normal(size=3)
    extra = places[-1] + PAIR * direction / np.linalg.norm(direction)
    return ase.Atoms([*symbols, rng.choice(elements)], [*places, extra])


def run(model: Path, elements: list[str], clusters: list[ase.Atoms], folder: Path, seed: int) -> list[ase.Atoms] | str:
    """The clusters at the end, or why LAMMPS stopped."""
    per_side = int(np.ceil(len(clusters) ** (1 / 3)))
    sites = [SPACING * np.array(np.unravel_index(n, (per_side,) * 3), dtype=float) for n in range(len(clusters))]
    types = {symbol: number for number, symbol in enumerate(elements, 1)}
    numbers = iter(range(1, 10**9))
    rows = [
        f"{next(numbers)} {types[symbol]} " + " ".join(f"{x:.10f}" for x in position)
        for atoms, site in zip(clusters, sites, strict=True)
        for symbol, position in zip(atoms.symbols, atoms.positions + site, strict=True)
    ]
    low, high = -0.5 * SPACING, (per_side - 0.5) * SPACING
    masses = "\n".join(f"{number} {atomic_masses[atomic_numbers[symbol]]}" for symbol, number in types.items())
    box = "\n".join(f"{low} {high} {axis}lo {axis}hi" for axis in "xyz")
    (folder / "in.data").write_text(
        f"clusters\n\n{len(rows)} atoms\n{len(types)} atom types\n{box}\n\nMasses\n\n{masses}\n\nAtoms # atomic\n\n"
        + "\n".join(rows)
        + "\n"
    )
    ended = run_lammps(
        f"""
units metal
atom_style atomic
boundary p p p
read_data in.data
pair_style hesspot
pair_coeff * * "{model}" {" ".join(elements)}
neighbor 1.0 bin
neigh_modify delay 0 every 1 check yes
fix 1 all nve/limit {LONGEST}
fix 2 all langevin {TEMPERATURE} {TEMPERATURE} {DAMPING} {seed}
timestep {TIMESTEP}
thermo {STEPS}
run {STEPS}
write_dump all custom out.dump id xu yu zu modify sort id format float %.10f
""",
        workdir=folder,
        extra_args=["-log", "none"],
    )
    if ended.returncode:
        return error_of(ended.stdout)
    positions = np.loadtxt(folder / "out.dump", skiprows=9)[:, 1:]
    ends = np.cumsum([len(atoms) for atoms in clusters])[:-1]
    return [ase.Atoms(atoms.numbers, own) for atoms, own in zip(clusters, np.split(positions, ends), strict=True)]


def nearest(atoms: ase.Atoms, elements: list[str], core: Core) -> float:
    """The least distance of two atoms over the outer radius of their pair."""
    radii = {pair: core[name][1] for name, i, j in pairs_of(elements) for pair in ((i, j), (j, i))}
    species = [elements.index(symbol) for symbol in atoms.symbols]
    distances = atoms.get_all_distances()
    return min(distances[i, j] / radii[species[i], species[j]] for i in range(len(atoms)) for j in range(i))


def outcomes(model: Path, count: int, seed: int, together: int = TOGETHER) -> Iterator[str]:
    """For each cluster: repelled, collapsed, or why the run of it stopped."""
    metadata = read_model(model).metadata
    elements = metadata.elements
    core = metadata.architecture.config.get("core") or core_within(
        elements, np.full((len(elements),) * 2, np.inf), metadata.cutoff
    )
    rng = np.random.default_rng(seed)
    for first in range(0, count, together):
        clusters = [cluster(elements, rng) for _ in range(min(together, count - first))]
        with tempfile.TemporaryDirectory() as folder:
            found = run(model, elements, clusters, Path(folder), seed + first + 1)
        for number in range(len(clusters)):
            if isinstance(found, str):
                yield f"stopped: {found}"
            else:
                yield "repelled" if nearest(found[number], elements, core) > NEAR else "collapsed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file or shipped:NAME")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    with Progress("clusters", arguments.count) as progress:
        for outcome in outcomes(find_model(arguments.model).absolute(), arguments.count, arguments.seed):
            counts[outcome] += 1
            progress.advance()
    for outcome, number in counts.most_common():
        print(f"{number} {outcome}")


if __name__ == "__main__":
    main()
