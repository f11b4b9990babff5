"""Risk: a runtime that needs torch where the kernel evaluates the model, or that says nothing clear where it does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.socketio import SocketIOCalculator
from ase.io import write

from hesspot.calculators import HesspotCalculator

#: Found by Python when it starts: nothing of torch can be imported, as where it is not installed.
HIDDEN = """import sys


class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == "torch" else self.finder.find_spec(name, path, target)

    def find_distributions(self, context=None):
        found = getattr(self.finder, "find_distributions", lambda context: [])(context)
        return (one for one in found if one.name != "torch")


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""

#: ASE's Hartree and Bohr are not i-PI's: 1e-8 of energies of some 100 eV and forces of some eV/Å.
CONVERTED = 1e-6


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has no torch."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDDEN)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "hidden")}


def run(environ: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environ)


CALCULATION = """
import json, pickle, sys
import ase.io
import hesspot
calculator = pickle.loads(pickle.dumps(hesspot.HesspotCalculator(sys.argv[1])))
found = []
for atoms in ase.io.read(sys.argv[2], ":"):
    atoms.calc = calculator
    found.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), calculator.get_hessian(atoms).tolist()])
    if atoms.pbc.any():
        found[-1] += [atoms.get_stress().tolist(), atoms.get_stresses().tolist()]
assert "torch" not in sys.modules
print(json.dumps(found))
"""


def structures() -> list[Atoms]:
    small = molecule("CH3OH")
    small.set_cell([4.5, 4.6, 4.7])
    small.pbc = True
    return [molecule("CH3CH2OH"), small]


def test_the_calculator_gives_the_same_numbers(house_model_file, without_torch, tmp_path) -> None:
    write(tmp_path / "structures.traj", structures())
    arguments = "-c", CALCULATION, str(house_model_file), str(tmp_path / "structures.traj")
    ended = run(without_torch, *arguments)
    assert ended.stderr == ""
    for atoms, (energy, forces, hessian, *stress) in zip(structures(), json.loads(ended.stdout), strict=True):
        atoms.calc = HesspotCalculator(house_model_file)
        assert energy == atoms.get_potential_energy()
        np.testing.assert_array_equal(forces, atoms.get_forces())
        np.testing.assert_array_equal(hessian, atoms.calc.get_hessian(atoms))
        for found, expected in zip(stress, (atoms.get_stress, atoms.get_stresses), strict=bool(stress)):
            np.testing.assert_array_equal(found, expected())


def test_a_search_for_neighbours_loads_none_where_there_is_one(house_model_file) -> None:
    """vesin would; what others import as vesin still knows torch."""
    script = f"""
import sys
import hesspot
from ase.build import molecule
atoms = molecule("H2O", cell=[6, 6, 6], pbc=True)
atoms.calc = hesspot.HesspotCalculator({str(house_model_file)!r})
energy = atoms.get_potential_energy()
assert "torch" not in sys.modules
import torch, vesin
points, box = torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)
found = vesin.NeighborList(cutoff=4.0, full_list=True).compute(points=points, box=box, periodic=True, quantities="d")
assert isinstance(found[0], torch.Tensor) and len(found[0])
atoms.rattle(0.1)
assert atoms.get_potential_energy() != energy
"""
    ended = run(dict(os.environ), "-c", script)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("extras", ["none", "hessian", "hvp"])
def test_the_driver_serves(house_model_file, without_torch, tmp_path, extras) -> None:
    atoms = molecule("CH3OH")
    atoms.write(tmp_path / "start.xyz", format="extxyz")
    command = [sys.executable, "-m", "ipi_driver.cli", str(house_model_file), "--template", "start.xyz"]
    address = f"hesspot-{tmp_path.name}-{os.getpid()}"
    options = ["--unix", address, "--pbc", "false", "--extras", extras]
    with SocketIOCalculator(unixsocket=address) as atoms.calc:
        driver = subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=without_torch, stderr=subprocess.PIPE, text=True
        )
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
    assert "by the kernel" in driver.communicate()[1]
    atoms.calc = HesspotCalculator(house_model_file)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=CONVERTED)
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=CONVERTED * abs(energy))


@pytest.mark.parametrize("command", ["train config.yaml --out run", "export run out.pt"])
def test_what_needs_torch_says_so(without_torch, command) -> None:
    ended = run(without_torch, "-m", "hesspot", *command.split())
    assert ended.returncode == 1 and ended.stdout == ""
    words = " ".join(ended.stderr.split())
    assert words.startswith(f"hesspot: `hesspot {command.split()[0]}`, as it was called, needs torch, which is not")
    assert "install it with `pip install 'torch>=2.10'`" in words


def test_verify_asks_what_needs_none(house_model_file, without_torch, tmp_path) -> None:
    """The kernel stands for the trained model, and is held against the fingerprint; an engine that is named and needs
    torch fails in a sentence."""
    report = str(tmp_path / "report.json")
    ended = run(without_torch, "-m", "hesspot", "verify", str(house_model_file), "--engines", "ase", "--json", report)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(Path(report).read_text())
    assert found["trained_model"]["engine"] == "kernel in place of the trained model"
    assert {check["quantity"] for check in found["trained_model"]["checks"]} >= {"energy", "forces", "virial", "H·v"}
    ended = run(without_torch, "-m", "hesspot", "verify", str(house_model_file), "--engines", "torch,ase")
    said = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode == 1 and "engine torch needs torch, which is not installed here" in said
    asked = "from hesspot.verification.run import default_engines; print(*default_engines())"
    assert run(without_torch, "-c", asked).stdout.split() == ["ase", "lammps", "ipi"]


USES = {
    "hesspot.HesspotCalculator({script!r})": "the TorchScript of model file .*lj.pt",
    "hesspot.read_model({kernel!r}, backend='torchscript')": "the TorchScript of model file .*house.pt .as asked for.",
    "hesspot.HesspotCalculator({kernel!r}, device='cuda')": "device cuda",
    "hesspot.train": "hesspot.train",
}


@pytest.mark.parametrize("use", USES)
def test_python_says_so_too(lj_model_file, house_model_file, without_torch, use) -> None:
    code = use.format(script=str(lj_model_file), kernel=str(house_model_file))
    ended = run(without_torch, "-c", f"import hesspot\ntry: {code}\nexcept hesspot.UserError as error: print(error)")
    assert ended.stderr == ""
    assert re.match(f"{USES[use]}.* needs torch, which is not installed here", ended.stdout)
