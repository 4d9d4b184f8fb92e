"""Text in a chat template that appears only where a message holds certain words.

A template may ask what kind of message it has (its role, the type of a part) and may look for
markers (`<tool_call>`, `/think`) to lay them out; ordinary templates do. What none needs is to
look for words of a conversation and then to add sentences of its own: that steers the model when
somebody speaks of a certain thing, and nobody sees it. The same holds for a date. A test counts
where it compares the content of a message with a literal, directly or through a variable; a text
counts where it is prose, not markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from jinja2 import nodes

from steelyard.analyzers.quoting import clean

_MARKER: Final = re.compile(r"^\W*$|^\s*[<\[{(|/\\#*`$=~_.-]|[>\]}|]\s*$")
"""A literal that is markup rather than a word that people say."""
_MARKUP: Final = re.compile(r"<[^<>]{0,200}>|\[/?[A-Z_]{1,40}\]|\{[^{}]{0,200}\}")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_PROSE_AFTER_MARKER: Final = 4
_PROSE_AFTER_WORD: Final = 3
_MOST: Final = 20
_CONTENT: Final = frozenset({"content", "text"})
_ROUNDS: Final = 4
_LONGEST_CHAIN: Final = 50
_ASKING: Final = frozenset({"startswith", "endswith", "find", "index", "count", "split", "rfind"})
_CLOCK: Final = "strftime_now"
_ORDER: Final = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq", "in", "notin"})


def triggers(tree: nodes.Node) -> Iterator[tuple[str, int]]:
    """Yield each condition on content that adds prose, said in a line, with its line."""
    told = 0
    names = _Names(tree)
    for node in _walk(tree):
        branches: list[tuple[nodes.Node, list[nodes.Node]]] = []
        match node:
            case nodes.If():
                branches = _branches(node)
            case nodes.CondExpr():
                parts = [part for part in (node.expr1, node.expr2) if part is not None]
                branches = [(node.test, list(parts))]
        for test, body in branches:
            asked = names.asked(test)
            if not asked:
                continue
            words = [text for text in asked if not _MARKER.search(text)]
            least = _PROSE_AFTER_WORD if words else _PROSE_AFTER_MARKER
            prose = _prose(body, least)
            if prose and told < _MOST:
                told += 1
                quoted = clean((words or asked)[0], 60)
                yield (
                    f"adds {clean(prose, 100)!r} only if a message or date fits {quoted!r}",
                    test.lineno,
                )


def _branches(node: nodes.If) -> list[tuple[nodes.Node, list[nodes.Node]]]:
    """Pair each test with what it decides; the last branch belongs to the test before it."""
    found: list[tuple[nodes.Node, list[nodes.Node]]] = [(node.test, [*node.body])]
    found += [(branch.test, [*branch.body]) for branch in node.elif_]
    # Where the words are not said is a condition on them, too.
    found[-1][1].extend(node.else_)
    return found


class _Names:
    """Which variables hold content, and which hold the answer to a question about it."""

    def __init__(self, tree: nodes.Node) -> None:
        self._content: set[str] = set()
        self._answers: dict[str, list[str]] = {}
        assigns = [node for node in _walk(tree) if isinstance(node, nodes.Assign | nodes.For)]
        for _ in range(_ROUNDS):
            before = (len(self._content), len(self._answers))
            for node in assigns:
                self._follow(node)
            self._set_within(tree)
            if before == (len(self._content), len(self._answers)):
                break

    def asked(self, test: nodes.Node) -> list[str]:
        """Give the literals with which a test compares content; none where it does not."""
        found: list[str] = []
        for node in _walk(test):
            match node:
                case nodes.Compare(expr=expr, ops=ops):
                    sides = [expr, *(op.expr for op in ops if op.op in _ORDER)]
                    found += self._literals(sides)
                case nodes.Call(node=nodes.Getattr(attr=name, node=of)) if name in _ASKING:
                    found += self._literals([of, *node.args])
                case nodes.Test(node=of, args=args) | nodes.Filter(node=of, args=args) if of:
                    found += self._literals([of, *(args or ())])
                case nodes.Name(name=name, ctx="load") if name in self._answers:
                    found += self._answers[name]
                case nodes.Getattr(node=nodes.Name(name=base), attr=name):
                    found += self._answers.get(f"{base}.{name}", [])
        return list(dict.fromkeys(found))

    def _literals(self, sides: Sequence[nodes.Node]) -> list[str]:
        """Give the literals among the sides of a comparison, if one side is content."""
        if not any(self._is_content(side) for side in sides):
            return []
        return [text for side in sides for text in _texts(side) if text.strip()]

    def _is_content(self, node: nodes.Node) -> bool:
        """Tell whether an expression is the content of a message, perhaps cut or lowered."""
        for _ in range(_LONGEST_CHAIN):
            match node:
                case nodes.Getattr() | nodes.Getitem(arg=nodes.Const(value=str())):
                    return self._is_content_key(node)
                case nodes.Name(name=name):
                    return name in self._content
                case nodes.Call(node=nodes.Name(name=name)):
                    return name == _CLOCK
                case nodes.Concat(nodes=parts):
                    return any(map(self._is_content, parts[:_LONGEST_CHAIN]))
                case nodes.Add(left=left, right=right):
                    if self._is_content(right):
                        return True
                    node = left
                case _:
                    inner = _inside(node)
                    if inner is None:
                        return False
                    node = inner
        return False

    def _is_content_key(self, node: nodes.Getattr | nodes.Getitem) -> bool:
        if isinstance(node, nodes.Getitem):
            return isinstance(node.arg, nodes.Const) and node.arg.value in _CONTENT
        base = node.node.name if isinstance(node.node, nodes.Name) else ""
        return node.attr in _CONTENT or f"{base}.{node.attr}" in self._content

    def _follow(self, node: nodes.Assign | nodes.For) -> None:
        value = node.iter if isinstance(node, nodes.For) else node.node
        name = _target(node.target)
        if not name:
            return
        if self._is_content(value):
            self._content.add(name)
        elif isinstance(node, nodes.Assign):
            words = [text for text in self.asked(value) if not _MARKER.search(text)]
            if words:
                self._answers.setdefault(name, words)

    def _set_within(self, tree: nodes.Node) -> None:
        """Note variables that are set because a message holds a word, in one pass."""
        stack: list[tuple[nodes.Node, list[str]]] = [(tree, [])]
        while stack:
            node, words = stack.pop()
            if isinstance(node, nodes.If):
                for test, body in _branches(node):
                    own = [text for text in self.asked(test) if not _MARKER.search(text)]
                    stack.extend((part, own or words) for part in body)
                continue
            if words and isinstance(node, nodes.Assign) and (name := _target(node.target)):
                self._answers.setdefault(name, words)
            stack.extend((inner, words) for inner in node.iter_child_nodes())


def _inside(node: nodes.Node) -> nodes.Node | None:
    """Give what a part, a filter or a method is taken of."""
    match node:
        case nodes.Getitem(node=inner) | nodes.Filter(node=inner):
            return inner
        case nodes.Call(node=nodes.Getattr(node=inner)):
            return inner
    return None


def _target(node: nodes.Node) -> str:
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.NSRef(name=name, attr=attr):
            return f"{name}.{attr}"
    return ""


def _texts(node: nodes.Node) -> Iterator[str]:
    """Yield the literals of one side of a comparison, not the keys by which it looks up."""
    match node:
        case nodes.Const(value=str() as text):
            yield text
        case nodes.List(items=items) | nodes.Tuple(items=items):
            for item in items:
                if isinstance(item, nodes.Const) and isinstance(item.value, str):
                    yield item.value
        case nodes.Call(node=nodes.Getattr(node=inner), args=args):
            for item in (inner, *args):
                if isinstance(item, nodes.Const) and isinstance(item.value, str):
                    yield item.value


def _prose(body: list[nodes.Node], least: int) -> str:
    """Give the first text of a branch that is prose of at least so many words, or nothing."""
    for part in body:
        for node in _walk(part):
            text = ""
            match node:
                case nodes.TemplateData(data=text):
                    pass
                case nodes.Const(value=str() as text):
                    pass
            if text and len(_WORD.findall(_MARKUP.sub(" ", text))) >= least:
                return text.strip()
    return ""


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Yield a node and all within it, but for what is only said to the caller."""
    stack = [tree]
    while stack:
        node = stack.pop()
        called = node.node if isinstance(node, nodes.Call) else None
        if isinstance(called, nodes.Name) and called.name == "raise_exception":
            continue
        yield node
        stack.extend(node.iter_child_nodes())
