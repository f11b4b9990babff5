"""The error of a model in the region that a run visits: its clusters, labelled by a reference, against the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ase
import numpy as np

from hesspot.data import Dataset, Record
from hesspot.data.levels import different_levels
from hesspot.export import LoadedModel
from hesspot.graph import build_graph
from hesspot.monitor.kept import DRAWN, FORCE_IN_RUN


@dataclass(frozen=True)
class Error:
    """A root of a mean square over clusters, each with the same weight, and its standard error.

    The standard error is the jackknife's over steps of the run, None with one alone.
    """

    rmse: float
    standard_error: float | None

    def describe(self, digits: str = ".3g") -> str:
        """In words."""
        bar = "" if self.standard_error is None else f" ± {self.standard_error:.1g}"
        return f"{self.rmse:{digits}}{bar}"


@dataclass(frozen=True)
class Measured:
    """Errors of the model on some clusters.

    energy: meV per atom, None where the reference is of another level of theory than the model, whose energies do not
    compare; forces: eV/Å, of all atoms; center: eV/Å, of the atoms that the clusters are around; products: eV/Å², of
    H·v with directions of length √(3n); cut: eV/Å, what cutting has changed of the model's own force on these atoms.
    """

    clusters: int
    steps: int
    energy: Error | None
    forces: Error
    center: Error
    products: Error | None
    cut: Error


def measure(model: LoadedModel, clusters: Sequence[ase.Atoms], labels: Dataset) -> dict[str, Measured]:
    """Errors on the clusters of drawn atoms, which stand for the region, and on those of flagged ones."""
    records = {record.name: record for record in labels}
    pairs = [(atoms, records[name]) for atoms in clusters if (name := atoms.info["name"]) in records]
    same_level = len(different_levels([model.metadata.level_of_theory, labels.level_of_theory])) == 1
    groups = {
        "visited": [pair for pair in pairs if pair[0].info["config_type"] == DRAWN],
        "flagged": [pair for pair in pairs if pair[0].info["config_type"] != DRAWN],
    }
    return {name: _of(model, group, same_level) for name, group in groups.items() if group}


def _of(model: LoadedModel, pairs: Sequence[tuple[ase.Atoms, Record]], same_level: bool) -> Measured:
    squares: dict[str, list[float]] = {key: [] for key in ("energy", "forces", "center", "products", "cut")}
    for atoms, record in pairs:
        assert record.energy is not None and record.forces is not None
        graph = build_graph(record.atoms_only(), model.elements, model.cutoff)
        answer = model.potential.answer(graph)
        wrong = answer.forces - record.forces
        squares["energy"].append((1e3 * (answer.energy - record.energy) / len(record)) ** 2)
        squares["forces"].append(float((wrong**2).mean()))
        squares["center"].append(float((wrong[0] ** 2).mean()))
        squares["cut"].append(float(((answer.forces[0] - atoms.info[FORCE_IN_RUN]) ** 2).mean()))
        if record.directions is not None and record.products is not None:
            found = np.array([model.potential.products(graph, v) for v in record.directions])
            squares["products"].append(float(((found - record.products) ** 2).mean()))
        elif record.hessian is not None:
            squares["products"].append(
                float(((model.potential.hessian(graph) - record.hessian) ** 2).sum() / (3 * len(record)))
            )
    steps = np.array([atoms.info["step"] for atoms, _ in pairs])
    errors = {key: jackknife(np.array(each), steps) for key, each in squares.items() if len(each) == len(pairs)}
    return Measured(
        clusters=len(pairs),
        steps=len(np.unique(steps)),
        energy=errors["energy"] if same_level else None,
        forces=errors["forces"],
        center=errors["center"],
        products=errors.get("products"),
        cut=errors["cut"],
    )


def jackknife(squares: np.ndarray, groups: np.ndarray) -> Error:
    """√(mean of squares) and its standard error, from leaving out one group after another (Efron, Stein, Ann. Stat. 9,
    586, 1981)."""
    names = np.unique(groups)
    whole = float(np.sqrt(squares.mean()))
    if len(names) < 2:
        return Error(whole, None)
    left = np.array([np.sqrt(squares[groups != name].mean()) for name in names])
    return Error(whole, float(np.sqrt((len(names) - 1) / len(names) * ((left - left.mean()) ** 2).sum())))


def tell(found: dict[str, Measured], level: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Say what was measured; the same for JSON."""
    for name, each in found.items():
        where = "around atoms that were drawn" if name == "visited" else "around flagged atoms"
        say(f"error of the model against {level}, {each.clusters} clusters of {each.steps} steps {where}:")
        say(f"  forces {each.forces.describe()} eV/Å, on the atoms in the middle {each.center.describe()}")
        if each.products is not None:
            say(f"  H·v {each.products.describe()} eV/Å²")
        if each.energy is not None:
            say(f"  energy {each.energy.describe()} meV per atom")
        say(
            f"  cutting the clusters out has changed the model's own forces in the middle by {each.cut.describe()} eV/Å"
        )
    return {"level_of_theory": level, **{name: asdict(each) for name, each in found.items()}}
