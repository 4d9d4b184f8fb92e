"""Write the estimators of scikit-learn whose loading only sets attributes, as YAML list entries.

    python -m pip install scikit-learn && python tools/estimators.py >> names.txt

An estimator counts if neither it nor a class that it inherits from scikit-learn has code of its own
for making or restoring an object, but for what the base of all of them does (it compares versions,
then sets attributes), and if its `__init__` only assigns its arguments: those of a pickle may be
anything. The result stands in `src/steelyard/knowledge/estimators.yaml`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

BASE = "sklearn.base"
LEFT_OUT = (
    "tests",
    "conftest",
    "experimental",
    "externals",
    "datasets",
    "_testing",
    "_build_utils",
)
BY_HAND = frozenset(
    {
        # It holds a classifier and its calibrators, and has no methods for pickles.
        "sklearn.calibration._CalibratedClassifier",
        # It interpolates once its attributes are set.
        "sklearn.isotonic.IsotonicRegression",
        # It copies arrays whose layout it checks.
        "sklearn.tree._tree.Tree",
        # A dictionary whose `__setstate__` does nothing.
        "sklearn.utils._bunch.Bunch",
    }
)
"""Classes with code of their own for pickles, or none of the two kinds, that were read by hand."""
HOOKS = frozenset(
    {"__new__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__",
     "__getnewargs_ex__", "__getattr__", "__getattribute__", "__setattr__", "__del__"}
)  # fmt: skip
"""Methods that run when a pickle makes an object, sets its state, or drops it."""


def classes() -> Iterator[type]:
    """Yield every class that a module of scikit-learn defines, but for tests and downloads."""
    package = importlib.import_module("sklearn")
    for found in pkgutil.walk_packages(package.__path__, "sklearn."):
        if any(part in LEFT_OUT for part in found.name.split(".")):
            continue
        for item in vars(importlib.import_module(found.name)).values():
            if inspect.isclass(item) and item.__module__ == found.name:
                yield item


def only_sets_attributes(kind: type) -> bool:
    """Tell whether loading an object of a class does no more than set its attributes."""
    own = [each for each in kind.__mro__ if each.__module__.startswith("sklearn")]
    hooked = any(HOOKS & vars(each).keys() for each in own if each.__module__ != BASE)
    return not hooked and all(assigns(vars(each).get("__init__")) for each in own)


def assigns(function: Any) -> bool:
    """Tell whether a constructor only assigns its arguments, or hands them to another such."""
    if function is None:
        return True
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return isinstance(tree, ast.FunctionDef) and all(map(is_plain, tree.body))


def is_plain(statement: ast.stmt) -> bool:
    """Tell whether a statement does nothing but set attributes, warn or refuse."""
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"))], value=value):
            return isinstance(value, ast.Name | ast.Constant)
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="__init__") | ast.Name(id="warn"))):
            return True
        case ast.Assign(targets=[ast.Name()], value=ast.Constant()) | ast.Raise():
            # Within a condition: an old spelling, or a value that no estimator takes.
            return True
        case ast.If(body=body, orelse=[]):
            return all(map(is_plain, body))
    return False


def main() -> None:
    """Print the names."""
    warnings.simplefilter("ignore")
    base = importlib.import_module(BASE).BaseEstimator
    kernel = importlib.import_module("sklearn.gaussian_process.kernels").Kernel
    names = {
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in classes()
        if issubclass(kind, (base, kernel)) and only_sets_attributes(kind)
    }
    for name in sorted(names | BY_HAND):
        print(f"  - {name}")


if __name__ == "__main__":
    main()
