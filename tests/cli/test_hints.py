"""Risk: advice that cannot be followed: packages on no index, files that an installed hesspot does not hold."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hesspot.extras import install_hint

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def messages() -> Iterator[tuple[str, str]]:
    """All text in the code that may reach a user: strings that are no docstrings, of Python and of C++."""
    for path in [*(ROOT / "hesspot").rglob("*.py"), *(ROOT / "ipi_driver").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path.name, node.value
    for folder in ("lammps_plugin", "ipi_driver", "hesspot"):
        for path in [*(ROOT / folder).rglob("*.cpp"), *(ROOT / folder).rglob("*.h")]:
            for text in re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r"//.*", "", path.read_text())):
                yield path.name, text


def test_messages_name_no_file_that_only_a_checkout_has() -> None:
    found = list(messages())
    assert len(found) > 1000
    assert [(name, text) for name, text in found if re.search(r"\b(docs|examples|benchmarks|tests)/", text)] == []


def test_nobody_is_told_to_fetch_hesspot_from_an_index() -> None:
    assert [(name, text) for name, text in messages() if re.search(r"pip install.*\bhesspot\b", text)] == []
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert [page.name for page in pages if re.search(r"pip install\s+['\"]?hesspot", page.read_text())] == []


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"all"}))
def test_a_hint_names_all_packages_of_its_extra(extra: str) -> None:
    hint = install_hint(extra)
    assert hint.startswith("`pip install ")
    named = {str(Requirement(word)) for word in shlex.split(hint.strip("`"))[2:]}
    assert named == {str(Requirement(package)) for package in EXTRAS[extra]}


def test_the_readme_names_all_extras() -> None:
    section = (ROOT / "README.md").read_text().split("## Installing into your own environment")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section)) | set(re.findall(r"\.\[([\w,]+)\]", section)[0].split(","))
    assert set(EXTRAS) <= named
