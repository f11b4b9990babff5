"""i-PI as an engine of `hesspot verify` against derivatives in this process."""

import ase
import numpy as np
import pytest

from hesspot import derivatives
from hesspot.contract import build_batch
from hesspot.errors import UserError
from hesspot.export import read_model
from hesspot.verification.engines.ipi import evaluate

pytestmark = pytest.mark.ipi

#: eV per atom, eV/Å and eV: float64 through Bohr and Hartree and 17 printed digits.
ROUNDING = 1e-10

#: eV/Å²: truncation of i-PI's central differences for this model, and forces' rounding over the displacement.
DIFFERENCES = 1e-6

LEFT_HANDED = np.array([[3.1, 0.4, 0.2], [-0.5, 3.3, 0.3], [0.1, 0.2, -3.6]])


@pytest.fixture(scope="module")
def structures(molecule):
    """Two geometries that share a run, a molecule in another order, and a small skew cell along two directions."""
    moved = molecule.copy()
    moved.rattle(0.1, seed=9)
    slab = ase.Atoms("OHH", [[0, 0, 0], [0.9, 0.1, 0.2], [-0.2, 1.0, -0.3]], cell=LEFT_HANDED, pbc=[True, True, False])
    solid = ase.Atoms("OHH", slab.positions, cell=LEFT_HANDED, pbc=True)
    return [molecule, solid, molecule[[2, 1, 0, 3]], moved, slab]


def test_every_structure_has_the_models_own_answer(house, structures):
    model = read_model(house)
    for atoms, result in zip(structures, evaluate(house, structures), strict=True):
        batch = build_batch([atoms], model.elements, model.cutoff)
        wanted = derivatives.evaluate(model, batch, virial=True)
        assert abs(result.energy - float(wanted.energy[0])) <= ROUNDING * len(atoms)
        np.testing.assert_allclose(result.forces, wanted.forces, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(result.virial, wanted.virial[0], rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(result.hessian, derivatives.hessian(model, batch)[0], rtol=0, atol=DIFFERENCES)


def test_without_hessian(house, molecule, tmp_path):
    (result,) = evaluate(house, [molecule], hessian=False, workdir=tmp_path)
    assert result.hessian is None
    assert (tmp_path / "ipi-0" / "i-pi.log").is_file()


def test_an_unknown_element_is_said(house):
    with pytest.raises(UserError, match="element Au"):
        evaluate(house, [ase.Atoms("Au2", [[0, 0, 0], [0, 0, 2.5]])])
