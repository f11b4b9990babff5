"""ASE calculators on trial."""

from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones


def lennard_jones() -> Calculator:
    return LennardJones(sigma=2.2, epsilon=0.3, rc=6.0, ro=4.0, smooth=True)


def gfn1() -> Calculator:
    from tblite.ase import TBLite

    return TBLite(method="GFN1-xTB", accuracy=0.001, verbosity=0)
