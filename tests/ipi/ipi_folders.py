"""Folders made by `hesspot ipi-input` and `ipi-hessian`: models with known answers, and runs of `run.sh`."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import ase
import torch
from torch import Tensor

from hesspot.export import fingerprint_entry, write_model

#: s; a run that takes longer hangs.
PATIENCE = 200.0


class PairMorse(torch.nn.Module):
    """Σ over pairs of D(1 − exp(−a(r − r0)))², D eV, a 1/Å, r0 Å, each (n_elements, n_elements)."""

    elements: list[str]
    cutoff: float

    def __init__(self, elements: list[str], depth: Tensor, width: Tensor, r0: Tensor):
        super().__init__()
        self.elements = list(elements)
        self.cutoff = 20.0
        self.register_buffer("depth", depth)
        self.register_buffer("width", width)
        self.register_buffer("r0", r0)

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        a, b = species[centers], species[neighbors]
        r = torch.sqrt((vectors * vectors).sum(1))
        pair = 0.5 * self.depth[a, b] * (1.0 - torch.exp(-self.width[a, b] * (r - self.r0[a, b]))) ** 2
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, pair.to(torch.float64))


class Well(torch.nn.Module):
    """Dimers of two elements at v = r_B − r_A = offset + u: ½k₂u_x² + k₄u_x⁴ + ½k(u_y² + u_z²), within 20 Å."""

    elements: list[str]
    cutoff: float

    def __init__(self, elements: list[str], offset: Tensor, k2: float, k4: float, k: float):
        super().__init__()
        self.elements = list(elements)
        self.cutoff = 20.0
        self.register_buffer("offset", offset)
        self.k2 = k2
        self.k4 = k4
        self.k = k

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        sign = (species[neighbors] - species[centers]).to(vectors.dtype)
        u = vectors - sign.unsqueeze(1) * self.offset.to(vectors.dtype)
        x2 = u[:, 0] * u[:, 0]
        across = u[:, 1] * u[:, 1] + u[:, 2] * u[:, 2]
        pair = 0.5 * (0.5 * self.k2 * x2 + self.k4 * x2 * x2 + 0.5 * self.k * across)
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, pair.to(torch.float64))


class Nothing(torch.nn.Module):
    """No energy at all: atoms of H that do not see each other, 1 Å far at most."""

    elements: list[str]
    cutoff: float

    def __init__(self) -> None:
        super().__init__()
        self.elements = ["H"]
        self.cutoff = 1.0

    def forward(self, species: Tensor, centers: Tensor, neighbors: Tensor, vectors: Tensor) -> Tensor:
        energies = torch.zeros(species.shape[0], dtype=torch.float64, device=vectors.device)
        return energies.index_add(0, centers, (0.0 * vectors * vectors).sum(1).to(torch.float64))


OFFSET = (0.0, 0.0, 2.0)  # Å


def write_water(path: Path) -> ase.Atoms:
    """A molecule of Morse bonds with the shape and about the frequencies of water; returns its minimum."""
    depth = torch.tensor([[1.0, 5.0], [5.0, 1.0]], dtype=torch.float64)
    width = torch.tensor([[1.3, 2.3], [2.3, 1.0]], dtype=torch.float64)
    r0 = torch.tensor([[1.52, 0.96], [0.96, 1.0]], dtype=torch.float64)
    half = 0.76
    height = (0.96**2 - half**2) ** 0.5
    atoms = ase.Atoms("OH2", [[0.1, 0.2, 0.3], [0.1 + half, 0.2 + height, 0.3], [0.1 - half, 0.2 + height, 0.3]])
    atoms.rotate(31.0, (1, 2, 3))
    model = PairMorse(["H", "O"], depth, width, r0)
    write_model(path, model, [fingerprint_entry(model, "minimum", atoms)], allow_jump=True)
    return atoms


def write_well(path: Path, k2: float, k4: float, k: float, n_dimers: int = 1) -> ase.Atoms:
    """Dimers of H and Be at u = 0, out of each other's sight."""
    model = Well(["H", "Be"], torch.tensor(OFFSET, dtype=torch.float64), k2, k4, k)
    atoms = ase.Atoms()
    for number in range(n_dimers):
        atoms += ase.Atoms("HBe", [[40.0 * number, 0, 0], [40.0 * number + OFFSET[0], OFFSET[1], OFFSET[2]]])
    atoms.set_cell([40.0 * n_dimers, 40.0, 40.0])
    atoms.pbc = True
    write_model(path, model, [fingerprint_entry(model, "rest", atoms)], allow_jump=True)
    return atoms


def run_folder(folder: Path) -> str:
    """Run a folder's `run.sh` to its good end; returns i-PI's log."""
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "run.sh"], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    logs = {path.name: path.read_text(errors="replace") for path in folder.glob("*.log")}
    assert result.returncode == 0, (result.stderr, {name: log[-1500:] for name, log in logs.items()})
    return logs["i-pi.log"]


def change(folder: Path, *pairs: tuple[str, str]) -> None:
    """Replace texts in `input.xml`, each of which must be there."""
    text = (folder / "input.xml").read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "input.xml").write_text(text)


def structures_evaluated(folder: Path) -> int:
    """How many structures the drivers of a folder were asked for."""
    logs = [path.read_text() for path in folder.glob("driver-*.log")]
    return sum(int(re.findall(r"evaluations of (\d+) structures", log)[-1]) for log in logs)
