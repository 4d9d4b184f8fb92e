from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.checkpoints.adapters import AdapterConfig, read_config
from steelyard.errors import CheckpointError

FILE = "adapter_config.json"


def test_a_lora_as_peft_writes_it() -> None:
    config: Any = {
        "auto_mapping": None,
        "base_model_name_or_path": "org/base",
        "bias": "none",
        "fan_in_fan_out": False,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": 8,
        "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM",
    }
    assert read_config(config, FILE) == AdapterConfig(
        peft_type="LORA",
        base_model_name_or_path="org/base",
        r=8,
        lora_alpha=16.0,
        target_modules=("q_proj", "v_proj"),
        task_type="CAUSAL_LM",
        modules_to_save=(),
    )


def test_what_is_not_said_is_none_or_empty() -> None:
    assert read_config({}, FILE) == AdapterConfig()


def test_one_pattern_stands_for_a_list() -> None:
    found = read_config({"target_modules": "all-linear", "modules_to_save": ["head"]}, FILE)
    assert found.target_modules == ("all-linear",)
    assert found.modules_to_save == ("head",)


@pytest.mark.parametrize(
    ("config", "what", "why"),
    [
        ([], "the document is not an object", "a list"),
        (None, "the document is not an object", "null"),
        ({"peft_type": 1}, "`peft_type` is not a text", "1"),
        ({"base_model_name_or_path": ["a"]}, "`base_model_name_or_path` is not", "a list"),
        ({"r": "8"}, "`r` is not a whole number", '"8"'),
        ({"r": 8.0}, "`r` is not a whole number", "8.0"),
        ({"r": True}, "`r` is not a whole number", "true"),
        ({"r": -1}, "`r` is not a whole number", "-1"),
        ({"lora_alpha": "16"}, "`lora_alpha` is not a number", '"16"'),
        ({"lora_alpha": True}, "`lora_alpha` is not a number", "true"),
        ({"task_type": {}}, "`task_type` is not a text", "an object"),
        ({"target_modules": ["q", 1]}, "`target_modules` is not", "a list"),
        ({"target_modules": 3}, "`target_modules` is not", "3"),
        ({"modules_to_save": {"a": 1}}, "`modules_to_save` is not", "an object"),
    ],
)
def test_wrong_types_are_refused_by_name(config: Any, what: str, why: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_config(config, FILE)
    assert caught.value.what.startswith(what)
    assert why in caught.value.why
    assert caught.value.file == FILE
    assert caught.value.fix


KEYS = st.sampled_from(AdapterConfig.__slots__)
VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text() | st.none())


@given(st.dictionaries(KEYS, VALUES))
def test_whatever_it_says_it_is_read_or_refused(config: Any) -> None:
    try:
        found = read_config(config, FILE)
    except CheckpointError:
        return
    assert isinstance(found.target_modules, tuple)
    assert isinstance(found.r, int | None)
