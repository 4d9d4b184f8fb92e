"""Names of repositories, revisions and files, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import SourceNotFound
from steelyard.sources.hub.spec import HubSpec


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "spec"),
        [
            ("hf://org/name", HubSpec("org/name")),
            ("hf://org/name/", HubSpec("org/name")),
            ("hf://models/org/name", HubSpec("org/name")),
            ("hf://org/name@v1", HubSpec("org/name", "v1")),
            ("hf://org/name@v1/a/b.gguf", HubSpec("org/name", "v1", "a/b.gguf")),
            ("hf://org/name/b.gguf", HubSpec("org/name", None, "b.gguf")),
            ("hf://org/name@refs/pr/1/b.gguf", HubSpec("org/name", "refs/pr/1", "b.gguf")),
            ("hf://org/name@refs%2Fpr%2F1", HubSpec("org/name", "refs/pr/1")),
            ("hf://org/name@refs/pr/1", HubSpec("org/name", "refs/pr/1")),
            ("hf://org/name@feature%2Fx/y", HubSpec("org/name", "feature/x", "y")),
        ],
    )
    def test_read(self, text: str, spec: HubSpec) -> None:
        assert HubSpec.parse(text) == spec
        assert HubSpec.parse(str(spec)) == spec

    @pytest.mark.parametrize(
        "text",
        [
            "hf://",
            "hf://gpt2",
            "hf://org/",
            "hf:///name",
            "hf://../name",
            "hf://org/..",
            "hf://org/na--me",
            "hf://org/name@",
            "hf://org/name@../../x",
            "hf://org/name/../x",
            "hf://org/name/%2e%2e/x",
            "hf://org/name/a%00b",
            "hf://datasets/org/name",
            "hf://org/na me",
            "hf://org/" + "x" * 9000,
            "org/name",
        ],
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(SourceNotFound) as caught:
            HubSpec.parse(text)
        assert "hf://org/name" in caught.value.fix

    @given(st.text(max_size=40))
    def test_anything_is_read_or_refused(self, tail: str) -> None:
        try:
            spec = HubSpec.parse("hf://org/name" + tail)
        except SourceNotFound:
            return
        assert HubSpec.parse(str(spec)) == spec
