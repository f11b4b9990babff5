"""Which room of the code may know which: arrows run one way, between modules too."""

import ast
from functools import cache
from pathlib import Path

import networkx

ROOT = Path(__file__).parents[2]

#: The rooms from the bottom to the top; each may import from those before it. A module beside the rooms is one itself.
ROOMS = {
    "hesspot": [
        *("version", "errors", "extras", "compiled", "console", "units", "files", "pages"),
        *("processes", "settings", "pool"),
        *("devices", "electrons", "structures", "neighbors", "graph", "contract", "derivatives"),
        *("torch_potential", "models", "kernel"),
        *("analysis", "data", "export", "accuracy", "calculators"),
        *("reference", "sampling", "training", "lammps", "ipi", "verification", "audit"),
        *("chemistry", "monitor", "study", "distill", "hesspot", "cli", "__main__"),
    ],
    "ipi_driver": ["settings", "template", "native", "wire", "evaluation", "serving", "pes", "cli"],
}


@cache
def imports() -> dict[str, set[str]]:
    """For each module those of the project that it imports anywhere: inside functions and for types too."""
    paths = {}
    for path in (path for package in ROOMS for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        names: list[str] = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} has a relative import"
                names += [f"{node.module}.{alias.name}" for alias in node.names]
        found[module] = {target for name in names if (target := nearest(name, paths)) and target != module}
    return found


def nearest(name: str, modules: dict[str, Path]) -> str:
    """The module that `name` is, or lies in; empty if it is none of the project's."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def height(name: str) -> int:
    package, _, inner = name.partition(".")
    return ROOMS[package].index(inner or package)


def arrows() -> set[tuple[str, str]]:
    """From room to room; arrows from the driver to hesspot are not among them."""
    found = {(room(module), room(target)) for module, targets in imports().items() for target in targets}
    return {(a, b) for a, b in found if a != b and a.split(".")[0] == b.split(".")[0]}


def test_every_room_has_its_place():
    rooms = {room(module) for module in imports()} - {"ipi_driver"}
    assert [name for name in rooms if name.split(".")[-1] not in ROOMS[name.split(".")[0]]] == []


def test_arrows_run_one_way():
    assert {(a, b) for a, b in arrows() if height(b) > height(a)} == set()


def test_no_module_stands_in_a_circle():
    graph = networkx.DiGraph([(module, target) for module, targets in imports().items() for target in targets])
    circles = [circle for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert circles == []


def test_hesspot_does_not_know_the_driver():
    knows = {m for m, targets in imports().items() for t in targets if t.split(".")[0] == "ipi_driver"}
    assert [module for module in knows if module.split(".")[0] != "ipi_driver"] == []
