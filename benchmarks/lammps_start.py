"""What `pair_style hesspot` adds to LAMMPS on one rank before the first step: seconds, and resident memory.

    OMP_NUM_THREADS=1 python benchmarks/lammps_start.py [--plugin hesspotplugin.so] [--model MODEL.pt] [--rounds 7]

A molecule of water, `run 0`, each LAMMPS in a process of its own; seconds from its start to the end of the run, and its
largest resident memory then. The same with pair_style zero and no plugin in the same round. The smallest of all
rounds of each, and their differences. And the sizes of the files of the plugin, of its TorchScript, and of torch.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ase.build import molecule

from hesspot.lammps import build_plugin, find_environment, lammps_environ
from hesspot.lammps.structure import write_data
from hesspot.models.shipped import find_model

MEBIBYTE = 2**20
MODEL = find_model("shipped:water")
SCRIPT = """units metal
read_data structure.data
pair_style {style}
pair_coeff {coefficients}
run 0
shell cat gate
"""


def run(command: list[str], environ: dict[str, str], folder: Path) -> tuple[float, float]:
    """Seconds and MiB of one LAMMPS."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL)
    gate = None  # a FIFO, which can be opened once LAMMPS reads it
    while gate is None:
        if process.poll() is not None:
            raise SystemExit(f"LAMMPS failed: {(folder / 'log.lammps').read_text()}")
        with suppress(OSError):
            gate = os.open(folder / "gate", os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.001)
    seconds = time.perf_counter() - begin
    status = Path(f"/proc/{process.pid}/status").read_text()
    os.close(gate)
    process.wait()
    return seconds, int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024  # type: ignore[union-attr]


def size_of(paths: list[Path]) -> float:
    return sum(path.stat().st_size for path in paths if path.is_file()) / MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    environment = find_environment()
    plugin = (options.plugin or build_plugin(environment)).absolute()
    with_plugin = lammps_environ(environment, plugin)
    without = {**with_plugin, "LAMMPS_PLUGIN_PATH": ""}
    coefficients = f'* * "{options.model.absolute()}" H O'
    ways = {
        "LAMMPS alone, pair_style zero": (without, "zero 5.0", "* *"),
        "hesspot, kernel": (with_plugin, "hesspot", coefficients),
        "hesspot, kernel, verify yes": (with_plugin, "hesspot verify yes", coefficients),
        "hesspot, torchscript": (with_plugin, "hesspot backend torchscript", coefficients),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        atoms = molecule("H2O")
        atoms.center(6.0)
        write_data(folder / "structure.data", atoms, ["H", "O"])
        os.mkfifo(folder / "gate")
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, (environ, style, words) in ways.items():
                (folder / "in.run").write_text(SCRIPT.format(style=style, coefficients=words))
                command = [str(environment.lmp), "-in", "in.run"]
                found[name].append(run(command, environ, folder))
    alone = [min(values) for values in zip(*found["LAMMPS alone, pair_style zero"], strict=True)]
    print("| way | seconds | more than LAMMPS alone | resident, MiB | more than LAMMPS alone |")
    print("| --- | --- | --- | --- | --- |")
    for name, values in found.items():
        seconds, memory = (min(each) for each in zip(*values, strict=True))
        print(f"| {name} | {seconds:.2f} | {seconds - alone[0]:.2f} | {memory:.0f} | {memory - alone[1]:.0f} |")
    of_torch = sorted((environment.torch_folder / "lib").glob("*")) if environment.torch_folder else []
    backend = plugin.parent / "libhesspot_torchscript.so"
    rest = [path for path in plugin.parent.iterdir() if path != backend]
    sizes = {"plugin": size_of(rest), "its TorchScript": size_of([backend]), "torch": size_of(of_torch)}
    print("\n" + ", ".join(f"{name} {size:.1f} MiB" for name, size in sizes.items()))


if __name__ == "__main__":
    main()
