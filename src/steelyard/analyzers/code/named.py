"""Modules and functions that a configuration has a library import or call by their names.

An adapter names the library of its base's class (`auto_mapping`), a pipeline and a sentence
embedder the libraries of their parts, MLflow a loader, Hydra, NeMo and HyperPyYAML whatever is to
be called. None of this is code that lies with the model, so trusting no remote code does not stop
it: what is imported is whatever bears that name where the model is loaded. Told are names of
libraries that are not known to load models, and functions that do more than compute.

Source: `AutoPeftModel` of PEFT; `get_class_obj_and_candidates` of Diffusers; `modules.json` and
`Dense` of Sentence Transformers; `load_model` of `mlflow.pyfunc`; `hydra.utils.instantiate`;
`import_class_by_path` of NeMo; `is_kernel` of Transformers; HyperPyYAML, "YAML tags"; PyYAML,
`UnsafeLoader`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from steelyard.analyzers.code.bundles import SEPARATOR, Bundles
from steelyard.analyzers.code.mlflow import flavors
from steelyard.analyzers.code.python_names import kind_of
from steelyard.analyzers.code.reading import Rider, is_local, riders
from steelyard.analyzers.code.remarks import Located, Remark, fact_of
from steelyard.analyzers.code.walking import objects_in
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.documents import JsonValue, parse_json
from steelyard.checkpoints.model import Model
from steelyard.errors import CheckpointError, SourceError
from steelyard.facts import Fact
from steelyard.knowledge import load

_LONGEST: Final = 1_000_000
_MOST_BYTES: Final = 8_000_000
_MOST: Final = 200
_MOST_LISTED: Final = 500
_NEMO: Final = "model_config.yaml"
_TARGET: Final = b"_target_"
_YAML: Final = frozenset({".yaml", ".yml"})
_FETCHED: Final = frozenset({"router_config.json", "modular_model_index.json", "hyperparams.yaml"})
"""Names of what is read over a network too, beside what is read with the model."""
_IN_YAML: Final = re.compile(
    r"(?m)(?P<hydra>[\"']?\b_target_[\"']?[ \t]*:[ \t]*[\"']?)(?P<a>[\w.]+)"
    r"|!(?:<!?)?(?P<tag>apply|new|name|module):(?P<b>[\w.]+)"
    r"|(?:!!|yaml\.org,2002:)python/(?P<python>[\w/]+):(?P<c>[\w.]+)"
    r"|^[\"']?target[\"']?[ \t]*:[ \t]*[\"']?(?P<d>[\w.]+)"
)
_KERNELS: Final = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
_KERNEL: Final = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?(?::[\w.-]+)?")
"""A repository of the hub, perhaps with a revision and the name of a function."""
_COMMENT: Final = re.compile(r"(?:^|\s)#", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Name:
    """One name that a configuration has imported."""

    what: str
    """Dotted: a module, or a module and what is taken of it."""
    by: str
    """Who would do what with it: `PEFT imports`."""
    field: str | None = None
    line: int | None = None
    strict: bool = True
    """Whether the library does so of itself; else only what is dangerous is told."""


Placed = tuple[str, _Name | Remark]
"""A file, and a name in it, or why it was not read."""


def analyze(model: Model) -> Iterable[Fact]:
    """Yield what configurations have imported or called by name."""
    found: dict[str, list[Located]] = {"runs": [], "custom": [], "unread": []}
    for path, item in _names(model):
        if isinstance(item, Remark):
            found["unread"].append((path, item))
        elif (kind := _kind(item)) is not None and len(found[kind]) < _MOST:
            what = clean(f"{item.by} {item.what}")
            found[kind].append((path, Remark(kind, what, field=item.field, line=item.line)))
    for kind, located in found.items():
        yield fact_of(f"code.named.{kind}", located)


def _names(model: Model) -> Iterator[Placed]:
    """Yield every name that a configuration has imported, with its file."""
    here = frozenset(file.path for file in model.source.files)
    for path, document in sorted(model.json.items()):
        yield from ((path, name) for name in in_json(path, document, here))
    for rider in riders(model, lambda path: _is_further(model, path), _LONGEST, _MOST_BYTES):
        yield from ((rider.path, name) for name in _in_rider(rider, here))
    yield from _in_headers(model)
    yield from _in_mlflow(model)
    yield from _in_nemo(model)


def _in_headers(model: Model) -> Iterator[Placed]:
    """Yield the targets in texts that headers of weights hold."""
    for weights in model.weights:
        for key, value in weights.metadata.items():
            if isinstance(value, str) and "_target_" in value:
                for name in in_yaml(value):
                    yield weights.files[0], replace(name, field=key, line=None)


def _in_mlflow(model: Model) -> Iterator[Placed]:
    """Yield the loaders that do not lie with the model."""
    for flavor in flavors(model)[0]:
        own = f"{flavor.loader.replace('.', '/')}.py"
        if flavor.loader and not any(path.endswith(f"/{own}") for path in flavor.files):
            field = f"flavors.{flavor.name}.loader_module"
            yield flavor.config, _Name(flavor.loader, "MLflow imports", field)


def _in_nemo(model: Model) -> Iterator[Placed]:
    """Yield the names in the configurations within archives of NeMo's."""
    for file in model.source.files:
        if not file.path.endswith(".nemo") or not is_local(model, file.path):
            continue
        bundles = Bundles(lambda name: _LONGEST * name.endswith(_NEMO))
        with contextlib.suppress(SourceError), model.source.open(file.path) as reader:
            for rider in bundles.within(reader):
                member = rider.path.partition(SEPARATOR)[2]
                if rider.unread:
                    yield file.path, Remark("unread", f"{member} {rider.unread}".strip())
                for name in in_yaml(rider.data.decode("utf-8", "replace"), nemo=True):
                    yield file.path, replace(name, field=f"{member}:{name.line}", line=None)


def _in_rider(rider: Rider, here: frozenset[str]) -> Iterator[_Name | Remark]:
    known = PurePosixPath(rider.path).name in _FETCHED
    if rider.unread:
        # Of others nobody knows whether any program reads them.
        yield from [Remark("unread", rider.unread)] if known else []
    elif PurePosixPath(rider.path).suffix.lower() in _YAML:
        yield from in_yaml(rider.data.decode("utf-8", "replace"))
    elif _TARGET in rider.data or known:
        try:
            document = parse_json(rider.data, rider.path, duplicates="keep_last", allow_nan=True)
            yield from in_json(rider.path, document, here)
        except CheckpointError as error:
            yield Remark("unread", error.what)


def in_json(path: str, document: JsonValue, here: frozenset[str]) -> Iterator[_Name]:
    """Yield the names in one JSON document.

    Args:
        path: Where it lies; its name tells which library reads it.
        document: What it holds.
        here: The files of the model: what lies among them is code of the model's own.
    """
    file = PurePosixPath(path)
    folder = "" if str(file.parent) == "." else f"{file.parent}/"
    reads = _BY_NAME.get(file.name)
    if reads is not None:
        yield from reads(document, folder, here)
    if "config" not in file.name and "params" not in file.name:
        return
    for field, item in objects_in(document):
        target = item.get("_target_")
        if isinstance(target, str):
            yield _Name(target, "Hydra calls", f"{field}._target_".lstrip("."), strict=False)
        for key in _KERNELS if file.name == "config.json" else ():
            value = item.get(key)
            kernel = value.rpartition("|")[2] if isinstance(value, str) else ""
            if _KERNEL.fullmatch(kernel):
                yield _Name(kernel, "Transformers loads the kernel", f"{field}.{key}".lstrip("."))


def in_yaml(text: str, *, nemo: bool = False) -> Iterator[_Name]:
    """Yield the names in a YAML text, which is not parsed: its tags are of its own.

    Args:
        text: The text.
        nemo: Whether it is the configuration of an archive of NeMo's.
    """
    for found in _IN_YAML.finditer(text):
        if _COMMENT.search(text, text.rfind("\n", 0, found.start()) + 1, found.start()):
            continue
        line = text.count("\n", 0, found.start()) + 1
        if found["hydra"]:
            yield _Name(found["a"], "Hydra calls", line=line, strict=nemo)
        elif found["tag"]:
            verb = {"apply": "calls", "new": "makes"}.get(found["tag"], "imports")
            yield _Name(found["b"], f"HyperPyYAML {verb}", line=line)
        elif found["python"]:
            by = "a YAML loader that is not safe calls"
            yield _Name(found["c"], by, line=line, strict=False)
        elif nemo:
            yield _Name(found["d"], "NeMo imports", line=line)


def _adapter(document: JsonValue, _folder: str, _here: frozenset[str]) -> Iterator[_Name]:
    """Yield the library of the base's class; PEFT looks there where no task is named."""
    match document:
        case {"auto_mapping": {"parent_library": str(library), **mapping}, **others}:
            if library != "__main__" and others.get("task_type") is None:
                name = mapping.get("base_model_class")
                full = f"{library}.{name}" if isinstance(name, str) else library
                yield _Name(full, "PEFT imports", "auto_mapping.parent_library")


def _pipeline(document: JsonValue, folder: str, here: frozenset[str]) -> Iterator[_Name]:
    """Yield the libraries of a pipeline's parts."""
    for key, value in document.items() if isinstance(document, dict) else ():
        match value:
            case [str(library), str(name), *_]:
                inside = (f"{folder}{key}/{library}.py", f"{folder}{library}.py")
                known = library in load("named_modules")["diffusers"]
                if not known and here.isdisjoint(inside):
                    yield _Name(f"{library}.{name}", "Diffusers imports", key)


def _modules(document: JsonValue, folder: str, here: frozenset[str]) -> Iterator[_Name]:
    """Yield the classes of a sentence embedder's parts."""
    listed = document[:_MOST_LISTED] if isinstance(document, list) else ()
    for index, item in enumerate(listed):
        if isinstance(item, dict):
            yield from _embedder(item.get("type"), f"{index}.type", folder, here)


def _router(document: JsonValue, folder: str, here: frozenset[str]) -> Iterator[_Name]:
    """Yield the classes among which a sentence embedder chooses."""
    match document:
        case {"types": dict() as types}:
            for key, value in types.items():
                yield from _embedder(value, f"types.{key}", folder, here)


def _embedder(value: JsonValue, field: str, folder: str, here: frozenset[str]) -> Iterator[_Name]:
    if isinstance(value, str) and "." in value:
        module = value.rpartition(".")[0].replace(".", "/")
        if f"{folder}{module}.py" not in here and "--" not in value:
            yield _Name(value, "Sentence Transformers imports", field)


def _activations(document: JsonValue, _folder: str, _here: frozenset[str]) -> Iterator[_Name]:
    """Yield the functions that Sentence Transformers calls when it makes a layer."""
    fields = document if isinstance(document, dict) else {}
    named = [(key, fields.get(key)) for key in _ACTIVATIONS]
    own = fields.get("sentence_transformers")
    if isinstance(own, dict):
        named.append(("sentence_transformers.activation_fn", own.get("activation_fn")))
    for key, value in named:
        if isinstance(value, str) and "." in value:
            yield _Name(value, "Sentence Transformers calls", key)


_ACTIVATIONS: Final = ("activation_function", "sbert_ce_default_activation_function")
_BY_NAME: Final[Mapping[str, Callable[[JsonValue, str, frozenset[str]], Iterator[_Name]]]] = (
    MappingProxyType(
        {
            "adapter_config.json": _adapter,
            "config.json": _activations,
            "model_index.json": _pipeline,
            "modular_model_index.json": _pipeline,
            "modules.json": _modules,
            "router_config.json": _router,
        }
    )
)


def _kind(name: _Name) -> str | None:
    """Grade a name: `runs`, `custom`, or None for what only builds a model."""
    owner, slash, _ = name.what.partition("/")
    if slash:
        return None if owner in load("named_modules")["kernels"] else "custom"
    top = name.what.partition(".")[0]
    if kind_of(name.what, called=True) is not None:
        return "runs"
    known = top in _known() or not name.strict
    return None if known else "custom"


@cache
def _known() -> frozenset[str]:
    table = load("named_modules")
    return frozenset((*table["libraries"], *table["python"]))


def _is_further(model: Model, path: str) -> bool:
    """Tell a configuration that may name something and is not read with the model."""
    file = PurePosixPath(path)
    if path in model.json:
        return False
    if file.name in _FETCHED:
        return True
    configured = file.suffix.lower() in _YAML or (file.suffix == ".json" and "config" in file.name)
    return configured and is_local(model, path)
