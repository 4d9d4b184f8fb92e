"""Figures, names and layer maps as a person reads them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.reports.pairs.figures import chance, names, share, span
from steelyard.reports.pairs.json import _value
from steelyard.reports.pairs.parts import layer_map, place
from steelyard.reports.pairs.picture import BOUNDS, LEVELS, level


@pytest.mark.parametrize(
    ("log10_p", "written"),
    [
        (0.0, "1"),
        (0.4, "1"),
        (-0.31, "0.49"),
        (-3.9, "0.00013"),
        (-4.0, "10^-4"),
        (-826.4, "10^-826"),
        (-math.inf, "10^-1000000"),
        (math.nan, "unknown"),
    ],
)
def test_chance(log10_p: float, written: str) -> None:
    assert chance(log10_p) == written


@given(st.floats(-1e5, 0))
def test_a_chance_is_never_zero_and_never_too_small(log10_p: float) -> None:
    written = chance(log10_p)
    if "^" in written:
        assert float(written.removeprefix("10^")) >= log10_p
    else:
        assert float(written) > 0


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0 %"),
        (1e-9, "less than 0.0001 %"),
        (3e-5, "0.003 %"),
        (0.0141, "1.4 %"),
        (0.0999, "10 %"),
        (0.5, "50 %"),
        (12.3456, "1,235 %"),
        (math.inf, "beyond measure"),
    ],
)
def test_share(value: float, written: str) -> None:
    assert share(value) == written


def test_span() -> None:
    assert span((0.941, 1.0, math.nan)) == "0.94 to 1.00"
    assert span((1.0, 1.001)) == "1.00"
    assert span((math.nan,)) == "unknown"


@pytest.mark.parametrize(
    ("base", "child", "shown"),
    [
        ("models/a", "other/b/", ("a", "b")),
        ("a/model.safetensors", "b/model.safetensors", ("a/model.safetensors",
                                                       "b/model.safetensors")),
        ("hf://org/name", "hf://org/name@main", ("org/name", "org/name@main")),
        ("same", "same", ("same", "same")),
        ("a", "x/a", ("a", "x/a")),
        ("", "/", ("?", "/")),
    ],
)  # fmt: skip
def test_names_are_short_and_differ(base: str, child: str, shown: tuple[str, str]) -> None:
    assert names(base, child) == shown


@given(st.text(), st.text())
def test_any_names(base: str, child: str) -> None:
    for name in names(base, child):
        assert len(name) <= 60


@pytest.mark.parametrize(
    ("pairs", "written"),
    [
        ([(0, 0), (1, 1), (2, 2)], "0-2 are 0-2"),
        ([(0, 0), (1, 2), (2, 3)], "0 is 0, 1-2 are 2-3"),
        ([(0, 0), (1, 2), (2, 4)], "0-2 are 0, 2, …, 4"),
        ([(0, 5), (1, 4), (2, 3)], "0-2 are 5-3"),
        ([(0, 1), (1, 1)], "0 is 1, 1 is 1"),
        ([(0, None), (1, None), (2, 7)], "0-1 are none, 2 is 7"),
        ([(0, 0), (5, 1)], "0 is 0, 5 is 1"),
        ([], ""),
    ],
)
def test_layer_map(pairs: list[tuple[int, int | None]], written: str) -> None:
    assert layer_map(pairs) == written


@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=12))
def test_a_layer_map_names_every_layer(bases: list[int | None]) -> None:
    written = layer_map(list(enumerate(bases)))
    covered: list[int] = []
    for first, last in _ranges(written):
        covered += range(first, last + 1)
    assert covered == list(range(len(bases)))


def _ranges(written: str) -> list[tuple[int, int]]:
    import re

    found = re.findall(r"(?:^|, )([0-9]+)(?:-([0-9]+))? (?:is|are)", written)
    return [(int(first), int(last or first)) for first, last in found]


def test_places() -> None:
    layer = place("vision.layers.3")
    assert layer is not None
    assert (layer.stack, layer.number) == ("vision", 3)
    assert place("layers.12") is not None
    for name in ("embedding", "layers.", "layers.1.x", "layers.-1", "layers.\u0663", "", None,
                 "layers.99999999999"):  # fmt: skip
        assert place(name) is None


def test_levels_rise_with_change() -> None:
    assert level(0) == 0
    assert [level(bound) for bound in BOUNDS] == list(range(1, LEVELS - 1))
    assert level(math.inf) == LEVELS - 1
    assert level(1e-12) == 1


def test_numbers_of_any_kind_become_json() -> None:
    written = _value(
        {
            "a": np.float32(0.5),
            "b": np.int64(3),
            "c": (np.float64("nan"), -0.0, 1 / 3, None, True),
            "d": object(),
        }
    )
    assert written == {"a": 0.5, "b": 3, "c": [None, 0.0, 0.333333, None, True], "d": None}
    assert type(written["a"]) is float
    assert type(written["b"]) is int
    assert math.copysign(1, written["c"][1]) == 1
