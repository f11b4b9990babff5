"""`hesspot label`: resumable, in parallel, and what it refuses."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset, Record
from hesspot.errors import UserError

pytest.importorskip("pyscf")
from hesspot.reference.labelling import complete, label_file
from hesspot.reference.method import Labels, NotConverged
from hesspot.reference.partial_results import PartStore
from hesspot.reference.pyscf_labels import Method

QUICK = Method(xc="LDA", basis="STO-3G", grid=(20, 50))
QUICK_OPTIONS = ["--xc", "LDA", "--basis", "STO-3G", "--grid", "20,50"]

#: eV/Å²: grid response that the analytic Hessian lacks, and differences; the products are about 100.
PRODUCT = 1e-2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.xyz"
    ase.io.write(file, [Atoms("H2", [[0, 0, 0], [0, 0, d]], info={"kind": "nms"}) for d in (0.7, 0.75, 0.8)])
    return file


def test_command_line_writes_a_dataset(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    result = CliRunner().invoke(app, ["label", str(source), "--out", str(out), *QUICK_OPTIONS, "--part", "test"])
    assert result.exit_code == 0, result.output
    dataset = Dataset.read(out)
    assert dataset.level_of_theory == QUICK.level_of_theory
    assert [record.name for record in dataset] == ["in_00000", "in_00001", "in_00002"]
    assert {(record.part, record.kind, record.system) for record in dataset} == {("test", "nms", "H2")}
    assert all(record.hessian is not None and record.forces is not None for record in dataset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.xyz", "out.h5"]


def test_isotopes_are_kept_with_their_labels(tmp_path: Path) -> None:
    """Also where the labels come from a part that was computed for other masses: they are the same."""
    (tmp_path / "hd.xyz").write_text("2\n\nH 0 0 0\nD 0 0 0.75\n")
    (tmp_path / "h2.xyz").write_text("2\nname=hd_00000\nH 0 0 0\nH 0 0 0.75\n")
    (heavy,) = label_file(tmp_path / "hd.xyz", tmp_path / "hd.h5", QUICK)
    (light,) = label_file(tmp_path / "h2.xyz", tmp_path / "h2.h5", QUICK)
    assert light.masses is None and heavy.energy == light.energy
    np.testing.assert_array_equal(Dataset.read(tmp_path / "hd.h5")[0].masses, [1.008, 2.014])
    PartStore(tmp_path / "again.h5.parts", QUICK, print).put(light)
    (again,) = label_file(tmp_path / "hd.xyz", tmp_path / "again.h5", QUICK)
    np.testing.assert_array_equal(again.masses, heavy.masses)


def test_a_killed_run_continues_with_what_it_finished(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    program = f"""
import os, signal
from pathlib import Path
from hesspot.reference.labelling import label_file
from hesspot.reference.pyscf_labels import Method
labels, calls = Method.labels, []
def killed(*args, **more):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return labels(*args, **more)
Method.labels = killed
label_file(Path({str(source)!r}), Path({str(out)!r}), Method.model_validate_json({QUICK.model_dump_json()!r}))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=120)
    assert ended.returncode == -9, ended.stderr.decode()
    assert not out.exists()
    assert len(list((tmp_path / "out.h5.parts").glob("*.h5"))) == 2

    counted = []
    original = Method.labels

    def counting(*args: object, **more: object) -> Labels:
        counted.append(1)
        return original(*args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Method, "labels", counting)
        label_file(source, out, QUICK)
    assert len(counted) == 1
    assert len(Dataset.read(out)) == 3
    assert not (tmp_path / "out.h5.parts").exists()


def test_workers_give_what_one_process_gives(source: Path, tmp_path: Path) -> None:
    one = label_file(source, tmp_path / "one.h5", QUICK)
    two = label_file(source, tmp_path / "two.h5", QUICK, jobs=2)
    for a, b in zip(one, two, strict=True):
        assert a.name == b.name
        assert a.energy == pytest.approx(b.energy, abs=1e-9)
        np.testing.assert_allclose(a.hessian, b.hessian, atol=1e-7)


def test_parts_of_another_method_or_geometry_are_not_used(source: Path, tmp_path: Path) -> None:
    record = label_file(source, tmp_path / "out.h5", QUICK)[0]
    said: list[str] = []
    PartStore(tmp_path / "parts", QUICK, said.append).put(record)
    store = PartStore(tmp_path / "parts", QUICK, said.append)
    assert store.get(record.name, record) is not None
    assert not said

    assert PartStore(tmp_path / "parts", Method(), said.append).get(record.name) is None
    assert "another method" in said[-1]
    changed = Dataset.read(tmp_path / "out.h5")[0]
    changed.positions[0] += 1e-9
    assert store.get(record.name, changed) is None
    assert "another geometry" in said[-1]
    next((tmp_path / "parts").iterdir()).write_bytes(b"half")
    assert store.get(record.name, record) is None
    assert "cannot be read" in said[-1]


def test_labels_without_hessians_are_not_taken_for_complete_ones(source: Path, tmp_path: Path) -> None:
    dataset = label_file(source, tmp_path / "out.h5", QUICK, hessian=False)
    assert all(record.hessian is None and record.forces is not None for record in dataset)
    said: list[str] = []
    store = PartStore(tmp_path / "parts", QUICK, said.append)
    store.put(dataset[0])
    assert store.get(dataset[0].name, hessian=False) is not None
    assert store.get(dataset[0].name) is None
    assert "no Hessian" in said[-1]
    assert store.get(dataset[0].name, hessian=False, products=2) is None
    assert "another number of Hessian products" in said[-1]


def test_hessian_products_agree_with_the_analytic_hessian() -> None:
    bare = Record.from_atoms(Atoms("H2", [[0, 0, 0], [0, 0.3, 0.7]]), "H2")
    record = complete(bare, Method(xc="LDA", basis="STO-3G"), hessian=True, products=2)
    assert record.directions is not None
    assert record.products is not None
    expected = (record.directions.reshape(2, 6) @ record.hessian).reshape(2, 2, 3)
    np.testing.assert_allclose(record.products, expected, atol=PRODUCT)


def test_what_does_not_converge_is_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Method.labels

    def failing(method: Method, atoms: Atoms, **more: bool) -> Labels:
        if atoms.get_distance(0, 1) > 0.77:
            raise NotConverged("the SCF did not converge")
        return original(method, atoms, **more)

    monkeypatch.setattr(Method, "labels", failing)
    dataset = label_file(source, tmp_path / "out.h5", QUICK)
    assert [record.name for record in dataset] == ["in_00000", "in_00001"]
    assert "in_00002: left out" in capsys.readouterr().err
    assert (tmp_path / "out.h5.parts").exists()

    monkeypatch.setattr(Method, "labels", lambda *_, **__: (_ for _ in ()).throw(NotConverged("no")))
    with pytest.raises(UserError, match="no structure"):
        label_file(source, tmp_path / "other.h5", QUICK)
    assert not (tmp_path / "other.h5").exists()


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        ("not a structure", {}, "cannot be read by ASE"),
        ("1\n\nH 0 0 0\n", {}, "odd number of electrons"),
        ("2\n\nH 0 0 0\nH 0 0 0\n", {}, "apart"),
        ("2\n\nH 0 0 0\nH 0 0 0.7\n", {"jobs": 0}, "--jobs 0"),
        ("2\n\nH 0 0 0\nH 0 0 0.7\n", {"part": "training"}, "train, valid, test"),
    ],
)
def test_bad_input(text: str, more: dict, words: str, tmp_path: Path) -> None:
    source = tmp_path / "bad.xyz"
    source.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        label_file(source, tmp_path / "out.h5", QUICK, **more)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.xyz"]


def test_an_existing_file_and_a_missing_one_are_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    with pytest.raises(UserError, match="does not exist"):
        label_file(tmp_path / "nothing.xyz", out, QUICK)
    with pytest.raises(UserError, match="folder"):
        label_file(source, tmp_path / "no" / "out.h5", QUICK)
    out.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        label_file(source, out, QUICK)
    assert out.read_text() == "precious"


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_structure_never_costs_the_others(jobs: int, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, out = tmp_path / "in.xyz", tmp_path / "out.h5"
    far = Atoms("H2", [[0, 0, 0], [0, 0, 20]], info={"name": "far"})
    ase.io.write(file, [far, Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], info={"name": "near"})])
    label_file(file, out, Method(basis="6-31G(d)", grid=(20, 50)), jobs=jobs)
    assert [record.name for record in Dataset.read(out)] == ["near"]
    assert "far: left out," in capsys.readouterr().err


def test_charge_and_spin_of_the_file_are_labelled_and_kept(tmp_path: Path) -> None:
    file, out = tmp_path / "in.xyz", tmp_path / "out.h5"
    anion = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"name": "anion", "charge": -1})
    ase.io.write(file, [anion, Atoms("OH", anion.positions, info={"name": "radical", "multiplicity": 2})])
    label_file(file, out, QUICK, hessian=False)
    kept = {record.name: record for record in Dataset.read(out)}
    assert (kept["anion"].charge, kept["anion"].multiplicity) == (-1, 1)
    assert (kept["radical"].charge, kept["radical"].multiplicity) == (0, 2)
    assert "spin_squared" in kept["radical"].properties
    again = complete(kept["radical"], QUICK, hessian=False)
    assert again.energy == pytest.approx(kept["radical"].energy, abs=1e-6)
    neutral = complete(replace(kept["anion"], charge=0, multiplicity=2), QUICK, hessian=False)
    assert neutral.energy == pytest.approx(kept["radical"].energy, abs=1e-6)
    assert abs(kept["anion"].energy - kept["radical"].energy) > 1.0
