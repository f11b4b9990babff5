"""The punch file (`.dat`) of GAMESS, with more digits of Hessians than its output, through iodata."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hesspot.data.readers.frames import require_frame
from hesspot.data.readers.options import ATOMIC, Options
from hesspot.data.readers.raw import Raw, isotopes, numbers_of
from hesspot.errors import UserError
from hesspot.extras import install_hint
from hesspot.units import AMU


def read(path: Path, options: Options) -> Iterator[Raw]:
    """The last structure of a file, with energy, gradient and Hessian."""
    try:
        import iodata
    except ImportError as error:
        raise UserError(f"{path} needs the package qc-iodata: {install_hint('readers')}") from error
    try:
        data = iodata.load_one(str(path), fmt="gamess")
    except Exception as error:  # iodata's own, and whatever its parsing runs into
        raise UserError(
            f"{path} is a punch file that iodata cannot read, which knows those of PC GAMESS in C1: give the output of "
            "the job (.out or .log), which has its Hessian, too"
        ) from error
    place = f"structure {path.stem} of {path}"
    numbers = numbers_of(data.atnums, place)
    gradient = None if data.atgradient is None else np.asarray(data.atgradient)
    require_frame(place, data.atcoords, gradient, data.athessian)
    masses = (
        None if data.atmasses is None else np.asarray(data.atmasses) / (AMU if np.max(data.atmasses) > 1000 else 1.0)
    )
    yield Raw(
        place,
        numbers,
        data.atcoords,
        path.stem,
        ATOMIC,
        masses=None if masses is None else isotopes(numbers, masses),
        energy=data.energy,
        gradient=gradient,
        hessian=data.athessian,
    )
