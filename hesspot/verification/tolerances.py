"""How far an engine may be from the trained model in float64, and why."""

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

#: cm⁻¹. A Hessian error within `HESSIAN_NUMERICAL` shifts a softer mode of a hydrogen by more than `FREQUENCIES`
#: (δν = ν δλ/2λ), so that such modes are judged by the Hessian alone.
SOFT_MODE = 30.0

#: eV/Å². The analytic Hessian of a potential of edge vectors: sums over neighbours vanish, up to rounding.
ACOUSTIC_SUM_RULE = 1e-9

#: eV/Å². The analytic Hessian is not symmetrised, so this is rounding, too.
ASYMMETRY = 1e-9
