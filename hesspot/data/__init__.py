"""Datasets of quantum-chemical labels: energies, forces and Hessians."""

from hesspot.data.dataset import KINDS, PARTS, Dataset, Record

__all__ = ["KINDS", "PARTS", "Dataset", "Record"]
