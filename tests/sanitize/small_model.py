"""Writes a small model file, for programs that read it many times: small_model.py MODEL.pt"""

import sys

import torch
from ase.build import molecule

from hesspot.export import fingerprint_entry, write_model
from hesspot.models.house import HouseConfig, HouseModel

torch.manual_seed(0)
config = HouseConfig(elements=["H", "O"], cutoff=3.0, n_radial=2, n_channels=1, hidden=[2])
model = HouseModel(config).requires_grad_(False)
write_model(sys.argv[1], model, [fingerprint_entry(model, "water", molecule("H2O"))])
