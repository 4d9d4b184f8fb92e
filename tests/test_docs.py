"""The documentation says what there is: commands, options, settings, rules, links."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from tools import rule_pages, rule_table

from steelyard.checkpoints.limits import DEFAULT_LIMITS
from steelyard.cli.explain import EXIT_CODES
from steelyard.cli.main import cli
from steelyard.cli.outputs import FORMATS
from steelyard.cli.settings import MEANINGS, data_form
from steelyard.facts import vocabulary
from steelyard.lineage.relation import EditKind
from steelyard.reports import json as json_report
from steelyard.reports.pairs import json as pair_report
from steelyard.rules import load_pack, load_packs
from tests.cli.test_help import ALL

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]
    if path.parent.name != "rules"
}
GUIDE = "\n".join(text for path, text in PAGES.items() if path.startswith("docs/"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def navigation(entries: list[Any]) -> list[str]:
    """Return every page that the navigation names."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values():
            found += navigation(value) if isinstance(value, list) else [value]
    return found


def settings_of_mkdocs() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("path", [path for path in ALL if path], ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    assert f"steelyard {' '.join(path)}" in GUIDE


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_documented(path: tuple[str, ...]) -> None:
    for option in ALL[path].params:
        if isinstance(option, click.Option):
            for name in [*option.opts, *option.secondary_opts]:
                assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", GUIDE), name


@pytest.mark.parametrize("name", MEANINGS)
def test_every_setting_is_documented(name: str) -> None:
    page = PAGES["docs/guide/settings.md"]
    shown = name.replace("_", "-")
    assert f"| `{shown}` |" in page
    if name not in ("facts", "ignore"):
        assert f"`STEELYARD_{name.upper()}`" in page


def test_exit_codes_are_documented() -> None:
    assert EXIT_CODES in PAGES["docs/guide/pipeline.md"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGES["docs/guide/report.md"]


@pytest.mark.parametrize("field", dataclasses.fields(DEFAULT_LIMITS), ids=lambda f: f.name)
def test_every_limit_is_documented(field: dataclasses.Field[int]) -> None:
    page = PAGES["docs/guide/safety.md"]
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{field.name}` |")]
    number = getattr(DEFAULT_LIMITS, field.name)
    shown = f"{number // 1_000_000} MB" if row.endswith("MB |") else f"{number:,}"
    assert shown in row


def test_every_field_of_the_json_report_is_documented() -> None:
    schema = json.loads(json_report.shipped_schema())
    parts = [schema, *schema["$defs"].values()]
    names = {name for part in parts for name in part.get("properties", {})}
    for name in names - {"low", "high"}:
        assert f"`{name}`" in PAGES["docs/json.md"], name
    assert '{"low": …, "high": …}' in PAGES["docs/json.md"]


def test_every_field_of_a_comparison_is_documented() -> None:
    schema = json.loads(pair_report.shipped_schema())
    page = PAGES["docs/json.md"].partition("## A comparison")[2]
    parts = [schema, *schema["$defs"].values()]
    for name in {name for part in parts for name in part.get("properties", {})}:
        assert f"`{name}`" in page, name
    for kind in EditKind:
        assert f"`{kind.value}`" in page, kind


def test_every_fact_about_what_the_model_is_is_documented() -> None:
    page = PAGES["docs/guide/facts-and-rules.md"]
    for name in vocabulary():
        if name.startswith(rule_table.SECTIONS):
            assert f"| `{name}` |" in page


def test_every_rule_is_documented() -> None:
    page = PAGES["docs/guide/facts-and-rules.md"]
    for pack in load_packs():
        for rule in pack.rules:
            assert rule.is_law or f"| {rule.id} |" in page


def test_every_rule_gets_a_page_with_its_source(tmp_path: Path) -> None:
    written = rule_pages.write(tmp_path)
    rules = [rule for pack in load_packs() for rule in pack.rules]
    assert written == len(rules) == len(list(tmp_path.iterdir())) - 1
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    for rule in rules:
        page = (tmp_path / f"{rule.id}.md").read_text(encoding="utf-8")
        assert rule.citation.link in page
        assert rule.reviewed.isoformat() in page
        assert f"({rule.id}.md)" in index
        for exemption in rule.exemptions:
            assert (tmp_path / f"{exemption}.md").exists()


def test_the_tables_are_up_to_date() -> None:
    assert rule_table.main(["--check"]) == 0


def test_rules_that_the_guide_names_exist() -> None:
    known = {rule.id for pack in load_packs() for rule in pack.rules} | {"ACME001"}
    for path, text in PAGES.items():
        if path.startswith("docs/guide/") or path == "README.md":
            for name in re.findall(r"\b[A-Z]{3,4}\d{3}\b", text):
                assert name in known, f"{path}: {name}"


def test_the_pack_in_the_guide_loads() -> None:
    (text,) = re.findall(r"^```yaml\n(id: .*?)^```$", PAGES["docs/guide/facts-and-rules.md"],
                         re.MULTILINE | re.DOTALL)  # fmt: skip
    assert [rule.id for rule in load_pack(text, "guide.yaml").rules] == ["ACME001"]


def test_the_settings_in_the_guide_are_valid() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGES["docs/guide/settings.md"],
                         re.MULTILINE | re.DOTALL)  # fmt: skip
    settings = data_form().validate_python(tomllib.loads(text))
    assert settings.ignore[0].approved_by


def test_commands_in_the_guide_exist() -> None:
    """Check the words and options of each command line that the pages show."""
    lines = re.findall(
        r"^(?:\$ |- run: |  run: )?(?:\w+=\S+ )?steelyard (.+)$", GUIDE, re.MULTILINE
    )
    assert len(lines) > 10
    for line in lines:
        words = line.split("|")[0].split("#")[0].split()
        command: click.Command = cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        known = {name for p in command.params for name in [*p.opts, *p.secondary_opts]}
        for word in words:
            if re.fullmatch(r"--[a-z-]+|-[a-z]", word) and word not in ("--help", "-h", "-c"):
                assert word in known, line


def test_the_help_in_the_readme_is_the_real_one() -> None:
    for text in PAGES.values():
        for block in re.findall(r"^```\w*\n(?:\$ .*\n)?(Usage: steelyard.*?)^```$", text,
                                re.MULTILINE | re.DOTALL):  # fmt: skip
            path = block.split("[OPTIONS]")[0].split()[2:]
            shown = CliRunner().invoke(cli, [*path, "--help"], prog_name="steelyard")
            assert block.strip() == shown.stdout.strip()


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path: str) -> None:
    text = _FENCE.sub("", PAGES[path])
    for target in _LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        page = (ROOT / path).parent / file if file else ROOT / path
        assert page.exists(), target
        if anchor:
            assert anchor in headings(page.read_text(encoding="utf-8")), target


def headings(text: str) -> set[str]:
    """Return the anchors of a page."""
    found = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def test_every_page_is_in_the_navigation() -> None:
    # The pages of rules are made when the site is built, and not kept.
    listed = set(navigation(settings_of_mkdocs()["nav"])) - {"rules/index.md"}
    there = [path.removeprefix("docs/") for path in PAGES if path.startswith("docs/")]
    assert sorted(listed) == sorted(there)


def test_the_architecture_names_what_is_there() -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for room in ("src", "tests", "tools", "benchmarks")
        for path in (ROOT / room).rglob("*")
    }
    there |= {name.partition("/")[0] for name in there}
    named = re.findall(r"`([\w./-]+(?:\.(?:py|json|toml|yaml)|/))`", PAGES["docs/architecture.md"])
    assert len(named) > 50
    for name in named:
        assert any(f"/{one}".endswith(f"/{name.rstrip('/')}") for one in there), name


def test_pages_name_no_machine() -> None:
    for path, text in PAGES.items():
        assert not re.search(r"/(work|root|tmp|opt|var/folders)/", text), path
        assert not re.search(r"/home/(?!me/)", text), path


def test_pages_are_short() -> None:
    for path, text in PAGES.items():
        if path.startswith("docs/guide/") and path != "docs/guide/facts-and-rules.md":
            assert len(_FENCE.sub("", text).splitlines()) <= 120, path
