"""The arrows of the architecture that must never be: who imports whom, who prints, who reads the environment."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE, INSTRUMENTS, SIMULATORS = ROOT / "aicalib_hw", ROOT / "instruments", ROOT / "simulators"
FOLDERS = {CORE: "aicalib_hw", INSTRUMENTS: "aicalib_hw.instruments", SIMULATORS: "aicalib_hw.simulators"}

SIMULATORS_MAY_USE = {"registry", "units", "errors", "bench"}
INTERFACES_MAY_USE = {"readings", "units", "identity", "errors", "interfaces"}
_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
MAY_READ_ENVIRONMENT = {CORE / "bench.py", CORE / "transport" / "library.py", SIMULATORS / "servers" / "relay.py"}
"""The last is a program by itself, which tells its world what its caller set for it."""


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "build" not in path.parts)


def name_of(path: Path) -> str:
    folder = next(folder for folder in FOLDERS if folder in path.parents)
    parts = [FOLDERS[folder], *path.relative_to(folder).with_suffix("").parts]
    return ".".join(part for part in parts if part != "__init__")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of the file's syntax tree that these tests look at: parsed and walked once for all of them."""
    looked_at = (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute)
    return tuple(node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, looked_at))


def dotted(node: ast.expr) -> str:
    """The text of a name or of attributes of one, as `sys.stdout.write`; of anything else only its last attribute."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that `path` imports anywhere, also inside functions and as text, by its full name."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = name_of(path).split(".") if path.name == "__init__.py" else name_of(path).split(".")[:-1]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from (str(arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def core_part(module: str) -> str:
    """Second component of a module of the core ("readings"), "" for anything else."""
    parts = module.split(".")
    return parts[1] if parts[0] == "aicalib_hw" and len(parts) > 1 else ""


def test_the_core_imports_neither_drivers_nor_simulators() -> None:
    guilty = [
        (path.name, module)
        for path in modules(CORE)
        for module in imports(path)
        if core_part(module) in {"instruments", "simulators"}
    ]
    assert guilty == []


@pytest.mark.parametrize(("folder", "other"), [(INSTRUMENTS, "simulators"), (SIMULATORS, "instruments")])
def test_drivers_and_simulators_never_import_each_other(folder: Path, other: str) -> None:
    assert modules(folder)
    guilty = [(path.name, module) for path in modules(folder) for module in imports(path) if core_part(module) == other]
    assert guilty == []


def test_simulators_use_nothing_of_the_core_that_could_cancel_its_own_fault() -> None:
    guilty = [
        (path.name, module)
        for path in modules(SIMULATORS)
        for module in imports(path)
        if core_part(module) not in SIMULATORS_MAY_USE | {"", "simulators"}
    ]
    assert guilty == []


def test_interfaces_know_only_data() -> None:
    guilty = [
        (path.name, module)
        for path in modules(CORE / "interfaces")
        for module in imports(path)
        if core_part(module) not in INTERFACES_MAY_USE | {""}
    ]
    assert guilty == []


def test_procedures_know_interfaces_only() -> None:
    forbidden = {"transport", "scpi", "cli", "discovery", "trace"}
    guilty = []
    for path in modules(CORE / "procedures"):
        guilty += [(path.name, module) for module in imports(path) if core_part(module) in forbidden]
        words = path.read_text(encoding="utf-8").lower()
        guilty += [
            (path.name, word) for word in ("yokogawa", "nvidia", "ascend", "visa", "if simulated") if word in words
        ]
    assert guilty == []


def test_what_serves_instruments_to_others_knows_interfaces_only() -> None:
    forbidden = {"transport", "scpi", "cli", "discovery", "registry", "bench"}
    guilty = [
        (path.name, module)
        for path in modules(CORE / "serve")
        for module in imports(path)
        if core_part(module) in forbidden
    ]
    assert modules(CORE / "serve")
    assert guilty == []


def test_nothing_below_the_command_line_prints() -> None:
    guilty = [
        (path.name, node.lineno)
        for folder in FOLDERS
        for path in modules(folder)
        if CORE / "cli" not in path.parents
        for node in nodes(path)
        if isinstance(node, ast.Call) and dotted(node.func) in {"print", "sys.stdout.write", "sys.stderr.write"}
    ]
    assert guilty == []


def test_the_environment_is_read_only_where_it_is_meant_to_be() -> None:
    guilty = [
        (path.name, node.lineno)
        for folder in FOLDERS
        for path in modules(folder)
        if path not in MAY_READ_ENVIRONMENT and CORE / "cli" not in path.parents
        for node in nodes(path)
        if (isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT and dotted(node.value) == "os")
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & _ENVIRONMENT)
    ]
    assert guilty == []


def test_every_package_is_shipped() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {name_of(path) for folder in FOLDERS for path in modules(folder) if path.name == "__init__.py"}
    assert listed == found
