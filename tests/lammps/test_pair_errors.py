"""Bad input and failures during a run: all ranks end, with one clear sentence."""

import re
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_masses, chemical_symbols
from lammps_runs import changed_metadata, run_failing, run_succeeding

from hesspot.export import read_model
from hesspot.export.metadata import METADATA_NAME
from hesspot.export.script import weights_hash
from hesspot.lammps.build import sources
from hesspot.lammps.run import error_of
from hesspot.lammps.structure import write_data

pytestmark = pytest.mark.lammps

SCRIPT = """units metal
atom_style atomic
read_data structure.data
pair_style hesspot
pair_coeff * * "MODEL" H C O
run 0
"""


def ethanol(folder: Path) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.center(5.0)
    atoms.pbc = True
    write_data(folder / "structure.data", atoms, ["H", "C", "O"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("H C O", "H C Xx", "element Xx of atom type 3 is not in model"),
        ("H C O", "H C", "2 elements for 3 atom types"),
        ("H C O", "H C O N N", "5 elements for 3 atom types"),
        ("H C O", "NULL NULL NULL", "all atom types are NULL"),
        (' "MODEL" H C O', "", "the model file is missing"),
        ("MODEL", "nothing.pt", "model file nothing.pt does not exist"),
        ("MODEL", "folder", "model file folder is a folder; give the path"),
        ("MODEL", "empty.pt", "model file empty.pt is empty, no TorchScript archive"),
        ("run 0", "labelmap atom 1 H 2 O 3 C\nrun 0", "atom type 3 has the label C, but pair_coeff makes it O; write"),
        ("run 0", "pair_modify tail yes", "pair_modify tail yes would have no effect on a many-body model; leave it"),
        ("run 0", "pair_modify shift yes", "pair_modify shift yes would have no effect"),
        ("run 0", "pair_modify mix geometric", "pair_modify mix geometric would have no effect"),
        ("run 0", "pair_modify compute yes table 12", "pair_modify table 12 would have no effect"),
        ("run 0", 'run 0 post no\npair_coeff * * "MODEL" H C O\nrun 1 pre no', "run without pre no"),
        ("MODEL", "truncated.pt", "truncated.pt is no TorchScript archive, or is truncated"),
        ("units metal", "units lj", "units lj are not supported, because they do not say how long an Angstrom is"),
        ("units metal", "units metal\nnewton off", "newton off is not supported"),
        ("style hesspot", "style hesspot precision half", "precision half is not known"),
        ("style hesspot", "style hesspot backend fast", "backend fast is not known; use one of auto torchscript"),
        ("style hesspot", "style hesspot verify maybe", "verify maybe is not known; use one of no yes"),
        pytest.param(
            *("style hesspot", "style hesspot device cuda", "torch finds no GPU on this node; use device cpu"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        ("run 0", "pair_style hesspot precision single\nrun 0", "pair coeffs"),
        ("run 0", "pair_write 1 1 10 r 1.0 4.0 table.txt AA", "does not support pair_write"),
        ("run 0", "compute 1 all group/group all\nrun 0", "does not support compute group/group"),
        ("style hesspot", "style hesspot max_edges 0", "max_edges 0 must be a whole number from 1"),
        ("style hesspot", "style hesspot max_edges 1e5", "max_edges 1e5 must be a whole number from 1"),
        ("style hesspot", "style hesspot threads 99999999999999", "must be a whole number from 1 to 4096"),
        ("style hesspot", "style hesspot verify no verify yes", "keyword verify is there twice"),
        ("style hesspot", "style hesspot committee 4", "keyword committee is not known"),
        ("style hesspot", "style hesspot precision", "keyword precision needs a value"),
    ],
)
def test_bad_input(tmp_path: Path, house_model_file: Path, old: str, new: str, words: str) -> None:
    ethanol(tmp_path)
    (tmp_path / "truncated.pt").write_bytes(house_model_file.read_bytes()[:-2000])
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.pt").touch()
    script = SCRIPT.replace(old, new).replace("MODEL", str(house_model_file))
    output = run_failing(tmp_path, script)
    assert words in error_of(output), output
    assert output.count("ERROR") == 1 and "not on all ranks" not in output


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ("", ""),
        ("mass 1 2.014\nmass 2 13.003\nmass 3 17.999", ""),
        ("mass 1 3.016\nmass 2 14.003", ""),
        ("mass 1 15.999\nmass 3 1.008", "15.999 amu of atom type 1 is not the mass of H, 1.008 amu of atom type 3 is"),
        ("mass 2 14.007", "14.007 amu of atom type 2 is not the mass of C; if pair_coeff has the elements in"),
        (
            "fix 1 all property/atom rmass ghost yes\nset type 1 mass 1\nset type 2 mass 12.011\nset type 3 mass 19",
            "19 amu of atom type 3 is not the mass of O; if",
        ),
        ("labelmap atom 1 H 2 C2 3 OH", ""),
        ("labelmap atom 1 D 2 C 3 O", ""),
        ("pair_modify shift no tail no compute yes nofdotr", ""),
    ],
)
def test_masses_and_labels(tmp_path: Path, house_model_file: Path, commands: str, words: str) -> None:
    """A warning, once, for masses that no isotope of the element has."""
    ethanol(tmp_path)
    script = SCRIPT.replace("MODEL", str(house_model_file)).replace("run 0", f"{commands}\nrun 0\nrun 0")
    output = run_succeeding(tmp_path, script, 2)
    assert words in output and output.count("is not the mass of") == words.count("amu")


def test_isotopes_are_those_of_the_standard_weights() -> None:
    """No element's standard weight is outside of its isotopes; those of its neighbours in the table mostly are."""
    rows = re.findall(r'\{"(\w+)", (\d+), (\d+)\}', (sources() / "src" / "isotopes.h").read_text())
    margin = 0.15  # amu, as there
    assert [symbol for symbol, _, _ in rows] == chemical_symbols[1 : len(rows) + 1] and len(rows) > 90
    for number, (_, lightest, heaviest) in enumerate(rows, 1):
        assert int(lightest) - margin < atomic_masses[number] < int(heaviest) + margin
        assert int(heaviest) - int(lightest) < 13


def test_unknown_instructions(tmp_path: Path, house_model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ethanol(tmp_path)
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", "avx3")
    message = error_of(run_failing(tmp_path, SCRIPT.replace("MODEL", str(house_model_file))))
    assert "HESSPOT_INSTRUCTIONS is avx3, but this processor and this build have: " in message and "baseline" in message
    monkeypatch.setenv("HESSPOT_INSTRUCTIONS", "baseline")
    run_succeeding(tmp_path, SCRIPT.replace("MODEL", str(house_model_file)), 2)


def test_coincident_atoms(tmp_path: Path, house_model_file: Path) -> None:
    atoms = Atoms("HCO", positions=[[5, 5, 2], [5, 5, 8], [5, 5, 8.5]], cell=[10, 10, 10], pbc=True)
    data = tmp_path / "structure.data"
    write_data(data, atoms, ["H", "C", "O"])
    data.write_text(data.read_text().replace("5.0 5.0 8.5", "5.0 5.0 8.0004"))
    message = error_of(run_failing(tmp_path, SCRIPT.replace("MODEL", str(house_model_file))))
    assert "step 0" in message and "rank" in message and "on one place; remove one of them" in message
    assert "atoms 2 and 3" in message or "atoms 3 and 2" in message


def test_a_number_that_is_not_finite(tmp_path: Path, lj_model_file: Path) -> None:
    """(σ/r)¹² overflows float32 at r = 2e-3 Å."""
    atoms = Atoms("Ar3", positions=[[5, 5, 2], [5, 5, 8], [5, 5, 8.002]], cell=[14, 14, 14], pbc=True)
    write_data(tmp_path / "structure.data", atoms, ["Ar"])
    script = SCRIPT.replace("MODEL", str(lj_model_file)).replace("H C O", "Ar")
    message = error_of(run_failing(tmp_path, script.replace("style hesspot", "style hesspot precision single")))
    assert "the energy of atom" in message and "is not a finite number" in message


@pytest.mark.parametrize(
    ("precision", "change", "words"),
    [
        ("double", 0.0, ""),
        ("single", 0.0, ""),
        ("double", 1e-6, "a force (eV/Angstrom) of fingerprint entry methanol"),
        ("single", 1.0, "a force (eV/Angstrom) of fingerprint entry methanol"),
    ],
)
def test_a_fingerprint_that_is_not_reproduced(
    tmp_path: Path, house_model_file: Path, precision: str, change: float, words: str
) -> None:
    ethanol(tmp_path)
    fingerprint = read_model(house_model_file).metadata.model_dump()["fingerprint"]
    fingerprint[0]["forces"][2][1] += change
    changed = changed_metadata(house_model_file, tmp_path / "changed.pt", fingerprint=fingerprint)
    options = f"style hesspot verify yes precision {precision}"
    script = SCRIPT.replace("style hesspot", options).replace("MODEL", str(changed))
    if change == 0.0:
        run_succeeding(tmp_path, script, 2)
    else:
        output = run_failing(tmp_path, script)
        assert words in error_of(output) and "changed.pt differs from the trained model's by" in error_of(output)
        run_succeeding(tmp_path, script.replace("verify yes", "verify no"), 2)


class Greedy(torch.nn.Module):
    """Asks for more memory than there are addresses, as soon as there are neighbours."""

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H"]
        self.cutoff = 4.0

    def forward(
        self, species: torch.Tensor, centers: torch.Tensor, neighbors: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        return torch.zeros(species.shape[0] + centers.shape[0] * (1 << 56), dtype=torch.float64)


class Failing(torch.nn.Module):
    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H"]
        self.cutoff = 4.0

    def forward(
        self, species: torch.Tensor, centers: torch.Tensor, neighbors: torch.Tensor, vectors: torch.Tensor
    ) -> torch.Tensor:
        if bool((vectors * vectors).sum() > 0):
            raise RuntimeError("this model cannot see neighbours")
        return torch.zeros(species.shape[0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Failing, "this model cannot see neighbours"),
        (Greedy, "; use a smaller max_edges, or fewer ranks on a node"),
    ],
)
def test_an_exception_of_the_model_on_one_rank(
    tmp_path: Path, lj_model_file: Path, model: type[torch.nn.Module], words: str
) -> None:
    script = torch.jit.script(model())
    said = {"elements": ["H"], "cutoff": 4.0, "format_version": 1, "weights_sha256": weights_hash(script.state_dict())}
    metadata = read_model(lj_model_file).metadata.model_copy(update=said)
    torch.jit.save(script, str(tmp_path / "failing.pt"), _extra_files={METADATA_NAME: metadata.model_dump_json()})
    atoms = Atoms("H3", positions=[[5, 5, 2], [5, 5, 14], [5, 5, 15]], cell=[10, 10, 20], pbc=True)
    write_data(tmp_path / "structure.data", atoms, ["H"])
    script = (
        SCRIPT.replace("MODEL", "failing.pt").replace("H C O", "H").replace("read_data", "processors 1 1 2\nread_data")
    )
    message = error_of(run_failing(tmp_path, script))
    assert "rank 1, step 0, 2 atoms: " in message and words in message
