"""Risk: a file that is not the trained model, or a damaged file that is read without a word."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from ase.build import molecule
from bent_files import KINDS, bent, of_another_kernel, rewritten, said
from torch import Tensor
from typer.testing import CliRunner

from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import app
from hesspot.contract import build_batch
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.answers import answers_of
from hesspot.export.archive import METADATA_HASH
from hesspot.export.file import eager_model
from hesspot.export.metadata import METADATA_NAME
from hesspot.export.replay import check_fingerprint
from hesspot.export.script import weights_hash
from hesspot.models.house import HouseConfig, HouseModel


@pytest.fixture(scope="module")
def model() -> HouseModel:
    torch.manual_seed(5)
    model = HouseModel(HouseConfig(elements=["H", "C", "O"], cutoff=4.0, hidden=[16]))
    model.shifts = [-13.1, -1030.2, -2040.3]
    return model.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def entries(model):
    return [fingerprint_entry(model, name, molecule(name)) for name in ("H2O", "CH3OH")]


@pytest.fixture(scope="module")
def file(model, entries, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.pt"
    write_model(path, model, entries, level_of_theory="none", training={"seed": 5})
    return path


def changed_archive(source, target, hashed=True, **changes):
    """A copy of an archive with its metadata changed, and their hash with them or not."""
    return rewritten(source, target, {METADATA_NAME: said(**changes)}, hashed)


def test_a_file_gives_the_model_back_bit_for_bit(model, file):
    loaded = read_model(file)
    assert loaded.metadata.elements == ["H", "C", "O"]
    assert loaded.metadata.training == {"seed": 5}
    batch = build_batch([molecule("CH3OH")], model.elements, model.cutoff)
    expected = evaluate(model, batch)
    assert torch.equal(evaluate(eager_model(loaded), batch).forces, expected.forces)
    check_fingerprint(loaded.metadata.fingerprint, answers_of(loaded), "the file", "")


def test_metadata_keeps_all_digits(file, entries):
    read = read_model(file).metadata.fingerprint
    assert [entry.model_dump() for entry in read] == [entry.model_dump() for entry in entries]


def test_float32_is_asked_for_and_given(file):
    loaded = read_model(file, dtype=torch.float32)
    floats = {value.dtype for value in loaded.module.state_dict().values()}
    assert floats == {torch.float32, torch.int64}


class Clashing(HouseModel):
    """Another model when scripted than in Python."""

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        energies = torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, vectors.pow(2).sum(1))
        if torch.jit.is_scripting():
            energies = energies * (1.0 + 1e-7)
        return energies


class Passing(torch.nn.Module):
    """Message passing: an atom's energy depends on its neighbours' neighbours."""

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H", "O"]
        self.cutoff = 3.0

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        density = torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, vectors.pow(2).sum(1))
        return torch.zeros_like(density).index_add(0, centers, density[neighbors])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Clashing(HouseConfig(elements=["H", "O"])), "from the scripted model differs from the trained model"),
        (Passing, "it is not strictly local"),
        (lambda: Averaging(), r"an atom's energy .* it is not strictly local"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_and_leaves_no_file(make, words, tmp_path):
    model = make()
    entry = fingerprint_entry(model, "water", molecule("H2O"))
    with pytest.raises(UserError, match=words):
        write_model(tmp_path / "model.pt", model, [entry])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_fingerprint_is_refused(model, entries, tmp_path):
    wrong = entries[0].model_copy(update={"energy": entries[0].energy + 1e-8})
    with pytest.raises(UserError, match=r"energy .* of H2O from the scripted model differs"):
        write_model(tmp_path / "model.pt", model, [wrong])
    assert list(tmp_path.iterdir()) == []


def test_no_fingerprint_or_no_folder_is_refused(model, entries, tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_model(tmp_path / "model.pt", model, [])
    with pytest.raises(UserError, match="does not exist; make it first"):
        write_model(tmp_path / "missing" / "model.pt", model, entries)


def test_missing_file():
    with pytest.raises(UserError, match=r"nowhere\.pt does not exist"):
        read_model("nowhere.pt")


def test_truncated_file(file, tmp_path):
    path = tmp_path / "short.pt"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match="truncated"):
        read_model(path)


def test_text_file(tmp_path):
    path = tmp_path / "text.pt"
    path.write_text("not a model")
    with pytest.raises(UserError, match="no TorchScript archive"):
        read_model(path)


def test_zip_of_something_else(tmp_path):
    path = tmp_path / "other.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"an archive without hesspot\.json"):
        read_model(path)


def test_torchscript_without_metadata(model, tmp_path):
    path = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.script(model), str(path))
    with pytest.raises(UserError, match="no hesspot model"):
        read_model(path)


def test_newer_format(file, tmp_path):
    path = changed_archive(file, tmp_path / "newer.pt", format_version=99)
    with pytest.raises(UserError, match="format version 99, newer than"):
        read_model(path)


def test_bad_metadata_entry(file, tmp_path):
    path = changed_archive(file, tmp_path / "bad.pt", cutoff="far")
    with pytest.raises(UserError, match="bad entry cutoff"):
        read_model(path)


def test_changed_weights(file, tmp_path):
    path = changed_archive(file, tmp_path / "bent.pt", weights_sha256="0" * 64)
    with pytest.raises(UserError, match=r"the weights in .* the file was changed"):
        read_model(path)


@pytest.mark.parametrize("backend", ["kernel", "torchscript"])
@pytest.mark.parametrize(
    "change",
    [
        {"level_of_theory": "CCSD(T)"},
        {"electrons": [[1, 1]]},
        {"jump_at_cutoff": True},
        {"training": {"seed": 6}},
        {"architecture": {"name": "house", "config": {}}},
        {"fingerprint": []},
        {"format_version": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changed_metadata_are_refused(file, tmp_path, change, backend):
    """All that the file says of itself, and not only what has a hash of its own."""
    path = changed_archive(file, tmp_path / "edited.pt", hashed=False, **change)
    with pytest.raises(UserError, match=r"hesspot\.json in .*edited\.pt does not match its hash: the file was changed"):
        read_model(path, backend=backend)
    archive = zipfile.ZipFile(file)
    with zipfile.ZipFile(tmp_path / "bare.pt", "w") as bare:
        for name in archive.namelist():
            if not name.endswith(METADATA_HASH):
                bare.writestr(name, archive.read(name))
    with pytest.raises(UserError, match="does not match its hash"):
        read_model(tmp_path / "bare.pt", backend=backend)


def of_format_1(model, entries, path, architecture, **more):
    """A file as the first format had it: TorchScript, and metadata without packed weights and hashes of records."""
    script = torch.jit.script(model)
    said = {
        "format": "hesspot-model",
        "format_version": 1,
        "hesspot_version": "0.0.1",
        "torch_version": torch.__version__,
        "elements": list(model.elements),
        "cutoff": model.cutoff,
        "architecture": architecture,
        "weights_sha256": weights_hash(script.state_dict()),
        "fingerprint": [json.loads(entry.model_dump_json(exclude={"masses"})) for entry in entries],
        **more,
    }
    torch.jit.save(script, str(path), _extra_files={METADATA_NAME: json.dumps(said)})
    return path


def export(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_a_file_of_format_1_is_written_anew(model, entries, tmp_path):
    """It runs by its TorchScript; the new one by the kernel, with the same answers, level and training."""
    architecture = {"name": "house", "config": model.config.model_dump()}
    said = {"level_of_theory": "GFN2-xTB", "training": {"seed": 5}}
    old, new = of_format_1(model, entries, tmp_path / "old.pt", architecture, **said), tmp_path / "new.pt"
    assert (
        read_model(old).kernel is None and "write it anew with `hesspot export OLD NEW`" in read_model(old).describe()
    )
    assert "by the kernel (" in export(old, new)
    written = read_model(new)
    assert written.metadata.format_version == 2 and written.metadata.level_of_theory == "GFN2-xTB"
    assert written.metadata.training == {"seed": 5} and written.metadata.fingerprint == entries
    batch = build_batch([molecule("CH3OH")], model.elements, model.cutoff)
    for loaded in (read_model(old), written):
        found = evaluate(loaded, batch)
        torch.testing.assert_close(found.forces, evaluate(model, batch).forces, rtol=0, atol=1e-12)  # rounding
    with pytest.raises(UserError, match=r"new\.pt exists already"):
        export(old, new)


def test_somebody_elses_model_of_format_1_is_written_anew(tmp_path):
    model = Jumping()
    entry = fingerprint_entry(model, "water", molecule("H2O"))
    old = of_format_1(model, [entry], tmp_path / "old.pt", {"name": "torchscript", "config": {}})
    export(old, tmp_path / "new.pt")
    written = read_model(tmp_path / "new.pt")
    assert written.metadata.format_version == 2 and written.metadata.jump_at_cutoff
    check_fingerprint([entry], answers_of(written), "the file", "")
    with pytest.raises(UserError, match=r"new\.pt is of format 2 already and stays as it is"):
        export(tmp_path / "new.pt", tmp_path / "newer.pt")


def test_a_damaged_old_file_leaves_no_new_one(model, entries, tmp_path):
    wrong = [entries[0].model_copy(update={"energy": entries[0].energy + 1e-6})]
    architecture = {"name": "house", "config": model.config.model_dump()}
    old = of_format_1(model, wrong, tmp_path / "old.pt", architecture)
    with pytest.raises(UserError, match=r"energy .* of H2O from the scripted model differs"):
        export(old, tmp_path / "new.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pt"]


class Unscriptable(Passing):
    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        lengths = {number: vector.norm() for number, vector in enumerate(vectors)}
        return torch.zeros(species.shape[0], dtype=torch.float64) + sum(lengths.values(), start=0.0 * vectors.sum())


def test_a_model_that_cannot_be_scripted_is_one_sentence(entries, tmp_path):
    with pytest.raises(
        UserError, match=r"^the model Unscriptable cannot be scripted by torch .*; write its forward in"
    ):
        write_model(tmp_path / "model.pt", Unscriptable(), entries)
    try:
        write_model(tmp_path / "model.pt", Unscriptable(), entries)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
    assert list(tmp_path.iterdir()) == []


class Linear(Passing):
    """A field that acts on each edge: energies are linear in the edges, and nothing curves."""

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        sign = (species[neighbors] - species[centers]).to(vectors.dtype)
        edges = 0.7 * sign * vectors[:, 0] - 0.2 * sign * vectors[:, 2]
        return torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, edges.to(torch.float64))


def test_a_model_that_is_linear_in_its_edges_has_no_curvature(tmp_path):
    atoms = molecule("H2O")
    entry = fingerprint_entry(Linear(), "water", atoms)
    write_model(tmp_path / "model.pt", Linear(), [entry], allow_jump=True)
    atoms.calc = HesspotCalculator(tmp_path / "model.pt")
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, [[-2.8, 0, 0.8], [1.4, 0, -0.4], [1.4, 0, -0.4]], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(atoms.calc.get_hessian(atoms), np.zeros((9, 9)))


class Cut(Passing):
    """Its gradient is cut from the graph: torch takes the curvature for zero."""

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        edges = (vectors * vectors.detach()).sum(1).to(torch.float64)
        return torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, edges)


def test_a_gradient_that_is_cut_is_no_zero_curvature(tmp_path):
    entry = fingerprint_entry(Cut(), "water", molecule("H2O"))
    with pytest.raises(UserError, match="torch finds no curvature in water, but a force on an edge changes by"):
        write_model(tmp_path / "model.pt", Cut(), [entry], allow_jump=True)


class Averaging(Passing):
    """No message passing, but a mean over all centres that are evaluated together."""

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        edges = vectors.pow(2).sum(1).to(torch.float64)
        energies = torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, edges)
        return energies - 1e-3 * energies.sum()


def test_writing_over_a_file_is_atomic(model, entries, file, tmp_path):
    path = shutil.copy(file, tmp_path / "model.pt")
    before = path.read_bytes()
    broken = entries[0].model_copy(update={"forces": (np.array(entries[0].forces) + 1).tolist()})
    with pytest.raises(UserError):
        write_model(path, model, [broken])
    assert path.read_bytes() == before


def test_another_envelope_runs_by_its_script_and_says_so(tmp_path):
    torch.manual_seed(5)
    model = HouseModel(HouseConfig(elements=["H", "O"], cutoff=4.0, hidden=[8])).requires_grad_(False)
    model.envelope_power = 6
    entry = fingerprint_entry(model, "H2O", molecule("H2O"))
    with pytest.warns(UserWarning, match="has no kernel .* envelope of power 6, and the kernel has power 4"):
        write_model(tmp_path / "six.pt", model, [entry])
    loaded = read_model(tmp_path / "six.pt")
    assert loaded.kernel is None and "by TorchScript on cpu (the packed weights are for an" in loaded.describe()
    for which in (loaded, eager_model(loaded)):
        check_fingerprint([entry], answers_of(which), "the file", "")
    with pytest.raises(UserError, match="cannot be evaluated by the kernel: the packed weights are for an envelope"):
        read_model(tmp_path / "six.pt", backend="kernel")


@pytest.mark.parametrize("backend", ["kernel", "torchscript"])
@pytest.mark.parametrize(("kind", "words"), KINDS.items())
def test_a_file_that_is_not_what_it_says_is_refused(file, tmp_path, backend, kind, words):
    with pytest.raises(UserError, match=words) as caught:
        read_model(bent(file, tmp_path, kind), backend=backend)
    assert "bent.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_another_version_of_the_kernel_runs_by_torchscript_aloud(file, tmp_path):
    later = of_another_kernel(file, tmp_path / "later.pt")
    loaded = read_model(later)
    assert "by TorchScript on cpu (the packed weights are for version 99 of the kernel" in loaded.describe()
    assert eager_model(loaded) is loaded
    check_fingerprint(loaded.metadata.fingerprint, answers_of(loaded), "the file", "")
    with pytest.raises(UserError, match="cannot be evaluated by the kernel: the packed weights are for version 99"):
        read_model(later, backend="kernel")


def test_the_kernel_runs_no_code_of_the_file(file, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", None)
    loaded = read_model(file)
    check_fingerprint(loaded.metadata.fingerprint, answers_of(loaded), "the kernel", "")
    eager_model(loaded)
    assert "by the kernel (" in loaded.describe()


class Jumping(Passing):
    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        return torch.zeros(species.shape[0], dtype=torch.float64).index_add(0, centers, vectors.pow(2).sum(1))


def test_what_breaks_the_contract_is_one_sentence(tmp_path):
    model = Jumping()
    entry = fingerprint_entry(model, "water", molecule("H2O"))
    with pytest.raises(
        UserError, match=r"energy \(eV\) jumps by 9 where a neighbour H of an atom H crosses the cutoff"
    ):
        write_model(tmp_path / "model.pt", model, [entry])
    assert write_model(tmp_path / "model.pt", model, [entry], allow_jump=True).jump_at_cutoff
    del model.elements
    with pytest.raises(UserError, match="no list `elements`"):
        write_model(tmp_path / "other.pt", model, [entry])
