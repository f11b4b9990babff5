"""Hessian-informed machine-learning potentials for production molecular dynamics and path integrals."""

from hesspot.version import __version__

__all__ = ["__version__"]
