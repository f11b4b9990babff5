"""Models that keep the contract: energies of centres from edge vectors."""
