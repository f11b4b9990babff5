"""Between two minima: a nudged elastic band of ASE, for a guess of the saddle point."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np
from ase.build import minimize_rotation_and_translation
from ase.mep import NEB
from ase.optimize import FIRE

from hesspot.chemistry.surface import Surface
from hesspot.errors import UserError

#: eV/Å; where a band is good enough for its highest image to climb, and then for a search of the saddle point.
ROUGH, CLIMBED = 0.3, 0.1

#: Steps of FIRE for each of the two; a band that needs more is searched from as it is.
STEPS = 300


def highest_image(
    surface: Surface, reactant: ase.Atoms, product: ase.Atoms, images: int, tell: Callable[[str], None]
) -> ase.Atoms:
    """The structure of the highest energy on a band between two minima with the same atoms in the same order.

    The band begins as the image-dependent pair potential draws it (S. Smidstrup et al., J. Chem. Phys. 140, 214106,
    2014), with improved tangents and a climbing image (G. Henkelman et al., J. Chem. Phys. 113, 9978 and 9901, 2000).
    images: those between the ends. UserError if the energy has no maximum between the ends.
    """
    end = product.copy()
    free = not reactant.pbc.any() and not reactant.constraints
    if free:
        minimize_rotation_and_translation(reactant, end)
    band = [surface.attach(reactant), *(surface.attach(reactant) for _ in range(images)), surface.attach(end)]
    neb = NEB(band, method="improvedtangent", allow_shared_calculator=True, remove_rotation_and_translation=free)
    neb.interpolate("idpp", mic=bool(reactant.pbc.any()))
    for climbs, fmax in ((False, ROUGH), (True, CLIMBED)):
        neb.climb = climbs
        optimiser = FIRE(neb, logfile=None)
        done = optimiser.run(fmax=fmax, steps=STEPS)
        words = f"below {fmax:g} eV/Å" if done else f"not below {fmax:g} eV/Å"
        tell(f"band of {images} images{', climbing' * climbs}: {optimiser.nsteps} steps, forces {words}")
    energies = np.array([surface.energy_and_forces(image)[0] for image in band])
    top = int(energies.argmax())
    if top in (0, len(band) - 1):
        raise UserError(
            f"the energy between the two ends has no maximum on a band of {images} images: there is no barrier, or it "
            "is narrower than the distance of two images; give more of them, or a guess of the saddle point"
        )
    return surface.plain(band[top])
