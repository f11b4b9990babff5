"""Measure what the cards of the shipped models say: errors on the test parts that they name, and stability.

    OMP_NUM_THREADS=1 python benchmarks/model_cards.py
    OMP_NUM_THREADS=1 python benchmarks/model_cards.py --stability stability

writes the cards anew; `stability` is the folder of benchmarks/stability.py. `hesspot models NAME` shows a card.
"""

import argparse
import json
from pathlib import Path

from hesspot.accuracy.cases import from_dataset
from hesspot.accuracy.in_torch import one_by_one
from hesspot.accuracy.model_errors import model_errors
from hesspot.console import say
from hesspot.export import read_model
from hesspot.files import write_atomically
from hesspot.models.shipped import Card, Errors, Run, names, path, read_card

GROUPS = ("all", "minima", "saddles", "off-equilibrium")


def measured(name: str, data: str) -> list[Errors]:
    """The model of that name on the test part of a dataset."""
    cases, _ = from_dataset(data, "test")
    answers = one_by_one(read_model(path(name)), [case.atoms for case in cases])
    return [
        Errors(
            data=data,
            part="test",
            group=found.group,
            structures=found.n_structures,
            energy_mae=_rounded(1e3 * found.energy_per_atom.mae),
            forces_rmse=_rounded(found.forces.rmse),
            hessian_rmse=_rounded(found.hessian.rmse) if found.hessian else None,
            frequencies_mae=_rounded(found.frequencies.mae) if found.frequencies else None,
        )
        for found in model_errors(cases, answers)
        if found.group in GROUPS and found.energy_per_atom and found.forces
    ]


def runs(name: str, folder: Path) -> list[Run]:
    """The model's finished cases of the benchmark of stability."""
    weights = read_model(path(name)).metadata.weights_sha256
    found = []
    for file in sorted(folder.glob(f"{name}-*.json")):
        told = json.loads(file.read_text())
        if not weights.startswith(told["weights"]):
            raise SystemExit(f"{file} is of another model than shipped:{name}; run the benchmark again")
        case = told["case"]
        known = {key: case[key] for key in ("ensemble", "temperature", "length")}
        found.append(Run(start=case["system"], time=told["time"], event=told["event"], **known))
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stability", type=Path, help="folder of outcomes, in the place of measuring errors")
    folder = parser.parse_args().stability
    for name in names():
        card = read_card(name)
        if folder:
            changes = {"stability": runs(name, folder)}
        else:
            changes = {"errors": [errors for data in card.tested_on for errors in measured(name, data)]}
        text = Card.model_validate({**card.model_dump(), **changes}).model_dump_json(indent=1)
        write_atomically(path(name).with_suffix(".json"), (text + "\n").encode())
        say(f"{name}: {', '.join(f'{len(rows)} rows of {what}' for what, rows in changes.items())}")


if __name__ == "__main__":
    main()
