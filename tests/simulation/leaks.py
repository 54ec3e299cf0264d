"""Finds in source code what could make two runs of one seed differ: clocks, chance, threads, addresses, sets in order.

Rules of this file: it reads source and imports none of it. It knows a set by how it was made or annotated, in the same
module; what it cannot see, the runs under two hash seeds may still show.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

# Whoever imports one of these can look at real time, at real chance, or run beside the one task that may run.
FORBIDDEN_MODULES = frozenset(
    {
        "time",
        "datetime",
        "uuid",
        "secrets",
        "threading",
        "multiprocessing",
        "concurrent",
        "asyncio",
        "tempfile",
        "_thread",
    }
)
FORBIDDEN_CALLS = {"id": "an address in memory", "hash": "PYTHONHASHSEED"}
FORBIDDEN_OF_OS = frozenset({"urandom", "getrandom", "getpid", "times", "listdir", "scandir"})
_SETS = ("set", "frozenset", "AbstractSet", "Set", "MutableSet")
# What goes through its argument in order, and keeps that order.
_ORDERED = ("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed", "next")


def leaks(source: str) -> Iterator[str]:
    """One line for each finding."""
    tree = ast.parse(source)
    known: frozenset[str] = frozenset()
    # A name may be a set because another one is.
    while (more := frozenset(_names_of_sets(tree, known))) != known:
        known = more
    for node in ast.walk(tree):
        for complaint in _complaints(node, known):
            yield f"{getattr(node, 'lineno', 0)}: {complaint}"


def _complaints(node: ast.AST, known: frozenset[str]) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            for name in names:
                if name.name.split(".")[0] in FORBIDDEN_MODULES:
                    yield f"imports {name.name}"
        case ast.ImportFrom(module=str(module), names=names):
            if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"imports {module}"
            for name in names:
                if module == "random" and name.name != "Random":
                    yield f"imports random.{name.name}"
                if module == "os" and name.name in FORBIDDEN_OF_OS:
                    yield f"imports os.{name.name}"
        case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in FORBIDDEN_OF_OS:
            yield f"uses os.{name}"
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
            yield f"uses random.{name}"
        case ast.Attribute(value=ast.Name(id="trio"), attr="to_thread" | "from_thread"):
            yield f"uses trio.{node.attr}"
        case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
            yield f"calls {name}(), which is {FORBIDDEN_CALLS[name]}"
        case (
            ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr="Random"), args=[])
            | ast.Call(func=ast.Name(id="Random"), args=[])
        ):
            yield "makes a Random without a seed"
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated) if _is_set(iterated, known):
            yield f"goes through the set {ast.unparse(iterated)}"
        case ast.Call(func=ast.Name(id=name), args=args) if name in _ORDERED:
            yield from (f"{name}() of the set {ast.unparse(each)}" for each in args if _is_set(each, known))
        case ast.Call(func=ast.Attribute(attr="fromkeys" | "join" | "choice" | "extend"), args=[first, *_]):
            if _is_set(first, known):
                yield f"takes the set {ast.unparse(first)} in order"
        case ast.Call(func=ast.Attribute(value=owner, attr="pop"), args=[]) if _is_set(owner, known):
            yield f"pops anything from the set {ast.unparse(owner)}"
        case ast.Starred(value=value) if _is_set(value, known):
            yield f"spreads the set {ast.unparse(value)}"


def _is_set(node: ast.expr, known: frozenset[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr="union" | "intersection" | "difference" | "symmetric_difference")):
            return True
        case ast.BoolOp(values=values):
            return any(_is_set(each, known) for each in values)
        case ast.IfExp(body=body, orelse=other):
            return _is_set(body, known) or _is_set(other, known)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if f"{name}()" in known:
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return _is_set(left, known) or _is_set(right, known) or _is_keys(left) or _is_keys(right)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in known
        case _:
            return False


def _is_keys(node: ast.expr) -> bool:
    """`a.keys() - b` is a set, though `a.keys()` is in order."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _names_of_sets(tree: ast.Module, known: frozenset[str]) -> Iterator[str]:
    """Names that are sets somewhere in the module, by annotation or by what is assigned to them; functions with ()."""
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=target, annotation=annotation) if _annotates_set(annotation):
                yield _name(target)
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if _annotates_set(annotation):
                yield name
            case ast.FunctionDef(name=name, returns=ast.expr() as annotation) if _annotates_set(annotation):
                yield f"{name}()"
            case ast.Assign(targets=targets, value=value) if _is_set(value, known):
                yield from map(_name, targets)


def _annotates_set(annotation: ast.expr) -> bool:
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return _name(outer) in _SETS


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
