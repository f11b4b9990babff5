"""Risk: a page whose commands and code do not do what it says.

Each page is followed from top to bottom in a folder of its own, which holds what its reader would have; blocks with a
`<!-- not run: REASON -->` are left out.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import molecule
from blocks import PAGES, ROOT, RUN, Block, blocks_of, command_lines

from hesspot.cli.main import main
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.export import fingerprint_entry, write_model
from hesspot.models.ensemble import EnsembleConfig, HouseEnsemble
from hesspot.models.shipped import find_model

#: Numbers of a page are printed by one machine and compared on another: the last digit shown may differ by this.
LAST_DIGIT = 2.0

#: Forces at minima and their like, in whatever unit: rounding.
NOISE = 1e-8

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def is_run(block: Block) -> bool:
    return block.language in RUN and not block.said("not run") and not block.said("file")


TO_RUN = [page for page in PAGES if any(is_run(block) for block in blocks_of(page))]


#: The molecules of a shipped set that pages train on.
FEW = ("H2", "H2O")

#: What an input of LAMMPS has before the lines that a page shows.
START = """units metal
atom_style atomic
read_data water.data
pair_style hesspot
pair_coeff * * {model} O H
velocity all create 300.0 4711 loop geom
fix nve all nve
timestep 0.0005
"""


@pytest.fixture(scope="session")
def committee_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two members, with random weights."""
    torch.manual_seed(5)
    config = EnsembleConfig(elements=["O", "H"], cutoff=4.0, n_radial=4, n_channels=3, hidden=[8], members=2)
    model = HouseEnsemble(config).requires_grad_(False).eval()
    path = tmp_path_factory.mktemp("committee") / "committee.pt"
    write_model(path, model, [fingerprint_entry(model, "water", molecule("H2O"))])
    return path


@pytest.fixture(scope="session")
def labels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some structures with Hessians."""
    labels = Dataset.read(find_dataset("shipped:small_chno"))
    path = tmp_path_factory.mktemp("labels") / "labels.h5"
    few = [record for record in labels if record.system in FEW]
    Dataset(few, labels.level_of_theory).write(path)
    return path


@pytest.fixture
def readers_folder(tmp_path: Path, labels_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that pages take for granted: a start, a model, labels, inputs of LAMMPS."""
    ase.io.write(tmp_path / "start.xyz", molecule("H2O"))
    shutil.copy(find_model("shipped:grown"), tmp_path / "model.pt")
    shutil.copy(find_model("shipped:water"), tmp_path / "water.pt")
    shutil.copy(labels_file, tmp_path / "labels.h5")
    for file in (ROOT / "examples" / "lammps").iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "in.start").write_text(START.format(model="water.pt"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


def run_hesspot(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """As a process would, without a second import of torch."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def run_bash(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in command_lines(block.work()):
        if re.match(r"hesspot [^|>&;$*]*(#.*)?$", line):
            status = run_hesspot(shlex.split(line, comments=True), monkeypatch)
        else:
            status = subprocess.run(["bash", "-euo", "pipefail", "-c", line]).returncode
        assert status == 0, f"{block.place}: `{line}` ended with {status}"


def run_lammps_block(block: Block) -> None:
    from hesspot.lammps import run_lammps

    ended = run_lammps(block.work(), workdir=Path.cwd())
    assert ended.returncode == 0, f"{block.place}: {ended.stdout[-2000:]}"
    print(ended.stdout)


def run_yaml(block: Block) -> None:
    """A configuration, whole or the keys that are talked of."""
    import yaml

    from hesspot.distill.config import parse_distillation
    from hesspot.study.config import parse_study
    from hesspot.training.config import parse_config

    keys = yaml.safe_load(block.work())
    if "teacher" in keys or "distill" in block.page.stem:
        whole = {"start": "start.xyz", "teacher": {"calculator": "ase.calculators.emt:EMT"}, **keys}
        parse_distillation(whole, block.place)
    elif "arms" in keys:
        parse_study(keys, block.place)
    else:
        parse_config({"data": "labels.h5", **keys}, block.place)


def compare(block: Block, printed: str) -> None:
    """Each line shown is a line printed, in this order; numbers agree as far as they are shown."""
    lines = iter(printed.splitlines())
    for shown in block.text.splitlines():
        if re.search(r"\w", shown):
            assert any(same(shown, line) for line in lines), f"{block.place}: not printed: {shown!r}\n{printed}"


def same(shown: str, printed: str) -> bool:
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    for one, other in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        digits = len(one.lower().partition("e")[0].partition(".")[2])
        unit = 10.0 ** (int(one.lower().partition("e")[2] or 0) - digits)
        if max(abs(float(one)), abs(float(other))) > NOISE and abs(float(one) - float(other)) > LAST_DIGIT * unit:
            return False
    return True


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page, readers_folder, request, monkeypatch, capfd):
    if "in.committee" in page.read_text():
        committee = request.getfixturevalue("committee_file")
        (readers_folder / "in.committee").write_text(START.format(model=committee))
    names: dict = {"__name__": "page"}
    printed = ""
    for block in blocks_of(page):
        if block.said("output"):
            compare(block, printed)
        for name in block.said("file"):
            Path(name).write_text(block.text)
        if not is_run(block) or any(find_spec(module.partition(".")[0]) is None for module in block.said("needs")):
            continue
        if block.language == "bash":
            run_bash(block, monkeypatch)
        elif block.language == "lammps":
            run_lammps_block(block)
        elif block.language == "yaml":
            run_yaml(block)
        else:
            exec(compile(block.work(), block.place, "exec"), names)
        captured = capfd.readouterr()
        printed = captured.out + captured.err
