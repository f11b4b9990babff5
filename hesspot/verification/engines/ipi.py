"""i-PI's answers, from real i-PI runs with the real driver over a unix socket.

Energy, forces and virial are those of i-PI's first step, printed with all digits; the Hessian is that of i-PI's own
`vibrations` motion (central differences, symmetrised by i-PI, no acoustic sum rule imposed).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np

from hesspot.accuracy.results import EngineResult
from hesspot.errors import UserError
from hesspot.ipi.inputs import array, standard_form
from hesspot.ipi.launch import run_ipi
from hesspot.units import AMU, BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2

#: Displacement of the central differences, Bohr (5e-5 Å). With fourth derivatives of the energy up to 1e4 eV/Å⁴ the
#: truncation is below 5e-6 eV/Å²; forces good to 1e-12 eV/Å add 2e-8 eV/Å² of rounding.
SHIFT = 1e-4

#: Seconds for the start of i-PI and of the driver, and for each evaluation of one structure per atom.
START_TIMEOUT, ATOM_TIMEOUT = 300.0, 0.1


def evaluate(
    model: str | Path, structures: Sequence[ase.Atoms], *, hessian: bool = True, workdir: str | Path | None = None
) -> list[EngineResult]:
    """Ask i-PI for every structure; structures with the same atoms in the same order share one run.

    The runs' files stay in `workdir`, or are removed if there is none. UserError if a run fails.
    """
    model = Path(model)
    workdir = None if workdir is None else Path(workdir)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, atoms in enumerate(structures):
        if len(atoms) == 0:
            raise UserError(f"structure {number} has no atoms; i-PI cannot run it, leave it out")
        groups.setdefault((*atoms.get_chemical_symbols(), str(atoms.pbc.tolist())), []).append(number)
    results: dict[int, EngineResult] = {}
    with tempfile.TemporaryDirectory(prefix="hesspot-ipi-") as temporary:
        for count, members in enumerate(groups.values()):
            folder = (workdir or Path(temporary)) / f"ipi-{count}"
            folder.mkdir(parents=True, exist_ok=True)
            answers = _run_group(model, [structures[k] for k in members], hessian, folder)
            results.update(zip(members, answers, strict=True))
    return [results[number] for number in range(len(structures))]


def _run_group(model: Path, structures: Sequence[ase.Atoms], hessian: bool, folder: Path) -> list[EngineResult]:
    standard = [standard_form(atoms) for atoms in structures]
    first, n_atoms = standard[0][0], len(structures[0])
    first.write(folder / "template.xyz", format="extxyz")
    steps = 3 * n_atoms + 1 if hessian else 1
    (folder / "input.xml").write_text(_input([atoms for atoms, _ in standard], steps))
    run_ipi(
        folder / "input.xml",
        model,
        folder / "template.xyz",
        folder,
        driver_options=["--pbc", "true" if first.pbc.all() else "auto"],
        timeout=START_TIMEOUT + ATOM_TIMEOUT * n_atoms * (6 * n_atoms + 1) * len(structures),
    )
    return [_read(folder, k, atoms, rotation, hessian) for k, (atoms, rotation) in enumerate(standard)]


def _input(structures: Sequence[ase.Atoms], steps: int) -> str:
    n = len(structures[0])
    forces = ", ".join(f"atom_f(atom={a};bead=0)" for a in range(n))
    systems = []
    for number, atoms in enumerate(structures):
        systems.append(f"""
  <system prefix='s{number}'>
    <beads natoms='{n}' nbeads='1'>
      <q shape='(1, {3 * n})'>{array(atoms.positions / BOHR)}</q>
      <m shape='({n})'>{array(atoms.get_masses() * AMU)}</m>
      <names shape='({n})'>[{", ".join(atoms.get_chemical_symbols())}]</names>
    </beads>
    <cell shape='(3, 3)'>{array(atoms.cell.array.T / BOHR)}</cell>
    <forces><force forcefield='hesspot'></force></forces>
    <motion mode='vibrations'>
      <vibrations mode='fd'><pos_shift>{SHIFT}</pos_shift><asr>none</asr><prefix>s{number}</prefix></vibrations>
    </motion>
    <ensemble><temperature units='kelvin'>300</temperature></ensemble>
  </system>""")
    return f"""<simulation verbosity='low' floatformat='%25.17e'>
  <output prefix='run'>
    <properties filename='out' stride='1000000'>[potential, virial_md, {forces}]</properties>
  </output>
  <total_steps>{steps}</total_steps>
  <ffsocket mode='unix' name='hesspot' pbc='False'>
    <address>verify</address>
    <exit_on_disconnect>True</exit_on_disconnect>
  </ffsocket>{"".join(systems)}
</simulation>
"""


def _read(folder: Path, number: int, atoms: ase.Atoms, rotation: np.ndarray, hessian: bool) -> EngineResult:
    """Read what i-PI wrote for system `number`, and turn it back."""
    n = len(atoms)
    try:
        row = np.loadtxt(folder / f"s{number}_run.out", ndmin=2)[0]
        matrix = np.loadtxt(folder / f"run.s{number}_full.hess", ndmin=2) if hessian else None
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"i-PI did not write its answer in {folder} ({error}); see i-pi.log there") from error
    xx, yy, zz, xy, xz, yz = row[1:7] * np.linalg.det(atoms.cell.array / BOHR) * HARTREE
    virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    forces = row[7:].reshape(n, 3) * HARTREE_PER_BOHR
    turned = None
    if matrix is not None:
        blocks = matrix.reshape(n, 3, n, 3) * HARTREE_PER_BOHR2
        turned = np.einsum("ia,pisj,jb->pasb", rotation, blocks, rotation).reshape(3 * n, 3 * n)
    return EngineResult(float(row[0]) * HARTREE, forces @ rotation, rotation.T @ virial @ rotation, turned)
