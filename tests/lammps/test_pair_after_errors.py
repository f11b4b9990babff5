"""An error that a caller catches leaves nothing behind: the next value is that of a fresh LAMMPS, bit for bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ase import Atoms
from lammps_runs import hesspot_pair
from structures import water_crystal

from hesspot.export import fingerprint_entry, write_model
from hesspot.lammps.environment import find_environment
from hesspot.lammps.run import lammps_environ
from hesspot.lammps.structure import write_data

pytestmark = pytest.mark.lammps

ELEMENTS = ["O", "C", "N", "H"]

#: Small portions, so that some are done when a later one fails.
OPTIONS = "max_edges 1000"

PROGRAM = """
import ctypes, sys
from mpi4py import MPI
import numpy as np
from lammps import LMP_STYLE_ATOM, LMP_STYLE_GLOBAL, LMP_TYPE_ARRAY, LMP_TYPE_SCALAR, LMP_TYPE_VECTOR, lammps

styles, folder, doors = sys.argv[1], sys.argv[2], sys.argv[3].split()
world = MPI.COMM_WORLD

def start():
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.file(folder + "/in.start")
    return lmp

def places(lmp):
    return np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)

def move(lmp, x):
    lmp.scatter_atoms("x", 1, 3, (ctypes.c_double * x.size)(*x.ravel()))

def array(lmp, name):
    lmp.extract_compute(name, LMP_STYLE_ATOM, LMP_TYPE_ARRAY)  # which calculates it
    return lmp.numpy.extract_compute(name, LMP_STYLE_ATOM, LMP_TYPE_ARRAY)[: lmp.extract_setting("nlocal")].copy()

def api_hvp(lmp):
    n = lmp.extract_setting("nlocal")
    direction, product = np.ones((n, 3)), np.zeros((n, 3))
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (direction, product)]
    problem = library.hesspot_hvp(ctypes.c_void_p(lmp.lmp.value), b"hvp", 1, *pointers)
    if problem:
        raise RuntimeError(problem.decode())
    return product

def api_hessian(lmp):
    handle, n = ctypes.c_void_p(), ctypes.c_int64()
    rows, columns = (ctypes.POINTER(ctypes.c_int64)() for _ in range(2))
    blocks = ctypes.POINTER(ctypes.c_double)()
    outputs = [ctypes.byref(value) for value in (handle, n, rows, columns, blocks)]
    problem = library.hesspot_hessian(ctypes.c_void_p(lmp.lmp.value), b"hvp", *outputs)
    if problem:
        raise RuntimeError(problem.decode())
    found = np.ctypeslib.as_array(blocks, (n.value, 9)).copy()
    library.hesspot_hessian_free(handle)
    return found

DOORS = {
    "run": lambda lmp: lmp.command("run 0 post no"),
    "hvp": lambda lmp: array(lmp, "hvp"),
    "curvature": lambda lmp: np.array(lmp.extract_compute("hvp", LMP_STYLE_GLOBAL, LMP_TYPE_SCALAR)),
    "api_hvp": api_hvp,
    "api_hessian": api_hessian,
    "deviation": lambda lmp: array(lmp, "doubt"),
    "worst": lambda lmp: np.array(lmp.extract_compute("doubt", LMP_STYLE_GLOBAL, LMP_TYPE_VECTOR)[0]),
}

def values(lmp):
    lmp.command("run 0 post no")
    n = lmp.extract_setting("nlocal")
    found = {"pe": np.array(lmp.get_thermo("pe")), "press": np.array(lmp.get_thermo("press")),
             "forces": lmp.numpy.extract_atom("f")[:n].copy()}
    return found | {door: DOORS[door](lmp) for door in doors if door != "run"}

start().close()  # LAMMPS opens the library
library = ctypes.CDLL(styles)
library.hesspot_hvp.restype = library.hesspot_hessian.restype = ctypes.c_char_p
expected = values(start())
assert abs(expected["forces"]).max() > 0.1
lmp = start()
good = values(lmp)  # and what belongs to this step is there
bad = places(lmp)
for last in np.atleast_1d(np.loadtxt(folder + "/last_of_each_rank", dtype=int)):
    bad[last] = bad[last - 1] + [2e-4, 0, 0]
right = places(lmp)
for door in doors:
    move(lmp, bad)
    for name in ("run", door, door):  # nothing of the first attempt is taken for a value
        try:
            DOORS[name](lmp)
        except Exception as caught:
            assert "on one place" in str(caught) or "too near" in str(caught), caught
        else:
            raise AssertionError(name + " gave a value for what it cannot calculate")
    move(lmp, right)
    found = values(lmp)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=f"{name} after an error of {door}")
if world.rank == 0:
    print("fine")
"""


class Picky(torch.nn.Module):
    """Cannot do atoms that are nearer than 0.1 Å."""

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H", "C", "N", "O"]
        self.cutoff = 4.0

    def forward(
        self, species: torch.Tensor, centers: torch.Tensor, neighbors: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        squares = (vectors * vectors).sum(1)
        if bool((squares < 0.01).any()):
            raise RuntimeError("these atoms are too near")
        zero = torch.zeros(species.shape[0], dtype=vectors.dtype, device=vectors.device)
        return zero.index_add(0, centers, torch.exp(-squares) * (16.0 - squares) ** 3)


@pytest.fixture
def picky_file(tmp_path: Path) -> Path:
    path, model = tmp_path / "picky.pt", Picky()
    write_model(path, model, [fingerprint_entry(model, "pair", Atoms("HC", [[0, 0, 0], [0, 0, 1.2]]))])
    return path


def structure() -> Atoms:
    """Longest along x, which is what LAMMPS divides among ranks."""
    atoms = water_crystal() * (2, 1, 1)
    atoms.rattle(0.02, seed=8)
    return atoms[atoms.positions[:, 0].argsort()]


@pytest.mark.parametrize(
    ("file", "options", "doors", "ranks"),
    [
        ("committee_file", "", "run hvp curvature api_hvp api_hessian deviation worst", 1),
        ("committee_file", "backend torchscript", "run hvp", 1),
        ("committee_file", "", "run hvp api_hessian deviation", 2),
        ("picky_file", "", "run hvp", 1),
    ],
)
def test_values_after_an_error_are_those_of_a_fresh_lammps(
    tmp_path: Path, plugin: Path, request: pytest.FixtureRequest, file: str, options: str, doors: str, ranks: int
) -> None:
    atoms = structure()
    write_data(tmp_path / "structure.data", atoms, ELEMENTS)
    # the last atoms of each rank's part: all ranks fail, as no rank can go on without the others
    parts = [round(len(atoms) * (rank + 0.9) / ranks) for rank in range(ranks)]
    (tmp_path / "last_of_each_rank").write_text("\n".join(map(str, parts)))
    doubt = "compute doubt all hesspot/deviation" if "deviation" in doors else ""
    (tmp_path / "in.start").write_text(
        f"""units metal
atom_modify map array sort 0 0
read_data {tmp_path / "structure.data"}
{hesspot_pair(request.getfixturevalue(file), ELEMENTS, f"{OPTIONS} {options}")}
velocity all create 300 5
compute hvp all hesspot/hvp v
{doubt}
"""
    )
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = find_environment()
    command = [environment.mpirun, "-n", str(ranks), sys.executable, "program.py"]
    ended = subprocess.run(
        [*map(str, command), str(plugin.parent / "libhesspot_styles.so"), str(tmp_path), doors],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=lammps_environ(environment, plugin),
    )
    assert ended.returncode == 0 and ended.stdout.endswith("fine\n"), ended.stdout + ended.stderr
