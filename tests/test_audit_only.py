"""An audit of some topics says about them what a whole audit says, and that there is more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from steelyard.analyzers.topics import TOPICS, scope_of
from steelyard.auditing import shipped_packs
from steelyard.errors import ConfigError
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.reports.report import Report
from steelyard.rules import Finding, Pack, load_packs
from steelyard.rules.ignores import Ignore
from tests.auditing import AS_OF, weigh
from tests.checkpoints.torch_files import OS_SYSTEM, Raw, legacy_file, torch_zip, weight
from tests.containers import CARD, CONFIG, model_folder

PACKS = load_packs()
NOT_FOR_CODE = (
    "blake3", "httpx", "license_expression", "licenseclassifier", "rich", "sqlite3",
    "steelyard.analyzers.card.analyzer", "steelyard.analyzers.derived",
    "steelyard.analyzers.licenses", "steelyard.checkpoints.digests", "steelyard.compute",
    "steelyard.lineage.comparing",
)  # fmt: skip
"""What takes time to import and has no part in the question about code."""


def clean(folder: Path) -> None:
    """Leave the model as it is."""


def no_card(folder: Path) -> None:
    (folder / "README.md").unlink()


def thin_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: a/b\n---\n# Tiny\n")


def unsafe_pickle(folder: Path) -> None:
    (folder / "extra.bin").write_bytes(legacy_file({"a": weight("0"), "b": Raw(OS_SYSTEM)}))


def safe_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(torch_zip({"a": weight("0")}))


def damaged(folder: Path) -> None:
    (folder / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    (folder / "link").symlink_to("/etc/hostname")


def other_layers(folder: Path) -> None:
    wrong = {**CONFIG, "num_hidden_layers": 7, "auto_map": {"AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(wrong))


def states_facts(folder: Path) -> None:
    (folder / "steelyard.toml").write_text('[facts]\n"code.unsafe" = true\n"card.contact" = true\n')


ZOO = (
    clean, no_card, thin_card, unsafe_pickle, safe_pickle, damaged, other_layers, states_facts,
)  # fmt: skip


def essence(finding: Finding) -> tuple[object, ...]:
    """Return what a finding says; its evidence may be fuller where more was read."""
    duties = tuple((duty.id, duty.state) for duty in finding.duties)
    return finding.verdict, finding.severity, finding.failing, duties


def said(report: Report) -> dict[str, tuple[object, ...]]:
    return {finding.rule: essence(finding) for finding in report.findings}


@pytest.mark.parametrize("spoil", ZOO)
def test_a_topic_alone_says_what_a_whole_audit_says(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = model_folder(tmp_path / "tiny")
    spoil(folder)
    markets = {"markets": ["eu", "us-ca"], "packs": PACKS, "lineage": False}
    whole = said(weigh(folder, **markets))
    asked: set[str] = set()
    for topic in TOPICS:
        if topic == "lineage":
            continue
        part = said(weigh(folder, only=[topic], **markets))
        asked |= set(part)
        assert part.items() <= whole.items(), topic
    assert {rule for rule in whole if not rule.startswith("LIN")} <= asked


def test_lineage_alone_says_what_a_whole_audit_says(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny", card=CARD.replace("---\n#", "base_model: a/b\n---\n#"))
    whole = said(weigh(folder, packs=PACKS, digest=False))
    part = said(weigh(folder, packs=PACKS, only=["lineage"]))
    assert "LIN003" in part
    assert part.items() <= whole.items()


def test_bytes_are_read_for_the_topics_that_need_them(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    for topic in TOPICS:
        report = weigh(folder, packs=PACKS, only=[topic], digest=topic != "identity")
        assert ("model.identity" in report.book) == (topic == "identity"), topic


def test_values_are_looked_at_where_integrity_is_asked(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    for only, there in (([], True), (["integrity"], True), (["card"], False)):
        report = weigh(folder, packs=PACKS, only=only, scan_values=True)
        assert ("weights.nonfinite" in report.book) == there
        assert any("values were not looked at" in said for said in report.notices) != there


def test_every_report_says_what_was_left_out(tmp_path: Path) -> None:
    report = weigh(model_folder(tmp_path / "tiny"), only=["code", "card"])
    assert report.only == ("code", "card")
    assert "only code and card were asked for" in report.notices[0]
    for text in (terminal.render(report), markdown.render(report), json_report.render(report)):
        assert "only code and card were asked for" in " ".join(text.split())
    assert json.loads(json_report.render(report))["only"] == ["code", "card"]
    whole = weigh(model_folder(tmp_path / "other"), packs=PACKS, digest=False)
    assert "only" not in json.loads(json_report.render(whole))
    assert not any("asked for" in notice for notice in whole.notices)


@pytest.mark.parametrize("topic", TOPICS)
def test_packs_that_are_not_parsed_have_no_rule_of_the_topic(topic: str) -> None:
    scope = scope_of([topic])

    def asked(packs: Iterable[Pack]) -> set[str]:
        rules = (rule for pack in packs for rule in pack.rules)
        return {rule.id for rule in rules if scope.asks(rule.names, law=rule.is_law)}

    assert asked(shipped_packs(scope)) == asked(PACKS)


def test_the_footer_counts_the_rules_that_were_asked(tmp_path: Path) -> None:
    report = weigh(model_folder(tmp_path / "tiny"), only=["code"])
    assert sum(pack.rules for pack in report.packs) == len(report.findings)
    assert [pack.id for pack in report.packs] == ["practice.code", "practice.integrity"]


def test_what_is_not_asked_for_is_not_imported(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    script = (
        "import sys\n"
        "from datetime import date\n"
        "from steelyard.auditing import Options, audit\n"
        f"audit({str(folder)!r}, as_of=date(2026, 11, 23), options=Options(only=['code']))\n"
        f"print([name for name in {NOT_FOR_CODE!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_law_without_a_market_is_said(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tiny")
    assert "no market was named" in weigh(folder, only=["law"], packs=PACKS).notices[0]
    asked = weigh(folder, only=["law"], packs=PACKS, markets=["eu"])
    assert not any("no market" in notice for notice in asked.notices)
    assert asked.law
    assert all(finding.is_law for finding in asked.findings)


def test_an_ignore_of_a_rule_that_was_not_asked_is_no_notice(tmp_path: Path) -> None:
    ignores = [Ignore("DOC005", "being set up", AS_OF), Ignore("INT002", "read", AS_OF)]
    notices = weigh(model_folder(tmp_path / "tiny"), only=["code"], ignores=ignores).notices
    assert not any("DOC005" in notice for notice in notices)
    assert any("INT002 matches no finding" in notice for notice in notices)


def test_an_unknown_topic_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no topic 'cod'"):
        weigh(tmp_path / "missing", only=["cod"])
