"""Risk: a repulsion that is not the one it is named after, and start structures that fall into themselves in a run."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from ase.data import atomic_numbers
from lammps_runs import run_succeeding

from hesspot.models.core import core_table, core_within, repulsion
from hesspot.models.shipped import find_model

ELEMENTS = ["H", "C", "Cu"]
#: Relative: LAMMPS has the screening length 0.4685 Å as the paper prints it, for 0.8854 Bohr = 0.46853 Å here, and the
#: potential falls by e^(−r/a) times it: 6e-5 for each length.
CONSTANTS = 1e-3
#: Of a random start, clusters: enough that some ten collapse in a model without its core.
CLUSTERS = 40

spec = importlib.util.spec_from_file_location(
    "random_starts", Path(__file__).parents[2] / "benchmarks" / "random_starts.py"
)
assert spec is not None and spec.loader is not None
random_starts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(random_starts)


def test_the_repulsion_is_that_of_ziegler_biersack_and_littmark(tmp_path: Path) -> None:
    """As LAMMPS has it; of its energies a constant differs, which lets them vanish at its cutoff."""
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    numbers = [atomic_numbers[symbol] for symbol in ELEMENTS]
    coefficients = "\n".join(f"pair_coeff {i + 1} {j + 1} {numbers[i]} {numbers[j]}" for i, j in pairs)
    tables = "\n".join(f"pair_write {i + 1} {j + 1} 40 r 0.05 2.0 zbl.{i}{j} forces" for i, j in pairs)
    run_succeeding(
        tmp_path,
        f"""
units metal
region box block 0 20 0 20 0 20
create_box 3 box
create_atoms 1 single 1 1 1
mass * 1.0
pair_style zbl 3.9 4.0
{coefficients}
{tables}
""",
    )
    core = core_table(core_within(ELEMENTS, np.full((3, 3), 2.0), 4.0), ELEMENTS)
    for i, j in pairs:
        rows = np.array([line.split() for line in (tmp_path / f"zbl.{i}{j}").read_text().splitlines()[-40:]], float)
        r = torch.tensor(rows[:, 1], requires_grad=True)
        (slope,) = torch.autograd.grad(repulsion(core[2, i, j], core[3, i, j], r).sum(), r)
        np.testing.assert_allclose(rows[:, 3], -slope.numpy(), rtol=CONSTANTS)


def test_random_starts_come_apart() -> None:
    outcomes = Counter(random_starts.outcomes(find_model("shipped:grown").absolute(), CLUSTERS, 3))
    assert outcomes == {"repelled": CLUSTERS}
