"""The shipped reactive set: its three parts, what was proved of its reactions, and their published wavenumbers."""

from itertools import chain

import numpy as np
import pytest

from hesspot.analysis.normal_modes import normal_modes
from hesspot.data import Dataset, Record, shipped

#: cm⁻¹ at B3LYP/6-31G(d) with Cartesian d functions; the lowest ones are listed, negative ones are imaginary.
PUBLISHED = {
    "CH3OH_minimum": [345.7, 1066.9, 1096.5, 1183.1, 1399.8, 1511.1, 1524.8, 1541.4, 2996.3, 3038.7, 3131.5, 3754.4],
    "H2CO_minimum": [1198.2, 1279.4, 1562.9, 1849.4, 2916.3, 2967.2],
    "NH3-inversion_saddle": [-890.0],
    "HCN=HNC_saddle": [-1146.2],
    "H2CO=H2+CO_saddle": [-1887.1],
    "CH3OH-torsion_saddle": [-351.2],
}
#: cm⁻¹; the published ones are rounded, and soft torsions depend on how well the geometry is optimised.
WAVENUMBER_TOLERANCE = 1.0
LARGEST = 10e6  #: bytes


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset.read(shipped.path("reactive_chno"))


@pytest.fixture(scope="module")
def records(dataset: Dataset) -> dict[str, Record]:
    return {record.name: record for record in dataset}


def test_size_of_the_set(dataset: Dataset) -> None:
    assert shipped.path("reactive_chno").stat().st_size < LARGEST
    assert len(dataset.select(kind="minimum")) >= 20
    assert len(dataset.provenance["reactions"]) >= 12
    for record in [*dataset.select(kind="minimum"), *dataset.select(kind="saddle")]:
        assert record.energy is not None and record.forces is not None and record.hessian is not None
    for kind in ("irc", "nms"):
        chosen = dataset.select(kind=kind)
        assert {record.part for record in chosen} == {"test"}
        assert all(record.energy is not None and record.forces is not None for record in chosen)
        held_out = [record for record in chosen if record.properties["held_out"] == "yes"]
        assert 0.2 < np.mean([record.hessian is not None for record in held_out]) < 0.8


def test_parts_are_split_by_reaction(dataset: Dataset, records: dict[str, Record]) -> None:
    parts = {name: reaction["part"] for name, reaction in dataset.provenance["reactions"].items()}
    assert set(parts.values()) == {"train", "valid", "test"}
    minima_of = {name: set(chain(*r["ends"])) for name, r in dataset.provenance["reactions"].items()}
    for name, reaction in dataset.provenance["reactions"].items():
        assert records[reaction["saddle"]].part == parts[name]
        for end in reaction["ends"]:
            for minimum in end:
                sharing = {parts[n] for n, ends in minima_of.items() if minimum in ends}
                assert records[minimum].part in sharing
                assert len(sharing) == 1 or "test" not in sharing
    held_out = {record.system for record in dataset if record.properties["held_out"] == "yes"}
    assert {record.system for record in dataset.select(kind="nms")} == held_out


def test_saddle_points_have_one_imaginary_mode_and_paths_go_down_to_their_ends(
    dataset: Dataset, records: dict[str, Record]
) -> None:
    for name, reaction in dataset.provenance["reactions"].items():
        saddle = records[reaction["saddle"]]
        assert normal_modes(saddle.atoms_only(), saddle.hessian).n_imaginary == 1
        for end in reaction["ends"]:
            lower = sum(records[minimum].energy for minimum in end)
            assert lower < saddle.energy
            assert sorted(np.concatenate([records[m].numbers for m in end])) == sorted(saddle.numbers)
        for side in "ab":
            path = [saddle, *(r for r in dataset.select(kind="irc", system=name) if f"_{side}" in r.name[-4:])]
            energies = [record.energy for record in path]
            assert (np.diff(energies) < 0).all()
            assert len(path) > 1 or (side == "b" and reaction["ends"][0] == reaction["ends"][1])
    minima = dataset.select(kind="minimum")
    assert all(normal_modes(r.atoms_only(), r.hessian).n_imaginary == 0 for r in minima)


@pytest.mark.parametrize("name", PUBLISHED)
def test_wavenumbers_are_the_published_ones(records: dict[str, Record], name: str) -> None:
    found = normal_modes(records[name].atoms_only(), records[name].hessian).frequencies
    np.testing.assert_allclose(found[: len(PUBLISHED[name])], PUBLISHED[name], atol=WAVENUMBER_TOLERANCE)
