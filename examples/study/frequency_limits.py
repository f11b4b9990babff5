"""Where the error of frequencies at the held-out minima comes from: the method, the pretraining, or the fine-tuning.

    python examples/study/frequency_limits.py study/runs/pretrained/fraction-1/seed-*
    python examples/study/frequency_limits.py shipped:grown

Mean absolute differences of harmonic frequencies above 400 cm⁻¹ at the minima of the part test: GFN2-xTB against the
reference, each trained model (folders of runs, or model files), and the mean of their Hessians, against both.
"""

import sys
from pathlib import Path

import numpy as np

from hesspot.accuracy.in_torch import one_by_one
from hesspot.analysis.normal_modes import normal_modes
from hesspot.contract import Model
from hesspot.data import Dataset
from hesspot.data.shipped import find_dataset
from hesspot.export import read_model
from hesspot.reference.tblite_labels import TbliteMethod
from hesspot.training.checkpoint import load_checkpoint, model_of

SOFT = 400.0  #: cm⁻¹


def model_at(place: Path) -> Model:
    """The best model of a run, or a model file."""
    return model_of(load_checkpoint(place / "best.pt")).requires_grad_(False) if place.is_dir() else read_model(place)


def main() -> None:
    minima = [r for r in Dataset.read(find_dataset("shipped:reactive_chno")) if (r.part, r.kind) == ("test", "minimum")]
    structures = [record.atoms_only() for record in minima]

    def frequencies(hessians: list[np.ndarray]) -> np.ndarray:
        pairs = zip(structures, hessians, strict=True)
        return np.concatenate([normal_modes(atoms, hessian).frequencies for atoms, hessian in pairs])

    reference = frequencies([record.hessian for record in minima if record.hessian is not None])
    method = TbliteMethod()
    xtb = frequencies([np.asarray(method.labels(atoms).hessian) for atoms in structures])
    hard = reference > SOFT
    print(f"GFN2-xTB: {np.abs(xtb - reference)[hard].mean():.1f} from the reference")
    hessians: dict[str, list[np.ndarray]] = {}
    for place in sys.argv[1:]:
        answers = one_by_one(model_at(Path(place)), structures)
        hessians[place] = [answer.hessian for answer in answers if answer.hessian is not None]
    if len(hessians) > 1:
        hessians["their mean"] = [np.mean(own, axis=0) for own in zip(*hessians.values(), strict=True)]
    for name, own in hessians.items():
        found = frequencies(own)
        from_xtb, from_reference = (np.abs(found - other)[hard].mean() for other in (xtb, reference))
        print(f"{name}: {from_xtb:.1f} from GFN2-xTB, {from_reference:.1f} from the reference")


if __name__ == "__main__":
    main()
