"""Mistakes that a test must find: each is put into a copy of the sources, and the tests of that part must fail.

    make mutants                                   # all; some minutes for each dozen
    .venv/bin/python tests/mutants.py derivatives  # those of files with this word in their path

A mistake that no test finds is printed, and the exit status is 1. Changes that are none (another order of sums, a
bound of memory) do not belong here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

DERIVATIVES, LOSS, OPTIMIZER = "hesspot/derivatives.py", "hesspot/training/loss.py", "hesspot/training/optimizer.py"
MODES, DRIFT = "hesspot/analysis/normal_modes.py", "hesspot/analysis/drift.py"
TESTS = {
    DERIVATIVES: ["tests/derivatives"],
    LOSS: ["tests/training/test_loss.py", "tests/training/test_metric.py"],
    OPTIMIZER: ["tests/training/test_soap.py"],
    MODES: ["tests/analysis/test_normal_modes.py"],
    DRIFT: ["tests/analysis/test_drift.py"],
}


class Mutant(NamedTuple):
    """A file with the first `right` in it replaced by `wrong`."""

    file: str
    right: str
    wrong: str


MUTANTS = [
    Mutant(DERIVATIVES, "-batch.vectors.unsqueeze(2)", "batch.vectors.unsqueeze(2)"),
    Mutant(DERIVATIVES, "index_add(0, batch.neighbors, outer)", "index_add(0, batch.centers, outer)"),
    Mutant(DERIVATIVES, "virial=sum_structures(per_atom, batch)", "virial=per_atom"),
    Mutant(LOSS, "self.stress / max(self.with_stress, 1)", "self.stress / n"),
    Mutant(LOSS, "self.hessian / max(self.with_hessian, 1)", "self.hessian / n"),
    Mutant(LOSS, "with_hessian=sum(curved)", "with_hessian=len(samples)"),
    Mutant(LOSS, "/ (3 * self.sizes) ** 2", "/ (3 * self.sizes)"),
    Mutant(LOSS, "squares) / (9 * self.sizes)", "squares) / 9"),
    Mutant(LOSS, "(3.0 * n_atoms) ** 0.5", "(3.0 * n_atoms)"),
    Mutant(LOSS, "generator if config.redraw else", "generator if True else"),
    Mutant(LOSS, "float((squares / counts).sum())", "float(squares.sum())"),
    Mutant(LOSS, "factor * (counts * per_structure).sum()", "factor * per_structure.sum()"),
    Mutant(LOSS, "factor * float(counts[0])", "factor"),
    Mutant(LOSS, "s.member_weights[member]", "s.member_weights[0]"),
    Mutant(LOSS, "((product.flatten() - expected) @ metric)", "(product.flatten() - expected)"),
    Mutant(LOSS, "sample.metric.T @ error @ sample.metric", "error @ sample.metric"),
    Mutant(OPTIMIZER, 'parameter.mul_(1.0 - group["lr"] * group["weight_decay"])', "pass"),
    Mutant(OPTIMIZER, ", weight_decay=settings.weight_decay)", ")"),
    Mutant(OPTIMIZER, "lr=settings.learning_rate", "lr=0.01"),
    Mutant(MODES, "LINEAR = 1e-3", "LINEAR = 1e-1"),
    Mutant(MODES, "LINEAR = 1e-3", "LINEAR = 1e-6"),
    Mutant(MODES, "IMAGINARY = 0.5", "IMAGINARY = 50.0"),
    Mutant(MODES, "frequencies[frequencies > 0].sum()", "np.abs(frequencies).sum()"),
    Mutant(MODES, "cartesian /= np.linalg.norm", "cartesian *= np.linalg.norm"),
    Mutant(MODES, "weights=masses)", "weights=None)"),
    Mutant(DRIFT, "float(kept.mean()), float(max(errors))", "float(kept.mean()), float(min(errors))"),
    Mutant(DRIFT, "(len(y) - 2)", "len(y)"),
    Mutant(DRIFT, "int(discard * len(values))", "0"),
]


def is_found(mutant: Mutant, copy: Path) -> bool:
    """Whether a test of its part fails with the mistake."""
    path = copy / mutant.file
    text = path.read_text()
    assert mutant.right in text, f"{mutant.file} has no {mutant.right!r} any more: correct the list"
    path.write_text(text.replace(mutant.right, mutant.wrong, 1))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS[mutant.file]],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    path.write_text(text)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.returncode == 1


def main() -> None:
    words = sys.argv[1:]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in ("hesspot", "ipi_driver", "tests"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for mutant in MUTANTS:
            if words and not any(word in mutant.file for word in words):
                continue
            found = is_found(mutant, copy)
            missed += not found
            print(f"{'found ' if found else 'MISSED'}  {mutant.file}: {mutant.wrong}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
