"""The house holds: each storey imports only to its left, and some things are known in one place only.

Rules of this file: it reads the package's source and imports none of it. The order of the storeys is that of
docs/architecture.md: errors, (kademlia, alarm, accepting), (config, identity, wire, transport, storage), node, (http,
simulation), cli. An import counts wherever it stands: in a function, or under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

PACKAGE = "camomile_trio"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

STOREYS = {
    "errors": 0,
    "kademlia": 1,
    "alarm": 1,
    "accepting": 1,
    "config": 2,
    "identity": 2,
    "wire": 2,
    "transport": 2,
    "storage": 2,
    "node": 3,
    "http": 4,
    "simulation": 4,
    "cli": 5,
    "__main__": 6,
}
# The package itself is its public API; nothing inside imports it from there.
PUBLIC_API_MAY_IMPORT = frozenset({"errors", "kademlia", "config", "node"})
HTTP_MAY_IMPORT = frozenset({"errors", "kademlia", "accepting", "config", "node"})
HTTP_MAY_SEE_OF_NODE = frozenset({"node.node.Node", "node.results", "node.events"})
TRANSPORT_MAY_SEE_OF_KADEMLIA = frozenset({"kademlia.contacts"})

GENERATED = "wire.generated"
# The one module that may use what is private to Trio.
KNOWS_TRIO_INSIDE = "simulation.scheduling"

# What pure code may import from outside. `random` only to say that it is given a Random.
PURE = frozenset(
    {"__future__", "abc", "attrs", "bisect", "collections", "enum", "functools", "hashlib", "heapq", "ipaddress"}
    | {"itertools", "math", "operator", "random", "struct", "typing"}
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})

# Libraries that are one storey's affair: the others see this package's own words for them.
ONLY_IN = {
    "betterproto2": {"wire"},
    "google": {"wire"},
    "nacl": {"identity"},
    "sqlite3": {"storage"},
    "quart": {"http"},
    "quart_trio": {"http"},
    "hypercorn": {"http", "cli"},
    "prometheus_client": {"http"},
    "click": {"cli", "__main__"},
    "rich": {"cli"},
    "httpx": {"cli"},
    "structlog": {"node", "http", "simulation", "cli"},
    "trio": {"alarm", "accepting", "identity", "transport", "storage", "node", "http", "simulation", "cli"},
}


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


def is_under(path: str, allowed: frozenset[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in allowed)


def violations(module: str, source: str) -> list[str]:
    """What `source`, as the module of this dotted name below the package, must not do; empty when all is well."""
    storey = module.partition(".")[0] or "the public API"
    if storey not in STOREYS and storey != "the public API":
        return [f"{module}: belongs to no storey; give it one here and in docs/architecture.md"]
    tree = ast.parse(source)
    found: list[str] = []
    for wanted in imports(tree):
        if module.startswith(GENERATED) and wanted.module.startswith("."):
            continue  # the generator's way of naming its own files
        complaints = _outward(module, storey, wanted) if wanted.inside() is None else _inward(storey, wanted)
        found += [f"{module}:{wanted.line}: {complaint}" for complaint in complaints]
    for node in ast.walk(tree):
        found += [f"{module}:{getattr(node, 'lineno', 0)}: {complaint}" for complaint in _behaviour(storey, node)]
    return found


def _inward(storey: str, wanted: Import) -> Iterator[str]:
    path = wanted.inside() or ""
    other = path.split(".")[0]
    if storey == "the public API":
        if other not in PUBLIC_API_MAY_IMPORT:
            yield f"the public API imports {path}"
    elif other not in STOREYS:
        yield f"imports {path or PACKAGE} from the public API, which is for others"
    elif other != storey and STOREYS[other] >= STOREYS[storey]:
        yield f"{storey} imports {other}, which is not to its left"
    elif storey == "http" and other != storey:
        if other not in HTTP_MAY_IMPORT:
            yield f"http imports {other}: it sees only Node"
        elif other == "node" and not is_under(path, HTTP_MAY_SEE_OF_NODE):
            yield f"http imports {path}: of node it sees Node, results and events"
    elif storey == "transport" and other == "kademlia" and not is_under(path, TRANSPORT_MAY_SEE_OF_KADEMLIA):
        yield f"transport imports {path}: it knows only Endpoint"


def _outward(module: str, storey: str, wanted: Import) -> Iterator[str]:
    library = wanted.module.split(".")[0]
    if wanted.module.startswith("."):
        yield "a relative import hides which storey is meant"
    if storey in {"errors", "kademlia"} and library not in PURE:
        yield f"{storey} is pure and imports {library}"
    elif library in ONLY_IN and storey not in ONLY_IN[library]:
        yield f"{library} is known to {', '.join(sorted(ONLY_IN[library]))} only"
    if library == "random" and storey == "kademlia" and wanted.name not in {"", "Random"}:
        yield f"kademlia imports random.{wanted.name}: randomness is given to it"
    is_private = any(part.startswith("_") for part in [*wanted.module.split("."), wanted.name])
    if library == "trio" and is_private and module != KNOWS_TRIO_INSIDE:
        yield f"{wanted.module} {wanted.name} is private to trio"
    if wanted.module == "importlib" and wanted.name in {"", "import_module"}:
        yield "imports modules by a name that nobody can check"


def _behaviour(storey: str, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="trio"), attr=name) if name.startswith("_"):
            yield f"trio.{name} is private to trio"
    if storey != "kademlia":
        return
    match node:
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            yield "kademlia is pure and waits for nothing"
        case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
            yield f"kademlia is pure and calls {name}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="random"))) | ast.Call(func=ast.Name(id="Random")):
            yield "kademlia makes randomness of its own"
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
            yield f"kademlia uses random.{name}: randomness is given to it"


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@pytest.mark.parametrize("module", [pytest.param(name, id=name or PACKAGE) for name in modules()])
def test_a_module_imports_only_to_its_left(module: str) -> None:
    assert violations(module, modules()[module].read_text("utf-8")) == []


def test_every_storey_that_has_rules_exists() -> None:
    there = {name.split(".")[0] for name in modules()}
    assert there >= {"errors", "kademlia", "config", "wire", "transport", "storage", "node", "http"}


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("kademlia.ids", "from camomile_trio.config import Config", "not to its left"),
        ("kademlia.ids", "import camomile_trio.node.node", "not to its left"),
        ("errors", "from camomile_trio.kademlia import ids", "not to its left"),
        ("wire.codec", "from camomile_trio import storage", "not to its left"),
        ("storage.sqlite", "from camomile_trio.transport.base import Transport", "not to its left"),
        ("config", "def late():\n    from camomile_trio.identity import Identity", "not to its left"),
        ("node.rpc", "if TYPE_CHECKING:\n    from camomile_trio.http.app import App", "not to its left"),
        ("http.app", "from camomile_trio.simulation import cluster", "not to its left"),
        ("simulation.cluster", "import camomile_trio.cli", "not to its left"),
        ("http.app", "from camomile_trio.storage.base import Storage", "sees only Node"),
        ("http.app", "from camomile_trio.node.node import open_node", "results and events"),
        ("http.app", "from camomile_trio.node import rpc", "results and events"),
        ("transport.udp", "from camomile_trio.kademlia.messages import Ping", "knows only Endpoint"),
        ("node.node", "from camomile_trio import open_node", "public API"),
        ("", "from camomile_trio.http.app import App", "the public API imports http.app"),
        ("node.rpc", "from .lookup import Lookup", "relative import"),
        ("kademlia.routing", "import trio", "pure and imports trio"),
        ("kademlia.routing", "import time", "pure and imports time"),
        ("kademlia.routing", "from os import urandom", "pure and imports os"),
        ("kademlia.routing", "async def find(): ...", "waits for nothing"),
        ("kademlia.routing", "import random\nchosen = random.choice(rows)", "random.choice"),
        ("kademlia.routing", "import random\nrng = random.Random()", "of its own"),
        ("kademlia.routing", "from random import randbytes", "random.randbytes"),
        ("kademlia.routing", "open('table')", "calls open"),
        ("kademlia.records", "from nacl.signing import VerifyKey", "pure and imports nacl"),
        ("node.handlers", "import betterproto2", "known to wire only"),
        ("node.handlers", "import nacl.signing", "known to identity only"),
        ("wire.codec", "import trio", "trio is known to"),
        ("simulation.clock", "from trio._core import _run", "private to trio"),
        ("simulation.clock", "import trio\ntrio._core", "private to trio"),
        ("node.node", "import importlib\nimportlib.import_module('x')", "nobody can check"),
        ("helpers", "", "belongs to no storey"),
    ],
)
def test_a_bad_example_is_caught(module: str, source: str, complaint: str) -> None:
    found = violations(module, source)
    assert len(found) >= 1
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kademlia.routing", "import random\ndef pick(rng: random.Random) -> int: return rng.getrandbits(8)"),
        ("storage.sqlite", "import sqlite3, trio\nfrom camomile_trio.storage.base import Storage"),
        ("http.app", "from camomile_trio.node.node import Node\nfrom camomile_trio.node.results import Found"),
        ("cli.node", "import importlib.metadata\nfrom camomile_trio.node.node import open_node"),
        ("", "from camomile_trio.node.node import Node, open_node\nfrom camomile_trio.config import Config"),
    ],
)
def test_a_good_example_is_let_through(module: str, source: str) -> None:
    assert violations(module, source) == []
