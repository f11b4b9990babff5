"""Matrices of generalised Langevin equations, as GLE4MD writes them for i-PI."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hesspot.errors import UserError
from hesspot.ipi import inputs
from hesspot.units import BOLTZMANN, HARTREE

#: Part of the largest element of a matrix by which printed ones miss what they should be: they have 8 digits or more.
DIGITS = 1e-6

#: Units of temperature of i-PI, in K.
KELVIN = {"kelvin": 1.0, "automatic": HARTREE / BOLTZMANN, "atomic_unit": HARTREE / BOLTZMANN, "": HARTREE / BOLTZMANN}


@dataclass(frozen=True, eq=False)
class Matrices:
    """drift, covariance (n_beads, n, n), in the units (of frequency and of temperature) that the file gave them."""

    drift: np.ndarray
    covariance: np.ndarray
    drift_units: str
    covariance_units: str

    def thermostat(self) -> str:
        """The block of a thermostat with these matrices for the ring-polymer modes."""
        blocks = []
        for name, values, units in (
            ("A", self.drift, self.drift_units),
            ("C", self.covariance, self.covariance_units),
        ):
            shape = ", ".join(map(str, values.shape))
            of_units = f" units='{units}'" if units else ""
            blocks.append(f"<{name} shape='({shape})'{of_units}>\n{inputs.array(values)}\n</{name}>")
        return f"""<thermostat mode='nm_gle'>
          {blocks[0]}
          {blocks[1]}
        </thermostat>"""


def read_matrices(path: str | Path, n_beads: int, temperature: float) -> Matrices:
    """The elements A and C of a file: i-PI's input, or the piece of it that GLE4MD gives.

    UserError for matrices that are not for this number of beads and temperature (K), or of which no thermostat can be
    made: the centroid must be at P T, A must damp, A C + C Aᵀ and C must have no negative eigenvalues.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"file of matrices {path} does not exist; give the one from https://gle4md.org")
    text = re.sub(r"<\?xml.*?\?>", "", path.read_text(errors="replace"))
    try:
        root = ElementTree.fromstring(f"<file>{text}</file>")
    except ElementTree.ParseError as error:
        raise UserError(f"file of matrices {path} is no XML ({error}); give the one for i-PI") from error
    drift, covariance = (_element(root, name, path) for name in ("A", "C"))
    matrices = Matrices(*drift[:1], *covariance[:1], drift[1], covariance[1])
    shape = matrices.drift.shape
    if matrices.covariance.shape != shape or len(shape) != 3 or shape[1] != shape[2] or shape[0] != n_beads:
        raise UserError(
            f"{path} has matrices A of shape {shape} and C of {matrices.covariance.shape}, which are not "
            f"for {n_beads} beads; give --beads, or make others at https://gle4md.org"
        )
    if matrices.covariance_units not in KELVIN:
        raise UserError(f"C in {path} is in {matrices.covariance_units!r}; give it in kelvin")
    of_centroid = float(matrices.covariance[0, 0, 0]) * KELVIN[matrices.covariance_units]
    if abs(of_centroid - n_beads * temperature) > DIGITS * of_centroid:
        raise UserError(
            f"the matrices in {path} are for {of_centroid / n_beads:g} K, not for {temperature:g} K; give "
            "--temperature, or make others at https://gle4md.org"
        )
    for mode, (a, c) in enumerate(zip(matrices.drift, matrices.covariance, strict=True)):
        noise = a @ c + c @ a.T
        fits = (
            np.abs(c - c.T).max() <= DIGITS * np.abs(c).max()
            and np.linalg.eigvalsh(c + c.T).min() >= -DIGITS * np.abs(c).max()
            and np.linalg.eigvalsh(noise + noise.T).min() >= -DIGITS * np.abs(noise).max()
            and np.linalg.eigvals(a).real.min() > 0.0
        )
        if not fits:
            raise UserError(
                f"matrices {mode} in {path} are those of no thermostat; make them again at https://gle4md.org"
            )
    return matrices


def _element(root: ElementTree.Element, name: str, path: Path) -> tuple[np.ndarray, str]:
    """The one array of this name, and its units."""
    found = list(root.iter(name))
    if len(found) != 1:
        raise UserError(f"{path} has {len(found)} elements {name}; give a file with the matrices of one thermostat")
    try:
        shape = [int(number) for number in found[0].get("shape", "").strip("() ").split(",")]
        values = np.array([float(word) for word in (found[0].text or "").strip().strip("[]").split(",")])
        return values.reshape(shape), found[0].get("units", "")
    except ValueError as error:
        raise UserError(f"element {name} of {path} is no array of numbers of its shape ({error})") from error
