"""Hessian-informed machine-learning potentials for production molecular dynamics and path integrals."""

__version__ = "0.1.0"
