"""Paths of files, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.sources.paths import path_trouble, printable


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["", "/", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "a\\b", "\udcff"],
    )
    def test_trouble(self, path: str) -> None:
        assert path_trouble(path)

    @pytest.mark.parametrize("path", ["a", "a/b.c", "...", "a b/ü", "~", "-rf", "C:"])
    def test_no_trouble(self, path: str) -> None:
        assert path_trouble(path) is None

    @given(st.text(st.characters(codec=None, categories=None)))
    def test_printable_can_be_encoded(self, text: str) -> None:
        shown = printable(text)
        shown.encode()
        assert "\x1b" not in shown
