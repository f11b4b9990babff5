"""How far SOAP and AdamW come in as many epochs, from the same weights, in one run.

    OMP_NUM_THREADS=1 python benchmarks/optimizers.py

The stationary points of the shipped reactive set, full Hessians as errors of frequencies. The loss is that of the
training structures; seconds are processor time of the epochs up to there.
"""

from __future__ import annotations

import argparse
import math
import time

from hesspot.training.config import parse_config
from hesspot.training.loss import evaluate_terms
from hesspot.training.trainer import Trainer

SETTINGS = {
    "data": "shipped:reactive_chno",
    "hessian": {"sampling": "full", "metric": "frequency"},
    "loss": {"hessian": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.005)
    options = parser.parse_args()
    marks = [options.epochs // 4, options.epochs // 2, options.epochs]
    print("| optimizer | epochs | seconds | loss | forces, eV/Å | Hessian, 100 cm⁻¹ |")
    print("| --- | --- | --- | --- | --- | --- |")
    for method in ("adamw", "soap"):
        chosen = {"method": method, "epochs": options.epochs, "learning_rate": options.learning_rate}
        run = Trainer(parse_config({**SETTINGS, "optimizer": chosen}, method))
        seconds = 0.0
        for _ in range(options.epochs):
            start = time.process_time()
            run.train_epoch()
            seconds += time.process_time() - start
            if run.epoch in marks:
                terms = evaluate_terms(run.average, run.data.training, "efh")
                loss = terms.total(run.config.loss, "efh")
                forces, hessian = (
                    math.sqrt(s / n) for s, n in ((terms.forces, terms.structures), (terms.hessian, terms.with_hessian))
                )
                print(f"| {method} | {run.epoch} | {seconds:.0f} | {loss:.4f} | {forces:.3f} | {hessian:.3f} |")


if __name__ == "__main__":
    main()
