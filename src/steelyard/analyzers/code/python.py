"""What a Python file would do, read from its syntax tree; it is never run or imported.

Names are followed as far as the text alone tells: imports and their aliases, assignments of one
name to another, `getattr` and `__import__` of constant texts. What is done when the file is
imported is told from what is done only inside functions: module level, class bodies, decorators,
default values, and the functions that those call. A name that is put together from parts which
the text does not tell stands as it is: code that is made while it runs.

Source: the language reference, https://docs.python.org/3/reference/, and the `ast` module.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from steelyard.analyzers.code.python_names import Names, kind_of
from steelyard.errors import CheckpointError, LimitExceeded

MOST_NODES: Final = 200_000
"""Nodes of the largest syntax tree that is walked; a module of 10,000 lines has as many."""
_MOST_USES: Final = 1000
_MOST_LINES: Final = 200_000
_BIDIRECTIONAL: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")

_MADE_BY_CLASS = ("__init__", "__new__", "__post_init__", "__call__", "__init_subclass__")
_INTERNAL: Final = frozenset({"__subclasses__", "__globals__", "__builtins__"})
"""Attributes that lead from any object to everything that Python has loaded."""
_RUNNERS: Final = frozenset(
    {
        "builtins.eval",
        "builtins.exec",
        "builtins.compile",
        "builtins.__import__",
        "marshal.loads",
        "pickle.loads",
        "types.CodeType",
        "types.FunctionType",
    }
)
"""What runs the bytes that it is given, so that bytes decoded for it are hidden code."""


@dataclass(frozen=True, slots=True)
class Use:
    """One thing of note that the code does."""

    kind: str
    """A key of `meanings` in `knowledge/python_calls.yaml`."""
    name: str
    """Dotted name that is called or named: `os.system`."""
    line: int
    at_import: bool
    """True where importing the file does it; else only some function does."""


@dataclass(frozen=True, slots=True)
class Script:
    """What one Python file imports and does."""

    uses: tuple[Use, ...]
    """In the order of lines, each line's name once."""
    imports: frozenset[str]
    """Modules that it imports by absolute name, first part only."""
    relative: frozenset[str]
    """Modules beside it that it imports: `configuration` for `from .configuration import C`."""


@dataclass(slots=True)
class _Scope:
    """What the body of a function, or the module itself, does and calls."""

    uses: list[tuple[str, str, int]] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)


def examine(data: bytes | str, file: str) -> Script:
    """Say what a Python file imports and does.

    Args:
        data: Its bytes, in whatever encoding its first lines declare; or the text of a notebook,
            which declares none, and may wait (`await`) outside of functions.
        file: Its path, for errors.

    Raises:
        CheckpointError: If it is no Python that this version of Python parses.
        LimitExceeded: If its tree is larger than `MOST_NODES`.
    """
    tree = parse(data, file)
    names = Names(tree)
    walk = _Walk(names)
    walk.module(tree)
    reached = walk.reached()
    uses = {
        Use(kind, name, line, key in reached)
        for key, scope in walk.scopes.items()
        for kind, name, line in scope.uses
    }
    written = data.encode("utf-8", "replace") if isinstance(data, str) else data
    uses |= {Use("reordered", name, line, True) for name, line in _reordered(written)}
    # A line that does it both ways is told once, as what comes first.
    first: dict[tuple[int, str, str], Use] = {}
    for use in sorted(uses, key=lambda use: (use.line, use.name, use.kind, not use.at_import)):
        first.setdefault((use.line, use.name, use.kind), use)
    return Script(tuple(first.values())[:_MOST_USES], names.imports, names.relative)


def parse(data: bytes | str, file: str) -> ast.Module:
    """Parse Python, with the parser's own bounds on depth turned into our errors.

    Raises:
        CheckpointError: If it does not parse.
        LimitExceeded: If it is nested too deep or has too many nodes.
    """
    try:
        with warnings.catch_warnings():
            # What Python warns of (odd escapes) is the author's matter, not ours.
            warnings.simplefilter("ignore")
            flags = ast.PyCF_ONLY_AST
            flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if isinstance(data, str) else 0
            tree: ast.Module = compile(data, "<examined>", "exec", flags, dont_inherit=True)
    except (RecursionError, MemoryError):
        raise LimitExceeded(
            "is nested deeper than Python's parser goes",
            why="no module needs to be",
            fix="read the file before you let anything import it",
            file=file,
        ) from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise CheckpointError(
            "is not Python that can be parsed",
            why=getattr(error, "msg", None) or str(error),
            fix="read the file before you let anything import it",
            file=file,
            line=line,
        ) from None
    if sum(1 for _ in zip(ast.walk(tree), range(MOST_NODES + 1), strict=False)) > MOST_NODES:
        raise LimitExceeded(
            f"has a syntax tree of more than {MOST_NODES} nodes",
            why="no module needs so many",
            fix="read the file before you let anything import it",
            file=file,
        )
    return tree


def _reordered(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield the lines that hold bidirectional controls ("Trojan Source", CVE-2021-42574)."""
    if not any(mark in data for mark in (b"\xe2\x80", b"\xe2\x81")):
        return
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()[:_MOST_LINES], 1):
        found = _BIDIRECTIONAL.search(line)
        if found is not None:
            yield f"U+{ord(found[0]):04X}", number


class _Walk:
    """Walk a module without recursion; what each scope does lies in `scopes` afterwards."""

    def __init__(self, names: Names) -> None:
        self.scopes: dict[str, _Scope] = {"": _Scope()}
        self._names = names
        self._stack: list[tuple[ast.AST, str, str]] = []

    def module(self, tree: ast.Module) -> None:
        """Visit every node once; each carries its scope and the class around it."""
        self._push(reversed(tree.body), "", "")
        while self._stack:
            node, scope, owner = self._stack.pop()
            self._visit(node, scope, owner)

    def reached(self) -> frozenset[str]:
        """Name the scopes that run on import: the module, and what it calls, and so on."""
        methods: dict[str, list[str]] = {}
        for key in self.scopes:
            methods.setdefault(key.rpartition(".")[2], []).append(key)
        waiting, seen = [""], {""}
        while waiting:
            for called in self.scopes[waiting.pop()].calls:
                made = [f"{called}.{name}" for name in _MADE_BY_CLASS]
                bare = methods.get(called[1:], []) if called.startswith(".") else []
                for key in (called, *made, *bare):
                    if key in self.scopes and key not in seen:
                        seen.add(key)
                        waiting.append(key)
        return frozenset(seen)

    def _push(self, nodes: Iterable[ast.AST], scope: str, owner: str) -> None:
        self._stack.extend((node, scope, owner) for node in nodes)

    def _visit(self, node: ast.AST, scope: str, owner: str) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scope, owner)
            case ast.ClassDef(name=name, body=body):
                inside = name if not scope else owner
                self._push(_around(node), scope, owner)
                self._called(node.decorator_list, scope)
                self._push(body, scope, inside)
            case ast.If(test=test, body=body, orelse=orelse):
                self._push([test, *orelse], scope, owner)
                if not _only_for_types(test):
                    self._push(body, "__main__" if _is_program(test) else scope, owner)
            case ast.Call():
                known = self._call(node, scope)
                self._push([*node.args, *node.keywords], scope, owner)
                self._push([] if known else [node.func], scope, owner)
            case ast.Attribute() | ast.Name():
                self._named(node, scope, owner)
            case ast.Assign(targets=[ast.Name()], value=ast.Attribute() | ast.Name()) if not owner:
                # An alias: what it stands for is told where it is called. In a class it may be
                # called by syntax alone (`__class_getitem__ = exec`).
                pass
            case _:
                self._push(ast.iter_child_nodes(node), scope, owner)

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: str, owner: str
    ) -> None:
        """Enter a function: what stands around its body runs where it is defined."""
        self._push(_around(node), scope, owner)
        self._called(node.decorator_list, scope)
        # A function in a function runs with the one around it.
        inner = scope or (f"{owner}.{node.name}" if owner else node.name)
        self.scopes.setdefault(inner, _Scope())
        self._push(reversed(node.body), inner, owner)

    def _called(self, decorators: Iterable[ast.expr], scope: str) -> None:
        for decorator in decorators:
            if isinstance(decorator, ast.Name):
                self._of(scope).calls.add(decorator.id)

    def _call(self, node: ast.Call, scope: str) -> bool:
        """Note what a call does by its arguments, and whom of this file it calls.

        Returns whether the text tells what is called.
        """
        of = self._of(scope)
        match node.func:
            case ast.Name(id=name):
                of.calls.add(name)
            case ast.Attribute(value=ast.Name(id=base), attr=name):
                of.calls |= {f"{base}.{name}"} | ({f".{name}"} - self._names.bare(base, name))
            case ast.Attribute(attr=name):
                of.calls.add(f".{name}")
        full = self._names.dotted(node.func)
        if full is None:
            picked = self._names.picks(node)
            of.uses += [("dynamic", picked, node.lineno)] if picked else []
            return False
        kind = self._names.kind_of_call(full, node)
        if full in _RUNNERS and self._names.decodes(node):
            kind = "obfuscated"
        if kind is not None:
            of.uses.append((kind, full, node.lineno))
        return True

    def _named(self, node: ast.Attribute | ast.Name, scope: str, owner: str) -> None:
        """Note a function of note that is named but not called: it is handed on to be called."""
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            return
        name = self._names.dotted(node)
        if name is None:
            # Straight to what the chain begins with: each link of it again would be quadratic.
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                if inner.attr in _INTERNAL:
                    self._of(scope).uses.append(("dynamic", inner.attr, node.lineno))
                inner = inner.value
            self._push([] if isinstance(inner, ast.Name) else [inner], scope, owner)
        elif kind_of(name, called=False) and not self._names.judged_by_call(name):
            self._of(scope).uses.append((kind_of(name, called=False) or "", name, node.lineno))

    def _of(self, scope: str) -> _Scope:
        return self.scopes.setdefault(scope, _Scope())


def _around(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[ast.AST]:
    """Yield what is evaluated where a function or class is defined; annotations are not run."""
    yield from node.decorator_list
    if isinstance(node, ast.ClassDef):
        yield from (*node.bases, *(keyword.value for keyword in node.keywords))
    else:
        yield from node.args.defaults
        yield from (default for default in node.args.kw_defaults if default is not None)


def _only_for_types(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_program(test: ast.expr) -> bool:
    """Tell `if __name__ == "__main__":`, which an import does not enter."""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value == "__main__"
    )
