"""Which Python files would be imported, and what that would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from steelyard.analyzers.code import scripts
from steelyard.facts import FactBook
from tests import models
from tests.analyzers.facts_of import facts_of

BAD = b"import os\nos.system('true')\n"


def book_of(path: Path, files: Mapping[str, bytes], target: str = "modeling.Own") -> FactBook:
    config = {**models.CONFIG, "auto_map": {"AutoModel": target}}
    return facts_of(scripts.analyze, models.read(models.folder(path, config=config, files=files)))


def texts(book: FactBook, name: str) -> frozenset[str]:
    value = book.value(name)
    assert isinstance(value, frozenset)
    return value


def test_a_command_on_import_of_named_code(tmp_path: Path) -> None:
    book = book_of(tmp_path, {"modeling.py": BAD})
    assert book.value("code.scripts.loaded") == {"modeling.py"}
    assert book.value("code.scripts.runs") == {
        "modeling.py:2 os.system starts a program, when it is imported"
    }
    fact = book.resolve("code.scripts.runs")
    assert fact is not None
    assert (fact.evidence[0].file, fact.evidence[0].line) == ("modeling.py", 2)


def test_what_named_code_imports_from_beside_it_counts(tmp_path: Path) -> None:
    files = {
        "modeling.py": b"from .a import x\nfrom . import b",
        "a.py": b"from .pack import y",
        "b.py": b"",
        "pack/__init__.py": BAD,
        "c.py": b"",
    }
    book = book_of(tmp_path, files)
    assert book.value("code.scripts.loaded") == files.keys() - {"c.py"}
    assert len(texts(book, "code.scripts.runs")) == 1


def test_functions_of_named_code(tmp_path: Path) -> None:
    source = b"import requests\ndef f():\n    requests.get('x')\n    open('y')"
    book = book_of(tmp_path, {"modeling.py": source})
    assert book.value("code.scripts.runs") == frozenset()
    assert book.value("code.scripts.reaches") == {
        "modeling.py:3 requests.get reaches the network, when its functions are used"
    }
    assert book.value("code.scripts.other") == {
        "modeling.py:4 open reads files, when its functions are used"
    }
    assert book.value("code.scripts.imports") == {"requests"}


def test_a_script_that_nothing_loads(tmp_path: Path) -> None:
    book = book_of(tmp_path, {"modeling.py": b"", "train.py": BAD + b"open('x', 'w')"})
    assert book.value("code.scripts.runs") == frozenset()
    assert len(texts(book, "code.scripts.other")) == 2


def test_hidden_code_is_an_error_wherever_it_stands(tmp_path: Path) -> None:
    source = b"import base64\ndef f():\n    exec(base64.b64decode('eA=='))"
    book = book_of(tmp_path, {"modeling.py": b"", "train.py": source})
    assert len(texts(book, "code.scripts.runs")) == 1


@pytest.mark.parametrize("name", ["handler.py", "custom_generate/generate.py", "pipeline.py"])
def test_files_that_libraries_load_by_name(tmp_path: Path, name: str) -> None:
    book = book_of(tmp_path, {"modeling.py": b"", name: BAD})
    assert name in texts(book, "code.scripts.loaded")


def test_code_that_cannot_be_read_is_not_cleared(tmp_path: Path) -> None:
    book = book_of(tmp_path, {"other.py": b"def f(:", "big.py": b"#" * 1_000_001})
    unread = book.value("code.scripts.unread")
    assert unread == {
        "other.py is not Python that can be parsed (line 1)",
        "big.py is 1000001 bytes long, more than 1000000",
        "modeling.py is named by a configuration, but is not there",
    }


def test_other_ways_to_name_code(tmp_path: Path) -> None:
    files = {
        "modules.json": json.dumps(
            [{"type": "sentence_transformers.models.Pooling"}, {"type": "custom_st.Own"}, 3]
        ).encode(),
        "custom_st.py": BAD,
        "model_index.json": json.dumps(
            {"unet": ["my_unet", "Own"], "vae": ["diffusers", "Vae"], "x": [1, 2]}
        ).encode(),
        "my_unet.py": BAD,
        "generation_config.json": json.dumps(
            {"custom_pipelines": {"x": {"impl": "pipe.Own"}, "y": 3}}
        ).encode(),
        "pipe.py": BAD,
    }
    book = facts_of(scripts.analyze, models.read(models.write(tmp_path, files)))
    assert book.value("code.scripts.loaded") == {"custom_st.py", "my_unet.py", "pipe.py"}


def test_a_model_without_scripts(tmp_path: Path) -> None:
    book = facts_of(scripts.analyze, models.read(models.folder(tmp_path)))
    assert not any(fact.value for fact in book)


def test_configurations_that_are_not_read_with_the_model_name_code_too(tmp_path: Path) -> None:
    twice = b'{"auto_map": {}, "auto_map": {"AutoProcessor": "other.Own"}}'
    files = {
        "processor_config.json": json.dumps({"auto_map": {"AutoProcessor": "proc.Own"}}).encode(),
        "video_config.json": twice,
        "plain_config.json": b"{",
        "broken_config.json": b'{"auto_map": {',
        "proc.py": BAD,
    }
    book = facts_of(scripts.analyze, models.read(models.folder(tmp_path, files=files)))
    assert book.value("code.scripts.loaded") == {"proc.py", "other.py"}
    assert texts(book, "code.scripts.unread") == {
        "broken_config.json names code, but is not JSON that can be parsed",
        "other.py is named by a configuration, but is not there",
    }


def test_a_configuration_that_is_too_long_is_not_taken_for_one_that_names_nothing(
    tmp_path: Path,
) -> None:
    files = {"video_config.json": b'{"auto_map": {"A": "b.C"}}' + b" " * 1_000_000}
    book = facts_of(scripts.analyze, models.read(models.folder(tmp_path, files=files)))
    (said,) = texts(book, "code.scripts.unread")
    assert said.startswith("video_config.json is 1000026 bytes long")


def test_what_is_not_there_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    config = {**models.CONFIG, "auto_map": {"AutoModel": "own.Model"}}
    book = facts_of(scripts.analyze, models.read(models.folder(tmp_path, config=config)))
    for name in ("code.scripts.loaded", "code.scripts.unread"):
        fact = book.resolve(name)
        assert fact is not None
        assert [item.file for item in fact.evidence] == ["config.json"]
