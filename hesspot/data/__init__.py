"""Datasets of quantum-chemical labels: energies, forces and Hessians."""

from hesspot.data.dataset import Dataset
from hesspot.data.record import KINDS, PARTS, Record

__all__ = ["KINDS", "PARTS", "Dataset", "Record"]
