"""The layers named in `engine/__init__.py`: every module is in one and imports only downwards."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import engine

FOLDER = Path(engine.__file__).parent
MAY_IMPORT = {
    "core": {"core"},
    "physics": {"core", "physics"},
    "offline": {"core", "physics", "offline"},
    "server": {"core", "physics", "server"},
}
OTHERS = {"core": set(), "physics": set(), "offline": {"workload", "measure"}, "server": set()}


def layers() -> dict[str, str]:
    """Module -> layer, as told."""
    assert engine.__doc__
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "__main__"}
    told: dict[str, str] = {}
    for layer, text in re.findall(r"^(\w+)  +(.*?)(?=^\w|\Z)", engine.__doc__, re.DOTALL | re.M):
        for name in re.findall(r"[a-z_]+", text.partition(":")[2]):
            if name in modules:
                assert told.setdefault(name, layer) == layer, f"{name} is told twice"
    assert told.keys() == modules
    return told


def imported(module: str) -> set[str]:
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    whole = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    of_package = {
        f"engine.{a.name}"
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module == "engine"
        for a in n.names
    }
    return (names - {"engine"}) | whole | of_package


def test_every_module_imports_only_what_its_layer_may():
    told = layers()
    ours = {"client", "exporters", "locustfiles", "measure", "report", "scripts", "workload"}
    for module, layer in told.items():
        for name in imported(module):
            package, _, rest = name.partition(".")
            if package == "engine":
                assert told[rest] in MAY_IMPORT[layer], f"{module} ({layer}) imports {name}"
            elif package in ours:
                assert package in OTHERS[layer], f"{module} ({layer}) imports {name}"


def test_the_core_does_no_input_or_output():
    core = {module for module, layer in layers().items() if layer == "core"}
    used = {name.partition(".")[0] for module in core for name in imported(module)}
    assert not used & {"asyncio", "time", "socket", "threading", "os", "pathlib", "random"}
