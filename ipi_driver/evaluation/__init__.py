"""From structures to energies, forces and virials."""
