"""What conditions may say, and what is refused before anything is evaluated."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import PackError
from steelyard.rules.expression import parse_expression
from steelyard.rules.syntax import LONGEST
from steelyard.rules.tree import Every, Flag, Negation, Some


@pytest.mark.parametrize(
    "text",
    [
        "weights.present",
        "not weights.present and (card.present or card.valid)",
        "training.compute > 1e25",
        "1e23 < training.compute <= 1e25",
        "training.compute.own > training.compute.base / 3",
        "6 * model.parameters.active > 1_000_000",
        "model.layers in (12, 24, 32)",
        'license.effective in {"MIT", "Apache-2.0"}',
        'license.effective not in ["MIT"]',
        '"text" in model.modalities.output',
        'model.modalities.output <= {"text", "label"}',
        'model.modalities.output >= {"text"}',
        "model.modalities.input == model.modalities.output",
        'openness.mof_class != "none"',
        'release.date >= date("2026-08-02")',
        "known(license.declared) or contradicted(license.effective)",
        "empty(card.placeholders) and count(card.sections) >= 3",
        "weights.public == True",
        "True",
    ],
)
def test_reads_the_whole_syntax(text: str) -> None:
    assert parse_expression(text).text == text


def test_names_are_listed_once_in_order() -> None:
    expression = parse_expression("card.valid and not (card.present or known(card.valid))")
    assert expression.names == ("card.valid", "card.present")


def test_negation_is_pushed_inward() -> None:
    assert (
        parse_expression("not (card.valid and not card.present)").condition
        == parse_expression("not card.valid or card.present").condition
        == Some((Negation(Flag("card.valid")), Flag("card.present")))
    )
    assert parse_expression("not (card.valid or card.present)").condition == Every(
        (Negation(Flag("card.valid")), Negation(Flag("card.present")))
    )


@pytest.mark.parametrize(
    "text",
    [
        "weights.present.__class__()",
        '"".join(card.sections)',
        "().__class__.__bases__",
        "lambda: True",
        "lambda x=1: True",
        "[x for x in card.sections]",
        "{x for x in card.sections} == card.sections",
        "any(x for x in card.sections)",
        'f"{weights.present}"',
        'f"x" == license.declared',
        'b"x" == license.declared',
        'r"x" == license.declared',
        "(x := 1) > 0",
        "9**9**9 > training.compute",
        "9//2 > 1",
        "9 % 2 > 1",
        "1 << 9 > 1",
        "1 << 99999999999",
        "~1 > 0",
        "-1 < training.compute",
        "1 if card.valid else 2",
        "card.valid if card.present else card.valid",
        "card.sections[0]",
        "await card.valid",
        "yield card.valid",
        "*card.sections",
        "{**card.sections}",
        "{'a': 1}",
        "card.valid is True",
        "None",
        "license.declared == None",
        "...",
        "1j > 0",
        "0x10 > 1",
        "1e999 > 1",
        "1and 2",
        "9" * 60 + " > 1",
        "import os",
        "card.valid; card.valid",
        "card.valid\ncard.present",
        "card.valid\tand card.present",
        "card.valid # comment",
        "card.valid \\",
        "card . valid",
        "card.valid @ card.present",
        "`card.valid`",
        '"\\x41" == license.declared',
        '"unclosed == license.declared',
        "print(card.valid)",
        "eval(card.valid)",
        "__import__(card.valid)",
        "known(known)",
        "known()",
        "known(card.valid, card.present)",
        "known(name=card.valid)",
        "known(*card.valid)",
        'known("card.valid")',
        "",
        "   ",
        "()",
        "card.valid\x00",
        "a" * 500,
        "a" + ".a" * 500,
        "x" * (LONGEST + 1),
    ],
)
def test_refuses_everything_else(text: str) -> None:
    with pytest.raises(PackError):
        parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "\N{FULLWIDTH LATIN SMALL LETTER C}ard.valid",
        "c\N{CYRILLIC SMALL LETTER A}rd.valid",
        "card.valid\N{NO-BREAK SPACE}and card.present",
        "card\N{FULLWIDTH FULL STOP}valid",
        "card.valid \N{RIGHT-TO-LEFT OVERRIDE}and card.present",
        'license.declared == "M\N{ZERO WIDTH SPACE}IT"',
        "card.\N{MATHEMATICAL ITALIC SMALL V}alid",
        "model.layers > \N{ARABIC-INDIC DIGIT THREE}",
    ],
)
def test_refuses_letters_that_only_look_right(text: str) -> None:
    with pytest.raises(PackError):
        parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "card.valid" + ")" * 900,
        "(" * 60 + "model.layers > 1" + ")" * 60 + " and " + "not " * 200 + "card.valid",
        "not " * 400 + "card.valid",
        "model.layers > " + "1+" * 900 + "1",
        "known(" * 300,
        "[" * 900,
    ],
)
def test_refuses_depth(text: str) -> None:
    with pytest.raises(PackError):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("card.valed", "card.valed", "card.valid"),
        ("training.compute > training.tokns", "training.tokns", "training.tokens"),
        ("knwon(card.valid)", "knwon", "known"),
        ('openness.mof_class == "IV"', "'IV'", "did you mean I"),
        ('"txt" in model.modalities.output', "'txt'", "text"),
        ('model.modalities.output <= {"text", "lable"}', "'lable'", "label"),
        ('model.design in {"decoder", "encodr"}', "'encodr'", "encoder"),
        ("license.declared > 3", "a text", ""),
        ('license.declared < "MIT"', "no order", "=="),
        ("weights.public > False", "no order", "=="),
        ('openness.mof_class >= "II"', "no order", "=="),
        ("training.compute", "not a condition", "compare"),
        ("license.declared and card.valid", "not a condition", "known"),
        ("training.compute == True", "yes or no", ""),
        ('release.date > "2026-08-02"', "a text", ""),
        ("release.date + 1 > release.date", "no meaning", "days(14)"),
        ("release.date > date(2026)", "one text", "2026-08-02"),
        ('release.date > date("2026-13-02")', "not a date", "2026-08-02"),
        ('"MIT" in license.declared', "cannot be in", ""),
        ("3 in card.sections", "cannot be in", ""),
        ("model.layers in card.sections", "cannot be in", ""),
        ('license.declared in {"MIT" "ISC"}', "side by side", "comma"),
        ('license.declared in {"MIT", 3}', "either texts or numbers", "empty"),
        ("card.sections == []", "at least one", "empty"),
        ("training.compute > training.tokens", "FLOP", "one unit"),
        ("training.compute + training.tokens > 1", "FLOP", "one unit"),
        ("empty(training.compute)", "not a set", "known"),
        ("count(license.declared) > 1", "not a set", ""),
        ("contradicted(card.sections)", "never true", ""),
        ("known(card.valed)", "card.valed", "card.valid"),
    ],
)
def test_says_what_is_wrong(text: str, what: str, fix: str) -> None:
    with pytest.raises(PackError) as caught:
        parse_expression(text, file="packs/x.yaml", line=7)
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.location == "packs/x.yaml:7"


def test_units_survive_scaling() -> None:
    parse_expression("training.compute.own > 0.3 * training.compute.base")
    with pytest.raises(PackError):
        parse_expression("training.tokens > training.compute / 6")
    # Tokens times parameters is no longer in tokens.
    parse_expression("training.compute > 6 * training.tokens * model.parameters.active")


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(PackError):
        parse_expression(text)


_PIECES = st.sampled_from(
    [
        *("card.valid", "model.layers", "card.sections", "license.declared", "known", "count"),
        *("(", ")", "{", "}", "[", "]", ",", "and", "or", "not", "in", "==", "<", ">=", "+", "/"),
        *('"a"', "1", "1e25", "True", "None", "lambda", "if", "else", "for", "is", "*", "-"),
    ]
)


@given(st.lists(_PIECES, max_size=25).map(" ".join))
def test_any_tokens_are_read_or_refused(text: str) -> None:
    with suppress(PackError):
        parse_expression(text)
