"""Datasets of quantum-chemical labels: energies, forces and Hessians."""

from hesspot.data.dataset import Dataset
from hesspot.data.record import KINDS, PART_NAMES, PARTS, Record

__all__ = ["KINDS", "PARTS", "PART_NAMES", "Dataset", "Record"]
