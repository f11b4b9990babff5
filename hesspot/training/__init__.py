"""Training on energies, forces and Hessians."""
