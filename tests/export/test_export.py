"""Risk: a file that is not the trained model, or a damaged file that is read without a word."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from ase.build import molecule
from bent_files import KINDS, bent, of_another_kernel
from torch import Tensor

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.export import fingerprint_entry, read_model, write_model
from hesspot.export.file import eager_model
from hesspot.export.metadata import METADATA_NAME
from hesspot.export.replay import answers_of, check_fingerprint
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


def changed_archive(source, target, change):
    """A copy of an archive with its metadata changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith(METADATA_NAME):
                content = json.loads(data)
                change(content)
                data = json.dumps(content).encode()
            new.writestr(item.filename, data)
    return target


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
    path = changed_archive(file, tmp_path / "newer.pt", lambda content: content.update(format_version=99))
    with pytest.raises(UserError, match="format version 99, newer than"):
        read_model(path)


def test_bad_metadata_entry(file, tmp_path):
    path = changed_archive(file, tmp_path / "bad.pt", lambda content: content.update(cutoff="far"))
    with pytest.raises(UserError, match="bad entry cutoff"):
        read_model(path)


def test_changed_weights(file, tmp_path):
    path = changed_archive(file, tmp_path / "bent.pt", lambda content: content.update(weights_sha256="0" * 64))
    with pytest.raises(UserError, match="the file was changed"):
        read_model(path)


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
