"""Code in configurations of Keras."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.code import containers
from steelyard.analyzers.code.keras import examine
from tests import models
from tests.analyzers.facts_of import facts_of, texts_of

CODE = base64.b64encode(b"\xe3\x00\x00os\x00system\x00").decode()
DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 1}}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [DENSE, *layers]},
        "registered_name": None,
    }


def layer(name: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"class_name": name, "config": {"name": "x", **config}}
    return made if module is None else {"module": module, **made}


LAMBDA = {"module": "builtins", "class_name": "__lambda__", "config": {"code": CODE}}
FUNCTION = {"class_name": "function"}
BAD = [
    layer("Lambda", function=[CODE, None, None], function_type="lambda"),
    layer("Lambda", None, function=[CODE, None, None], function_type="lambda"),
    layer("Lambda", function=LAMBDA),
    layer("Lambda", function="system", module="os", function_type="function"),
    layer("Activation", activation={**FUNCTION, "module": "os", "config": "system"}),
    layer("Activation", activation={**FUNCTION, "module": "builtins", "config": "eval"}),
    layer("Activation", activation={**FUNCTION, "module": "keras.utils", "config": "get_file"}),
    layer("CDLL", "ctypes"),
    layer("TFOpLambda", None, function="io.write_file"),
    {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "UEsD"}},
]
CUSTOM = [
    layer("Activation", activation={**FUNCTION, "module": "builtins", "config": "my_function"}),
    layer("Own", "my_package.layers"),
    {"module": None, "class_name": "Own", "config": {}, "registered_name": "my_package>Own"},
    layer("Own", None),
    layer("Lambda", function="my_function", function_type="function"),
    layer("TextVectorization", vocabulary="/etc/passwd"),
    layer("TFSMLayer", filepath="/x"),
]
PLAIN = [
    layer("Conv2D", None),
    layer("TFOpLambda", None, function="math.add"),
    layer("TextVectorization", vocabulary=["a", "b"]),
    layer("Dense", kernel_initializer={"module": "keras.initializers", "class_name": "Zeros"}),
]


def kinds(config: Any) -> set[str]:
    return {remark.kind for remark in examine(config)}


@pytest.mark.parametrize("bad", BAD)
def test_what_runs(bad: dict[str, Any]) -> None:
    assert kinds(model(bad)) == {"runs"}


@pytest.mark.parametrize("custom", CUSTOM)
def test_what_needs_code_of_others(custom: dict[str, Any]) -> None:
    assert kinds(model(custom)) == {"custom"}


@pytest.mark.parametrize("plain", PLAIN)
def test_ordinary_layers_are_silent(plain: dict[str, Any]) -> None:
    assert kinds(model(plain)) == set()


def test_names_in_bytecode_are_told() -> None:
    (remark,) = examine(model(BAD[0]))
    assert remark.what == "layer 'x' is a Lambda with bytecode (13 bytes; names in it: os, system)"
    assert remark.field == "config.layers.1"


@given(st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["class_name", "config", "module", "function", "layers", "code"]),
        inner | st.sampled_from(["Lambda", "__lambda__", "function", "TFOpLambda"]), max_size=4),
))  # fmt: skip
def test_any_document_is_examined(config: Any) -> None:
    examine(config)


def keras_zip(config: Any, name: str = "config.json", *, metadata: bool = True) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if metadata:
            archive.writestr("metadata.json", "{}")
        archive.writestr(name, config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", b"x")
    return file.getvalue()


def h5(config: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as opened:
        opened.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
    return file.getvalue()


def saved_metadata(config: Any) -> bytes:
    data = json.dumps(config).encode()
    inner = b"\x10\x01" + b"\x2a" + varint(len(data)) + data
    return b"\x0a" + varint(len(inner)) + inner


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.keras", keras_zip(model(BAD[0]))),
        ("model.weights", keras_zip(model(BAD[0]))),
        ("model.h5", h5(model(BAD[1]))),
        ("model.bin", h5(model(BAD[1]))),
        ("behind_a_block.h5", h5(model(BAD[1]), userblock_size=1024)),
        ("behind_a_block", b"#!/bin/sh\n" + h5(model(BAD[1]), userblock_size=512)[10:]),
        ("no_metadata.keras", keras_zip(model(BAD[0]), metadata=False)),
        ("sub/config.json", json.dumps(model(BAD[1])).encode()),
        ("model.json", json.dumps(model(BAD[1])).encode()),
        ("sub/model.json", json.dumps({"modelTopology": model(BAD[1])}).encode()),
        ("keras_metadata.pb", saved_metadata(BAD[1])),
        ("sub/keras_metadata.pb", b"\x7a\0" + saved_metadata(BAD[1])),
    ],
)
def test_every_container_is_looked_into(tmp_path: Path, name: str, data: bytes) -> None:
    path = models.write(tmp_path, {name: data, "README.md": b"x"})
    opened = models.read(models.folder(path))
    (said,) = texts_of(containers.analyze, opened, "code.keras.runs")
    assert said.startswith(f"{name}: layer 'x' is a Lambda with bytecode")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.keras", keras_zip("{")),
        ("model.keras", keras_zip(model())[:-40] + keras_zip(model())[-22:]),
        ("model.keras", b"\0" * 9 + keras_zip(model(BAD[0]))),
        ("model.h5", h5(model())[:300]),
        ("model.h5", h5("{")),
        ("keras_metadata.pb", b"\x0a\xff"),
        ("keras_metadata.pb", b"\xff"),
        ("saved_model.pb", b"\xff"),
        ("model.json", b"{"),
    ],
)
def test_what_cannot_be_read_is_not_cleared(tmp_path: Path, name: str, data: bytes) -> None:
    book = facts_of(containers.analyze, models.read(models.folder(tmp_path, files={name: data})))
    assert book.value("code.keras.unread") or book.value("code.graph.unread")
    assert not book.value("code.keras.runs")


def test_an_ordinary_model_is_silent(tmp_path: Path) -> None:
    files = {
        "model.keras": keras_zip(model()),
        "model.h5": h5(model()),
        "config.json": json.dumps(model()).encode(),
        "js/model.json": b'{"modelTopology": {"model_config": {}}, "weightsManifest": []}',
    }
    book = facts_of(containers.analyze, models.read(models.folder(tmp_path, files=files)))
    assert not any(fact.value for fact in book)
