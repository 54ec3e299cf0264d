"""The house holds: each room imports only from rooms to its left, no modules import each other in a circle, and some
things are known in one place only.

Rules of this file: it reads the package's source and imports none of it. The rooms and their order are those of
docs/architecture.md, and those that are still to be built have their place already. An import counts wherever it
stands: in a function, or under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools.house.imports import PACKAGE, Import, import_graph, imports, module_name, package_files
from tools.house.trees import working_tree

FILES = package_files(working_tree(Path(__file__).resolve().parent.parent))

# From left to right. Rooms in one column know nothing of each other.
COLUMNS = (
    {"errors"},
    {"kademlia", "alarm", "accepting", "secret_files", "logs"},
    {"config", "identity", "network_keys", "wire", "transport", "storage"},
    {"peer"},
    {"classic"},
    {"holding"},
    {"operations"},
    {"upkeep"},
    {"node"},
    {"http", "simulation"},
    {"cli"},
    {"__main__"},
)
PLACE = {room: place for place, rooms in enumerate(COLUMNS) for room in rooms}
NOT_BUILT_YET = frozenset({"upkeep"})

# Rooms that may not see all that is to their left. The package itself, "", is its public API, which no room imports.
MAY_SEE = {
    "": frozenset({"errors", "kademlia", "config", "node", "operations.results", "operations.events"}),
    "transport": frozenset({"errors", "alarm", "accepting", "kademlia.contacts", "kademlia.networks"}),
    "peer": frozenset({"errors", "alarm", "logs", "kademlia", "config", "identity", "wire", "transport.base"}),
    "classic": frozenset({"errors", "alarm", "kademlia", "config", "wire.classic", "peer.deadlines", "peer.paths"}),
    "holding": frozenset({"errors", "alarm", "kademlia", "config", "identity", "storage"}),
    "http": frozenset(
        {"errors", "kademlia", "accepting", "config"} | {"node.node.Node", "operations.results", "operations.events"}
    ),
    "simulation": frozenset(
        {"errors", "kademlia", "alarm", "config", "identity", "wire", "transport", "storage"}
        | {"network_keys"}
        | {"peer.suite", "peer.local", "peer.packets", "peer.handshake", "peer.sessions", "peer.decisions"}
        | {"peer.streams"}
        | {"node.node", "operations.results", "operations.events"}
    ),
}

# The generator has its own way of naming its files.
GENERATED = "wire.generated"
# The one module that may use what is private to Trio.
KNOWS_TRIO_INSIDE = "simulation.scheduling"
# A cipher suite that hides nothing: only its own room may import it.
TOY_SUITE = "simulation.suite"

# What pure code may import from outside. `random` only to say that it is given a Random.
PURE = frozenset(
    {"__future__", "abc", "attrs", "bisect", "collections", "enum", "functools", "hashlib", "heapq", "ipaddress"}
    | {"itertools", "math", "operator", "random", "struct", "typing"}
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__"})

# Libraries that are known in these rooms only; the others see this package's own words for them.
ONLY_IN = {
    "betterproto2": {"wire"},
    "google": {"wire"},
    "nacl": {"identity", "peer"},
    "sqlite3": {"storage"},
    "quart": {"http"},
    "quart_trio": {"http"},
    "hypercorn": {"http", "cli"},
    "prometheus_client": {"http"},
    "click": {"simulation", "cli", "__main__"},
    "rich": {"simulation", "cli"},
    "httpx": {"cli"},
    "structlog": {"logs", "http", "simulation", "cli"},
    "trio": {"alarm", "accepting", "transport", "storage", "peer", "classic", "operations", "upkeep", "node"}
    | {"http", "simulation", "cli"},
}


def is_under(path: str, allowed: frozenset[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in allowed)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def violations(module: str, source: str) -> list[str]:
    """What `source`, as the module of this dotted name below the package, must not do; empty when all is well."""
    room = room_of(module)
    if room and room not in PLACE:
        return [f"{module}: belongs to no room; give it one here and in docs/architecture.md"]
    tree = ast.parse(source)
    found: list[str] = []
    for wanted in imports(tree):
        path = wanted.inside()
        complaints = _outward(module, room, wanted) if path is None else _inward(room, path)
        found += [f"{module}:{wanted.line}: {complaint}" for complaint in complaints]
    for node in ast.walk(tree):
        found += [f"{module}:{getattr(node, 'lineno', 0)}: {complaint}" for complaint in _behaviour(room, node)]
    return found


def _inward(room: str, path: str) -> Iterator[str]:
    other = room_of(path)
    if other == room != "":
        return
    if is_under(path, frozenset({TOY_SUITE})):
        yield f"imports {TOY_SUITE}, which hides nothing and is for simulations only"
    allowed = MAY_SEE.get(room)
    if allowed and not is_under(path, allowed):
        yield f"{room or 'the public API'} imports {path or PACKAGE}: it may see only {', '.join(sorted(allowed))}"
    if room and other not in PLACE:
        yield f"imports {path or PACKAGE} from the public API, which is for others"
    elif room and PLACE[other] >= PLACE[room]:
        yield f"{room} imports {other}, which is not to its left"


def _outward(module: str, room: str, wanted: Import) -> Iterator[str]:
    library = wanted.module.split(".")[0]
    if wanted.module.startswith(".") and not module.startswith(GENERATED):
        yield "a relative import hides which room is meant"
    if room in {"errors", "kademlia"} and library not in PURE:
        yield f"{room} is pure and imports {library}"
    elif library in ONLY_IN and room not in ONLY_IN[library]:
        yield f"{library} is known to {', '.join(sorted(ONLY_IN[library]))} only"
    if library == "random" and room == "kademlia" and wanted.name not in {"", "Random"}:
        yield f"kademlia imports random.{wanted.name}: randomness is given to it"
    is_private = any(part.startswith("_") for part in [*wanted.module.split("."), wanted.name])
    if library == "trio" and is_private and module != KNOWS_TRIO_INSIDE:
        yield f"{wanted.module} {wanted.name} is private to trio"
    if wanted.module == "importlib" and wanted.name in {"", "import_module"}:
        yield "imports modules by a name that nobody can check"


def _behaviour(room: str, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="trio"), attr=name) if name.startswith("_"):
            yield f"trio.{name} is private to trio"
    if room != "kademlia":
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


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that reach each other by imports, one sorted list for each circle or knot of circles."""
    reached = {module: _reachable(module, graph) for module in graph}
    knots = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted(sorted(knot) for knot in knots if knot)


def _reachable(module: str, graph: Mapping[str, set[str]]) -> set[str]:
    """What `module` imports, directly or by way of others; itself only if it is on a circle."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def complaints_about_circles(files: Mapping[str, str]) -> list[str]:
    """One line for each circle among the modules of these files, by the imports that make it."""
    graph = import_graph(files)
    found = []
    for knot in circles(graph):
        arrows = (
            f"{each or PACKAGE} imports {other or PACKAGE}" for each in knot for other in sorted(graph[each] & {*knot})
        )
        found.append("a circle: " + ", ".join(arrows))
    return found


def test_every_module_keeps_to_its_room() -> None:
    assert [line for path, text in FILES.items() for line in violations(module_name(path), text)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert complaints_about_circles(FILES) == []


def test_every_room_that_has_rules_exists() -> None:
    assert {*PLACE} - {room_of(module_name(path)) for path in FILES} <= NOT_BUILT_YET


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("kademlia.ids", "from camomile_trio.config import Config", "not to its left"),
        ("kademlia.ids", "import camomile_trio.node.node", "not to its left"),
        ("errors", "from camomile_trio.kademlia import ids", "not to its left"),
        ("wire.codec", "from camomile_trio import storage", "not to its left"),
        ("storage.sqlite", "from camomile_trio.transport.base import Transport", "not to its left"),
        ("config", "def late():\n    from camomile_trio.identity import Identity", "not to its left"),
        ("node.core", "if TYPE_CHECKING:\n    from camomile_trio.http.app import App", "not to its left"),
        ("http.app", "from camomile_trio.simulation import cluster", "not to its left"),
        ("simulation.cluster", "import camomile_trio.cli", "not to its left"),
        ("node.node", "from camomile_trio.simulation.machine import Machine", "not to its left"),
        ("peer.sessions", "from camomile_trio.holding.quotas import Quotas", "not to its left"),
        ("peer.sessions", "from camomile_trio.storage.base import Storage", "peer imports storage.base.Storage: it"),
        ("peer.contacts", "from camomile_trio.classic.network import ClassicNetwork", "not to its left"),
        ("peer.contacts", "import structlog", "known to cli, http, logs, simulation only"),
        ("classic.requests", "from camomile_trio.node.core import Core", "not to its left"),
        (
            "classic.requests",
            "from camomile_trio.peer.contacts import Contacts",
            "classic imports peer.contacts.Contacts",
        ),
        (
            "classic.answers",
            "from camomile_trio.wire.codec import Codec",
            "classic imports wire.codec.Codec: it may see",
        ),
        ("holding.store", "from camomile_trio.peer.sessions import Sessions", "holding imports peer.sessions.Sessions"),
        ("operations.put", "from camomile_trio.upkeep.join import Join", "not to its left"),
        ("simulation.commands", "import httpx", "known to cli only"),
        ("cli.node", "from camomile_trio.simulation.suite import ToySuite", "for simulations only"),
        ("cli.node", "from camomile_trio.simulation import suite", "for simulations only"),
        (
            "http.app",
            "from camomile_trio.storage.base import Storage",
            "http imports storage.base.Storage: it may see only",
        ),
        ("http.app", "from camomile_trio.node.node import open_node", "http imports node.node.open_node: it may"),
        ("http.app", "from camomile_trio.node import core", "http imports node.core: it may see only"),
        (
            "transport.udp",
            "from camomile_trio.kademlia.messages import Ping",
            "transport imports kademlia.messages.Ping: it",
        ),
        ("node.node", "from camomile_trio import open_node", "public API"),
        ("", "from camomile_trio.http.app import App", "the public API imports http.app"),
        ("", "import camomile_trio", "the public API imports camomile_trio"),
        ("node.core", "from .lookup import Lookup", "relative import"),
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
        ("node.handlers", "import nacl.signing", "known to identity, peer only"),
        ("wire.codec", "import trio", "trio is known to"),
        ("simulation.clocks", "from trio._core import _run", "private to trio"),
        ("simulation.clocks", "import trio\ntrio._core", "private to trio"),
        ("node.node", "import importlib\nimportlib.import_module('x')", "nobody can check"),
        ("helpers", "", "belongs to no room"),
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
        ("http.app", "from camomile_trio.node.node import Node\nfrom camomile_trio.operations.results import Found"),
        ("peer.contacts", "import trio\nfrom camomile_trio.logs import log"),
        ("classic.requests", "import trio\nfrom camomile_trio.peer.deadlines import Deadlines"),
        ("node.node", "from camomile_trio.classic.network import ClassicNetwork"),
        ("operations.put", "from camomile_trio.holding.store import Store\nfrom camomile_trio.peer.peers import Peers"),
        ("simulation.world", "from camomile_trio.simulation.suite import ToySuite"),
        ("simulation.commands", "import click, rich.table\nfrom camomile_trio.node.node import open_node"),
        ("cli.node", "import importlib.metadata\nfrom camomile_trio.node.node import open_node"),
        ("", "from camomile_trio.node.node import Node, open_node\nfrom camomile_trio.config import Config"),
    ],
)
def test_a_good_example_is_let_through(module: str, source: str) -> None:
    assert violations(module, source) == []


@pytest.mark.parametrize(
    ("modules", "circle"),
    [
        ({"node/a.py": "import camomile_trio.node.a"}, "node.a imports node.a"),
        (
            {"node/a.py": "from camomile_trio.node.b import B", "node/b.py": "from camomile_trio.node import a"},
            "node.a imports node.b, node.b imports node.a",
        ),
        (
            {
                "node/a.py": "from camomile_trio.node.b import B",
                "node/b.py": "def f():\n    import camomile_trio.node.a",
            },
            "node.a imports node.b, node.b imports node.a",
        ),
        (
            {
                "wire/a.py": "from camomile_trio.wire.b import B",
                "wire/b.py": "from camomile_trio.wire.c import C",
                "wire/c.py": "if TYPE_CHECKING:\n    from camomile_trio.wire.a import A",
                "wire/d.py": "from camomile_trio.wire.a import A",
            },
            "wire.a imports wire.b, wire.b imports wire.c, wire.c imports wire.a",
        ),
        (
            {"wire/__init__.py": "from camomile_trio.wire.a import A", "wire/a.py": "from camomile_trio.wire import B"},
            "wire imports wire.a, wire.a imports wire",
        ),
        (
            {"wire/generated/__init__.py": "from .a import A", "wire/generated/a.py": "from . import B"},
            "wire.generated imports wire.generated.a, wire.generated.a imports wire.generated",
        ),
        (
            {"node/a.py": "import camomile_trio.simulation.b", "simulation/b.py": "import camomile_trio.node.a"},
            "node.a imports simulation.b, simulation.b imports node.a",
        ),
    ],
)
def test_a_circle_is_caught(modules: dict[str, str], circle: str) -> None:
    files = {f"{PACKAGE}/{path}": source for path, source in modules.items()}
    assert complaints_about_circles(files) == [f"a circle: {circle}"]


def test_each_of_two_circles_is_told() -> None:
    pairs = {"node/a": "node.b", "node/b": "node.a", "wire/a": "wire.b", "wire/b": "wire.a", "cli/a": "wire.a"}
    files = {f"{PACKAGE}/{path}.py": f"import {PACKAGE}.{other}" for path, other in pairs.items()}
    assert len(complaints_about_circles(files)) == 2


def test_modules_that_share_what_they_import_are_no_circle() -> None:
    modules = {
        "__init__.py": "from camomile_trio.node.a import A",
        "errors.py": "",
        "node/__init__.py": "",
        "node/a.py": "from camomile_trio.errors import E\nfrom camomile_trio.node import b, c",
        "node/b.py": "import attrs\nfrom camomile_trio.errors import E\nfrom camomile_trio.node.c import C",
        "node/c.py": "from camomile_trio.errors import E",
    }
    assert complaints_about_circles({f"{PACKAGE}/{path}": source for path, source in modules.items()}) == []
