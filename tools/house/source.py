"""What a Python file has: its lines of code, its functions and its words.

Rules of this file: pure. It reads source as text and runs none of it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import attrs

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@attrs.frozen
class Source:
    """`code`: lines without blank ones, comments and docstrings. `functions`: lines of each outermost function or
    method, by its qualified name. `names`: the file's own, and every use of an identifier. `prose`: comments and
    docstrings.
    """

    code: int
    functions: dict[str, int]
    names: list[str]
    prose: str


def read(path: str, text: str) -> Source:
    """Raises SyntaxError when `text` is not Python."""
    tree = ast.parse(text, path)
    docstrings = dict(_docstrings(tree))
    code: set[int] = set()
    comments: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(token.string)
        elif token.type not in _NO_CODE and token.start not in docstrings:
            code.update(range(token.start[0], token.end[0] + 1))
    return Source(
        code=len(code),
        functions=dict(_functions(tree)),
        names=[path.rpartition("/")[2], *_identifiers(tree)],
        prose="\n".join([*comments, *docstrings.values()]),
    )


def words(text: str) -> list[str]:
    """In lower case; `takes_stores`, `TakesStores` and `TAKES_STORES` are two words each."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)]


def _docstrings(tree: ast.Module) -> Iterator[tuple[tuple[int, int], str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                yield (node.lineno, node.col_offset), text


def _functions(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, int]]:
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, (child.end_lineno or child.lineno) - child.lineno + 1


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        # Constants aside, all that the syntax tree holds as text is a name.
        if not isinstance(node, ast.Constant):
            for _, value in ast.iter_fields(node):
                yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))
