"""The verification engine: LAMMPS's energies, forces, virials and Hessians against the model's analytic ones."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from hesspot.contract import build_batch
from hesspot.derivatives import evaluate as evaluate_batch
from hesspot.derivatives import hessian
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.export.file import eager_model
from hesspot.verification.engines import lammps as engine
from hesspot.verification.engines.lammps import evaluate

pytestmark = pytest.mark.lammps

ROUNDING = 1e-9
#: Truncation of the central differences (see the engine's SHIFT), for Hessians of up to 100 eV/Å².
HESSIAN_TOLERANCE = 1e-5


def structures() -> list[Atoms]:
    rotated = Atoms("CNO", positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, -7]], pbc=True)
    rotated.set_cell([[0.3, 3.1, 0.2], [2.8, 0.5, 0.7], [-0.4, 1.2, 4.0]])
    rotated.rotate(33, (1, 2, 3), rotate_cell=True)
    slab = Atoms("CNO", positions=[[0, 0, 0], [1.2, 0.1, 0.3], [2.0, 1.5, 2]], pbc=[True, True, False])
    slab.set_cell([[3.1, 0.2, 0.3], [0.5, 3.3, 0.1], [0, 0, 0]])
    # so long that a rank does not see, as ghosts, all atoms that act on its own through a third atom
    chain = bulk("C", "sc", a=1.5) * (1, 1, 16)
    chain.set_pbc([False, False, True])
    chain.rattle(0.1, seed=1)
    return [molecule("CH3OH"), Atoms("C"), rotated, slab, chain]


@pytest.mark.parametrize("ranks", [1, 2])
def test_energies_forces_virials_and_hessians(house_model_file: Path, tmp_path: Path, ranks: int) -> None:
    loaded = eager_model(read_model(house_model_file))
    results = evaluate(house_model_file, structures(), ranks=ranks, workdir=tmp_path)
    for atoms, result in zip(structures(), results, strict=True):
        batch = build_batch([atoms], loaded.elements, loaded.cutoff)
        answer = evaluate_batch(loaded, batch, virial=True)
        assert result.virial is not None and result.hessian is not None and answer.virial is not None
        np.testing.assert_allclose(result.energy, answer.energy[0], atol=ROUNDING, rtol=0)
        np.testing.assert_allclose(result.forces, answer.forces, atol=ROUNDING, rtol=0)
        np.testing.assert_allclose(result.virial, answer.virial[0], atol=10 * ROUNDING, rtol=0)
        np.testing.assert_allclose(result.hessian, hessian(loaded, batch)[0], atol=HESSIAN_TOLERANCE, rtol=0)


def test_without_hessian(house_model_file: Path) -> None:
    assert evaluate(house_model_file, [molecule("H2O")], hessian=False)[0].hessian is None


def test_no_structures(house_model_file: Path) -> None:
    assert evaluate(house_model_file, []) == []


def test_a_failed_run_is_one_sentence(house_model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_script", lambda *arguments: "units metal\nneighbor wide bin")
    with pytest.raises(UserError, match=r"LAMMPS on 1 rank\(s\) ended with status 1: .*wide"):
        evaluate(house_model_file, [molecule("H2O")])
    monkeypatch.undo()
    with pytest.raises(UserError, match="atoms 0 and 1 on one place"):
        evaluate(house_model_file, [Atoms("CO", positions=[[0, 0, 0], [0, 0, 1e-5]])])
    with pytest.raises(UserError, match="element Xe"):
        evaluate(house_model_file, [Atoms("Xe")])
    with pytest.raises(UserError, match="structure 0 has no atoms"):
        evaluate(house_model_file, [Atoms()])


def test_files_of_an_earlier_run_do_not_count(
    tmp_path: Path, house_model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = [molecule("H2O")]
    evaluate(house_model_file, atoms, workdir=tmp_path, hessian=False)
    script = engine._script
    monkeypatch.setattr(engine, "_script", lambda *arguments: "quit\n" + script(*arguments))
    with pytest.raises(UserError, match=r"did not write .*0\.json"):
        evaluate(house_model_file, atoms, workdir=tmp_path, hessian=False)
