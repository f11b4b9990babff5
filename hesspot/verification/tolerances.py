"""How far an engine may be from the trained model in float64, and why."""

from hesspot.units import INVERSE_CM

#: eV per atom. Energies reach 1e4 eV per atom (core electrons included), where float64 resolves 2e-12: sums in
#: another order stay 100 times below this.
ENERGY = 1e-9

#: eV/Å. Forces are differences of edge gradients of 1 to 100 eV/Å, rounded at 1e-14; text output adds at most 1e-9.
FORCES = 1e-8

#: eV. A force error of its tolerance on an arm of 10 Å.
VIRIAL = 1e-7

#: eV/Å². Analytic second derivatives: rounding, as for forces.
HESSIAN_ANALYTIC = 1e-8

#: eV/Å². Central differences of forces: truncation of third order plus force rounding over the step.
HESSIAN_NUMERICAL = 1e-4

#: cm⁻¹. Ten times finer than anharmonic effects and instruments need.
FREQUENCIES = 0.5

#: eV. All modes together: that of one that is off by `FREQUENCIES`.
ZERO_POINT_ENERGY = 0.5 * FREQUENCIES * INVERSE_CM

#: cm⁻¹, and one minus the overlap. A mode lies in the space of the other engine's modes that are nearer than this; a
#: Hessian error of 1e-5 eV/Å², ten times that of central differences, turns modes farther apart by less than a tenth.
NEAR, OVERLAP = 1.0, 0.005

#: cm⁻¹. A Hessian error within `HESSIAN_NUMERICAL` shifts a softer mode of a hydrogen by more than `FREQUENCIES`
#: (δν = ν δλ/2λ), so that such modes are judged by the Hessian alone.
SOFT_MODE = 30.0

#: eV/Å². The analytic Hessian of a potential of edge vectors: sums over neighbours vanish, up to rounding.
ACOUSTIC_SUM_RULE = 1e-9

#: eV/Å². The analytic Hessian is not symmetrised, so this is rounding, too.
ASYMMETRY = 1e-9
