"""Energy, forces and analytic Hessian of molecules with PySCF (Kohn-Sham).

Charge and multiplicity are those that a structure states (`hesspot.electrons`); singlets are restricted, all others
unrestricted and followed to a solution that is stable.

Two things differ from a plain PySCF calculation. The coupled-perturbed equations are solved by `solve_block`, which
controls the true residual: PySCF's own Krylov solver stops early without a word and leaves errors of 0.02 to
0.5 eV/Å² in Hessians of density functionals. And because second derivatives of the exchange-correlation grid are
left out by PySCF, the Hessian is symmetrised and its on-site blocks are reset by the acoustic sum rule.

A basis set that belongs to effective core potentials (def2 from Rb on, LANL2DZ, cc-pVTZ-PP, …) gets them. Dispersion by
simple-dftd3 and dftd4 is asked for in the functional's name (B3LYP-D3BJ, PBE0-D4); its share of a Hessian is made of
central differences of its gradients.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from pydantic import BaseModel, ConfigDict, Field
from pyscf import dft, gto, lib
from pyscf.data.elements import CONFIGURATION
from pyscf.gto.ecp import core_configuration
from pyscf.hessian import rhf, uhf

from hesspot.data.sum_rules import acoustic_defect, rotational_defect
from hesspot.electrons import electrons_of
from hesspot.errors import UserError
from hesspot.reference.method import Labels, NotConverged, QuantumChemistry, impose_acoustic_sum_rule
from hesspot.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

#: Unstable solutions that are followed down before a structure is given up.
FOLLOWED = 5

#: Largest s exponent of a basis over Z²: 2 in the smallest that describe a 1s shell, 0.1 to 0.4 in valence bases.
CORE_EXPONENT = 1.0


class Method(QuantumChemistry, BaseModel):
    """The level of theory; the defaults are Gaussian's B3LYP/6-31G(d), which has Cartesian d functions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    xc: str = Field(default="B3LYP", description="functional by PySCF's name")
    basis: str = Field(default="6-31G(d)", description="basis set by PySCF's name")
    cart: bool = Field(default=True, description="Cartesian instead of spherical d functions")
    grid: tuple[int, int] = Field(default=(75, 434), description="radial and angular points of the integration grid")
    cphf_grid: tuple[int, int] = Field(default=(50, 194), description="grid of the coupled-perturbed equations")
    conv_tol: float = Field(default=1e-11, gt=0, description="convergence of the SCF energy in Hartree")
    cphf_tol: float = Field(default=1e-9, gt=0, description="largest residual of the coupled-perturbed equations")

    @property
    def level_of_theory(self) -> str:
        kind = "Cartesian" if self.cart else "spherical"
        return f"KS {self.xc}/{self.basis} ({kind} d functions, grid {self.grid[0]} x {self.grid[1]}, PySCF)"

    #: Å; truncation and noise of the gradient both leave about 0.001 eV/Å².
    product_step: ClassVar[float] = 2e-3

    def provenance(self) -> dict[str, Any]:
        return {"program": f"pyscf {version('pyscf')}", "method": self.model_dump(mode="json")}

    def check_input(self, atoms: Atoms, name: str, *, hessian: bool) -> None:
        check_input(atoms, self, name, hessian=hessian)

    def labels(self, atoms: Atoms, *, hessian: bool) -> Labels:
        return compute(atoms, self, hessian=hessian)


def check_input(atoms: Atoms, method: Method, name: str = "", *, hessian: bool = True) -> None:
    """Raise a UserError for a structure or method that cannot be computed."""
    where = f"structure {name!r}" if name else f"the structure {atoms.get_chemical_formula()}"
    if atoms.pbc.any():
        raise UserError(f"{where} is periodic, PySCF labels molecules only: remove the cell, or take --program tblite")
    open_shell = electrons_of(atoms, where)[1] > 1
    if method.grid[1] not in dft.gen_grid.LEBEDEV_NGRID:
        near = min(dft.gen_grid.LEBEDEV_NGRID, key=lambda points: abs(points - method.grid[1]))
        raise UserError(f"{method.grid[1]} angular grid points are not a Lebedev grid: use {near} for example")
    if problem := _problem_of(method.xc, hessian, open_shell):
        what = " for open shells" if open_shell else ""
        raise UserError(
            f"--xc {method.xc} cannot be used{what} ({problem}): use a functional of PySCF such as PBE0, or one with "
            "dispersion such as B3LYP-D3BJ"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # an unknown basis is told below, in one sentence
            molecule = _kohn_sham(atoms, method).mol
    except Exception as error:
        raise UserError(
            f"{where} cannot be set up at {method.level_of_theory} ({_reason(error)}): check --basis and the elements"
        ) from error
    for index in range(molecule.natm):
        if missing := _missing_core(molecule, index):
            raise UserError(
                f"{where}: --basis {method.basis} {missing}, and PySCF has no effective core potential of this name "
                "for it; use a basis for all electrons or one whose potentials have its name, such as def2-SVP"
            )


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@cache
def _problem_of(xc: str, hessian: bool, open_shell: bool) -> str:
    """Why the functional gives no energies, gradients or Hessians, tried on H2 or H3; nothing if it gives them."""
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            chain = [("H", (0.0, 0.0, 0.9 * number)) for number in range(3 if open_shell else 2)]
            molecule = gto.M(atom=chain, basis="STO-3G", spin=int(open_shell), verbose=0)
            scf = (dft.UKS if open_shell else dft.RKS)(molecule)
            scf.xc = xc
            scf.grids.atom_grid = scf.nlcgrids.atom_grid = (20, 50)
            scf.kernel()
            scf.nuc_grad_method().kernel()
            if hessian:
                scf.Hessian().kernel()
    except Exception as error:
        return _reason(error)
    return ""


def _effective_cores(atoms: Atoms, basis: str) -> dict[str, Any]:
    """The potentials that belong to a basis such as def2-SVP, by element; PySCF sets none by itself."""
    potentials = {}
    for symbol in sorted(set(atoms.symbols)):
        try:
            with warnings.catch_warnings(action="ignore"):
                potential = gto.basis.load_ecp(basis, symbol)
        except (RuntimeError, TypeError, KeyError):  # PySCF's ways to say that it knows no potentials of this name
            continue
        if potential:
            potentials[symbol] = potential
    return potentials


def _missing_core(molecule: Any, index: int) -> str:
    """What the basis of one atom lacks of the shells that are occupied and not in an effective core, in words."""
    symbol, charge = molecule.atom_pure_symbol(index), gto.charge(molecule.atom_symbol(index))
    in_core = charge - molecule.atom_charge(index)
    shells = [shell for shell in range(molecule.nbas) if molecule.bas_atom(shell) == index]
    cores = core_configuration(in_core, atom_symbol=symbol) if in_core else [0, 0, 0, 0]
    for angular, electrons in enumerate(CONFIGURATION[charge]):
        functions = sum(molecule.bas_nctr(shell) for shell in shells if molecule.bas_angular(shell) == angular)
        occupied = math.ceil(electrons / (4 * angular + 2)) - cores[angular]
        if functions < occupied:
            return f"has {functions} shells of {'spdf'[angular]} functions where {symbol} fills {occupied}"
    if charge > 2 and not in_core:
        exponent = max(molecule.bas_exp(shell).max() for shell in shells if molecule.bas_angular(shell) == 0)
        if exponent < CORE_EXPONENT * charge**2:
            return f"describes only the valence of {symbol} (largest s exponent {exponent:.3g})"
    return ""


def compute(
    atoms: Atoms,
    method: Method,
    *,
    hessian: bool = True,
    stability: bool = False,
    guess: np.ndarray | None = None,
) -> Labels:
    """Labels of one molecule, on one thread.

    Args:
        guess: density matrix of a near geometry to start from.
        stability: test whether an unrestricted solution lies below a restricted one, and record it.

    Raises:
        UserError: periodic structure, charge and spin that do not fit, unknown basis or functional.
        NotConverged: nothing that could be stored came out.
    """
    check_input(atoms, method, hessian=hessian)
    with lib.with_omp_threads(1):
        scf = _converge(atoms, method, guess)
        gradient = scf.nuc_grad_method()
        gradient.grid_response = dft.libxc.xc_type(method.xc) != "HF"  # without a grid PySCF fails for open shells
        forces = -gradient.kernel() * HARTREE_PER_BOHR
        labels = Labels(energy=scf.e_tot * HARTREE, forces=forces, density=scf.make_rdm1())
        if scf.mol.spin:
            labels.properties["spin_squared"] = float(scf.spin_square()[0])
        elif stability:
            _, _, _, stable = scf.stability(external=True, return_status=True)
            labels.properties["unrestricted_stability"] = "stable" if stable else "unstable"
        if hessian:
            raw, residual = _analytic_hessian(scf, method)
            labels.properties["cphf_residual"] = residual
            labels.properties["asymmetry"] = float(np.abs(raw - raw.T).max())
            labels.properties["acoustic_defect"] = acoustic_defect(raw)
            labels.hessian = impose_acoustic_sum_rule(0.5 * (raw + raw.T))
            labels.properties["rotational_defect"] = rotational_defect(atoms.positions, forces, labels.hessian)
    return labels


class PySCFCalculator(Calculator):
    """Energy and forces for ASE's and Sella's optimisers; `hessian` is Sella's ``hessian_function``."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self._density: np.ndarray | None = None

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        known = self._density is not None and not {"numbers", "initial_charges", "initial_magmoms"} & set(
            system_changes
        )
        labels = compute(self.atoms, self.method, hessian=False, guess=self._density if known else None)
        self._density = labels.density
        self.results = {"energy": labels.energy, "forces": labels.forces}

    def hessian(self, atoms: Atoms) -> np.ndarray:
        """(3n, 3n) in eV/Å²."""
        hessian = compute(atoms, self.method).hessian
        assert hessian is not None
        return hessian


def solve_block(
    response: Callable[[np.ndarray], np.ndarray],
    gap: np.ndarray,
    rhs: np.ndarray,
    tol: float,
    max_iterations: int = 60,
) -> np.ndarray:
    """Solve gap · x + response(x) = rhs for all right-hand sides in one common subspace.

    Residuals are minimised in the scaled unknowns gap^½ · x, where the operator is near the identity; every
    iteration adds the residuals that are still above the tolerance to the subspace.

    Args:
        response: linear and symmetric, maps (k, m) to (k, m) for any k.
        gap: (m,) positive orbital energy differences.
        rhs: (k, m).
        tol: largest element of the residual.

    Raises:
        NotConverged: a gap that is not positive.
    """
    if not (gap > 0.0).all():
        raise NotConverged("an empty orbital lies below an occupied one: this is not the ground state")
    scale = 1.0 / np.sqrt(gap)
    target = rhs * scale
    space = np.zeros((0, len(gap)))
    image = np.zeros((0, len(gap)))
    coefficients = np.zeros((len(rhs), 0))
    residual = target
    for _ in range(max_iterations):
        new = _orthonormal(residual, space, 0.1 * tol)
        if len(new) == 0:
            break
        space = np.vstack([space, new])
        image = np.vstack([image, new + scale * response(new * scale)])
        coefficients = np.linalg.lstsq(image.T, target.T, rcond=None)[0].T
        residual = target - coefficients @ image
        if np.abs(residual / scale).max() < tol:
            break
    return (coefficients @ space) * scale


def _orthonormal(vectors: np.ndarray, space: np.ndarray, threshold: float) -> np.ndarray:
    """An orthonormal basis of what `vectors` add to `space`, without directions below the threshold."""
    for _ in range(2):
        vectors = vectors - (vectors @ space.T) @ space
    _, size, basis = np.linalg.svd(vectors, full_matrices=False)
    basis = basis[size > threshold]
    basis = basis - (basis @ space.T) @ space
    return np.linalg.qr(basis.T)[0].T


def _kohn_sham(atoms: Atoms, method: Method) -> Any:
    charge, multiplicity = electrons_of(atoms, f"the structure {atoms.get_chemical_formula()}")
    molecule = gto.Mole(
        atom=[(int(z), tuple(r / BOHR)) for z, r in zip(atoms.numbers, atoms.positions, strict=True)],
        unit="Bohr",
        basis=method.basis,
        ecp=_effective_cores(atoms, method.basis),
        cart=method.cart,
        charge=charge,
        spin=multiplicity - 1,
        verbose=0,
    )
    molecule.build(dump_input=False, parse_arg=False)
    scf = dft.UKS(molecule) if molecule.spin else dft.RKS(molecule)
    scf.xc = method.xc
    scf.grids.atom_grid = method.grid
    scf.conv_tol = method.conv_tol
    scf.chkfile = None
    return scf


def _converge(atoms: Atoms, method: Method, guess: np.ndarray | None) -> Any:
    scf = _kohn_sham(atoms, method)
    scf.kernel(guess)
    if not scf.converged:
        second_order = _kohn_sham(atoms, method).newton()
        second_order.kernel(scf.mo_coeff, scf.mo_occ)
        if not second_order.converged:
            raise NotConverged(f"the SCF of {atoms.get_chemical_formula()} did not converge")
        scf = second_order.undo_newton() if hasattr(second_order, "undo_newton") else second_order
    return _followed(scf) if scf.mol.spin else scf


def _followed(scf: Any) -> Any:
    """The unrestricted solution that is stable against rotations of its orbitals, from one that may be a saddle."""
    if not any(occupied.any() and not occupied.all() for occupied in np.asarray(scf.mo_occ) > 0):
        return scf  # a hydrogen atom in a minimal basis has none
    for _ in range(FOLLOWED):
        orbitals, _, stable, _ = scf.stability(return_status=True)
        if stable:
            return scf
        scf.kernel(scf.make_rdm1(orbitals, scf.mo_occ))
        if not scf.converged:
            break
    raise NotConverged(f"no stable unrestricted solution of {scf.mol.natm} atoms was found")


def _analytic_hessian(scf: Any, method: Method) -> tuple[np.ndarray, float]:
    """The raw Hessian (3n, 3n) in eV/Å² and the true residual of the coupled-perturbed equations in Hartree/bohr."""
    worst = 0.0

    def solve_mo1(mo_energy: Any, mo_coeff: Any, mo_occ: Any, h1ao: Any, *_: Any) -> Any:
        nonlocal worst
        first_order, energies, worst = _first_order_orbitals(scf, method, mo_energy, mo_coeff, mo_occ, h1ao)
        return first_order, energies

    hessian = scf.Hessian()
    hessian.solve_mo1 = solve_mo1
    blocks = hessian.kernel() * HARTREE_PER_BOHR2
    if worst > 10 * method.cphf_tol:
        raise NotConverged(f"the coupled-perturbed equations stopped at a residual of {worst:.1e}")
    n = len(blocks)
    return blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n), worst


def _response(scf: Any, method: Method, mo_coeff: Any, mo_occ: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The induced potential of PySCF, integrated on the grid of the coupled-perturbed equations.

    The default grid changes Hessians by 3e-4 eV/Å², a third of the noise that the main grid leaves, and takes a fifth
    of their time away.
    """
    own = scf.copy()
    own.grids = dft.gen_grid.Grids(scf.mol)
    own.grids.atom_grid = method.cphf_grid
    own.grids.build(with_non0tab=True)
    module = uhf if isinstance(scf, dft.uks.UKS) else rhf
    response: Callable[[np.ndarray], np.ndarray] = module.gen_vind(own, mo_coeff, mo_occ)
    return response


def _first_order_orbitals(
    scf: Any, method: Method, mo_energy: Any, mo_coeff: Any, mo_occ: Any, h1ao: Any
) -> tuple[Any, Any, float]:
    """Orbital responses to all nuclear displacements, in the form that PySCF's ``hess_elec`` takes.

    The equations are those of ``pyscf.scf.cphf.solve_withs1`` and ``ucphf``: occupied-occupied part −S¹/2,
    virtual-occupied part U from (e_a − e_i) U + V[U] = −(h¹ − S¹ e_i) − V[−S¹/2], for both spins at once.

    Returns:
        (n, 3, nao, nocc) in atomic orbitals, (n, 3, nocc, nocc) first-order energies, the largest true residual; of
        an unrestricted calculation the first two are pairs, α and β.
    """
    molecule = scf.mol
    overlap = -molecule.intor("int1e_ipovlp", comp=3)
    s1ao = np.zeros((molecule.natm, *overlap.shape))
    for atom, (_, _, start, end) in enumerate(molecule.aoslice_by_atom()):
        s1ao[atom, :, start:end] += overlap[:, start:end]
        s1ao[atom, :, :, start:end] += overlap[:, start:end].transpose(0, 2, 1)
    unrestricted = isinstance(scf, dft.uks.UKS)
    spins = list(zip(mo_energy, mo_coeff, mo_occ, h1ao, strict=True) if unrestricted else ())
    spins = spins or [(mo_energy, mo_coeff, mo_occ, h1ao)]
    k, shapes = 3 * molecule.natm, []
    parts: dict[str, list[np.ndarray]] = {"s1": [], "h1": [], "e_i": [], "gap": [], "occupied": []}
    for energies, coefficients, occupations, core in spins:
        occupied = occupations > 0
        orbitals = coefficients[:, occupied]
        shape = len(energies), int(occupied.sum())
        shapes.append(shape)
        parts["s1"].append((coefficients.T @ s1ao @ orbitals).reshape(k, -1))
        parts["h1"].append((coefficients.T @ np.asarray(core) @ orbitals).reshape(k, -1))
        parts["e_i"].append(np.broadcast_to(energies[occupied], shape).ravel())
        parts["gap"].append((energies[:, None] - energies[occupied]).ravel())
        parts["occupied"].append(np.repeat(occupied, shape[1]))
    s1, h1 = (np.hstack(parts[name]) for name in ("s1", "h1"))
    e_i, gap, occupied = (np.concatenate(parts[name]) for name in ("e_i", "gap", "occupied"))
    virtual, induced = ~occupied, _response(scf, method, mo_coeff, mo_occ)

    def response(x: np.ndarray) -> np.ndarray:
        full = np.zeros((len(x), len(gap)))
        full[:, virtual] = x
        return induced(full).reshape(full.shape)[:, virtual]

    mo1 = np.zeros_like(h1)
    mo1[:, occupied] = -0.5 * s1[:, occupied]
    fixed = h1 - s1 * e_i
    rhs = -(fixed + induced(mo1).reshape(mo1.shape))[:, virtual]
    mo1[:, virtual] = solve_block(response, gap[virtual], rhs, method.cphf_tol)

    first_order = fixed + induced(mo1).reshape(mo1.shape) + gap * mo1
    residual = float(np.abs(first_order[:, virtual]).max(initial=0.0))
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    answers = []
    for (_, coefficients, occupations, _), (nmo, nocc), x, e1 in zip(
        spins, shapes, np.split(mo1, ends, axis=1), np.split(first_order, ends, axis=1), strict=True
    ):
        own = e1.reshape(molecule.natm, 3, nmo, nocc)[:, :, occupations > 0]
        answers.append((coefficients @ x.reshape(molecule.natm, 3, nmo, nocc), own))
    if not unrestricted:
        return *answers[0], residual
    alpha, beta = answers
    return (alpha[0], beta[0]), (alpha[1], beta[1]), residual
