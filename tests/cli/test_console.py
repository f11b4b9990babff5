"""Risk: a long command that says nothing in a batch log, and tables that a pipe cuts."""

import selectors
import subprocess
import time
from pathlib import Path

import ase.io
import pytest
from ase.build import molecule
from command_line import HESSPOT, environment

#: s; a first line needs the imports and one epoch or structure, on a machine that does other things beside it.
PATIENCE = 120.0


#: The cursor is shown again when a bar of progress is done.
CURSOR_AFTER_A_BAR = "\x1b[?25h"


def lines_while_it_runs(words: list[str], wanted: str) -> list[str]:
    """What a command that would run for hours has written to its stdout until a line with `wanted` came."""
    process = subprocess.Popen(
        [*HESSPOT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + PATIENCE
            while not any(wanted in line for line in lines):
                assert selector.select(max(0.0, deadline - time.monotonic())), f"no {wanted!r} after {lines}"
                line = process.stdout.readline()
                assert line, f"ended after {lines}"
                lines.append(line)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    return lines


def test_training_writes_a_line_for_each_validation_into_a_file(small_config: Path, tmp_path: Path) -> None:
    small_config.write_text(small_config.read_text().replace("epochs: 3", "epochs: 1000000"))
    lines = lines_while_it_runs(["train", str(small_config), "--out", str(tmp_path / "run")], "EFH 3/1000000")
    assert "gradients by kernel" in lines[0]
    assert [line.split("  ")[0] for line in lines[1:]] == [f"EFH {epoch}/1000000" for epoch in range(4)]
    assert all("eV/Å²" in line for line in lines[2:])


def test_labelling_writes_a_line_for_each_structure_into_a_file(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    source = tmp_path / "many.xyz"
    ase.io.write(source, [molecule("H2O")] * 10_000)
    words = ["label", str(source), "--out", str(tmp_path / "labels.h5"), "--program", "tblite"]
    lines = lines_while_it_runs(words, "labels 3/10000")
    assert [line.split("  ")[0] for line in lines] == [f"labels {count}/10000" for count in range(4)]
    assert "many_00002" in lines[-1]


def test_a_terminal_gets_a_bar_and_no_lines_of_progress(small_config: Path, tmp_path: Path, at_terminal) -> None:
    text = at_terminal("train", small_config, "--out", tmp_path / "run", columns=140)
    assert "━" in text
    assert "EFH 1/3" not in text.replace("EFH ━", "")


def test_tables_in_a_pipe_are_as_wide_as_they_need(small_config: Path, tmp_path: Path, hesspot) -> None:
    done = hesspot("train", small_config, "--out", tmp_path / "run")
    table = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert table
    assert "…" not in done.stdout
    assert "frequencies, cm⁻¹" in done.stdout or "hessian, eV/Å²" in done.stdout
    head = next(line for line in done.stdout.splitlines() if line.startswith("┃"))
    assert all(column in head for column in ("part", "kind", "structures", "energy, meV/atom", "hessian, eV/Å²"))


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_a_terminal_cuts_no_cell(labels_file: Path, at_terminal, columns: int) -> None:
    _, shown, tables = at_terminal("data", "info", labels_file, columns=columns).rpartition(CURSOR_AFTER_A_BAR)
    assert shown
    assert "│" in tables
    assert "…" not in tables
