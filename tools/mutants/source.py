"""How a defect is made: a function, a piece of its syntax tree, and what takes that piece's place in a copy.

Rules of this file: a mutant is made in a copy of the source and never in the checkout. Two pieces are the same when
Python parses them into the same tree, so formatting, comments, quotes and parentheses do not matter, and neither does
the file that a function is in. A piece that is not there exactly once is an error: the tables of mutants must follow
the code.
"""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import attrs
import libcst as cst
from libcst import matchers
from libcst.metadata import ExpressionContext, ExpressionContextProvider, MetadataWrapper

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "camomile_trio"


class StaleEdit(Exception):
    """The source has changed, so that an edit no longer applies."""


@attrs.frozen
class Edit:
    """One change.

    `where` is the qualified name of a function, a class or a constant: `admit`, `Holdings.value`. In it the `piece` is
    replaced: an expression by an expression, or a statement by statements (`pass` leaves nothing of it). `room` is the
    folder or file of the package that defines the name, and needed only for a name that the package defines twice.
    """

    where: str
    piece: str
    replacement: str
    room: str = ""

    def of(self, text: str) -> str:
        """The source `text`, which defines `where`, with the replacement. StaleEdit unless the piece is there once."""
        piece: cst.CSTNode
        replacement: cst.CSTNode
        if _is_expression(self.piece) and _is_expression(self.replacement):
            piece, replacement = _expression(self.piece), _expression(self.replacement)
        else:
            piece = cst.parse_statement(self.piece)
            # Several statements take the place of one as a block.
            replacement = cst.parse_statement(f"if True:\n{textwrap.indent(self.replacement, '    ')}")
        found = list(_occurrences(piece, text, self.where))
        if len(found) != 1:
            raise StaleEdit(f"`{self.piece}` occurs {len(found)} times in {self.where}")
        mutated = _parsed(text).module.deep_replace(found[0], replacement)
        assert isinstance(mutated, cst.Module)
        return mutated.code

    def file(self, package: Path) -> Path:
        """The one file below `package` that defines `where`. StaleEdit if there is none, or another too."""
        place = package / self.room
        # Cheap before exact: few files have such a line at all.
        line = re.compile(rf"^ *(async def |def |class )?{self.where.rpartition('.')[2]}\b", re.MULTILINE)
        files = [
            path
            for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))
            if line.search(text := path.read_text()) and any(_definitions(_parsed(text).module.body, self.where))
        ]
        if len(files) != 1:
            names = " and ".join(str(path.relative_to(package)) for path in files) or f"no file of {place.name}"
            raise StaleEdit(f"{self.where}, where `{self.piece}` is to be replaced, is defined in {names}")
        return files[0]


def mutated(edits: Iterable[Edit], package: Path) -> dict[Path, str]:
    """The new texts of the files below `package` that the edits change. StaleEdit if one does not apply."""
    texts: dict[Path, str] = {}
    for edit in edits:
        path = edit.file(package)
        texts[path] = edit.of(texts.get(path) or path.read_text())
    return texts


def apply(edits: Iterable[Edit], package: Path) -> None:
    """Makes all edits below `package`, a copy. StaleEdit, and no change, if one does not apply."""
    for path, text in mutated(edits, package).items():
        path.write_text(text)


def copy_package(to: Path) -> Path:
    """The whole package, in the folder `to`; returns where it is. Without what Python had compiled of it."""
    return Path(shutil.copytree(ROOT / PACKAGE, to / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")))


@lru_cache(maxsize=512)
def _parsed(text: str) -> MetadataWrapper:
    return MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)


def _definitions(body: Sequence[cst.CSTNode], where: str) -> Iterator[cst.CSTNode]:
    """The functions, classes and assignments of this qualified name: several where a name is defined anew."""
    name, _, inner = where.partition(".")
    for statement in body:
        match statement:
            case cst.ClassDef(name=cst.Name(value=found), body=within) if found == name and inner:
                yield from _definitions(within.body, inner)
            case (
                cst.ClassDef(name=cst.Name(value=found))
                | cst.FunctionDef(name=cst.Name(value=found))
                | cst.SimpleStatementLine(
                    body=[
                        cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=found))])
                        | cst.AnnAssign(target=cst.Name(value=found))
                    ]
                )
            ) if found == name and not inner:
                yield statement


def _occurrences(piece: cst.CSTNode, text: str, where: str) -> Iterator[cst.CSTNode]:
    """The nodes that are the same as the piece, within the definitions of `where`.

    An expression is one where its value is used: it is no target, and no name of an attribute, parameter or argument.
    """
    tree = _tree(piece)
    context = _parsed(text).resolve(ExpressionContextProvider)
    for definition in _definitions(_parsed(text).module.body, where):
        nodes = matchers.findall(definition, matchers.MatchIfTrue(lambda node: isinstance(node, cst.CSTNode)))
        keywords = {node.keyword for node in nodes if isinstance(node, cst.Arg)}
        for node in nodes:
            if type(node) is type(piece) and node not in keywords:
                unknown = None if isinstance(node, cst.Name) else ExpressionContext.LOAD
                if context.get(node, unknown) is ExpressionContext.LOAD and _tree(node) == tree:
                    yield node


def _is_expression(code: str) -> bool:
    try:
        ast.parse(f"({code}\n)", mode="eval")
    except SyntaxError:
        return False
    return True


def _expression(code: str) -> cst.BaseExpression:
    return cst.parse_expression(f"({code})")


def _tree(node: cst.CSTNode) -> str:
    """What Python makes of the node."""
    code = cst.Module([]).code_for_node(node)
    return ast.dump(ast.parse(f"({code}\n)" if isinstance(node, cst.BaseExpression) else code))
