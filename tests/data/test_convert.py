"""Risks: units are misread; parts share molecules; a full disk eats data."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset, Record, shipped
from hesspot.data.convert import convert_to
from hesspot.data.readers import Options
from hesspot.data.split import split_into_parts
from hesspot.errors import UserError
from hesspot.units import HARTREE_PER_BOHR2, KCAL_PER_MOL, energy_per_length


@pytest.fixture(scope="module")
def small() -> Dataset:
    return Dataset.read(shipped.path("small_chno"))


def test_names_of_units() -> None:
    for text in ("Hartree/bohr^2", "ha/a0**2", "Eh / Bohr²"):
        assert energy_per_length(text, 2) == pytest.approx(HARTREE_PER_BOHR2, rel=1e-14)
    assert energy_per_length("kcal/mol/angstrom^2", 2) == pytest.approx(KCAL_PER_MOL, rel=1e-14)
    assert energy_per_length("kJ/mol", 0) == pytest.approx(KCAL_PER_MOL / 4.184, rel=1e-14)
    for text, power in (("eV/Å", 2), ("eV/Å^3", 2), ("eV", 1), ("N/m", 2)):
        with pytest.raises(KeyError):
            energy_per_length(text, power)


def test_a_split_keeps_systems_together(small: Dataset) -> None:
    drawn = split_into_parts(small, [0.7, 0.15, 0.15], "system", seed=1)
    parts: dict[str, set[str]] = {}
    for record in drawn:
        parts.setdefault(record.system, set()).add(record.part)
    assert all(len(of_system) == 1 for of_system in parts.values())
    sizes = [len(drawn.select(part=part)) for part in ("train", "valid", "test")]
    largest = max(len(small.select(system=system)) for system in parts)
    np.testing.assert_allclose(sizes, np.array([0.7, 0.15, 0.15]) * len(small), atol=largest)
    again, other = (split_into_parts(small, [0.7, 0.15, 0.15], "system", seed=seed) for seed in (1, 2))
    assert [r.part for r in again] == [r.part for r in drawn] != [r.part for r in other]


def test_a_split_by_structure_meets_the_fractions(small: Dataset) -> None:
    drawn = split_into_parts(small, [0.5, 0.0, 0.5], "structure")
    assert [len(drawn.select(part=part)) for part in ("train", "valid", "test")] == [135, 0, 135]
    one = Dataset(small.records[:2], "")
    with pytest.raises(UserError, match=r"part (test|valid) stays empty"):
        split_into_parts(one, [0.8, 0.1, 0.1])
    with pytest.raises(UserError, match="use structure, system, composition"):
        split_into_parts(one, [0.8, 0.1, 0.1], "molecule")


def test_a_full_disk_leaves_the_old_file(small: Dataset, tmp_path: Path) -> None:
    """The limit on the size of files stands for the disk: the kernel refuses the write in the same place."""
    path = tmp_path / "set.h5"
    Dataset(small.records[:3], "").write(path)
    before = path.read_bytes()
    program = (
        "import resource, signal, sys\n"
        "from hesspot.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        f"sys.argv = ['hesspot', 'data', 'convert', {str(shipped.path('small_chno'))!r}, '--out', {str(path)!r}]\n"
        "sys.argv += ['--overwrite']\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    assert result.returncode == 1, result.stderr
    assert "set.h5 cannot be written" in result.stderr
    assert "Traceback" not in result.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["set.h5"]


@pytest.mark.parametrize("stated", ["kind='hot liquid'", "config_type='hot liquid'"])
def test_words_of_the_users_own_become_tags(stated: str, tmp_path: Path) -> None:
    """Other programs' config_type, and a kind that is none of hesspot's; --tag takes its place, --kind does not."""
    source, out = tmp_path / "a.xyz", tmp_path / "out.h5"
    source.write_text(f"2\nProperties=species:S:1:pos:R:3 energy=-31.7 {stated}\nH 0 0 0\nH 0 0 0.74\n")
    convert_to(out, [source], Options())
    assert [(r.kind, r.tag) for r in Dataset.read(out)] == [("other", "hot liquid")]
    assert "hot liquid" in CliRunner().invoke(app, ["data", "info", str(out)]).output
    convert_to(out, [source], Options(), kind="minimum", tag="cold")
    assert [(r.kind, r.tag) for r in Dataset.read(out)] == [("minimum", "cold")]
    with pytest.raises(UserError, match="--tag hot for a word of yours"):
        convert_to(out, [source], Options(), kind="hot")


def test_the_converter_draws_the_parts_that_a_split_in_memory_draws(small: Dataset, tmp_path: Path) -> None:
    out = convert_to(tmp_path / "out.h5", [shipped.path("small_chno")], Options(), split=[0.7, 0.15, 0.15], seed=1)
    assert [r.part for r in out] == [r.part for r in split_into_parts(small, [0.7, 0.15, 0.15], "system", seed=1)]
    assert out.provenance["split"] == [0.7, 0.15, 0.15, "system", 1]


def test_info_tells_charges_and_multiplicities(tmp_path: Path) -> None:
    ion = Record(np.array([8, 1]), np.array([[0.0, 0, 0], [0, 0, 0.97]]), "ion", energy=-1.0, charge=-1)
    radical = replace(ion, name="radical", charge=0, multiplicity=2)
    Dataset([ion, radical, replace(ion, name="another")], "a test").write(tmp_path / "ions.h5")
    printed = CliRunner().invoke(app, ["data", "info", str(tmp_path / "ions.h5")]).output
    assert "charge -1, multiplicity not stated: 2; charge 0, multiplicity 2: 1" in printed
