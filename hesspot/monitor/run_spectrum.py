"""The vibrational spectrum of a run from its velocities, as a whole and of each normal mode of a minimum.

A run is cut into blocks; in each ⟨Σ m v(0)·v(t)⟩ over all beginnings is transformed (`memory_spectrum`), and the
spread over the blocks gives the errors. A molecule is turned into the frame of a reference structure, by the rotation
that brings its atoms nearest to it (`superposition`), and its motion and turning as a whole are taken out of the
velocities, so that lines are not broadened by rotation; velocities of periodic systems lose the motion of the whole.
Projected on the normal modes of a minimum (√m v · mode), they give a spectrum for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import ase
import numpy as np

from hesspot.analysis.normal_modes import LINEAR, NormalModes
from hesspot.analysis.spectrum import autocorrelation, memory_spectrum, memory_time, peak
from hesspot.analysis.superposition import superposition
from hesspot.errors import UserError
from hesspot.monitor.frames import Frame
from hesspot.monitor.trajectory import Source, Trajectory
from hesspot.units import AMU_A2_PER_FS2, BOLTZMANN, SPEED_OF_LIGHT

#: Blocks that errors need at least, and times of memory in each: shorter ones would have too few beginnings.
FEWEST, MEMORIES = 2, 2

#: Points of the curves within a line's width.
POINTS = 4

#: Full width at half height of a Gaussian over its standard deviation.
FULL_WIDTH = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class Reading:
    """How a run is read: timestep fs; discard: fs at its beginning that are left out; width: cm⁻¹, the standard
    deviation that a line gets."""

    timestep: float
    discard: float = 0.0
    width: float = 10.0

    def __post_init__(self) -> None:
        for option, value in (("timestep", self.timestep), ("width", self.width)):
            if not (0.0 < value < np.inf):
                raise UserError(f"--{option} {value:g}: give a positive number")
        if not (0.0 <= self.discard < np.inf):
            raise UserError(f"--discard {self.discard:g}: give the fs at the beginning to be left out, 0 or more")


@dataclass(frozen=True)
class Line:
    """Place and full width at half height of a peak, cm⁻¹, with standard errors; the width that a line of no width has
    is taken out."""

    place: float
    error: float
    width: float
    width_error: float


@dataclass(frozen=True, eq=False)
class RunSpectrum:
    """frequencies (g,) cm⁻¹; blocks (b, g): the spectrum of each block, its integral 1; modes (b, m, g): of each mode,
    temperatures (b, m) K of their motion, both without columns if no modes were asked for; interval fs between frames,
    duration fs; width cm⁻¹ of a line."""

    frequencies: np.ndarray
    blocks: np.ndarray
    modes: np.ndarray
    temperatures: np.ndarray
    interval: float
    duration: float
    width: float

    @property
    def mean(self) -> np.ndarray:
        """(g,), per cm⁻¹."""
        return np.asarray(self.blocks.mean(0))

    @property
    def error(self) -> np.ndarray:
        """(g,): the standard error of `mean`, from the spread over the blocks."""
        return _error(self.blocks)

    @cached_property
    def lines(self) -> list[Line]:
        """The peak of each mode."""
        return [self._line(self.modes[:, mode]) for mode in range(self.modes.shape[1])]

    @property
    def mode_temperatures(self) -> tuple[np.ndarray, np.ndarray]:
        """(m,) K, and their standard errors."""
        return np.asarray(self.temperatures.mean(0)), _error(self.temperatures)

    def shares(self, frequency: float) -> np.ndarray:
        """(m,): what of the spectrum at a frequency is of each mode."""
        here = int(np.abs(self.frequencies - frequency).argmin())
        weights = self.temperatures.mean(0) * self.modes[:, :, here].mean(0)
        return np.asarray(weights / weights.sum())

    def _line(self, curves: np.ndarray) -> Line:
        place, full = peak(self.frequencies, curves.mean(0))
        near = np.abs(self.frequencies - place) < 2.0 * max(full, FULL_WIDTH * self.width)
        each = np.array([[at, self._own(wide)] for at, wide in (peak(self.frequencies[near], c[near]) for c in curves)])
        errors = _error(each)
        return Line(place, float(errors[0]), self._own(full), float(errors[1]))

    def _own(self, full: float) -> float:
        return float(np.sqrt(max(full**2 - (FULL_WIDTH * self.width) ** 2, 0.0)))


def run_spectrum(
    source: Source,
    reading: Reading,
    reference: ase.Atoms,
    modes: NormalModes | None = None,
    tell: Callable[[int], None] = lambda frames: None,
) -> RunSpectrum:
    """The spectrum of a run. reference: the structure whose frame molecules are turned into; modes: those of the
    reference. `tell` gets the number of frames of each block when it is done.

    UserError for a run without velocities, of other atoms than the reference, with frames at uneven steps or too far
    apart for the modes, or too short for two blocks.
    """
    if len(reference) == 1 and not reference.pbc.any():
        raise UserError(f"{source.trajectory} is of one atom, which does not vibrate; give a run of a molecule")
    frames = _frames(source, reference)
    first, second = next(frames, None), next(frames, None)
    if first is None or second is None:
        raise UserError(f"{source.trajectory} holds fewer than two frames; a spectrum needs thousands")
    stride = second.step - first.step
    interval = stride * reading.timestep
    highest = _highest(interval, modes, source)
    memory = int(np.ceil(memory_time(reading.width) / interval)) + 1
    length, origin = MEMORIES * memory, first.step
    grid = np.arange(0.0, highest, reading.width / POINTS)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    block: list[Frame] = []
    last = first.step - stride
    for frame in (*(first, second), *frames):
        if frame.step - last != stride:
            raise UserError(
                f"{source.trajectory} has a frame of step {frame.step} after one of step {last}, and {stride} steps "
                "lay between the first two; a spectrum needs one stride"
            )
        last = frame.step
        if (frame.step - origin) * reading.timestep < reading.discard:
            continue
        block.append(frame)
        if len(block) == length:
            found.append(_block(block, reference, modes, memory, interval, grid, reading))
            tell(length)
            block = []
    if len(found) < FEWEST:
        read = len(found) * length + len(block)
        left = " after --discard" if reading.discard else ""
        raise UserError(
            f"{source.trajectory} has {read * interval / 1000:.3g} ps{left}, and lines of --width {reading.width:g} "
            f"cm⁻¹ need {FEWEST} blocks of {length * interval / 1000:.3g} ps for an error: run longer, or pass --width "
            f"{_width_for(read, interval):.0f}"
        )
    total, each, temperatures = (np.stack(parts) for parts in zip(*found, strict=True))
    return RunSpectrum(grid, total, each, temperatures, interval, len(found) * length * interval, reading.width)


def first_frame(source: Source) -> ase.Atoms:
    """The structure that a run begins with, with its masses."""
    frame = Trajectory(source).first_frame(whole=True)
    assert frame is not None
    return ase.Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, masses=frame.masses)


def _frames(source: Source, reference: ase.Atoms) -> Iterator[Frame]:
    for frame in Trajectory(source).frames(follow=False):
        if frame.velocities is None:
            raise UserError(
                f"{source.trajectory} has no velocities, which a spectrum is made of: dump vx vy vz in LAMMPS, or give "
                "i-PI's file of them as --velocities (`hesspot ipi-input … --velocities-every 2` has it written)"
            )
        if not np.array_equal(frame.numbers, reference.numbers):
            raise UserError(
                f"{source.trajectory} has {len(frame)} atoms in its frame of step {frame.step} that are not those of "
                f"{reference.symbols} in this order; give the run and the structure the same atoms"
            )
        yield frame


def _highest(interval: float, modes: NormalModes | None, source: Source) -> float:
    """Where the curves end, cm⁻¹: at half of the rate of the frames, or somewhat above the highest mode."""
    if interval <= 0:
        raise UserError(f"{source.trajectory} has two frames of one step; cut it down to one run")
    half = 1.0 / (2.0 * SPEED_OF_LIGHT * interval)
    if modes is None or not len(modes.frequencies):
        return half
    stiffest = float(modes.frequencies[-1])
    if stiffest > half:
        raise UserError(
            f"{source.trajectory} has a frame each {interval:g} fs, which shows frequencies up to {half:.0f} cm⁻¹, and "
            f"the highest mode has {stiffest:.0f}: write velocities each {0.8 * interval * half / stiffest:.1f} fs or "
            "more often"
        )
    return min(half, 1.15 * stiffest)


def _block(
    frames: list[Frame],
    reference: ase.Atoms,
    modes: NormalModes | None,
    memory: int,
    interval: float,
    grid: np.ndarray,
    reading: Reading,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The spectrum of all velocities, of each mode, and the modes' temperatures."""
    masses = frames[0].masses
    velocities = np.stack([_velocities(frame) for frame in frames])
    if frames[0].pbc.any():
        velocities -= np.einsum("a,fax->fx", masses / masses.sum(), velocities)[:, None]
    else:
        positions = np.stack([frame.positions for frame in frames])
        velocities = _in_body_frame(positions, velocities, masses, reference.positions)
    weighted = (velocities * np.sqrt(masses)[:, None]).reshape(len(frames), -1)

    def spectrum(correlation: np.ndarray) -> np.ndarray:
        return memory_spectrum(correlation, interval, grid, width=reading.width, timestep=reading.timestep)

    total = spectrum(autocorrelation(weighted, memory).sum(0))
    vectors = np.zeros((0, weighted.shape[1])) if modes is None else modes.vectors
    each = autocorrelation(weighted @ vectors.T, memory)
    curves, moving = np.zeros((len(each), len(grid))), each[:, 0] > 0.0
    curves[moving] = spectrum(each[moving])
    return total, curves, each[:, 0] * AMU_A2_PER_FS2 / BOLTZMANN


def _velocities(frame: Frame) -> np.ndarray:
    assert frame.velocities is not None
    return frame.velocities


def _in_body_frame(
    positions: np.ndarray, velocities: np.ndarray, masses: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Velocities (f, n, 3) without the motion and turning of the whole, in the frame of the reference (n, 3)."""
    parts = masses / masses.sum()
    arms = positions - np.einsum("a,fax->fx", parts, positions)[:, None]
    velocities = velocities - np.einsum("a,fax->fx", parts, velocities)[:, None]
    momentum = np.einsum("a,fax->fx", masses, np.cross(arms, velocities))
    inertia = np.einsum("a,fax,fay->fxy", masses, arms, arms)
    inertia = np.trace(inertia, axis1=1, axis2=2)[:, None, None] * np.eye(3) - inertia
    turning = np.einsum("fxy,fy->fx", np.linalg.pinv(inertia, rcond=1e-6, hermitian=True), momentum)
    velocities = velocities - np.cross(turning[:, None], arms)
    fixed = reference - parts @ reference
    left, right = superposition(arms, fixed, masses)
    rotations = left @ right
    sizes = np.linalg.svd(fixed, compute_uv=False)
    if sizes[1] < LINEAR * sizes[0]:
        rotations = _of_linear(left[:, :, 0] * np.sign(right[:, 0] @ right[0, 0])[:, None], right[0, 0])
    return np.asarray(velocities @ rotations)


def _of_linear(axes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotations (f, 3, 3) that take the axes (f, 3) of a linear molecule to that of the reference (3,), without a twist
    around the axis from one frame to the next."""
    rotations = [_turn(axes[0], reference)]
    for before, after in pairwise(axes):
        rotations.append(_turn(after, before) @ rotations[-1])
    return np.stack(rotations)


def _turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The shortest rotation Q (3, 3) of one unit vector to another: start·Q = end."""
    x, y, z = np.cross(end, start)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / max(1.0 + start @ end, 1e-12))


def _width_for(frames: int, interval: float) -> float:
    """cm⁻¹, rounded up: of lines for which so many frames are enough."""
    memory = max(frames // (FEWEST * MEMORIES) - 2, 1) * interval
    return float(np.ceil(4.0 / (2.0 * np.pi * SPEED_OF_LIGHT * memory)))


def _error(values: np.ndarray) -> np.ndarray:
    """The standard error of the mean over the first axis."""
    return np.asarray(values.std(0, ddof=1) / np.sqrt(len(values)))
