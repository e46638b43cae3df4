"""The package as syntax trees: its modules, and what each imports and when."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "brokerkit"

When = Literal["run", "lazy", "typing"]


@dataclass(frozen=True)
class Import:
    target: str
    """Dotted, with the imported name: ``from brokerkit.message import Message`` is ``brokerkit.message.Message``."""
    line: int
    when: When
    """run: with the module; lazy: when a function is called; typing: under TYPE_CHECKING."""


@dataclass(frozen=True)
class Module:
    name: str
    """Dotted; a package goes by its own name."""
    path: str
    """Relative to the checkout."""
    source: str

    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    def imports(self) -> Iterator[Import]:
        package = self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]
        yield from _imports(self.tree().body, package, "run")


def load_package(package: Path = PACKAGE) -> dict[str, Module]:
    """Every module of the package, by dotted name."""
    found = (_load(path) for path in sorted(package.rglob("*.py")))
    return {module.name: module for module in found}


def reached_at_import(start: Module, modules: Mapping[str, Module]) -> dict[str, Module]:
    """What importing ``start`` runs: itself, the modules it imports, the packages they lie in, and so on."""
    reached: dict[str, Module] = {}
    waiting = [start.name]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in modules:
            continue
        reached[name] = modules[name]
        waiting.extend(_with_parents(name))
        for item in modules[name].imports():
            if item.when == "run":
                waiting.extend(_with_parents(item.target))
    return reached


def _load(path: Path) -> Module:
    relative = path.relative_to(ROOT)
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, relative.as_posix(), path.read_text(encoding="utf-8"))


def _with_parents(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _imports(nodes: list[ast.stmt] | list[ast.AST], package: str, when: When) -> Iterator[Import]:
    for node in nodes:
        match node:
            case ast.Import():
                yield from (Import(alias.name, node.lineno, when) for alias in node.names)
            case ast.ImportFrom():
                origin = _origin(node, package)
                yield from (Import(f"{origin}.{alias.name}", node.lineno, when) for alias in node.names)
            case ast.If() if _is_type_checking(node.test):
                yield from _imports(node.body, package, "typing")
                yield from _imports(node.orelse, package, when)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(list(ast.iter_child_nodes(node)), package, "lazy" if when == "run" else when)
            case _:
                yield from _imports(list(ast.iter_child_nodes(node)), package, when)


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parents = parts[: len(parts) - node.level + 1]
    return ".".join([*parents, node.module] if node.module else parents)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
