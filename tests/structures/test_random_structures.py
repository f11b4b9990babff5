"""Random structures, with numbers that should not be: every door says the same of each, and none ends the process."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_structures import house

from hesspot.calculators import HesspotCalculator
from hesspot.contract import build_batch
from hesspot.data import Record
from hesspot.derivatives import evaluate
from hesspot.errors import UserError
from hesspot.structures import check_structure, in_a_box, right_handed

MODEL = house()
CUTOFF = 4.0
#: Of the largest force or virial; sums over some thousand edges in another order.
ROUNDING = 1e-10

lengths = st.floats(-6.0, 6.0)
strange = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e-7, 1e-300, 2e4, 1e7, 1e300])
numbers = st.integers(0, 30).flatmap(lambda chance: strange if chance == 0 else lengths)


def arrays(rows: int, values: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return st.lists(values, min_size=3 * rows, max_size=3 * rows).map(lambda flat: np.array(flat).reshape(rows, 3))


@st.composite
def structures(draw: st.DrawFn, values: st.SearchStrategy[float] = numbers) -> Atoms:
    count = draw(st.integers(0 if values is numbers else 1, 4))
    species = draw(st.lists(st.sampled_from([1, 6, 8]), min_size=count, max_size=count))
    pbc = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    return Atoms(species, draw(arrays(count, values)), cell=draw(arrays(3, values)), pbc=pbc)


def refusal(door: Callable[[], object]) -> str:
    """The sentence of a refusal, or nothing; whatever else is raised comes through."""
    try:
        door()
    except UserError as error:
        return str(error)
    return ""


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(structures())
@example(Atoms("OH", [[0, 0, 0], [0, 0, 5.0]], cell=np.diag([6.0, 0.0, 6.0]), pbc=[True, False, True]))
@example(Atoms("OH", [[0, 0, 0], [6, 6, -6.0]], cell=np.diag([6.0, 6.0, 6.0]), pbc=True))
def test_all_doors_say_the_same(atoms: Atoms) -> None:
    wanted = refusal(lambda: check_structure(atoms, "it"))
    assert "\n" not in wanted
    batch = refusal(lambda: build_batch([atoms], MODEL.elements, CUTOFF))
    record = refusal(lambda: Record.from_atoms(atoms, name="it").validate())
    forces = refusal(lambda: HesspotCalculator(MODEL).get_property("forces", atoms))
    assert bool(wanted) == bool(batch) == bool(record), f"check: {wanted}, batch: {batch}, record: {record}"
    if wanted:
        assert forces == batch
    elif forces:
        assert "not a finite number" in forces  # the model's own, for atoms that all but coincide


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(structures(values=lengths), st.integers(-2, 2), st.permutations(range(3)))
def test_the_choice_of_lattice_vectors_changes_nothing(atoms: Atoms, steps: int, order: list[int]) -> None:
    """Turned, boxed, sheared by lattice vectors and in another order: one crystal, one energy, forces and virial."""
    if refusal(lambda: check_structure(atoms, "it")):
        return
    sheared = atoms.copy()
    a, b = order[:2]
    if atoms.pbc[a] and atoms.pbc[b]:
        sheared.cell[a] += steps * sheared.cell[b]
    if refusal(lambda: check_structure(sheared, "it")):
        return  # now too flat
    swapped = sheared.copy()
    swapped.set_cell(sheared.cell[order])
    swapped.pbc = sheared.pbc[order]
    first = evaluate(MODEL, build_batch([atoms], MODEL.elements, CUTOFF), virial=True)
    for other in (right_handed(atoms), in_a_box(atoms, 7.0), sheared, swapped):
        found = evaluate(MODEL, build_batch([other], MODEL.elements, CUTOFF), virial=True)
        for mine, theirs in ((first.energy, found.energy), (first.forces, found.forces), (first.virial, found.virial)):
            scale = max(1.0, float(first.virial.abs().max()), float(first.forces.abs().max()))
            np.testing.assert_allclose(theirs, mine, atol=ROUNDING * scale)
