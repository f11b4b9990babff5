"""Every check is in docs/audit.md by its name, and every fragment of examples/audit is one."""

from pathlib import Path

import pytest

from hesspot.audit import comparison
from hesspot.audit.checks import dynamics, gradient, history, invariance, precision, smoothness, strain
from hesspot.audit.consistency import ANSWERS
from hesspot.audit.engines.lammps import LammpsEngine

ROOT = Path(__file__).parents[2]
MODULES = [comparison, dynamics, gradient, history, invariance, precision, smoothness, strain]
FRAGMENTS = {
    "si-sw.in": ["Si"],
    "si-tersoff.in": ["Si"],
    "cu-eam.in": ["Cu"],
    "w-snap.in": ["W"],
    "nacl-coulomb.in": ["Na", "Cl"],
    "cho-reaxff.in": ["C", "H", "O"],
}


def test_every_check_is_documented():
    text = " ".join((ROOT / "docs" / "audit.md").read_text().split())
    names = [ANSWERS] + [
        value
        for module in MODULES
        for key, value in vars(module).items()
        if key.isupper() and isinstance(value, str) and len(value.split()) > 1 and "{" not in value
    ]
    names = [name for name in names if name not in (comparison.ALL, history.TWO_ANSWERS)]
    assert len(names) > 20
    assert [name for name in names if name not in text] == []


@pytest.mark.lammps
def test_every_fragment_is_one():
    assert sorted(path.name for path in (ROOT / "examples" / "audit").glob("*.in")) == sorted(FRAGMENTS)
    for name, elements in FRAGMENTS.items():
        assert LammpsEngine(ROOT / "examples" / "audit" / name, elements).elements == tuple(elements)
