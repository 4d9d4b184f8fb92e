"""What the names of a Python file stand for, as far as its text tells."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import Final

from steelyard.knowledge import load

_KINDS: Final = ("process", "network", "dynamic", "unpickling", "native", "writes")
_BUILTINS: Final = frozenset(
    {"eval", "exec", "execfile", "compile", "__import__", "open", "getattr", "globals", "locals",
     "vars", "bytes", "bytearray", "__builtins__", "chr"}
)  # fmt: skip
_USUAL: Final = {"np": "numpy", "pd": "pandas"}
_IMPORTERS: Final = frozenset(
    {"builtins.__import__", "importlib.import_module", "importlib.__import__"}
)
_TABLES: Final = frozenset({"sys.modules", "builtins.globals", "builtins.locals", "builtins.vars"})
_SENSITIVE: Final = frozenset(
    {"os", "posix", "nt", "subprocess", "builtins", "importlib", "ctypes"}
)
_PICKERS: Final = frozenset({"operator.attrgetter", "operator.methodcaller"})
_BY_CALL: Final = _IMPORTERS | {"torch.load", "numpy.load", "yaml.load", "tarfile.open",
                                "zipfile.ZipFile"}  # fmt: skip
"""What only its arguments tell whether it is of note."""
_LONGEST_NOTED: Final = 4
"""Parts of the longest name that is looked for at the end of another."""
_DEEPEST: Final = 40
_CONSTANT_PIECES: Final = 200
_LONGEST: Final = 300


@cache
def _tables() -> tuple[dict[str, str], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Give exact names with their kind, beginnings with theirs, and decoders' beginnings."""
    data = load("python_calls")
    exact, wide = {}, []
    for kind in _KINDS:
        for name in data[kind]:
            if name.endswith(".*"):
                wide.append((name[:-1], kind))
            else:
                exact[name] = kind
    return exact, tuple(wide), tuple(name.removesuffix("*") for name in data["decoders"])


@cache
def _marks() -> tuple[frozenset[str], frozenset[str]]:
    """Give the last parts of exact names and the first of beginnings; most names have neither."""
    exact, wide, _ = _tables()
    lasts = frozenset(name.rpartition(".")[2] for name in exact)
    return lasts, frozenset(begin.partition(".")[0] for begin, _ in wide)


def kind_of(name: str, *, called: bool) -> str | None:
    """Grade a dotted name: what it does, or None where it is nothing of note.

    A module can be reached through one that imports it (`shutil.os.system`), so the end counts.
    """
    exact, wide, _ = _tables()
    lasts, heads = _marks()
    parts = name.split(".")
    if parts[-1] not in lasts and heads.isdisjoint(part.lstrip("_") for part in parts):
        return None
    for start in (0, *range(max(1, len(parts) - _LONGEST_NOTED), len(parts) - 1)):
        tail = ".".join([parts[start].lstrip("_") if start else parts[0], *parts[start + 1 :]])
        if tail in exact:
            return exact[tail]
        if called:
            kind = next((kind for begin, kind in wide if tail.startswith(begin)), None)
            if kind is not None:
                return kind
    return None


class Names:
    """The imports and simple assignments of one module."""

    def __init__(self, tree: ast.Module) -> None:
        self.imports: frozenset[str] = frozenset()
        self.relative: frozenset[str] = frozenset()
        self._aliases: dict[str, str] = {}
        self._own: set[str] = set()
        self._decoded: set[str] = set()
        imports, relative, assignments = set(), set(), []
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for item in names:
                        imports.add(item.name.partition(".")[0])
                        short = item.asname or item.name.partition(".")[0]
                        self._aliases[short] = item.name if item.asname else short
                case ast.ImportFrom(module=module, names=names, level=level):
                    if level:
                        relative |= {module} if module else {item.name for item in names}
                    elif module:
                        imports.add(module.partition(".")[0])
                        self._import_from(module, names)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self._own.add(node.name)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    assignments.append((name, value))
                case ast.NamedExpr(target=ast.Name(id=name), value=value):
                    assignments.append((name, value))
        self._assign(assignments)
        self.imports, self.relative = frozenset(imports), frozenset(filter(None, relative))

    def _import_from(self, module: str, names: list[ast.alias]) -> None:
        for item in names:
            if item.name != "*":
                self._aliases[item.asname or item.name] = f"{module}.{item.name}"
                continue
            start = f"{module}."
            for name in _tables()[0]:
                if name.startswith(start) and "." not in name[len(start) :]:
                    self._aliases.setdefault(name[len(start) :], name)

    def _assign(self, assignments: list[tuple[str, ast.expr]]) -> None:
        """Follow `name = other.name`, and note what is decoded from hidden bytes."""
        known = self.dotted
        for _ in range(3):  # an alias of an alias of an alias
            for name, value in assignments:
                target = known(value) if _may_name(value) else None
                if target is not None and len(target) <= _LONGEST and name not in self._own:
                    self._aliases.setdefault(name, target)
                if self.decodes(value):
                    self._decoded.add(name)

    def dotted(self, node: ast.AST, depth: int = 0) -> str | None:
        """Say the dotted name that an expression stands for, or None where the text hides it."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
            if len(parts) > _DEEPEST:
                return None
        base = self._base(node, depth)
        if base is None:
            return None
        name = ".".join([base, *reversed(parts)])
        name = name.replace("builtins.__builtins__", "builtins")
        return name.removesuffix(".__call__")

    def _base(self, node: ast.AST, depth: int) -> str | None:
        if depth > _DEEPEST:
            return None
        match node:
            case ast.Name(id=name):
                if name in self._aliases:
                    return self._aliases[name]
                if name in self._own:
                    return None
                return f"builtins.{name}" if name in _BUILTINS else _USUAL.get(name)
            case ast.Call(func=func, args=[first, *rest]):
                return self._made(self.dotted(func, depth + 1), first, rest, depth)
            case ast.Subscript(value=value, slice=index):
                table = self._table(value, depth)
                key = constant(index)
                if table is None or key is None:
                    return None
                return key if table == "sys.modules" else f"{table}.{key}"
        return None

    def _made(
        self, name: str | None, first: ast.expr, rest: list[ast.expr], depth: int
    ) -> str | None:
        """Say what `__import__("os")` or `getattr(os, "system")` stands for."""
        if name in _IMPORTERS:
            module = constant(first)
            if module is None:
                return None
            return module.partition(".")[0] if name == "builtins.__import__" else module
        if name == "builtins.getattr" and rest:
            base, attribute = self.dotted(first, depth + 1), constant(rest[0])
            return f"{base}.{attribute}" if base and attribute else None
        return None

    def _table(self, node: ast.expr, depth: int) -> str | None:
        """Name the table that is looked into: of modules, of globals, of a module's names."""
        if isinstance(node, ast.Call):
            name = self.dotted(node.func, depth + 1)
            if name == "builtins.vars" and node.args:
                return self.dotted(node.args[0], depth + 1)
            return "builtins" if name in _TABLES else None
        name = self.dotted(node, depth + 1)
        if name is None or name == "sys.modules":
            return name
        if name in ("builtins.__builtins__", "builtins"):
            return "builtins"
        return name.removesuffix(".__dict__") if name.endswith(".__dict__") else None

    def kind_of_call(self, name: str, node: ast.Call) -> str | None:
        """Grade a call, by its arguments where only they tell."""
        if name == "builtins.open":
            mode = _argument(node, 1, "mode")
            text = "r" if mode is None else constant(mode)
            return "reads" if text is not None and not set(text) & set("wax+") else "writes"
        if name == "builtins.getattr":
            base = self.dotted(node.args[0]) if node.args else None
            hidden = len(node.args) > 1 and constant(node.args[1]) is None
            return "dynamic" if base in _SENSITIVE and hidden else None
        if name in _IMPORTERS:
            # A constant name is an import like any other.
            return None if node.args and constant(node.args[0]) is not None else "dynamic"
        if name == "torch.load":
            return None if _is_true(_argument(node, None, "weights_only")) else "unpickling"
        if name == "numpy.load":
            return "unpickling" if _is_true(_argument(node, None, "allow_pickle")) else None
        if name == "yaml.load":
            loader = _argument(node, 1, "Loader")
            text = self.dotted(loader) if loader is not None else None
            return None if text and "Safe" in text else "unpickling"
        if name in ("tarfile.open", "zipfile.ZipFile"):
            mode = _argument(node, 1, "mode")
            return "reads" if mode is None or constant(mode) in ("r", "r:gz", "r:*") else "writes"
        return kind_of(name, called=True)

    def picks(self, node: ast.Call) -> str | None:
        """Name the function of `operator` by which a call picks something of a module of note."""
        if not isinstance(node.func, ast.Call):
            return None
        name = self.dotted(node.func.func)
        taken = {self.dotted(argument) for argument in node.args[:1]}
        return name if name in _PICKERS and taken & _SENSITIVE else None

    def judged_by_call(self, name: str) -> bool:
        """Tell whether naming it without a call says nothing."""
        return name in _BY_CALL

    def decodes(self, node: ast.AST) -> bool:
        """Tell whether an expression decodes hidden bytes, itself or by a name made so."""
        for inner, _ in zip(ast.walk(node), range(2000), strict=False):
            if isinstance(inner, ast.Name) and inner.id in self._decoded:
                return True
            if isinstance(inner, ast.Call):
                name = self.dotted(inner.func)
                if name and name.startswith(_tables()[2]):
                    return True
                if isinstance(inner.func, ast.Attribute) and inner.func.attr == "fromhex":
                    return True
        return False

    def bare(self, base: str, name: str) -> frozenset[str]:
        """Say which methods of this file `base.name()` cannot be, as `base` is imported."""
        return frozenset({f".{name}"}) if base in self._aliases else frozenset()


def constant(node: ast.AST, depth: int = 0) -> str | None:
    """Give the text that an expression is, where it is put together of constants alone."""
    if depth > _DEEPEST:
        return None
    match node:
        case ast.Constant(value=str() as text):
            return text[:_LONGEST]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            pieces = [constant(left, depth + 1), constant(right, depth + 1)]
        case ast.JoinedStr(values=values):
            pieces = [constant(value, depth + 1) for value in values[:_CONSTANT_PIECES]]
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str() as glue), attr="join"),
            args=[ast.List(elts=items) | ast.Tuple(elts=items)],
        ):
            parts = [constant(item, depth + 1) for item in items[:_CONSTANT_PIECES]]
            return glue.join(filter(None, parts))[:_LONGEST] if None not in parts else None
        case ast.Subscript(
            value=ast.Constant(value=str() as text),
            slice=ast.Slice(
                lower=None, upper=None, step=ast.UnaryOp(ast.USub(), ast.Constant(value=1))
            ),
        ):
            return text[:_LONGEST][::-1]
        case _:
            return None
    return "".join(filter(None, pieces))[:_LONGEST] if None not in pieces else None


def _may_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)


def _argument(node: ast.Call, place: int | None, name: str) -> ast.expr | None:
    found: Iterator[ast.expr] = (item.value for item in node.keywords if item.arg == name)
    if place is not None and len(node.args) > place:
        return node.args[place]
    return next(found, None)


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
