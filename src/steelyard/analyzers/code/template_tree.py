"""What a chat template does, read from its syntax tree; it is never rendered.

A chat template is a program in Jinja that turns messages into the text that a model is given.
Jinja's own parser builds the tree; nothing is compiled or run. Four things are of note: a way
into Python's machinery (attributes with underscores, `attr`, templates that load templates), text
of the template's own that appears only where a message holds certain words, what is used without
being declared, and what a reader of the template would not see (invisible characters, addresses).

Source: https://jinja.palletsprojects.com/en/stable/templates/, and Transformers'
`_compile_jinja_template` for the options and the `generation` tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from steelyard.analyzers.code.hidden import addresses, invisible
from steelyard.analyzers.code.template_triggers import triggers
from steelyard.analyzers.quoting import clean
from steelyard.errors import CheckpointError, LimitExceeded
from steelyard.knowledge import load

LONGEST: Final = 200_000
"""Characters of the longest template that is parsed; the longest known has a tenth."""
MOST_NODES: Final = 20_000
DEEPEST: Final = 40
"""Blocks (`if`, `for`, `macro`) in each other; known templates nest a dozen."""
_BLOCKS = (nodes.If, nodes.For, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.CondExpr)
_MOST: Final = 200
_DUNDER: Final = re.compile(r"__[a-z]+__")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing of note in a template."""

    kind: str
    """`reaches`, `triggers`, `odd` or `undeclared`."""
    what: str
    """One line for a person."""
    line: int


class _Generation(Extension):
    """Parse the `generation` tag, by which templates mark what the model itself said."""

    tags = {"generation"}  # noqa: RUF012  as its base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Give what stands within the tag, as if the tag were not there."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def examine(text: str, file: str) -> list[Remark]:
    """Say what is of note in a template, by line.

    Args:
        text: The template.
        file: Where it stands, for errors.

    Raises:
        CheckpointError: If it is not a template that Jinja parses.
        LimitExceeded: If it is too long, too deep or too large.
    """
    tree = parse(text, file)
    found = [*_reaching(tree), *_undeclared(tree)]
    found += [Remark("triggers", what, line) for what, line in triggers(tree)]
    found += [Remark("odd", f"holds {what}", line) for what, line in invisible(text)]
    found += [Remark("odd", f"holds the address {what}", line) for what, line in addresses(text)]
    return sorted(set(found), key=lambda item: (item.line, item.kind, item.what))[:_MOST]


def parse(text: str, file: str) -> nodes.Template:
    """Parse a template as Transformers does, without compiling it.

    Raises:
        CheckpointError: If it is not a template that Jinja parses.
        LimitExceeded: If it is too long, too deep or too large.
    """
    if len(text) > LONGEST:
        raise _exceeded(f"the template has {len(text)} characters, more than {LONGEST}", file)
    environment = Environment(  # noqa: S701  nothing is rendered, so nothing is escaped
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
        cache_size=0,
    )
    try:
        # The environment's own `parse` makes code for a traceback where a template is wrong.
        tree = Parser(environment, text).parse()
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise CheckpointError(
            "the template does not parse",
            why=clean(str(error)),
            fix="read it before you use it; use the template of the base model instead",
            file=file,
            line=line,
        ) from None
    except (RecursionError, MemoryError, ValueError, OverflowError):
        raise _exceeded("the template is nested deeper than Jinja's parser goes", file) from None
    _check_size(tree, file)
    return tree


def _check_size(tree: nodes.Node, file: str) -> None:
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        depth += isinstance(node, _BLOCKS)
        if count > MOST_NODES:
            raise _exceeded(f"the template has more than {MOST_NODES} nodes", file)
        if depth > DEEPEST:
            raise _exceeded(f"the template nests blocks more than {DEEPEST} deep", file)
        stack.extend((inner, depth) for inner in node.iter_child_nodes())


def walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Yield a node and all within it, without recursion."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.iter_child_nodes())


def _reaching(tree: nodes.Node) -> Iterator[Remark]:
    """Find the ways from a template into Python's own machinery, or into other templates."""
    table = load("chat_templates")
    for node in walk(tree):
        what = ""
        match node:
            case nodes.Getattr(attr=str() as name):
                if name.startswith("_") or name in table["attributes"]:
                    what = f"reads the attribute {name!r}"
            case nodes.Filter(name="attr"):
                what = "reads an attribute by the filter `attr`"
            case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends():
                what = "loads another template"
            case nodes.Name(name=name, ctx="load") if name in table["reaching"]:
                what = f"uses {name!r}, which leads into the interpreter"
            case nodes.Const() | nodes.Concat() | nodes.Add() | nodes.Filter():
                named = _DUNDER.search(text) if (text := _constant(node)) else None
                what = f"spells the attribute {named[0]!r}" if named else ""
        if what:
            yield Remark("reaches", clean(what), node.lineno)


def _constant(node: Any, depth: int = 0) -> str | None:
    """Give the text that an expression is, where it is put together of constants alone."""
    if depth > _SHOWN:
        return None
    match node:
        case nodes.Const(value=str() as text):
            return text
        case nodes.Concat(nodes=parts):
            pieces = [_constant(part, depth + 1) for part in parts]
        case nodes.Add(left=left, right=right):
            pieces = [_constant(left, depth + 1), _constant(right, depth + 1)]
        case nodes.Filter(name="join", node=nodes.List(items=parts) | nodes.Tuple(items=parts)):
            pieces = [_constant(part, depth + 1) for part in parts]
        case _:
            return None
    return None if None in pieces else "".join(filter(None, pieces))


def _undeclared(tree: nodes.Node) -> Iterator[Remark]:
    """Find names, filters, tests and methods that nobody is known to hand to a template."""
    table = load("chat_templates")
    own = set(_declared(tree))
    environment = tree.environment
    filters = {*(environment.filters if environment else ()), *table["filters"]}
    tests = set(environment.tests if environment else ())
    guarded = set(_asked_for(tree))
    for node in walk(tree):
        what = ""
        match node:
            case nodes.Name(name=name, ctx="load"):
                known = name in own or name in table["variables"] or name in table["reaching"]
                what = "" if known or name in guarded else f"uses the variable {name!r}"
            case nodes.Filter(name=str() as name):
                what = "" if name in filters else f"uses the filter {name!r}"
            case nodes.Test(name=str() as name):
                what = "" if name in tests else f"uses the test {name!r}"
            case nodes.Call(node=nodes.Getattr(attr=str() as name, node=of)):
                called = name in table["methods"] or (isinstance(of, nodes.Name) and of.name in own)
                what = "" if called else f"calls the method {name!r}"
        if what:
            yield Remark("undeclared", clean(what), node.lineno)


def _declared(tree: nodes.Node) -> Iterator[str]:
    """Yield the names that a template gives a value itself."""
    for node in walk(tree):
        match node:
            case nodes.Name(name=name, ctx="store" | "param"):
                yield name
            case nodes.Macro(name=str() as name):
                yield name


def _asked_for(tree: nodes.Node) -> Iterator[str]:
    """Yield the names of which a template first asks whether they are defined."""
    for node in walk(tree):
        match node:
            case nodes.Test(name="defined" | "undefined", node=nodes.Name(name=name)):
                yield name
            case nodes.Filter(name="default" | "d", node=nodes.Name(name=name)):
                yield name


def _exceeded(what: str, file: str) -> LimitExceeded:
    return LimitExceeded(
        what,
        why="no template needs so much",
        fix="read it before you use it; use the template of the base model instead",
        file=file,
    )
