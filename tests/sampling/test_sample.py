"""Risk: structures that are not what they are called or cannot be labelled, or a choice that leaves out what is new."""

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.data import covalent_radii
from ase.units import kB
from typer.testing import CliRunner

from hesspot.cli.main import app
from hesspot.data import Dataset
from hesspot.errors import UserError
from hesspot.models.architectures import describing_model
from hesspot.models.shipped import find_model
from hesspot.reference.ase_labels import AseMethod
from hesspot.reference.calculator_factory import CalculatorFactory
from hesspot.reference.labelling import label_file
from hesspot.sampling import sample as sampling_module
from hesspot.sampling import ways
from hesspot.sampling.sample import sample
from hesspot.sampling.selection import farthest, surroundings, typical
from hesspot.structures import read_structures

EMT_FACTORY = CalculatorFactory(name="ase.calculators.emt:EMT")

#: Å: extended XYZ has eight digits.
PRINTED = 1e-7


def copper() -> ase.Atoms:
    return bulk("Cu", cubic=True) * (2, 2, 2)


def nearest(atoms: ase.Atoms) -> float:
    """The least distance of two atoms over the sum of their radii, by ASE's minimum image."""
    distances = atoms.get_all_distances(mic=True) + 1e3 * np.eye(len(atoms))
    radii = covalent_radii[atoms.numbers]
    return float((distances / (radii[:, None] + radii)).min())


def test_rattled_structures_are_displaced_and_their_atoms_stay_apart() -> None:
    rng = np.random.default_rng(0)
    for start in (copper(), molecule("CH3OH")):
        moved = [ways.rattled(start, rng) for _ in range(8)]
        amplitudes = [float(np.sqrt(np.mean((atoms.positions - start.positions) ** 2))) for atoms in moved]
        assert 0.5 * ways.RATTLED[0] < min(amplitudes) < 0.5 * max(amplitudes) < ways.RATTLED[1]
        assert min(map(nearest, moved)) >= ways.NEAREST


def test_strained_cells_change_volume_and_shape() -> None:
    rng = np.random.default_rng(1)
    cells = [ways.strained(copper(), rng).cell for _ in range(8)]
    ratios = np.array([cell.volume for cell in cells]) / copper().cell.volume
    assert 0.75 < ratios.min() < 0.97 and 1.03 < ratios.max() < 1.35
    assert max(abs(angle - 90) for cell in cells for angle in cell.angles()) > 1


def test_deformed_cells_carry_their_atoms_along() -> None:
    rng = np.random.default_rng(1)
    moved = [ways.deformed(copper(), rng) for _ in range(8)]
    strains = np.array([copper().cell.reciprocal().T @ atoms.cell.array for atoms in moved]) - np.eye(3)
    assert 0.5 * ways.DEFORMED < np.abs(strains).max() <= ways.DEFORMED
    for atoms in moved:
        np.testing.assert_allclose(atoms.get_scaled_positions(), copper().get_scaled_positions(), atol=PRINTED)


def test_the_amplitude_is_the_largest_one() -> None:
    rng = np.random.default_rng(0)
    moved = [ways.rattled(copper(), rng, 0.05).positions - copper().positions for _ in range(8)]
    sizes = [float(np.sqrt(np.mean(each**2))) for each in moved]
    # 96 normal numbers have a root mean square within a quarter of their deviation
    assert 0.03 < max(sizes) < 1.25 * 0.05


def test_a_vacancy_is_one_atom_less() -> None:
    assert len(ways.vacant(copper(), np.random.default_rng(2))) == 31


def test_a_surface_has_atoms_that_miss_neighbours_and_space_above_them() -> None:
    rng = np.random.default_rng(2)
    for _ in range(4):
        cut = ways.slab(bulk("Cu", cubic=True), rng, 0.03)
        normal = np.cross(cut.cell[0], cut.cell[1])
        heights = cut.positions @ normal / np.linalg.norm(normal)
        assert np.ptp(heights) > 0.5 * ways.THICKNESS and nearest(cut) > ways.NEAREST
        # at 300 K's distance of 3 Å a bulk atom has twelve neighbours, one of a surface nine at most
        distances = cut.get_all_distances(mic=True)
        counts = ((distances > 0.1) & (distances < 3.0)).sum(1)
        assert counts.min() <= 9 and cut.cell.volume / len(cut) > 1.5 * bulk("Cu").cell.volume


def test_a_path_leads_from_one_structure_to_the_next() -> None:
    one, other = molecule("H2O"), molecule("H2O")
    other.positions[2] += [0.0, -0.6, 0.4]
    points = list(ways.path([one, other], 3))
    assert [number for number, _ in points] == [0, 0, 0]
    moved = [np.linalg.norm(atoms.positions[2] - one.positions[2]) for _, atoms in points]
    assert moved == sorted(moved) and moved[0] > 0.0 and moved[-1] < np.linalg.norm([0.6, 0.4])
    with pytest.raises(UserError, match="there are no two such"):
        list(ways.path([one, molecule("CO")], 3))


def test_samples_of_modes_have_the_energy_of_their_temperature() -> None:
    """½ kT for each of the 3n − 3 modes of a crystal, as the calculator itself finds."""
    atoms = bulk("Cu", a=3.59, cubic=True)
    atoms.calc = EMT()
    rest = atoms.get_potential_energy()
    energies = []
    for moved in ways.harmonic(atoms, 60, EMT(), [100.0], np.random.default_rng(3)):
        moved.calc = EMT()
        energies.append(moved.get_potential_energy() - rest)
    # of 60 samples of nine modes the mean has a deviation of 6 %
    assert np.mean(energies) / (0.5 * 9 * kB * 100.0) == pytest.approx(1.0, abs=0.2)


def test_a_contact_brings_two_atoms_together() -> None:
    rng = np.random.default_rng(3)
    for start in (copper(), molecule("CH3OH")):
        for _ in range(5):
            moved = ways.contact(start, rng)
            shifts = np.linalg.norm(moved.positions - start.positions, axis=1)
            assert np.count_nonzero(shifts) == 1
            assert nearest(moved) < ways.CONTACT[1] * ways.NEIGHBOR * 1.01
            assert nearest(moved) > 0.2


def test_dimers_are_of_all_pairs_and_come_close() -> None:
    made = list(ways.dimers(molecule("CH3OH"), 18))
    assert {str(atoms.symbols.formula) for atoms in made} == {"H2", "HC", "HO", "C2", "CO", "O2"}
    distances = sorted(atoms.get_distance(0, 1) for atoms in made if str(atoms.symbols.formula) == "H2")
    assert distances[0] < 0.35 and distances[-1] > 1.5


def test_dynamics_are_hotter_at_higher_temperature() -> None:
    frames = list(ways.thermal(copper(), 16, EMT(), [150.0, 1200.0], np.random.default_rng(4)))
    moved = [np.sqrt(np.mean((atoms.positions - copper().positions) ** 2)) for atoms in frames]
    assert len(frames) == 16 and not any(atoms.has("momenta") for atoms in frames)
    # displacements go with √T: twice to three times as large, less what has not settled
    assert 1.5 < np.mean(moved[10:]) / np.mean(moved[2:8]) < 6.0


def test_the_few_that_are_chosen_cover_the_groups() -> None:
    """Three groups that are far from each other, ten of each hardly different: one of each comes first."""
    rng = np.random.default_rng(5)
    groups = [
        bulk("Cu", a=3.6, cubic=True),
        bulk("Cu", "bcc", a=2.9, cubic=True),
        ase.Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]),
    ]
    pool = []
    for number in range(30):
        atoms = groups[number % 3].copy()
        atoms.rattle(1e-3, rng=rng)
        pool.append(atoms)
    described = surroundings(pool, describing_model(["Cu"]))
    chosen = farthest(pool, described, 3)
    assert chosen[0] == 0 and {index % 3 for index in chosen} == {0, 1, 2}
    assert sorted(farthest(pool, described, 100)) == list(range(30))


def test_typical_structures_stand_for_many_and_farthest_ones_are_extreme() -> None:
    """Two large groups and one structure far from all: it comes second of the farthest, last of the typical."""
    rng = np.random.default_rng(5)
    pool = []
    for number in range(20):
        atoms = bulk("Cu", a=3.6 if number % 2 else 3.5, cubic=True)
        atoms.rattle(1e-3, rng=rng)
        pool.append(atoms)
    pool.append(bulk("Cu", "bcc", a=2.6, cubic=True))
    described = surroundings(pool, describing_model(["Cu"]))
    assert farthest(pool, described, 2)[1] == 20
    chosen = typical(pool, described, 2)
    assert 20 not in chosen and {index % 2 for index in chosen} == {0, 1}
    assert sorted(typical(pool, described, 100)) == list(range(21))


def test_what_is_covered_and_what_weighs_nothing_is_not_taken() -> None:
    sides = [3.4, 3.5, 3.6, 3.7]
    pool = [bulk("Cu", a=side, cubic=True) for side in sides]
    described = surroundings(pool, describing_model(["Cu"]))
    assert farthest(pool, described, 1, covered=1) == [3]
    assert farthest(pool, described, 2, covered=1) == [3, 2] or farthest(pool, described, 2, covered=1) == [3, 1]
    assert farthest(pool, described, 1, covered=1, weights=np.array([1.0, 1.0, 1.0, 0.0])) == [2]


def test_the_file_can_be_labelled_and_is_the_same_again(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cu.xyz", copper())
    wanted = {"rattle": 3, "strain": 2, "vacancy": 1, "contact": 1, "dimer": 2, "thermal": 3}
    for name in ("a.xyz", "b.xyz"):
        sample(tmp_path / "cu.xyz", tmp_path / name, wanted, calculator=EMT_FACTORY, temperatures=[300.0], seed=7)
    assert (tmp_path / "a.xyz").read_text() == (tmp_path / "b.xyz").read_text()
    label_file(tmp_path / "a.xyz", tmp_path / "a.h5", AseMethod(calculator=EMT_FACTORY), hessian=False)
    dataset = Dataset.read(tmp_path / "a.h5")
    tags = [record.tag for record in dataset]
    assert {tag: tags.count(tag) for tag in set(tags)} == {**wanted, "start": 1}
    assert dataset[0].name == "cu_start_00000"
    np.testing.assert_allclose(dataset[0].positions, copper().positions, atol=PRINTED)


def test_a_model_of_ones_own_compares(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "in.xyz", [molecule("H2O"), molecule("H2O2")])
    kept = sample(tmp_path / "in.xyz", tmp_path / "o.xyz", {"rattle": 6}, keep=4, model=find_model("shipped:water"))
    assert [len(frame) for frame in kept].count(4) and len(kept) == 4
    ase.io.write(tmp_path / "cu.xyz", copper())
    with pytest.raises(UserError, match="Cu"):
        sample(tmp_path / "cu.xyz", tmp_path / "p.xyz", {"rattle": 2}, keep=1, model=find_model("shipped:water"))


def test_dynamics_that_a_calculator_ends_leave_what_is_there(tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Ends(EMT):\n    calls = 0\n"
        "    def calculate(self, *words, **more):\n"
        "        Ends.calls += 1\n"
        "        if Ends.calls > 100:\n            raise RuntimeError('out of range')\n"
        "        super().calculate(*words, **more)\n"
    )
    ase.io.write(tmp_path / "cu.xyz", bulk("Cu", cubic=True))
    bad, said = CalculatorFactory(name=f"{tmp_path}/bad.py:Ends"), []
    frames = sample(tmp_path / "cu.xyz", tmp_path / "o.xyz", {"thermal": 9}, calculator=bad, say=said.append)
    assert said == ["structure 0: thermal ended after 2 of 9 structures, RuntimeError: out of range"]
    assert len(frames) == len(read_structures(tmp_path / "o.xyz")) == 3


def test_dynamics_tell_how_far_they_are(tmp_path: Path, capsys) -> None:
    (tmp_path / "slow.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Slow(EMT):\n    calls = 0\n"
        "    def calculate(self, *words, **more):\n"
        "        Slow.calls += 1\n"
        "        if Slow.calls > 100:\n            raise KeyboardInterrupt\n"
        "        super().calculate(*words, **more)\n"
    )
    ase.io.write(tmp_path / "cu.xyz", bulk("Cu", cubic=True))
    slow = CalculatorFactory(name=f"{tmp_path}/slow.py:Slow")
    with pytest.raises(KeyboardInterrupt):
        sample(tmp_path / "cu.xyz", tmp_path / "o.xyz", {"thermal": 9}, calculator=slow)
    assert "structures 3/10" in capsys.readouterr().out


def test_a_stopped_run_computes_nothing_twice_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ase.io.write(tmp_path / "in.xyz", [bulk("Cu", cubic=True), bulk("Al", cubic=True)])
    wanted = {"rattle": 2, "thermal": 4, "modes": 2}

    def run(name: str) -> None:
        sample(tmp_path / "in.xyz", tmp_path / name, wanted, calculator=EMT_FACTORY, temperatures=[300.0])

    run("whole.xyz")
    computed, original = [], sampling_module._calculated

    def counted(way: str, number: int, *words, **more):
        computed.append((way, number))
        return original(way, number, *words, **more)

    def until_modes(way: str, number: int, *words, **more):
        if way == "modes":
            raise KeyboardInterrupt
        return original(way, number, *words, **more)

    monkeypatch.setattr(sampling_module, "_calculated", until_modes)
    with pytest.raises(KeyboardInterrupt):
        run("stopped.xyz")
    assert not (tmp_path / "stopped.xyz").exists()
    monkeypatch.setattr(sampling_module, "_calculated", counted)
    run("stopped.xyz")
    assert computed == [("modes", 0), ("modes", 1)]
    assert (tmp_path / "stopped.xyz").read_text() == (tmp_path / "whole.xyz").read_text()
    assert not (tmp_path / "stopped.xyz.parts").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--way", "rattle"], "--way rattle is no number"),
        (["--way", "rattle=2", "--way", "rattle=3"], "stands twice"),
        (["--way", "melt=2"], "--way melt=2 is not known; use some of rattle, strain"),
        (["--way", "rattle=0"], "make 1 or more"),
        (["--way", "strain=2"], "periodic in all directions"),
        (["--way", "thermal=2"], "name a calculator with --calculator"),
        (["--way", "rattle=2", "--calculator", "ase.calculators.emt:EMT"], "is for --way thermal=N or modes=N"),
        (["--way", "rattle=2", "--keep", "0"], "--keep 0"),
        (["--way", "rattle=2", "--keep", "1", "--by", "luck"], "--by luck is not known; use typical or farthest"),
        (["--way", "rattle=2", "--amplitude", "0"], "--amplitude 0 is not possible"),
        (["--way", "thermal=2", "--calculator", "ase.calculators.emt:EMT", "--temperatures", "x"], "are no numbers"),
        (["--way", "thermal=2", "--calculator", "nothing_here:EMT"], "pip install nothing_here"),
    ],
)
def test_bad_input_gives_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "in.xyz", molecule("H2O"))
    result = CliRunner().invoke(app, ["sample", str(tmp_path / "in.xyz"), "--out", str(tmp_path / "o.xyz"), *options])
    with pytest.raises(UserError, match=words):
        raise result.exception
    assert not (tmp_path / "o.xyz").exists()
