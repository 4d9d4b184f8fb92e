"""A comparison reads the same everywhere: verdict, both axes, picture, evidence; nothing else."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from steelyard.lineage.relation import Change, EditKind, Encoding, EncodingKind, Related
from steelyard.reports.pairs import html, markdown, text
from steelyard.reports.pairs import json as json_report
from steelyard.reports.pairs.words import PairReport, words
from tests.reports import golden
from tests.reports.pairs.samples import SAMPLES, embedding, hostile, layers, related, report

FOLDER = Path("..") / "pairs" / "golden"
ALL = pytest.mark.parametrize("name", SAMPLES)
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]")


def sentence(name: str) -> str:
    return words(SAMPLES[name]()).sentence


def said(name: str) -> Any:
    return json.loads(json_report.render(report(name)))


@ALL
def test_terminal_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}.txt", text.render(report(name)))


@pytest.mark.parametrize("name", ["large", "abliterated-q8"])
def test_wide_terminal_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}-120.txt", text.render(report(name), width=120))


@pytest.mark.parametrize("name", ["large", "merged", "depth-pruned"])
def test_ascii_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}-ascii.txt", text.render(report(name, only_ascii=True)))


@pytest.mark.parametrize("name", ["abliterated-q8", "merged", "depth-pruned", "hostile"])
def test_json_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}.json", json_report.render(report(name)))


@pytest.mark.parametrize("name", ["finetuned-q4", "vision", "unrelated", "hostile"])
def test_markdown_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}.md", markdown.render(report(name)))


@pytest.mark.parametrize("name", ["depth-pruned", "shares-component", "hostile"])
def test_html_golden(name: str) -> None:
    golden.check(f"{FOLDER}/{name}.html", html.render(report(name)))


def test_the_verdict_is_one_sentence_that_a_person_understands() -> None:
    assert sentence("finetuned-q4").endswith(
        "comes from acme/harbor-7b: every layer matches; "
        "chance that independent models agree this much: at most 10^-826"
    )
    assert "share the embedding and no layer" in sentence("shares-component")
    assert "share the projector, all 24 vision layers and no other layer" in sentence("vision")
    assert "same configuration, unrelated weights" in sentence("unrelated")
    assert "79 of 80 layers match" in sentence("large")
    assert sentence("cannot-tell").endswith("the child has no matrix of 8 rows or more")
    plain = words(replace(SAMPLES["unrelated"](), same_configuration=False)).sentence
    assert "same configuration" not in plain
    assert plain.endswith(
        "no weight lineage found: that does not prove independence "
        "(distillation leaves nothing in the weights)"
    )


def test_the_same_weights_in_another_encoding_say_so() -> None:
    quantized = replace(
        SAMPLES["identical"](),
        encoding=Encoding(EncodingKind.QUANTIZED, "F32", "Q8_0", ("safetensors", "gguf")),
    )
    assert "is acme/harbor-7b in another encoding" in words(quantized).sentence


def test_matrices_without_a_role_are_told_together() -> None:
    told = words(SAMPLES["re-export"]())
    assert told.sentence.startswith("ocr-models/det.onnx is rapidocr/det.onnx: every weight")
    assert told.evidence[0] == (
        "6 of 6 matrices match: all 16 to 56 rows agree in each, chance 10^-12 or less"
    )
    moved = replace(SAMPLES["re-export"](), edits=())
    assert "all 6 matrices match" in words(moved).sentence
    for render in (text.render, markdown.render, html.render):
        assert "tensor:" not in render(report("one-matrix"))


def test_of_a_shared_part_nothing_is_said_of_the_whole() -> None:
    told = words(SAMPLES["one-matrix"]())
    assert "share 1 of 7 matrices (conv2d_0.w_0)" in told.sentence
    (edit,) = told.edits
    assert edit.text == "what is shared is equal, up to rounding"


def test_no_agreement_is_told_as_what_chance_brings() -> None:
    nothing = replace(SAMPLES["unrelated"](), related=replace(
        SAMPLES["unrelated"]().related, log10_p=0.0))  # fmt: skip
    assert words(nothing).evidence[-1] == "over all tests: no more agreement than chance brings"


def test_a_sample_of_layers_is_not_called_every_layer() -> None:
    eight = replace(SAMPLES["large"](), related=related(embedding(), *layers(range(8))))
    assert "all 8 layers that were compared match" in words(eight).sentence


def test_what_is_not_exact_is_no_bound() -> None:
    loose = replace(SAMPLES["lora"](), related=related(exact=False, log10_p=-2.7))
    told = words(loose)
    assert "about 0.002, calibrated on known pairs" in told.sentence
    assert "which is no bound" in " ".join(told.evidence)


@ALL
def test_both_axes_are_always_told(name: str) -> None:
    for width in (40, 80, 120):
        shown = text.render(report(name), width=width)
        assert "Encoding:" in shown
        assert "Edits:" in shown
    assert "**Encoding:**" in markdown.render(report(name))
    assert "**Edits:**" in markdown.render(report(name))
    assert "<dt>Edits:</dt>" in html.render(report(name))


@ALL
def test_the_readers_order(name: str) -> None:
    shown = text.render(report(name))
    told = words(SAMPLES[name]())
    wanted = [told.tag.upper(), "Encoding:", "Edits:", "Change of each", "Evidence", "  Read  "]
    places = [shown.index(word) for word in wanted if word in shown]
    assert places == sorted(places)


def test_abliteration_reads_as_what_it_means() -> None:
    for shown in (
        " ".join(text.render(report("abliterated-q8")).split()),
        html.render(report("abliterated-q8")),
        markdown.render(report("abliterated-q8")),
    ):
        assert (
            "the refusal behavior of the base was edited out; "
            "evaluations of the base do not vouch for this model" in shown
        )
        assert "strength 0.32 to 1.00 over 64 matrices" in shown
        assert "that these carried refusals is inferred" in shown


@ALL
@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_fit_and_have_no_trailing_space(name: str, width: int) -> None:
    for line in text.render(report(name), width=width).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


@ALL
def test_ascii_is_ascii(name: str) -> None:
    assert text.render(report(name, only_ascii=True)).isascii()


@ALL
def test_color_only_when_asked_for(name: str) -> None:
    assert "\x1b" not in text.render(report(name))
    colored = text.render(report(name), color=True)
    assert "\x1b[" in colored
    # Color adds nothing that is not there without it.
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored).split() == text.render(report(name)).split()


def test_a_heat_line_has_one_character_for_each_layer() -> None:
    shown = text.render(report("large"), width=120)
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("mlp.up")]
    assert len(line.split()[1]) == 80
    narrow = text.render(report("large")).splitlines()
    parts = [line.split()[1] for line in narrow if line.strip().startswith("mlp.up")]
    assert "".join(parts) == line.split()[1]


def test_very_many_layers_share_columns() -> None:
    count = 20_000
    many = replace(
        SAMPLES["large"](),
        related=related(*layers(range(count))),
        changes=tuple(Change(f"layers.{n}", "mlp.up", 0.01) for n in range(count)),
    )
    wide = PairReport(many, "0.0.0")
    assert "each character stands for 50 layers" in text.render(wide)
    assert len(text.render(wide)) < 10_000
    page = html.render(wide)
    assert "Each column stands for 50 layers" in page
    assert len(page) < 500_000


def test_identical_models_get_a_quiet_report() -> None:
    shown = text.render(report("identical"))
    assert "Change of each" not in shown
    assert len(shown.splitlines()) <= 20


def test_nothing_is_drawn_where_nothing_is_shared() -> None:
    for name in ("unrelated", "cannot-tell"):
        assert "Change of each" not in text.render(report(name))
        assert "<svg" not in html.render(report(name))


@ALL
def test_json_is_valid_and_finite(name: str) -> None:
    schema = json.loads(json_report.shipped_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    written = json_report.render(report(name))
    jsonschema.validate(json.loads(written, parse_constant=refuse), schema)
    assert written.isascii()
    assert written == json_report.render(report(name))


def refuse(constant: str) -> None:
    pytest.fail(f"{constant} in JSON")


def test_the_schema_that_ships_is_the_one_that_the_models_make() -> None:
    made = json.dumps(json_report.schema(), indent=2, ensure_ascii=False) + "\n"
    assert made == json_report.shipped_schema()


def test_the_schema_refuses_what_is_none() -> None:
    schema = json.loads(json_report.shipped_schema())
    wrong = said("merged")
    wrong["related"]["verdict"] = "probably"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
    other = said("merged")
    del other["edits"][0]["coefficients"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(other, schema)


def test_json_has_the_shape_that_others_rely_on() -> None:
    merge = said("merged")
    assert list(merge) == [
        "schema_version", "tool", "base", "child", "related", "encoding", "edits", "changes",
        "same_configuration", "notes", "bytes_read", "requests",
    ]  # fmt: skip
    assert merge["related"]["verdict"] == "related"
    assert merge["related"]["log10_p"] == -826.4
    assert merge["related"]["exact"] is True
    assert merge["encoding"]["kind"] == "cast"
    (edit,) = merge["edits"]
    assert edit["kind"] == "merge"
    assert edit["parents"][0] == "hf://acme/harbor-7b-instruct"
    assert edit["coefficients"] == [0.5, 0.3, 0.2]
    removed = said("abliterated-q8")["edits"][0]
    assert removed["strength"]["model.layers.15.mlp.down_proj.weight"] == 1.0
    pruned = said("depth-pruned")["edits"][0]
    assert pruned["layer_map"] == [*range(10), *range(22, 32)]
    assert said("large")["edits"][0]["layer_map"][60] is None
    assert said("unrelated")["same_configuration"] is True
    assert said("cannot-tell")["same_configuration"] is None


class Page(HTMLParser):
    """Collects the tags and text of a page, and sees to it that every tag is closed."""

    void = frozenset({"meta", "br", "hr", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@ALL
def test_the_page_needs_nothing_and_runs_nothing(name: str) -> None:
    page = html.render(report(name))
    allowed = {
        "html", "head", "meta", "title", "style", "body", "main", "footer", "section", "figure",
        "figcaption", "h1", "h2", "h3", "p", "span", "strong", "sup", "ul", "li", "i", "dl", "dt",
        "dd", "div", "svg", "desc", "rect", "text", "table", "caption", "thead", "tbody", "tr",
        "th", "td", "details", "summary",
    }  # fmt: skip
    for tag, attributes in Page(page).tags:
        assert tag in allowed
        assert not {"href", "src", "srcset", "style"} & attributes.keys()
        assert not any(key.startswith("on") for key in attributes)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_plot_has_a_title_a_description_and_its_numbers() -> None:
    page = html.render(report("large"))
    identifiers = [a["id"] for _, a in Page(page).tags if a.get("id")]
    assert len(identifiers) == len(set(identifiers))
    (labelled,) = [a["aria-labelledby"] for tag, a in Page(page).tags if tag == "svg"]
    assert labelled is not None
    assert set(labelled.split()) <= set(identifiers)
    assert "80 layers; attention.q from" in page
    assert "mlp.up, layer 42: " in page
    assert page.count('<rect class="h') == 80 * 9
    assert "Layers in numbers" in page


@pytest.mark.parametrize("render", [text.render, markdown.render, html.render])
def test_nothing_breaks_out(render: Any) -> None:
    shown = render(report("hostile"))
    assert not UNSEEN.search(shown.replace("\n", ""))
    shown.encode()
    assert "<script" not in shown or render is text.render or "```text" in shown
    if render is markdown.render:
        outside, _, rest = shown.partition("```text")
        drawing, _, after = rest.partition("```")
        assert "`" not in drawing
        assert "<script" not in outside + after
    if render is html.render:
        assert "<script" not in shown
        assert "49" not in re.sub(r"[0-9]{3,}", "", shown)


def test_no_chance_is_ever_zero() -> None:
    for name in SAMPLES:
        for shown in (text.render(report(name)), html.render(report(name))):
            assert not re.search(r"(chance|at most|about) 0(?![.0-9])", shown)
    endless = replace(hostile(), related=related(log10_p=-math.inf))
    assert words(endless).sentence.endswith("10^-1000000")


@pytest.mark.parametrize("kind", EditKind)
def test_every_kind_of_edit_can_be_told_without_details(kind: EditKind) -> None:
    from steelyard.lineage.relation import Edit

    bare = replace(SAMPLES["lora"](), edits=(Edit(kind, "something was done"),))
    (told,) = words(bare).edits
    assert told.label
    assert told.text
    schema = json.loads(json_report.shipped_schema())
    jsonschema.validate(json.loads(json_report.render(PairReport(bare, "0.0.0"))), schema)


@pytest.mark.parametrize("verdict", Related)
def test_every_verdict_can_be_told_of_nothing(verdict: Related) -> None:
    bare = replace(
        SAMPLES["cannot-tell"](),
        related=replace(related(), verdict=verdict),
        encoding=Encoding(EncodingKind.CANNOT_TELL, "", ""),
    )
    for render in (text.render, markdown.render, html.render, json_report.render):
        assert render(PairReport(bare, "0.0.0"))
