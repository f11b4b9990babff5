"""Makers of labels: energies, forces and Hessians from quantum chemistry."""
