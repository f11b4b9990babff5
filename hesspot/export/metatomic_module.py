"""A scripted model that keeps the contract, in the form that metatomic's engines call."""
# ruff: noqa: UP006, UP035, UP045 - metatomic compares the annotations of `forward` with those of typing

from typing import Dict, List, Optional, Sequence, Tuple

import ase.data
import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System
from torch import Tensor

from hesspot.electrons import States

#: What a caller adds to a system to get `HVP`: directions v, (n_atoms, 3, 1), for the atoms (system, atom) in order.
DIRECTION = "hesspot::direction"

#: H·v of each atom, (n_atoms, 3, 1) in eV/Å² times the unit of v.
HVP = "hesspot::hvp"


class MetatomicModel(torch.nn.Module):
    """The outputs `energy`, of systems or of atoms, and `HVP`, of a scripted model; `energy_ensemble` of a committee.

    With `ask_electrons` the engine is asked for charge and spin multiplicity, and a system of others than `electrons`,
    those of the training data, is refused: where these are not known, all but neutral with the lowest multiplicity.
    """

    electrons: List[Tuple[int, int]]
    ask_electrons: bool
    hvp: str
    direction: str
    species_of: Tensor

    def __init__(self, script: torch.nn.Module, elements: Sequence[str], cutoff: float, electrons: States, ask: bool):
        super().__init__()
        self.model = script
        self.electrons = list(electrons or [])
        self.ask_electrons = ask
        self.hvp, self.direction = HVP, DIRECTION  # what is scripted knows no names of the module
        numbers = torch.tensor([ase.data.atomic_numbers[element] for element in elements])
        species = torch.full((int(numbers.max()) + 1,), -1)
        species[numbers] = torch.arange(len(numbers))
        self.register_buffer("species_of", species)
        self.neighbors = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:
        return [self.neighbors]

    def requested_inputs(self) -> Dict[str, ModelOutput]:
        inputs: Dict[str, ModelOutput] = {}
        if self.ask_electrons:
            inputs["charge"] = ModelOutput(unit="e", sample_kind="system")
            inputs["spin_multiplicity"] = ModelOutput(unit="", sample_kind="system")
        return inputs

    def forward(
        self, systems: List[System], outputs: Dict[str, ModelOutput], selected_atoms: Optional[Labels] = None
    ) -> Dict[str, TensorMap]:
        device = self.species_of.device
        if len(systems) > 0:
            device = systems[0].device
        samples: List[Tensor] = [torch.zeros(0, 2, dtype=torch.int32, device=device)]
        species: List[Tensor] = [torch.zeros(0, dtype=torch.int64, device=device)]
        centers: List[Tensor] = [torch.zeros(0, dtype=torch.int64, device=device)]
        neighbors: List[Tensor] = [torch.zeros(0, dtype=torch.int64, device=device)]
        vectors: List[Tensor] = []
        first = 0
        firsts: List[int] = []
        for number, system in enumerate(systems):
            if self.ask_electrons:
                self.check_electrons(system)
            n_atoms = len(system)
            pairs = system.get_neighbor_list(self.neighbors)
            atoms = torch.arange(n_atoms, dtype=torch.int32, device=device)
            samples.append(torch.stack([torch.full_like(atoms, number), atoms], dim=1))
            species.append(self.species_of[system.types.to(torch.int64)])
            centers.append(first + pairs.samples.column("first_atom").to(torch.int64))
            neighbors.append(first + pairs.samples.column("second_atom").to(torch.int64))
            vectors.append(pairs.values.reshape(-1, 3))
            firsts.append(first)
            first += n_atoms

        results: Dict[str, TensorMap] = {}
        if len(systems) == 0:
            return results
        own = torch.arange(first, device=device)
        if selected_atoms is not None:
            of_system = torch.tensor(firsts, dtype=torch.int64, device=device)
            own = of_system[selected_atoms.column("system").to(torch.int64)]
            own = own + selected_atoms.column("atom").to(torch.int64)
        kind, sample, center, neighbor = (
            torch.cat(species),
            torch.cat(samples),
            torch.cat(centers),
            torch.cat(neighbors),
        )
        edges = torch.cat(vectors)

        seen = torch.zeros(first, dtype=torch.bool, device=device)
        seen[own] = True
        of_own = seen[center]
        if "energy" in outputs:
            energies = self.model(kind, center[of_own], neighbor[of_own], edges[of_own])[own].unsqueeze(1)
            results["energy"] = self.as_output(energies, sample[own], len(systems), outputs["energy"].sample_kind)
        if "energy_ensemble" in outputs:  # noqa: SIM102 - the compiler knows `hasattr` alone
            if hasattr(self.model, "members"):
                each = self.model.members(kind, center[of_own], neighbor[of_own], edges[of_own])[:, own].t()  # type: ignore[operator]
                kind_of_sample = outputs["energy_ensemble"].sample_kind
                results["energy_ensemble"] = self.as_output(each, sample[own], len(systems), kind_of_sample)
        if self.hvp in outputs:
            if selected_atoms is not None:
                raise ValueError("hesspot::hvp is for all atoms of a system; leave selected_atoms out")
            along = self.directions(systems)
            product = self.product(kind, center, neighbor, edges, along[neighbor] - along[center])
            values = torch.zeros_like(along).index_add(0, neighbor, product).index_add(0, center, -product)
            block = TensorBlock(
                values=values.unsqueeze(2),
                samples=Labels(["system", "atom"], sample),
                components=[Labels(["xyz"], torch.arange(3, device=device).reshape(3, 1))],
                properties=Labels(["hvp"], torch.zeros(1, 1, dtype=torch.int32, device=device)),
            )
            results[self.hvp] = TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32, device=device)), [block])
        return results

    def as_output(self, energies: Tensor, samples: Tensor, n_systems: int, kind: str) -> TensorMap:
        """Energies (n_atoms, n_members) of the atoms (system, atom), or their sums over the systems."""
        device = energies.device
        labels = Labels(["system", "atom"], samples)
        if kind == "system":
            labels = Labels(["system"], torch.arange(n_systems, dtype=torch.int32, device=device).unsqueeze(1))
            none = torch.zeros(n_systems, energies.shape[1], dtype=energies.dtype, device=device)
            energies = none.index_add(0, samples[:, 0].to(torch.int64), energies)
        members = torch.arange(energies.shape[1], dtype=torch.int32, device=device).unsqueeze(1)
        components: List[Labels] = []
        block = TensorBlock(energies, labels, components, Labels(["energy"], members))
        return TensorMap(Labels(["_"], torch.zeros(1, 1, dtype=torch.int32, device=device)), [block])

    def directions(self, systems: List[System]) -> Tensor:
        """(n_atoms, 3), of all systems."""
        found: List[Tensor] = []
        for system in systems:
            if self.direction not in system.known_data():
                raise ValueError("hesspot::hvp needs hesspot::direction, (n_atoms, 3, 1), in the data of each system")
            values = system.get_data(self.direction).block().values
            if values.numel() != 3 * len(system):
                raise ValueError("hesspot::direction is (n_atoms, 3, 1) in the data of each system")
            found.append(values.reshape(-1, 3))
        return torch.cat(found)

    def product(self, kind: Tensor, center: Tensor, neighbor: Tensor, edges: Tensor, along: Tensor) -> Tensor:
        """∂(Σ g·along)/∂edges with g = ∂E/∂edges, (n_edges, 3)."""
        vectors = edges.detach().requires_grad_(True)
        energies = self.model(kind, center, neighbor, vectors)
        gradient = torch.autograd.grad([energies.sum()], [vectors], create_graph=True)[0]
        curvature = torch.autograd.grad([(torch.jit._unwrap_optional(gradient) * along).sum()], [vectors])[0]
        return torch.jit._unwrap_optional(curvature).detach()

    def check_electrons(self, system: System) -> None:
        """ValueError for a charge and a multiplicity that the model was not trained on; an engine may say nothing."""
        known = system.known_data()
        if "charge" not in known or "spin_multiplicity" not in known:
            return
        charge = int(torch.round(system.get_data("charge").block().values.sum()).item())
        multiplicity = int(torch.round(system.get_data("spin_multiplicity").block().values.sum()).item())
        electrons = int(system.types.sum().item()) - charge
        possible = (electrons + multiplicity) % 2 == 1
        trained = self.electrons
        if len(trained) == 0:
            trained = [(0, 1 + electrons % 2)]
        told = ""
        for state in trained:
            if state[0] == charge and (state[1] == multiplicity or not possible):
                return
            told += " " + str(state[0]) + " and " + str(state[1]) + ","
        raise ValueError(
            "the charge "
            + str(charge)
            + " and the spin multiplicity "
            + str(multiplicity)
            + " of a system are none that the model was trained on (it was on"
            + told[:-1]
            + "); take a model that was trained on such, or correct what the engine says of the system"
        )
