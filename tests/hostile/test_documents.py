"""Documents that ask for too much, and documents whose every value is absurd."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.auditing import Options, audit
from steelyard.checkpoints.documents import count_values, parse_json
from steelyard.checkpoints.limits import Limits
from steelyard.checkpoints.opening import read_model
from steelyard.checkpoints.tensors import ProblemKind
from steelyard.errors import CheckpointError, FactError, LimitExceeded, SourceError
from steelyard.facts.vocabulary import term
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.reports.report import Report
from steelyard.reports.text import amount, size
from steelyard.rules import load_packs
from steelyard.sources import Network, open_source
from tests import models

OPTIONS = Options(network=Network(offline=True), packs=load_packs(), digest=False)


def attempt(folder: Path) -> Report | None:
    """Audit, and render in every form."""
    try:
        report = audit(folder, as_of=date(2026, 11, 23), options=OPTIONS)
    except (CheckpointError, SourceError):
        return None
    assert json.loads(json_report.render(report))
    for drawn in (terminal.render(report), markdown.render(report)):
        assert not set("\x1b\x9b\u202e\u200b") & set(drawn)
    return report


def test_memory_is_estimated_before_a_document_is_parsed() -> None:
    limits = Limits(json_memory=4000)
    assert parse_json(b'{"a": "%s"}' % (b"x" * 1000), "a", limits)
    with pytest.raises(LimitExceeded, match="json_memory"):
        parse_json('{{"a": "\U0001f600{}"}}'.format("x" * 1000).encode(), "a", limits)
    with pytest.raises(LimitExceeded, match="json_memory"):
        parse_json(json.dumps(list(range(50))).encode(), "a", limits)


@given(st.recursive(st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_values_are_counted(value: Any) -> None:
    def count(item: Any) -> int:
        if isinstance(item, dict):
            return 1 + sum(1 + count(inner) for inner in item.values())
        return 1 + sum(map(count, item)) if isinstance(item, list) else 1

    assert count_values(value) == count(value)


def test_all_documents_of_a_model_share_one_budget(tmp_path: Path) -> None:
    for name in ("config.json", "a/config.json", "b/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"x": list(range(50))}), encoding="utf-8")
    source = open_source(str(tmp_path), network=Network(offline=True))
    model = read_model(source, Limits(json_nodes=130))
    assert set(model.json) == {"a/config.json", "config.json"}
    assert [p.kind for p in model.problems] == [ProblemKind.BAD_DOCUMENT]


def test_what_lies_highest_is_read_first(tmp_path: Path) -> None:
    for number in range(501):
        (tmp_path / f"a{number}").mkdir()
        (tmp_path / f"a{number}" / "config.json").write_text("{", encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    model = read_model(open_source(str(tmp_path), network=Network(offline=True)))
    assert list(model.json) == ["config.json"]
    assert [p.kind for p in model.problems].count(ProblemKind.BAD_DOCUMENT) == 499
    assert [p.kind for p in model.problems].count(ProblemKind.NOT_FULLY_READ) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 100_000 + "=1",
        "[facts]\n" + "".join(f"x{n}=1\n" for n in range(100_000)),
        "[facts]\n" + "".join(f"x{n}=1\n" for n in range(3000)),
        '[facts]\nmodel.name = "' + "a" * 1_000_000 + '"',
        f"[facts]\nmodel.layers = {'9' * 4000}\ntraining.tokens = 0x{'f' * 20_000}",
        "[facts]\nmodel.modalities.input = [0x" + "f" * 20_000 + "]",
        '[facts]\ntraining.tokens = nan\ntraining.compute = -inf\nmodel.layers = "1e400"',
        "[facts]\ntraining.tokens = 1979-05-27T07:32:00Z\nmodel.layers = 07:32:00",
        '[facts]\nmodel.name = "\\u202e\\u001b[2J@you https://example.org"',
        "a = " + "[" * 30_000,
    ],
    ids=str.__len__,
)
def test_own_file_of_the_model(text: str, tmp_path: Path) -> None:
    folder = models.folder(tmp_path / "m", files={"steelyard.toml": text.encode()})
    assert attempt(folder) is not None


def test_numbers_beyond_a_double_can_be_written() -> None:
    assert amount(10**5000) == "more than 1.8e308"
    assert size(10**5000).endswith("PB")
    with pytest.raises(FactError, match="beyond the range"):
        term("training.tokens").check(-(10**5000))


NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 10**300, 1.5, -0.0, 1e308, 5e-324]
)
ODD = st.sampled_from(
    [float("nan"), float("inf"), float("-inf"), True, False, None, "", "llama", "mixtral", "gpt2",
     "https://huggingface.co/a/b", "../../x", "a" * 3000, "\u202e\x1b[2J", "| a |", "7B", "\u0662"]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["model_type", "architectures", "hidden_size", "num_hidden_layers", "num_attention_heads",
     "num_key_value_heads", "head_dim", "num_local_experts", "num_experts_per_tok", "vocab_size",
     "max_position_embeddings", "intermediate_size", "tie_word_embeddings", "auto_map",
     "text_config", "vision_config", "quantization_config", "_name_or_path", "ffn_config",
     "base_model_name_or_path", "peft_type", "r", "rank_pattern", "target_modules", "weight_map",
     "metadata", "total_size", "license", "licenses", "name", "type", "url", "lang", "bits"]
)  # fmt: skip
VALUES = st.recursive(
    NUMBERS | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner),
    max_leaves=6,
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(
        ["config.json", "adapter_config.json", "model.safetensors.index.json", "meta.json",
         "package.json", "modules.json", "model_index.json", "tokenizer_config.json"]
    ),
    st.dictionaries(FIELDS, VALUES, max_size=8),
    st.booleans(),
)  # fmt: skip
def test_absurd_values(tmp_path: Path, name: str, odd: dict[str, Any], whole: bool) -> None:
    folder = tmp_path / "m"
    if not folder.exists():
        models.folder(folder)
    content: Any = {**models.CONFIG, **odd} if whole else list(odd.values())
    before = (folder / name).read_bytes() if (folder / name).exists() else None
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    try:
        attempt(folder)
    finally:
        if before is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(before)
