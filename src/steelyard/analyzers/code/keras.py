"""Code in the configuration of a Keras model: Lambda layers, functions by name, foreign modules.

A `.keras` file is a zip with a `config.json`; an `.h5` file has the same in an attribute; a
SavedModel of Keras has it for each object. A Lambda layer holds the bytecode of its function,
which runs when the model is loaded or used. A configuration can also name any module and function
to import. Bytecode is measured and its names are listed; it is never unmarshalled.

Source: `keras.src.saving.serialization_lib` and `keras.src.layers.core.lambda_layer`.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from steelyard.analyzers.code.python_names import kind_of
from steelyard.analyzers.code.remarks import Remark
from steelyard.analyzers.code.walking import objects_in
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue
from steelyard.knowledge import load

_LONGEST_CODE: Final = 4_000_000
_MOST_NAMES: Final = 8
_MOST: Final = 200
_NAME: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.]{1,40}")
_OWN: Final = frozenset({"builtins", "__main__"})
_SAFE_PYTHON: Final = frozenset({"math", "functools", "operator", "numpy", "collections", "typing"})


def examine(config: JsonValue) -> list[Remark]:
    """Say what in a configuration runs (`runs`), or needs code from elsewhere (`custom`)."""
    found: dict[tuple[str, str], Remark] = {}
    for path, item in objects_in(config):
        for kind, what in _judged(item, path):
            found.setdefault((kind, what), Remark(kind, clean(what, 300), field=path or None))
        if len(found) >= _MOST:
            break
    return list(found.values())


def _judged(item: Mapping[str, JsonValue], path: str) -> Iterator[tuple[str, str]]:
    name = item.get("class_name")
    inner = item.get("config")
    config = inner if isinstance(inner, dict) else {}
    label = _label(config, path)
    if name == "__lambda__":
        yield "runs", f"a function in bytecode{_bytecode(config.get('code'))}"
    elif name == "Lambda" and _is_keras(item):
        yield from _lambda(config, label)
    elif name in ("TFOpLambda", "TensorFlowOpLayer"):
        operation = str(config.get("function") or "")
        if operation.startswith(tuple(load("keras")["operations"])):
            yield "runs", f"{label} calls tensorflow.{operation}"
    elif name == "TorchModuleWrapper" and "module" in config:
        yield "runs", f"{label} unpickles a PyTorch module"
    elif name == "TFSMLayer":
        yield "custom", f"{label} loads a SavedModel from {config.get('filepath')!r}"
    elif isinstance(name, str):
        yield from _named(item, name, label, path)
    vocabulary = config.get("vocabulary")
    if isinstance(vocabulary, str) and name in (
        "StringLookup",
        "IntegerLookup",
        "TextVectorization",
    ):
        yield "custom", f"{label} reads its vocabulary from {vocabulary!r}"


def _lambda(config: Mapping[str, JsonValue], label: str) -> Iterator[tuple[str, str]]:
    """Judge a Lambda layer by its function: bytecode, an object of its own, or a name."""
    function = config.get("function")
    if isinstance(function, list) and function:
        yield "runs", f"{label} is a Lambda with bytecode{_bytecode(function[0])}"
    elif isinstance(function, str) and config.get("function_type") == "lambda":
        yield "runs", f"{label} is a Lambda with bytecode{_bytecode(function)}"
    elif isinstance(function, dict) and function.get("class_name") == "__lambda__":
        return  # met again by itself, with its bytecode
    elif isinstance(function, str):
        module = config.get("module")
        kind = "runs" if _runs(str(module or ""), function) else "custom"
        yield kind, f"{label} is a Lambda that calls {module or ''}:{function}"
    else:
        yield "custom", f"{label} is a Lambda"


def _named(
    item: Mapping[str, JsonValue], name: str, label: str, path: str
) -> Iterator[tuple[str, str]]:
    """Judge a class or function that is to be imported by its module and name."""
    module, target = item.get("module"), name
    if name == "function" and isinstance(item.get("config"), str):
        target = str(item["config"])
    if isinstance(module, str) and module:
        if _runs(module, target):
            yield "runs", f"{label} imports {module}.{target}"
        elif not _is_keras(item):
            yield "custom", f"{label} needs {module}.{target}"
        return
    registered = item.get("registered_name")
    if isinstance(registered, str) and ">" in registered and not registered.startswith("keras"):
        yield "custom", f"{label} needs {registered}"
        return
    # Files of old say no module: what is not a layer of Keras's own is somebody's.
    is_layer = ".layers." in f".{path}." and path.rpartition(".")[2].isdigit()
    if is_layer and (">" in target or target not in load("keras")["layers"]):
        yield "custom", f"{label} needs the class {target}"


def _runs(module: str, name: str) -> bool:
    """Tell whether importing or calling it does more than build a layer."""
    top = module.partition(".")[0]
    if top in load("keras")["modules"]:
        return name.rpartition(".")[2] in load("keras")["runs"]
    if kind_of(f"{module}.{name}", called=True) is not None:
        return True
    return top in sys.stdlib_module_names and top not in _SAFE_PYTHON | _OWN


def _is_keras(item: Mapping[str, JsonValue]) -> bool:
    module = item.get("module")
    if not isinstance(module, str):
        return True
    return module.partition(".")[0] in load("keras")["modules"]


def _label(config: Mapping[str, JsonValue], path: str) -> str:
    name = config.get("name")
    return f"layer {name!r}" if isinstance(name, str) else (path[-80:] or "the configuration")


def _bytecode(value: JsonValue) -> str:
    """Say how long a marshalled function is and which names stand in it."""
    if not isinstance(value, str) or len(value) > _LONGEST_CODE:
        return ""
    try:
        data = base64.b64decode(value)
    except (binascii.Error, ValueError):
        data = value.encode("utf-8", "replace")
    names = dict.fromkeys(found[0].decode() for found in _NAME.finditer(data))
    shown = ", ".join(list(names)[:_MOST_NAMES])
    return f" ({len(data)} bytes; names in it: {shown})" if shown else f" ({len(data)} bytes)"
