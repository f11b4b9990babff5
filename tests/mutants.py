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

SOAP = "hesspot/kernel/soap_loops.cpp"
DERIVATIVES, LOSS, OPTIMIZER = "hesspot/derivatives.py", "hesspot/training/loss.py", "hesspot/training/optimizer.py"
MODES, DRIFT = "hesspot/analysis/normal_modes.py", "hesspot/analysis/drift.py"
INPUTS, LISTS = "hesspot/ipi/inputs.py", "ipi_driver/evaluation/neighbors.py"
KERNEL, NETWORKS, NUMBERS, BLOCK = (
    f"hesspot/kernel/house_{name}" for name in ("kernel.cpp", "networks.h", "numbers.h", "block.cpp")
)
KERNEL_LOSS = "hesspot/kernel/loss.cpp"
FORCE_LINES = "hesspot/reference/force_lines.py"
LOOPS, LANE = "ipi_driver/native/edges.cpp", "ipi_driver/native/fast_lane.cpp"
KERNEL_TESTS = ["tests/kernel"]
TESTS = {
    DERIVATIVES: ["tests/derivatives"],
    LOSS: ["tests/training/test_loss.py", "tests/training/test_metric.py"],
    OPTIMIZER: ["tests/training/test_soap.py"],
    SOAP: ["tests/training/test_soap.py"],
    MODES: ["tests/analysis/test_normal_modes.py"],
    DRIFT: ["tests/analysis/test_drift.py"],
    INPUTS: ["tests/ipi/test_ipi_inputs.py"],
    LISTS: ["tests/ipi/test_evaluator.py"],
    FORCE_LINES: ["tests/reference/test_ase_labels.py"],
    KERNEL: KERNEL_TESTS,
    NETWORKS: KERNEL_TESTS,
    NUMBERS: KERNEL_TESTS,
    BLOCK: KERNEL_TESTS,
    KERNEL_LOSS: ["tests/kernel/test_kernel_training.py", "tests/training/test_loss.py"],
    LOOPS: ["tests/ipi/test_edges.py", "tests/ipi/test_evaluator.py"],
    LANE: ["tests/ipi/test_fast_lane.py"],
}
LIBRARIES = "_kernels", "_steps"


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
    Mutant(
        LOSS, "(measured**2).mean(0).sum(1), self.batch) / (3 * n) ** 2", "(measured**2).mean(0).sum(1), self.batch)"
    ),
    Mutant(LOSS, "(2.0 * factors[2] / (3 * n) ** 2 / len(error))", "(2.0 * factors[2] / (3 * n) ** 2)"),
    Mutant(LOSS, "(2.0 * factors[3] / (9 * n))", "(2.0 * factors[3] / 9)"),
    Mutant(LOSS, "(own.flatten(1) @ metric.T)", "own.flatten(1)"),
    Mutant(LOSS, "size**0.5 *", "size *"),
    Mutant(LOSS, "if not config.redraw:", "if False:"),
    Mutant(LOSS, "float((squares / counts).sum())", "float(squares.sum())"),
    Mutant(LOSS, "factor * (counts * per_structure).sum()", "factor * per_structure.sum()"),
    Mutant(LOSS, "factor * float(counts[0])", "factor"),
    Mutant(LOSS, "s.member_weights[member]", "s.member_weights[0]"),
    Mutant(LOSS, "sample.metric.T @ error @ sample.metric", "error @ sample.metric"),
    Mutant(OPTIMIZER, "weights.mul_(1.0 - decay).sub_(move, alpha=rate)", "weights.sub_(move, alpha=rate)"),
    Mutant(OPTIMIZER, "inside.mT @ turned, 1.0 - MEMORY", "inside.mT @ turned, 0.0"),
    Mutant(OPTIMIZER, "torch.baddbmm(turned, inside, right, alpha=-1.0)", "turned"),
    Mutant(OPTIMIZER, 'turn.mT @ state["left_square"] @ turn', 'state["left_square"]'),
    Mutant(OPTIMIZER, ", weight_decay=settings.weight_decay)", ")"),
    Mutant(OPTIMIZER, "lr=settings.learning_rate", "lr=0.01"),
    Mutant(SOAP, "(g * g - square[i])", "(g - square[i])"),
    Mutant(SOAP, "own.left, 1, r, gradient", "own.left, r, 1, gradient"),
    Mutant(SOAP, "* (1.0 - step.decay)", ""),
    Mutant(SOAP, "approach(own.right_square, square, k * c, part)", "approach(own.right_square, square, k, part)"),
    Mutant(SOAP, "own.transposed ? j * r + i : i * c + j]);", "i * c + j]);"),
    Mutant(MODES, "LINEAR = 1e-3", "LINEAR = 1e-1"),
    Mutant(MODES, "LINEAR = 1e-3", "LINEAR = 1e-6"),
    Mutant(MODES, "IMAGINARY = 0.5", "IMAGINARY = 50.0"),
    Mutant(MODES, "frequencies[frequencies > 0].sum()", "np.abs(frequencies).sum()"),
    Mutant(MODES, "cartesian /= np.linalg.norm", "cartesian *= np.linalg.norm"),
    Mutant(MODES, "weights=masses)", "weights=None)"),
    Mutant(DRIFT, "float(kept.mean()), float(max(errors))", "float(kept.mean()), float(min(errors))"),
    Mutant(DRIFT, "(len(y) - 2)", "len(y)"),
    Mutant(DRIFT, "int(discard * len(values))", "0"),
    Mutant(INPUTS, '(practically infinite time constant)", 1e12)', '(practically infinite time constant)", 1.0)'),
    Mutant(INPUTS, "<pile_lambda>0.5<", "<pile_lambda>0.1<"),
    Mutant(LISTS, "else 0.5 * self.skin", "else 1.0 * self.skin"),
    Mutant(LISTS, "shrink = float(np.linalg.svd(strain, compute_uv=False)[-1])", "shrink = 1.0"),
    Mutant(LISTS, "positions @ np.linalg.inv(strain)", "positions"),
    Mutant(LISTS, "- 2.0 * room * largest", "- room * largest"),
    Mutant(FORCE_LINES, "math.factorial(2 * order)", "math.factorial(order)"),
    Mutant(FORCE_LINES, "max(force_noise, 1e-15)", "max(0.0, 1e-15)"),
    Mutant(FORCE_LINES, "SHAPE * 2.0 * excess", "0.0 * excess"),
    Mutant(FORCE_LINES, "math.hypot(noise, truncation / n)", "truncation / n"),
    Mutant(FORCE_LINES, "slopes[0] + 4.0 * slopes[1]", "slopes[0] + 3.0 * slopes[1]"),
    Mutant(FORCE_LINES, "12.0 * slope[0]", "14.0 * slope[0]"),
    Mutant(KERNEL, "(fraction * cube) - envelope) * of_seen", "(fraction * cube)) * of_seen"),
    Mutant(KERNEL, "slope[k] = slope[k] * stretch;", "slope[k] = slope[k];"),
    Mutant(KERNEL, "s * potential_slope + s_slope * potential", "s * potential_slope"),
    Mutant(KERNEL, "energy_ = networks_.energy + core_energy_;", "energy_ = networks_.energy;"),
    Mutant(KERNEL, "any_below(value_of(r), core.outer)", "any_below(value_of(r), core.inner)"),
    Mutant(KERNEL, "three * (Y[9] * b[19])", "two * (Y[9] * b[19])"),
    Mutant(KERNEL, "m2_bar[u] += twice * m3[t];", "m2_bar[u] += v32_bar[a] * m3[t];"),
    Mutant(KERNEL, "at(beside_.first, 3 * e + i)", "at(beside_.first, 3 * e)"),
    Mutant(KERNEL, "density_bar_[k] += density_part_[k];", "density_bar_[k] = density_part_[k];"),
    Mutant(KERNEL, "descend(i ? density_part_ : density_bar_);", "descend(density_bar_);"),
    Mutant(KERNEL, "(count > 0 && c + 1 == edges.n_centers)", "(count > 1 && c + 1 == edges.n_centers)"),
    Mutant(KERNEL, "for (; k < K; k++)\n          add_density<1>", "for (; k < K - 1; k++)\n          add_density<1>"),
    Mutant(KERNEL, "networks_.add(network_of(m), description_->scale);", "networks_.add(network_of(m), Real(1));"),
    Mutant(NETWORKS, "slope[o] = open + value * (T(1) - open);", "slope[o] = open;"),
    Mutant(NETWORKS, "derivatives[i] += T(weight * net.linear[i]);", "derivatives[i] += T(net.linear[i]);"),
    Mutant(NETWORKS, "sum[0] += w[k] * x[k];", "sum[0] += w[k];"),
    Mutant(NETWORKS, "w.data += R * w.row;", "w.data += R * w.column;"),
    Mutant(NUMBERS, "last_of_product(x.a, y.b) + last_of_product(x.b, y.a)", "last_of_product(x.a, y.b)"),
    Mutant(NETWORKS, "layer_bar_[i] = net.readout.weight[i] * seed;", "layer_bar_[i] = T(net.readout.weight[i]);"),
    Mutant(KERNEL_LOSS, "2.0 * weight * own.of_energy", "2.0 * own.of_energy"),
    Mutant(KERNEL_LOSS, "2.0 * weight * own.of_forces / (3.0 * atoms)", "2.0 * weight * own.of_forces / atoms"),
    Mutant(KERNEL_LOSS, "2.0 * weight * own.of_hessian * part", "2.0 * weight * own.of_hessian"),
    Mutant(KERNEL_LOSS, "own.direction_share / square", "1.0 / square"),
    Mutant(KERNEL_LOSS, "factor * vectors[3 * e + i / 3] * errors[i]", "factor * vectors[3 * e + i % 3] * errors[i]"),
    Mutant(KERNEL_LOSS, "direction == 0 || direction == NO_DIRECTION", "true"),
    Mutant(KERNEL_LOSS, "column_product(own.metric, measured_.data(), size, answer_.data());", ""),
    Mutant(BLOCK, "shape.envelope_power != ENVELOPE_POWER", "false"),
    Mutant(BLOCK, "  reader.end();\n", ""),
    Mutant(LOOPS, "<= task.allowed_squared", "<= 4 * task.allowed_squared"),
    Mutant(LOOPS, "return !task.shifts ||", "return true ||"),
    Mutant(LOOPS, "other[k] -= g[k];", "other[k] -= own[k];"),
    Mutant(LOOPS, "virial[3 * k + j] -= v[k] * g[j];", "virial[3 * k + j] += v[k] * g[j];"),
    Mutant(LOOPS, "s[1] * cell[3 + k]", "s[1] * cell[3 * k + 1]"),
    Mutant(LOOPS, "squared < task.coincident_squared", "squared < 0.0"),
    Mutant(LOOPS, "const std::int64_t atom = task.first_center + c;", "const std::int64_t atom = c;"),
    Mutant(LOOPS, "finite = finite && std::isfinite(virials[9 * s + i]);", "{}"),
    Mutant(LOOPS, "task.lone_refused && next", "task.lone_refused && 0 && next"),
    Mutant(LANE, "(3 * column + row)", "(3 * row + column)"),
    Mutant(LANE, "divided(to, 9 * n, lane.hartree);", "divided(to, 9 * n, lane.hartree_per_bohr);"),
    Mutant(LANE, "lane.cells ? 72 : 144", "144"),
    Mutant(LANE, "lane->rest -= lane->done;", "lane->rest = 0;"),
]


def is_found(mutant: Mutant, copy: Path) -> bool:
    """Whether a test of its part fails with the mistake."""
    path = copy / mutant.file
    text = path.read_text()
    assert mutant.right in text, f"{mutant.file} has no {mutant.right!r} any more: correct the list"
    path.write_text(text.replace(mutant.right, mutant.wrong, 1))
    found = not tests_pass(mutant.file, copy)
    path.write_text(text)
    return found


def tests_pass(file: str, copy: Path) -> bool:
    """Whether the tests of a file's part pass in the copy as it is."""
    compiled = file.endswith((".cpp", ".h"))
    if compiled:
        build(copy)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS[file]],
        cwd=copy,
        env={
            **os.environ,
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            **({"HESSPOT_LIBRARIES": str(copy / "build")} if compiled else {}),
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.returncode == 0


def build(copy: Path) -> None:
    """The compiled parts of the copy, in its folder `build`; only what has changed."""
    programs = Path(sys.executable).parent
    configure = [programs / "cmake", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={programs / 'ninja'}"]
    options = ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-S", copy / "tests/sanitize", "-B", copy / "build"]
    for command in ([*configure, *options], [programs / "cmake", "--build", copy / "build", "--target", *LIBRARIES]):
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def main() -> None:
    words = sys.argv[1:]
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in ("hesspot", "ipi_driver", "tests", "examples"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        mutants = [mutant for mutant in MUTANTS if not words or any(word in mutant.file for word in words)]
        for file in dict.fromkeys(mutant.file for mutant in mutants):
            assert tests_pass(file, copy), f"{' '.join(TESTS[file])} fail without a mistake; mend them first"
        for mutant in mutants:
            found = is_found(mutant, copy)
            missed += not found
            print(f"{'found ' if found else 'MISSED'}  {mutant.file}: {mutant.wrong}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
