"""What configurations have imported or called by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.analyzers.code import named, scripts
from steelyard.facts import FactBook
from tests import models
from tests.analyzers.facts_of import facts_of, texts_of
from tests.corpus.wrappers import tarred


def book_of(path: Path, files: Mapping[str, bytes]) -> FactBook:
    return facts_of(named.analyze, models.read(models.folder(path, files=files)))


def test_the_place_of_a_name_is_told(tmp_path: Path) -> None:
    mapping = {"base_model_class": "Own", "parent_library": "my_package"}
    files = {
        "adapter_config.json": json.dumps({"auto_mapping": mapping}).encode(),
        "conf/a.yaml": b"a: 1\nb: !apply:os.system [x]\n",
        "m.nemo": tarred({"model_config.yaml": b"\ntarget: my_package.M\n"}),
    }
    book = book_of(tmp_path, files)
    assert book.value("code.named.custom") == {
        "adapter_config.json: PEFT imports my_package.Own",
        "m.nemo: NeMo imports my_package.M",
    }
    assert book.value("code.named.runs") == {"conf/a.yaml: HyperPyYAML calls os.system"}
    for name, places in (
        ("code.named.runs", [("conf/a.yaml", 2, None)]),
        (
            "code.named.custom",
            [
                ("adapter_config.json", None, "auto_mapping.parent_library"),
                ("m.nemo", None, "model_config.yaml:2"),
            ],
        ),
    ):
        fact = book.resolve(name)
        assert fact is not None
        assert [(item.file, item.line, item.field) for item in fact.evidence] == places


@pytest.mark.parametrize(
    "text",
    [
        "a: !apply:os.system [x]",
        "a: !<!apply:os.system> [x]",
        "a: {_target_: os.system, b: 1}",
        "'_target_': \"os.system\"",
        "a: !!python/name:os.system",
        "a: !<tag:yaml.org,2002:python/object/apply:os.system> [x]",
        "# a\nb: !new:os.system",
    ],
)
def test_ways_to_name_a_function_in_yaml(tmp_path: Path, text: str) -> None:
    assert len(texts_of(named.analyze, models.read(models.folder(
        tmp_path, files={"a.yml": text.encode()})), "code.named.runs")) == 1  # fmt: skip


@pytest.mark.parametrize(
    "text", ["# !apply:os.system", "a: 1 # _target_: os.system", "target: os.system"]
)
def test_what_yaml_does_not_name(tmp_path: Path, text: str) -> None:
    assert not any(fact.value for fact in book_of(tmp_path, {"a.yml": text.encode()}))


def test_what_lies_with_the_model_is_its_own_code(tmp_path: Path) -> None:
    files = {
        "modules.json": json.dumps([{"type": "own.st.Pooling"}]).encode(),
        "own/st.py": b"",
        "model_index.json": json.dumps({"unet": ["net", "Net"]}).encode(),
        "unet/net.py": b"",
        "MLmodel": b"flavors: {python_function: {loader_module: load, code: lib}}",
        "lib/load.py": b"",
        "lib/sub/other.py": b"",
        "elsewhere.py": b"",
    }
    model = models.read(models.folder(tmp_path, files=files))
    assert not any(fact.value for fact in facts_of(named.analyze, model))
    loaded = texts_of(scripts.analyze, model, "code.scripts.loaded")
    assert loaded == {"own/st.py", "unet/net.py", "lib/load.py", "lib/sub/other.py"}


@pytest.mark.parametrize(
    ("config", "loaded"),
    [
        (b'backend: "python"', {"m/1/model.py", "m/22/model.py"}),
        (b'backend: "python" default_model_filename: "own.py"', {"m/1/own.py"}),
        (b'backend: "onnxruntime"', set()),
        (b'parameters { backend: "python" }', set()),
        (b"backend:", set()),
    ],
)
def test_the_python_backend_of_triton(tmp_path: Path, config: bytes, loaded: set[str]) -> None:
    names = ("1/model.py", "22/model.py", "x/model.py", "1/own.py", "model.py", "1/a/model.py")
    files = {"m/config.pbtxt": config, **{f"m/{name}": b"" for name in names}}
    model = models.read(models.folder(tmp_path, files=files))
    assert texts_of(scripts.analyze, model, "code.scripts.loaded") == loaded


def test_a_file_of_mlflow_that_cannot_be_read_is_not_cleared(tmp_path: Path) -> None:
    model = models.read(
        models.folder(tmp_path, files={"MLmodel": b"a: [", "b/MLmodel": b"x" * 10**6 + b"y"})
    )
    assert len(texts_of(scripts.analyze, model, "code.scripts.unread")) == 2


def test_configurations_that_cannot_be_read_are_not_cleared(tmp_path: Path) -> None:
    files = {
        "hyperparams.yaml": b"#" * 1_000_001,
        "notes.yaml": b"#" * 1_000_001,
        "router_config.json": b"{",
        "a_config.json": b'{"_target_": ',
        "m.nemo": tarred({"model_config.yaml": b"#" * 1_000_001}),
    }
    model = models.read(models.folder(tmp_path, files=files))
    told = texts_of(named.analyze, model, "code.named.unread")
    assert {text.partition(":")[0] for text in told} == files.keys() - {"notes.yaml"}


@given(st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["auto_mapping", "parent_library", "types", "type", "_target_", "a"]),
        inner | st.just("os.system"), max_size=5),
), st.sampled_from(["modules.json", "adapter_config.json", "model_index.json", "config.json",
                    "router_config.json"]))  # fmt: skip
def test_any_document_is_examined(document: Any, name: str) -> None:
    list(named.in_json(name, document, frozenset()))


@given(st.lists(st.sampled_from(["!apply:", "_target_", ":", " ", "os.system", "\n", "#", "'"])))
def test_any_text_is_examined(parts: list[str]) -> None:
    list(named.in_yaml("".join(parts), nemo=True))
