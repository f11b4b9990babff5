"""The C++ model library, through hesspot-probe, against the derivatives in Python."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from lammps_runs import changed_metadata

from hesspot.contract import Batch, build_batch
from hesspot.derivatives import evaluate, hvp, scatter_to_atoms
from hesspot.export import LoadedModel, fingerprint_entry, read_model, write_model
from hesspot.models.house import HouseConfig, HouseModel

pytestmark = pytest.mark.lammps

#: Rounding of float64.
TOLERANCE = 1e-9
#: Of float32, for forces and products of some eV/Å and eV/Å².
SINGLE_TOLERANCE = 2e-3


BACKENDS = ["torchscript", "kernel"]


def probe(
    plugin: Path, model: Path, cases: str, precision: str = "double", backend: str = "torchscript"
) -> subprocess.CompletedProcess[str]:
    command = [str(plugin.parent / "hesspot-probe"), str(model), precision, backend]
    return subprocess.run(command, input=cases, capture_output=True, text=True)


def case_text(batch: Batch, directions: torch.Tensor) -> str:
    along = directions[batch.neighbors] - directions[batch.centers]
    lines = [f"{batch.n_atoms} {batch.n_edges}", " ".join(map(str, batch.species.tolist()))]
    species = batch.species[batch.neighbors].tolist()
    rows = zip(batch.centers.tolist(), species, batch.vectors.tolist(), along.tolist(), strict=True)
    lines += [" ".join(map(repr, (center, element, *vector, *u))) for center, element, vector, u in rows]
    return "\n".join(lines) + "\n"


def changing_structures(count: int) -> list[Atoms]:
    """Structures of all sizes, an atom without neighbours and no atom at all among them."""
    rng = np.random.default_rng(0)
    atoms = [Atoms("O"), Atoms(), Atoms("CO", positions=[[0, 0, 0], [0, 0, 50.0]])]
    for k in range(count - len(atoms)):
        crystal = molecule(["H2O", "CH3OH", "NH3", "HCN"][k % 4])
        crystal.set_cell(rng.uniform(3.0, 5.0, 3))
        crystal.pbc = k % 3 > 0
        crystal = crystal * (1 + k % 2, 1, 1)
        crystal.rattle(0.05, seed=k)
        atoms.insert(k, crystal)
    return atoms


def assert_probe_agrees(plugin: Path, loaded: LoadedModel, precision: str, backend: str, tolerance: float) -> None:
    structures = [[atoms] if len(atoms) else [] for atoms in changing_structures(15)]
    batches = [build_batch(one, loaded.elements, loaded.cutoff) for one in structures]
    torch.manual_seed(0)
    directions = [torch.randn(batch.n_atoms, 3, dtype=torch.float64) for batch in batches]
    ended = probe(plugin, loaded.path, "".join(map(case_text, batches, directions)), precision, backend)
    assert ended.returncode == 0, ended.stderr
    lines = iter(ended.stdout.splitlines())
    for batch, direction in zip(batches, directions, strict=True):
        energies = [float(next(lines)) for _ in range(batch.n_atoms)]
        edges = np.array([next(lines).split() for _ in range(batch.n_edges)], dtype=float).reshape(-1, 6)
        answer = evaluate(loaded, batch)
        product = hvp(loaded, batch, direction).numpy()
        forces = -scatter_to_atoms(torch.from_numpy(edges[:, :3]), batch)
        np.testing.assert_allclose(energies, answer.atom_energies, atol=tolerance, rtol=0)
        np.testing.assert_allclose(forces, answer.forces, atol=tolerance, rtol=0)
        mine = scatter_to_atoms(torch.from_numpy(edges[:, 3:]), batch)
        np.testing.assert_allclose(
            mine, product, atol=tolerance * max(1.0, float(np.abs(product).max(initial=0))), rtol=0
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_and_products_with_changing_shapes(plugin: Path, house_model_file: Path, backend: str) -> None:
    assert_probe_agrees(plugin, read_model(house_model_file), "double", backend, TOLERANCE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision(plugin: Path, house_model_file: Path, backend: str) -> None:
    assert_probe_agrees(plugin, read_model(house_model_file), "single", backend, SINGLE_TOLERANCE)


@pytest.mark.parametrize("hidden", [[7], [12, 9, 5]])
def test_kernel_of_networks_of_any_depth(plugin: Path, tmp_path: Path, hidden: list[int]) -> None:
    torch.manual_seed(3)
    model = HouseModel(HouseConfig(elements=["H", "C", "N", "O"], cutoff=4.5, n_radial=3, n_channels=2, hidden=hidden))
    model.mean.normal_()
    model.inverse_deviation.uniform_(0.5, 2.0)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3)
    model.requires_grad_(False)
    write_model(tmp_path / "model.pt", model, [fingerprint_entry(model, "water", molecule("H2O"))])
    assert_probe_agrees(plugin, read_model(tmp_path / "model.pt"), "double", "kernel", TOLERANCE)


def test_kernel_of_a_model_without_one_is_refused(plugin: Path, lj_model_file: Path) -> None:
    ended = probe(plugin, lj_model_file, "", backend="kernel")
    assert ended.returncode == 1
    assert "architecture torchscript has no kernel" in ended.stderr


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "does not exist"),
        ("text", "no TorchScript archive, or is truncated"),
        ("truncated", "no TorchScript archive, or is truncated"),
        ("foreign", "without hesspot.json"),
        ("newer", "format version 99, newer than 2"),
        ("units", "has units Hartree and angstrom"),
        ("incomplete", "bad entry"),
    ],
)
def test_bad_model_file_is_one_sentence(
    plugin: Path, house_model_file: Path, tmp_path: Path, kind: str, words: str
) -> None:
    file = tmp_path / "model.pt"
    match kind:
        case "text":
            file.write_text("no model")
        case "truncated":
            file.write_bytes(house_model_file.read_bytes()[:-2000])
        case "foreign":
            torch.jit.save(torch.jit.script(torch.nn.SiLU()), file)
        case "newer":
            changed_metadata(house_model_file, file, format_version=99)
        case "units":
            changed_metadata(house_model_file, file, units={"energy": "Hartree", "length": "angstrom"})
        case "incomplete":
            changed_metadata(house_model_file, file, cutoff=None)
    ended = probe(plugin, file, "")
    assert ended.returncode == 1
    assert words in ended.stderr and str(file) in ended.stderr and len(ended.stderr.splitlines()) == 1
