"""Curvature from forces along a line, with a step that fits their noise, and how wrong it is.

A central difference D = (F(−h) − F(h)) / 2h along v is H·v + h² f‴/6, f the gradient along the line, and has the noise
ε/(√2 h) of forces with the noise ε: their sum is least at h = (3ε/f‴)^⅓. Both are measured, ε by the sixth differences
of equally spaced points (Hamming's table; Moré and Wild, SIAM J. Sci. Comput. 33, 1292, 2011), f‴ by two
steps. Energies at the same points tell what a step leaves, and whether the forces are the gradient of the energy.

Directions (n, 3) have a root-mean-square component of 1 where they are random, so that steps are that of a coordinate.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

#: Energy (eV) and forces (n, 3) eV/Å at positions (n, 3) Å.
Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]
#: The same at several positions, for those that take many at once.
EvaluateAll = Callable[[Sequence[np.ndarray]], Sequence[tuple[float, np.ndarray]]]

#: Å, between the points of which noise is taken: far enough that single precision tells them apart, near enough that
#: the sixth derivative of a force leaves 1e-12 eV/Å.
SPACING = 2e-3
#: Points on each side, which make one sixth difference.
POINTS = 3
#: 1/Å²: f‴ over H·v of stiff bonds, for the first two steps.
STIFFENING = 25.0
#: Å, between which a step lies: positions of large cells have 1e-12 Å of rounding, bonds break beyond.
STEPS = 5e-4, 0.05
#: Of the stiffening, the least f‴ that is believed: two steps of noisy forces may seem equal.
LEAST = 0.2
#: Noise that a difference of energies must exceed to tell something.
SIGNIFICANT = 3.0
#: The error of H·v over its component along v, which energies tell, for potentials of bonds.
SHAPE = 2.0


class Differences(BaseModel):
    """How the forces of a calculator are to be differentiated, and what they are like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: float = Field(gt=0, description="Å, root-mean-square displacement of a coordinate")
    force_noise: float = Field(description="eV/Å, of a component")
    energy_noise: float = Field(description="eV")
    third: float = Field(description="eV/Å⁴, f‴, root mean square")


@dataclass(frozen=True, eq=False)
class Line:
    """What points at −h, 0 and h of a direction say.

    product: (n, 3) H·v in eV/Å²; error: its estimated root-mean-square error; mismatch: by how much a force along the
    line differs from the slope of the energy, beyond noise, eV/Å.
    """

    product: np.ndarray
    error: float
    mismatch: float


@dataclass(frozen=True, eq=False)
class Measured:
    """A calculator at one structure: its differences, H·v of the direction, and its forces against its energy.

    forces: (n, 3) eV/Å at its centre; mismatch: eV/Å as of `Line`, noise included; mismatch_noise: what noise makes of
    it.
    """

    differences: Differences
    forces: np.ndarray
    product: np.ndarray
    mismatch: float
    mismatch_noise: float


def one_after_another(evaluate: Evaluate) -> EvaluateAll:
    """For a calculator that takes one structure at a time."""
    return lambda places: [evaluate(positions) for positions in places]


def random_directions(name: str, n_atoms: int, count: int) -> np.ndarray:
    """(count, n, 3) directions of length √(3n), uniform on the sphere; the same for the same name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    directions = rng.normal(size=(count, 3 * n_atoms))
    directions *= np.sqrt(3 * n_atoms) / np.linalg.norm(directions, axis=1, keepdims=True)
    return directions.reshape(count, -1, 3)


def central_difference(
    forces_at: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, direction: np.ndarray, step: float
) -> np.ndarray:
    """H·v (n, 3) in eV/Å² from forces (n, 3) eV/Å at two displacements."""
    ahead, behind = (forces_at(positions + sign * step * direction) for sign in (1.0, -1.0))
    return (behind - ahead) / (2.0 * step)


def measure(evaluate_all: EvaluateAll, positions: np.ndarray, direction: np.ndarray) -> Measured:
    """Noise, f‴ and the step that balances them, from eleven calculations on one line of a random direction."""
    near = evaluate_all([positions + point * SPACING * direction for point in range(-POINTS, POINTS + 1)])
    energies, forces = np.array([energy for energy, _ in near]), np.array([forces for _, forces in near])
    force_noise = noise_of(forces, 6)
    energy_noise = max(noise_of(energies, 5), noise_of(energies, 6), _rounding(energies))
    stiffness = _rms(forces[0] - forces[-1]) / (2 * POINTS * SPACING)
    trial = _balanced(force_noise, STIFFENING * stiffness)
    factors = (-2, -1, 1, 2)
    found_at = evaluate_all([positions + factor * trial * direction for factor in factors])
    outer = dict(zip(factors, found_at, strict=True))
    short = (outer[-1][1] - outer[1][1]) / (2 * trial)
    long = (outer[-2][1] - outer[2][1]) / (4 * trial)
    by_noise = 0.5 * force_noise**2 * (1 / trial**2 + 1 / (2 * trial) ** 2)
    third = 2.0 / trial**2 * math.sqrt(max(_rms(long - short) ** 2 - by_noise, 0.0))
    third = max(third, LEAST * STIFFENING * stiffness)
    found = Differences(
        step=_balanced(force_noise, third), force_noise=force_noise, energy_noise=energy_noise, third=third
    )
    mismatch, noise = _work(outer | {0: near[POINTS]}, trial, direction, found)
    return Measured(found, near[POINTS][1], short, abs(mismatch), noise)


def mismatch_along(
    evaluate: Evaluate, positions: np.ndarray, direction: np.ndarray, reach: float
) -> tuple[float, np.ndarray]:
    """Mismatch, as of `Measured`, on a line of ±`reach` Å, and forces at its centre, from five calculations."""
    points = {factor: evaluate(positions + factor * reach / 2 * direction) for factor in (-2, -1, 0, 1, 2)}
    silent = Differences(step=reach, force_noise=0.0, energy_noise=0.0, third=0.0)
    return abs(_work(points, reach / 2, direction, silent)[0]), points[0][1]


def along(
    evaluate: Evaluate,
    positions: np.ndarray,
    direction: np.ndarray,
    centre: tuple[float, np.ndarray],
    differences: Differences,
) -> Line:
    """H·v and its error from two calculations beside the one at the `centre`; a direction of any length."""
    step, n = differences.step, math.sqrt(direction.size)
    length = float(np.linalg.norm(direction))
    (behind, forces_behind), (ahead, forces_ahead) = (
        evaluate(positions + sign * step * direction) for sign in (-1.0, 1.0)
    )
    product = (forces_behind - forces_ahead) / (2.0 * step)
    noise = differences.force_noise / (math.sqrt(2.0) * step)
    truncation = differences.third * step**2 / 6.0 * length
    # v·D is h²/6 f⁗ too large, the bow of the energy h²/12 f⁗
    excess = abs(float((direction * product).sum()) - (ahead - 2.0 * centre[0] + behind) / step**2)
    excess_noise = math.hypot(math.sqrt(6.0) * differences.energy_noise / step**2, length * noise)
    if excess > SIGNIFICANT * excess_noise:
        truncation = max(truncation, SHAPE * 2.0 * excess / length)
    slopes = [float((direction * forces).sum()) for forces in (forces_behind, centre[1], forces_ahead)]
    work = ahead - behind + step / 3.0 * (slopes[0] + 4.0 * slopes[1] + slopes[2])
    work_noise = math.hypot(
        math.sqrt(2.0) * differences.energy_noise, step * math.sqrt(2.0) * length * differences.force_noise
    )
    mismatch = max(abs(work) - SIGNIFICANT * work_noise, 0.0) / (2.0 * step * length)
    return Line(product, math.hypot(noise, truncation / n), mismatch)


def _work(
    points: dict[int, tuple[float, np.ndarray]], step: float, direction: np.ndarray, differences: Differences
) -> tuple[float, float]:
    """Energy difference and work over −2 … 2 steps (Boole's rule), eV/Å of a coordinate; what noise makes of it."""
    slope = {point: float((direction * forces).sum()) for point, (_, forces) in points.items()}
    outer, inner = slope[-2] + slope[2], slope[-1] + slope[1]
    work = points[2][0] - points[-2][0] + 2.0 * step / 45.0 * (7.0 * outer + 32.0 * inner + 12.0 * slope[0])
    length = 4.0 * step * float(np.linalg.norm(direction))
    noise = math.hypot(math.sqrt(2.0) * differences.energy_noise, 0.5 * length * differences.force_noise)
    return work / length, noise / length


def noise_of(values: np.ndarray, order: int) -> float:
    """Of each value, from differences of this order along the first axis, in which noise has grown by √((2k)!)/k!."""
    growth = math.sqrt(math.factorial(2 * order)) / math.factorial(order)
    return _rms(np.diff(values, order, axis=0)) / growth


def _balanced(force_noise: float, third: float) -> float:
    """The step at which noise and truncation are least together, Å."""
    return float(np.clip((3.0 * max(force_noise, 1e-15) / max(third, 1e-9)) ** (1.0 / 3.0), *STEPS))


def _rounding(energies: np.ndarray) -> float:
    """eV, of energies that are single precision though they are handed over as double."""
    single = energies.astype(np.float32)
    return float(np.spacing(np.abs(single).max())) / math.sqrt(12.0) if (single == energies).all() else 0.0


def _rms(values: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(values))))
