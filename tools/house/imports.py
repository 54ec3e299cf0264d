"""What the modules of the package import.

Rules of this file: pure. It reads source as text and runs none of it. An import counts wherever it stands: in a
function, or under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name

import attrs

PACKAGE = "camomile_trio"


@attrs.frozen
class Import:
    """One name that a module imports: `module` is dotted, `name` what it takes from there, if anything."""

    line: int
    module: str
    name: str = ""

    def inside(self) -> str | None:
        """The dotted path below the package, or None when it comes from elsewhere."""
        path = f"{self.module}.{self.name}" if self.name else self.module
        return path.removeprefix(PACKAGE).lstrip(".") if path.split(".")[0] == PACKAGE else None


def imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (Import(node.lineno, module, alias.name) for alias in node.names)


def module_name(path: str) -> str:
    """Dotted and below the package: `node.rpc` for `camomile_trio/node/rpc.py`, `node` for the `__init__.py` there."""
    parts = path.removesuffix(".py").split("/")[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_files(files: Mapping[str, str]) -> dict[str, str]:
    """Those files of a checkout, by their paths, that are modules of the package."""
    return {path: text for path, text in files.items() if path.startswith(f"{PACKAGE}/") and path.endswith(".py")}


def import_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules of the package each of them imports. `files` are those of the package, by their paths."""
    graph: dict[str, set[str]] = {module_name(path): set() for path in files}
    for path, text in files.items():
        folder = path.rpartition("/")[0].replace("/", ".")
        for each in imports(ast.parse(text, path)):
            target = attrs.evolve(each, module=resolve_name(each.module, folder)).inside()
            # What is imported may be a module, or a name in one.
            while target and target not in graph:
                target = target.rpartition(".")[0]
            if target in graph:
                graph[module_name(path)].add(target)
    return graph
