"""What the package's source defines, for comparing it with what documents say.

Rules of this file: it reads the source and imports none of it, as tests/test_layering.py does.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.docs.documents import ROOT

PACKAGE = ROOT / "camomile_trio"

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.Add: operator.add,
}


@functools.cache
def _modules() -> dict[str, ast.Module]:
    paths = (path for path in PACKAGE.rglob("*.py") if "generated" not in path.parts)
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def text_of(module: str) -> set[str]:
    """Every string in a module, given by its path below the package."""
    nodes = ast.walk(_modules()[module])
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@functools.cache
def members() -> dict[str, set[str]]:
    """The methods, properties and fields of every class, by the class's name."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in _modules().values():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                found[node.name] |= set(_members_of(node))
    return found


def _members_of(class_: ast.ClassDef) -> Iterator[str]:
    for node in class_.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


@functools.cache
def functions() -> set[str]:
    """The names of all functions and methods."""
    nodes = (node for module in _modules().values() for node in ast.walk(module))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@functools.cache
def numbers() -> dict[str, set[int]]:
    """The numbers that names stand for: constants of modules, and defaults of fields."""
    known: dict[str, set[int]] = defaultdict(set)
    for module in _modules().values():
        for node in ast.walk(module):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    known[name] |= set(_number(_default(value), known))
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    for each, value in zip(names, values, strict=True):
                        known[ast.unparse(each)] |= set(_number(value, known))
    return known


def _default(value: ast.expr) -> ast.expr:
    """What `attrs.field(default=…)` stands for."""
    if isinstance(value, ast.Call):
        return next((each.value for each in value.keywords if each.arg == "default"), value)
    return value


def _number(value: ast.expr, known: dict[str, set[int]]) -> Iterator[int]:
    match value:
        case ast.Constant(value=int() | float() as number) if number == int(number):
            yield int(number)
        case ast.Name(id=name):
            yield from known.get(name) or _UNITS.get(name, set())
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            for one in _number(left, known):
                yield from (_OPERATORS[type(op)](one, other) for other in _number(right, known))


# For a module that imports these and was read before the one that defines them.
_UNITS = {"KIB": {2**10}, "MIB": {2**20}, "GIB": {2**30}, "MAX_CONTACTS": {128}}
