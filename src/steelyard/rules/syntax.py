"""From the text of a condition to Python's syntax tree, past bounds and a strict scanner.

Python's own parser reads the text, but only after every token of it was one of the few that
conditions are made of: no colon, backslash, text prefix, dot on a value, or name beyond ASCII
gets that far. Length, depth and size are bounded before anything walks the tree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from steelyard.errors import PackError

LONGEST: Final = 2_000
"""Most characters of a condition."""
_DEEPEST: Final = 30
_MOST_NODES: Final = 1_000
_TOKEN: Final = re.compile(
    r"""[ ]*(?:
        (?P<text>"[^"\\]*"|'[^'\\]*')
      | (?P<number>[0-9](?:[\w.]|(?<=[eE])[+-](?=[0-9]))*)
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<sign>==|!=|<=|>=|[-+*/<>(){}\[\],])
    )""",
    re.VERBOSE | re.ASCII,
)
_NUMBER: Final = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_DIGITS: Final = 40
_NAME: Final = 120
QUERIES: Final = ("known", "measured", "contradicted", "empty")
"""Functions that answer yes or no about a fact."""
BOUNDS: Final = ("low", "high", "middle")
"""Functions that take a bound of what is known of an amount."""
HOURS: Final = {"hours": 1, "days": 24, "weeks": 7 * 24}
"""Functions that write a time, with the hours of one."""
FUNCTIONS: Final = (*QUERIES, *BOUNDS, *HOURS, "count", "date")
"""All functions."""
SYNTAX: Final = (
    "conditions are made of and, or, not, comparisons, + - * /, fact names, numbers, texts, "
    f"True, False, {{...}} and {', '.join(FUNCTIONS)}"
)
"""What conditions are made of, for the reader of an error."""


def wrong(what: str, *, why: str = "", fix: str = SYNTAX) -> PackError:
    """Return the error that refuses a condition."""
    return PackError(what, why=why, fix=fix)


def read(text: str) -> ast.expr:
    """Parse a condition, checking tokens first and bounds afterwards.

    Raises:
        PackError: If it is too long, too deep, or not in the syntax of conditions.
    """
    if len(text) > LONGEST:
        raise wrong(
            f"a condition of {len(text)} characters; at most {LONGEST} are read", fix="split it"
        )
    _scan(text)
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise wrong(f"the condition {shown(text)} does not parse", why=str(error)) from None
    _bound(body)
    return body


def _scan(text: str) -> None:
    """Refuse everything that is not a token, before Python's own parser sees it."""
    place, before = 0, ""
    end = len(text.rstrip(" "))
    if not end:
        raise wrong("the condition is empty")
    while place < end:
        token = _TOKEN.match(text, place)
        if token is None:
            raise wrong(f"the condition {shown(text)} holds {text[place:].lstrip(' ')[:1]!r}")
        kind, written = str(token.lastgroup), token[0].strip(" ")
        if kind == "number" and (len(written) > _DIGITS or not _NUMBER.fullmatch(written)):
            raise wrong(
                f"{written[:_DIGITS]!r} is not a number", fix="write it like 12, 0.3 or 1e25"
            )
        if kind == "name" and len(written) > _NAME:
            raise wrong(f"no fact has a name as long as {shown(written)}")
        if kind == "text" and not written.isprintable():
            raise wrong(f"the text {written!r} holds characters that nobody sees")
        if kind == "text" and before == "text":
            raise wrong(
                f"two texts stand side by side before {written}", fix="put a comma between them"
            )
        if kind == "text" and before == "name" and token.start("text") == place:
            raise wrong(f"the condition {shown(text)} holds a text with a prefix")
        place, before = token.end(), kind


def _bound(body: ast.expr) -> None:
    level: list[ast.AST] = [body]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if depth > _DEEPEST or nodes > _MOST_NODES:
            raise wrong("the condition is nested too deeply or has too many parts", fix="split it")
        level = [child for node in level for child in _children(node)]


def _children(node: ast.AST) -> Iterator[ast.AST]:
    # A dotted name is one name, however many dots it has.
    return iter(()) if isinstance(node, ast.Attribute) else ast.iter_child_nodes(node)


def shown(text: str) -> str:
    """Quote the beginning of a condition for an error."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
