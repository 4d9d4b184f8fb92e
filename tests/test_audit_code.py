"""Audits of models with which code rides: what is an error, what is quiet."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from steelyard.auditing import Options, audit
from steelyard.reports import terminal
from steelyard.reports.report import Report
from steelyard.rules import Severity
from steelyard.rules.finding import State
from steelyard.sources import Network
from tests import models
from tests.analyzers.code import test_containers as containers
from tests.analyzers.code import test_keras as keras
from tests.analyzers.code import test_tokenizers as tokens
from tests.analyzers.code.test_templates import PLAIN

AS_OF = date(2026, 11, 26)


def weigh(path: Path) -> Report:
    options = Options(digest=False, lineage=False, network=Network(offline=True))
    return audit(path, as_of=AS_OF, options=options)


def failing(report: Report, least: Severity) -> set[str]:
    return {
        found.rule
        for found in report.findings
        if found.rule.startswith("COD") and found.failing and found.at_least(least)
    }


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({"handler.py": b"import os\nos.system('true')"}, "COD001"),
        ({"chat_template.jinja": b"{{ ''.__class__ }}"}, "COD010"),
        ({"model.h5": keras.h5(keras.model(keras.BAD[1]))}, "COD020"),
        ({"model.keras": keras.keras_zip(keras.model(keras.BAD[0]))}, "COD020"),
        ({"saved_model.pb": containers.saved_model("WriteFile")}, "COD022"),
        ({"x.safetensors": containers.TENSORS + containers.zipped("a")}, "COD030"),
        ({"x.tar": containers.tarred("w", ("../a", ""))}, "COD031"),
    ],
)
def test_what_is_an_error(tmp_path: Path, files: dict[str, bytes], rule: str) -> None:
    report = weigh(models.folder(tmp_path, files=files))
    assert failing(report, Severity.ERROR) == {rule}
    (found,) = [found for found in report.findings if found.rule == rule]
    assert found.location is not None
    assert found.location.file in files


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.h5", keras.h5(keras.model(keras.DENSE))),
        ("model.keras", keras.keras_zip(keras.model(keras.DENSE))),
        ("saved_model.pb", containers.saved_model("MatMul")),
    ],
)
def test_tensors_that_are_not_read_are_stated_and_suggest_no_danger(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    report = weigh(tmp_path)
    told = {f.rule: f for f in report.failing if f.rule.startswith(("INT", "COD"))}
    assert set(told) <= {"INT003", "INT032"}
    assert [duty.id for duty in told["INT032"].duties if duty.state is State.UNMET] == ["tensors"]
    text = terminal.render(report)
    assert "Code was looked for, but tensors were not read" in " ".join(text.split())
    assert "no weights could be read" in text


def test_a_target_that_runs_is_told_where_loading_is(tmp_path: Path) -> None:
    report = weigh(models.folder(tmp_path, files={"a.yaml": b"a: !apply:os.system [true]"}))
    assert failing(report, Severity.ERROR) == {"COD007"}
    assert "runs no code" not in terminal.render(report)


def test_an_ordinary_model_is_quiet(tmp_path: Path) -> None:
    config = {
        "chat_template": PLAIN,
        "added_tokens_decoder": {"1": tokens.token("<|start|>", 1, special=True)},
    }
    files = {
        "tokenizer_config.json": json.dumps(config).encode(),
        "chat_template.jinja": PLAIN.encode(),
        "tokenizer.json": tokens.tokenizer(added_tokens=[tokens.token("[CLS]", 1, special=True)]),
        "train.py": b"import torch\n\ndef train(model):\n    model.train()\n",
    }
    report = weigh(models.folder(tmp_path, files=files))
    assert failing(report, Severity.NOTE) == set()


def test_loading_says_what_trust_would_mean(tmp_path: Path) -> None:
    config = {**models.CONFIG, "auto_map": {"AutoModel": "modeling.Tiny"}}
    path = models.folder(tmp_path, config=config, files={"modeling.py": b"class Tiny: ..."})
    report = weigh(path)
    assert failing(report, Severity.NOTE) == set()
    assert report.book.value("code.scripts.loaded") == {"modeling.py"}
    assert "runs no code from these files, unless remote code is trusted" in " ".join(
        terminal.render(report, width=200).split()
    )
