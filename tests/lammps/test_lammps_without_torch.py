"""Risk: a plugin that needs torch for a model with a kernel, or that says nothing clear where TorchScript is needed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ase.build import molecule

from hesspot.lammps import find_environment, lammps_environ, mpirun_command
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import write_data

pytestmark = pytest.mark.lammps

SCRIPT = """units metal
read_data structure.data
pair_style hesspot {options}
pair_coeff * * "{model}" {elements}
run 0
print "energy $(pe:%.15g)"
"""


def run(folder: Path, plugin: Path, model: Path, options: str = "", elements: str = "H O") -> str:
    """The output of LAMMPS on two ranks with this plugin."""
    atoms = molecule("H2O")
    atoms.center(5.0)
    write_data(folder / "structure.data", atoms, ["H", "O"])
    (folder / "in.run").write_text(SCRIPT.format(options=options, model=model, elements=elements))
    environment = find_environment()
    command = mpirun_command(environment, 2, folder / "in.run", ["-log", "none"])
    ended = subprocess.run(
        command, capture_output=True, text=True, env=lammps_environ(environment, plugin), cwd=folder, timeout=600
    )
    return ended.stdout + ended.stderr


@pytest.fixture
def without_torch(plugin: Path, tmp_path: Path) -> Path:
    """The plugin as it is built where there is no torch."""
    copy = Path(shutil.copytree(plugin.parent, tmp_path / "plugin"))
    (copy / "libhesspot_torchscript.so").unlink()
    (copy / "torch.txt").unlink()
    return copy / plugin.name


def test_a_model_with_a_kernel_needs_no_torch(
    plugin: Path, without_torch: Path, house_model_file: Path, tmp_path: Path
) -> None:
    for library in without_torch.parent.glob("*.so"):
        linked = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
        assert "libstdc++" in linked and "torch" not in linked and "libc10" not in linked
    energies = [
        run(tmp_path, each, house_model_file, options).rpartition("energy ")[2].split()[0]
        for each, options in ((plugin, "verify yes"), (without_torch, "verify yes"))
    ]
    assert energies[0] == energies[1] and float(energies[0])


@pytest.mark.parametrize(
    ("file", "options", "elements", "words"),
    [
        ("house_model_file", "backend torchscript", "H O", "backend torchscript is asked for, and TorchScript cannot"),
        ("house_model_file", "device cuda", "H O", "device cuda is asked for, and TorchScript cannot run here"),
        ("lj_model_file", "", "Ar Ne", "has no kernel here: architecture torchscript has no kernel, and TorchScript"),
    ],
)
def test_where_torch_is_needed_one_sentence_says_so(
    without_torch: Path, tmp_path: Path, file: str, options: str, elements: str, words: str, request
) -> None:
    output = run(tmp_path, without_torch, request.getfixturevalue(file), options, elements)
    message = error_of(output)
    assert words in message and "was built without torch; install torch and call `hesspot lammps build`" in message
    assert output.count("ERROR") == 1 and "energy" not in output.partition("ERROR")[2], output


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("1.2.3\n{folder}\n", "it was built for torch 1.2.3, but this is torch 2."),
        ("2.99.0\n/nowhere\n", "torch 2.99.0 cannot be loaded (/nowhere/libtorch_cpu.so"),
    ],
)
def test_another_torch_than_the_one_it_was_built_for(
    plugin: Path, house_model_file: Path, tmp_path: Path, told: str, words: str
) -> None:
    copy = Path(shutil.copytree(plugin.parent, tmp_path / "plugin"))
    (copy / "torch.txt").write_text(told.format(folder=find_environment().torch_folder / "lib"))
    assert "energy " in run(tmp_path, copy / plugin.name, house_model_file)
    output = run(tmp_path, copy / plugin.name, house_model_file, "backend torchscript")
    assert words in error_of(output) and "`hesspot lammps build`" in error_of(output)
    assert output.count("ERROR") == 1
