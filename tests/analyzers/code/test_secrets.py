"""Secrets in files: found, placed, and never repeated.

They are put together here, so that no file of this repository holds one.
"""

from __future__ import annotations

import json
import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard import knowledge
from steelyard.analyzers.code import secrets
from steelyard.analyzers.code.secrets import search
from tests import models
from tests.analyzers.facts_of import facts_of, texts_of
from tests.checkpoints.gguf_files import gguf_bytes


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    source = random.Random(count)  # noqa: S311  the same letters each time
    return "".join(source.choices(alphabet, k=count))


UPPER = string.ascii_uppercase + "234567"
MADE = {
    "Hugging Face token": "hf" + "_" + letters(34),
    "Hugging Face organization token": "api" + "_org_" + letters(34),
    "AWS access key": "AK" + "IA" + letters(16, UPPER),
    "AWS temporary access key": "AS" + "IA" + letters(16, UPPER),
    "GitHub token": "gh" + "p_" + letters(36),
    "GitHub fine-grained token": "github" + "_pat_" + letters(22) + "_" + letters(59),
    "GitLab token": "gl" + "pat-" + letters(20),
    "OpenAI key": "sk" + "-proj-" + letters(40) + "T3Blbk" + "FJ" + letters(40),
    "Anthropic key": "sk" + "-ant-" + "api03-" + letters(93),
    "Slack token": "xo" + "xb-" + "123456789012-" + letters(24),
    "Google API key": "AI" + "za" + letters(35),
    "PyPI token": "py" + "pi-AgE" + letters(80),
    "npm token": "np" + "m_" + letters(36),
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + letters(64) + "\n" + letters(64),
    "password or key": 'password = "' + letters(20) + '1a"',
}


def test_every_pattern_has_a_source_and_a_case() -> None:
    patterns = knowledge.load("secrets")
    assert {item["name"] for item in patterns} == set(MADE)
    for item in patterns:
        assert "https://" in item["source"]
        assert item["hint"] in MADE[item["name"]]
        assert re.compile(item["pattern"]).groups <= 1


@pytest.mark.parametrize("name", MADE)
def test_a_secret_is_found_and_not_repeated(name: str) -> None:
    text = f"x = 1\nkey: {MADE[name]}\n"
    (remark,) = search(text)
    assert remark.what.startswith(f"line 2 holds a {name}")
    secret = MADE[name].partition('"')[2] or MADE[name]
    assert not any(secret[at : at + 6] in remark.what for at in range(4, len(secret) - 6)) or (
        name == "private key"
    )
    assert letters(64)[:8] not in remark.what


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "x" * 34,
        "AKIAIOSFODNN7" + "EXAMPLE",
        "-----BEGIN RSA PRIVATE KEY-----",
        'password = "correcthorsebatterystaple"',
        'password = "your_password_1234"',
        'api_key = "${SECRET_VALUE_123}"',
        'secret = os.environ["MY_LONG_SECRET_1"]',
        "hf_hub_download(token=token)",
    ],
)
def test_what_stands_for_a_secret_is_none(text: str) -> None:
    assert list(search(text)) == []


def test_keys_that_web_pages_show_to_everyone(tmp_path: Path) -> None:
    key = MADE["Google API key"].encode()
    model = models.read(models.write(tmp_path, {"LICENSE.html": key, "a.py": key}))
    (said,) = texts_of(secrets.analyze, model, "code.secrets")
    assert said.startswith("a.py: ")


def test_places(tmp_path: Path) -> None:
    token = MADE["Hugging Face token"]
    files = {
        "train.py": f"\n\nlogin('{token}')".encode(),
        ".env": f"T={token}".encode(),
        "config.yaml": f"t: {token}".encode(),
        "notes.json": json.dumps({"a": token}).encode(),
        "binary.txt": b"\0" + token.encode(),
        "tokenizer.json": token.encode(),
        "m.gguf": gguf_bytes({"general.description": token}),
    }
    model = models.read(models.write(tmp_path, files))
    said = texts_of(secrets.analyze, model, "code.secrets")
    shown = f"{token[:4]}… (37 characters)"
    assert said == {
        f"train.py: line 3 holds a Hugging Face token {shown}",
        f".env: line 1 holds a Hugging Face token {shown}",
        f"config.yaml: line 1 holds a Hugging Face token {shown}",
        f"notes.json: line 1 holds a Hugging Face token {shown}",
        f"m.gguf: line 1 holds a Hugging Face token {shown}",
    }
    fact = facts_of(secrets.analyze, model).resolve("code.secrets")
    assert fact is not None
    assert token not in repr(fact)


@given(st.text(alphabet=st.sampled_from("hf_AKIsk-xoxb \n\"'=:password1aB"), max_size=400))
def test_any_text_is_searched(text: str) -> None:
    for remark in search(text):
        assert remark.kind == "secret"
