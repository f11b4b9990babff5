"""Risk: a public name that is missing, undocumented or slow to import, and a string where only a Path would do."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

import hesspot

DOCS = Path(__file__).parents[2] / "docs" / "python.md"

#: Modules that cost more than a tenth of a second each.
HEAVY = ("torch", "numpy", "ase", "pydantic", "h5py", "scipy", "matplotlib")


@pytest.mark.parametrize("name", hesspot.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(hesspot, name)
    assert f"`{name}" in DOCS.read_text()
    if name != "__version__":
        assert len(inspect.getdoc(value).splitlines()[0]) > 20
        assert name in dir(hesspot)


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match=r"no attribute 'tarin'; public are .*train"):
        _ = hesspot.tarin


@pytest.mark.parametrize("statement", ["import hesspot", "import hesspot.cli.main", "from hesspot import UserError"])
def test_the_import_loads_nothing_heavy(statement):
    code = f"import sys; {statement}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) & set(HEAVY) == set()


def test_a_module_of_that_name_does_not_hide_a_function():
    """`import hesspot.x` binds x in hesspot, in the place of a function of that name."""
    packages = {path.stem if path.suffix == ".py" else path.name for path in Path(hesspot.__file__).parent.iterdir()}
    assert packages & set(hesspot.__all__) == set()


def test_from_labels_to_a_verified_model_with_strings(dataset, tmp_path):
    data, run, model = (str(tmp_path / name) for name in ("labels.h5", "run", "model.pt"))
    hesspot.Dataset(dataset.records, "harmonic bonds").write(data)
    keys = {
        "data": Path(data),
        "mode": "ef",
        "validate_every": 1,
        "model": {"cutoff": 4.0, "n_radial": 3, "n_channels": 2, "hidden": [4]},
        "optimizer": {"epochs": 1},
    }
    result = hesspot.train(keys, run, show=False)
    assert result.folder == Path(run)
    metadata = hesspot.export_run(run, model, structures=2)
    assert metadata.elements == ["H", "O"]
    report = hesspot.verify(model, data=data, part="all", engines="ase", max_structures=2)
    assert report.passed and report.engines[0].engine == "ase"
    report.write(str(tmp_path / "report.json"))

    water = molecule("H2O")
    water.write(tmp_path / "water.xyz")
    (read,) = hesspot.read_structures(str(tmp_path / "water.xyz"))
    read.calc = hesspot.HesspotCalculator(model)
    entry = hesspot.fingerprint_entry(hesspot.read_model(model), "water", water)
    np.testing.assert_allclose(read.get_forces(), entry.forces, atol=1e-6)  # xyz files have 8 digits
    with pytest.raises(hesspot.UserError, match="does not exist"):
        hesspot.train(str(tmp_path / "none.yaml"), run)
