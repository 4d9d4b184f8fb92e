"""What an audit says of lineage, from end to end: facts, findings, and the line that is read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from steelyard.auditing import Options, audit
from steelyard.errors import SourceNotFound
from steelyard.lineage.known.entries import Entry
from steelyard.lineage.known.registry import Registry
from steelyard.reports import terminal
from steelyard.reports.report import Report
from steelyard.rules import Severity
from steelyard.sources import Network
from tests import models
from tests.analyzers.test_lineage import CARD, changed, made, registry, without_a_direction
from tests.models import Weights, folder, weights
from tests.sources.hub_server import HubServer

NAME = "org/Base-1B"
AS_OF = date(2026, 11, 26)
OFFLINE = Network(offline=True)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Hold a base under a license with conditions, and another."""
    path = tmp_path_factory.mktemp("known")
    base = Entry(NAME, license="cc-by-nc-4.0")
    return registry(path, {base: made(1), Entry("org/Other-1B"): made(2)})


def lay(path: Path, tensors: Weights, *, front: str = "", title: str = "Mine") -> Path:
    """Lay down a model with a card under Apache-2.0."""
    return folder(path, tensors=tensors, config=None, card=CARD.format(front=front, title=title))


def weigh(source: Path | str, known: Registry | None, **options: Any) -> Report:
    registries = () if known is None else (known,)
    chosen = Options(**{"network": OFFLINE, "registries": registries, **options})
    return audit(source, as_of=AS_OF, options=chosen)


def findings(report: Report) -> dict[str, str]:
    """Return what rules of lineage find wrong, by rule."""
    return {
        finding.rule: finding.message
        for finding in report.failing
        if finding.rule.startswith("LIN")
    }


def from_line(report: Report) -> str:
    """Return the line about the origin as a person reads it, on one line."""
    text = terminal.render(report, width=400)
    return next((line for line in text.splitlines() if line.startswith("  From")), "")


class TestFindings:
    def test_a_derivative_that_names_another_base(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", changed(made(1), 0.02), front="base_model: org/Other-1B\n")
        report = weigh(path, known)
        assert findings(report)["LIN001"] == (
            "The weights do not come from org/Other-1B, which is named as the base; "
            "they come from org/Base-1B."
        )
        assert report.fails(Severity.ERROR)
        assert "; declared: based on org/Other-1B" in from_line(report)

    def test_a_derivative_that_names_nothing(self, tmp_path: Path, known: Registry) -> None:
        report = weigh(lay(tmp_path / "m", changed(made(1), 0.02)), known)
        assert findings(report)["LIN002"] == (
            "The weights come from org/Base-1B, which the documents do not mention."
        )
        assert "org/Base-1B, changed by" in from_line(report)

    def test_a_declared_base_that_does_not_show(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", made(3), front=f"base_model: {NAME}\n")
        report = weigh(path, known)
        assert findings(report) == {
            "LIN003": "The weights show no lineage from org/Base-1B, which is named as the base."
        }
        taught = lay(tmp_path / "n", made(3), front=f"base_model: {NAME}\n", title="Distilled 1B")
        assert not findings(weigh(taught, known)), "nothing of a teacher is in the weights"

    def test_conditions_of_the_base_are_not_passed_on(
        self, tmp_path: Path, known: Registry
    ) -> None:
        path = lay(tmp_path / "m", changed(made(1), 0.02), front=f"base_model: {NAME}\n")
        assert set(findings(weigh(path, known))) == {"LIN004"}

    def test_a_renamed_copy(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", made(1), title="Base-1B")
        metadata = "Metadata-Version: 2.1\nName: in-house\nSummary: Ours\n"
        (path / "a.dist-info").mkdir()
        (path / "a.dist-info" / "METADATA").write_text(metadata)
        report = weigh(path, known)
        assert findings(report)["LIN006"] == (
            "Named in-house, but the weights are org/Base-1B, value for value."
        )
        assert terminal.render(report).startswith("Base-1B, renamed m\n")
        assert "identical to org/Base-1B" in from_line(report)

    def test_an_abliterated_model(self, tmp_path: Path) -> None:
        report = weigh(lay(tmp_path / "m", without_a_direction(made(1))), None)
        (message,) = findings(report).values()
        assert message == (
            "The refusal behavior of the base was edited out (abliteration); "
            "evaluations of the base do not vouch for this model."
        )

    def test_what_cannot_be_decided_is_no_finding(self, tmp_path: Path) -> None:
        report = weigh(lay(tmp_path / "m", weights(1, width=16)), None)
        assert report.book.value("lineage.removed_direction") == "not_decidable"
        assert not findings(report)
        assert "direction" not in terminal.render(report)


class TestQuiet:
    def test_no_lineage_found_says_nothing(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", made(3))
        with_it, without = weigh(path, known), weigh(path, known, lineage=False)
        assert terminal.render(with_it) == terminal.render(without)

    def test_a_model_in_order_has_one_line_more(self, tmp_path: Path) -> None:
        held = registry(tmp_path / "known", {Entry(NAME, license="Apache-2.0"): made(1)})
        path = lay(tmp_path / "m", changed(made(1), 0.02), front=f"base_model: {NAME}\n")
        report = weigh(path, held)
        assert not findings(report)
        assert from_line(report).endswith("measured")
        before = terminal.render(weigh(path, held, lineage=False)).splitlines()
        assert len(terminal.render(report).splitlines()) <= len(before)

    def test_lineage_asks_no_questions(self, tmp_path: Path, known: Registry) -> None:
        for name, tensors in (("a", made(1)), ("b", made(3)), ("c", changed(made(1), 0.02))):
            report = weigh(lay(tmp_path / name, tensors), known)
            asked = [question.term.name for question in report.questions]
            assert not [name for name in asked if name.startswith("lineage.")]


class TestOptions:
    def test_without_lineage_nothing_is_read_for_it(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", made(1))
        report = weigh(path, known, lineage=False, digest=False)
        assert not [fact.name for fact in report.book if fact.name.startswith("lineage.")]
        more = weigh(path, known, digest=False)
        assert more.source.bytes_read > report.source.bytes_read

    def test_a_given_base(self, tmp_path: Path) -> None:
        base = lay(tmp_path / "Base-1B", made(1), title="Base-1B")
        path = lay(tmp_path / "m", changed(made(1), 0.02), front=f"base_model: {NAME}\n")
        report = weigh(path, None, base=base)
        assert report.book.value("lineage.edits") == frozenset({"finetune"})
        assert report.book.value("lineage.base") == NAME
        assert not findings(report)

    def test_a_given_base_without_weights(self, tmp_path: Path) -> None:
        path = lay(tmp_path / "m", made(1))
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "README.md").write_text("# Nothing")
        with pytest.raises(SourceNotFound, match="given as the base"):
            weigh(path, None, base=tmp_path / "empty")

    def test_what_ships_is_searched_by_default(self, tmp_path: Path) -> None:
        path = lay(tmp_path / "m", made(1))
        report = audit(path, as_of=AS_OF, options=Options(network=OFFLINE))
        assert "lineage.base" not in report.book

    def test_the_same_twice(self, tmp_path: Path, known: Registry) -> None:
        path = lay(tmp_path / "m", changed(made(1), 0.02))
        first, second = (terminal.render(weigh(path, known)) for _ in range(2))
        assert first == second


@pytest.mark.local_server
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestRemote:
    def test_a_hub_repository_is_sampled_and_not_downloaded(
        self, tmp_path: Path, known: Registry
    ) -> None:
        path = lay(tmp_path / "m", changed(made(1), 0.02))
        with HubServer({"me/mine": path}) as hub:
            network = Network(endpoint=hub.endpoint)
            report = weigh("hf://me/mine", known, network=network)
            assert report.book.value("lineage.base") == NAME
            # Whole matrices are read only where that was asked for.
            assert "lineage.removed_direction" not in report.book
            asked = weigh("hf://me/mine", known, network=network, lineage_budget=10**8)
            assert asked.book.value("lineage.removed_direction") == "not_found"

    def test_the_repository_of_a_known_model_is_itself(
        self, tmp_path: Path, known: Registry
    ) -> None:
        path = lay(tmp_path / "m", made(1))
        with HubServer({NAME: path, "me/copy": path}) as hub:
            network = Network(endpoint=hub.endpoint)
            itself = weigh(f"hf://{NAME}", known, network=network)
            assert itself.book.value("lineage.known_as") == NAME
            assert "lineage.base" not in itself.book
            copy = weigh("hf://me/copy", known, network=network)
            assert copy.book.value("lineage.base") == NAME
            assert "LIN002" in findings(copy)


def test_the_chat_template_is_set_beside_that_of_a_given_base(tmp_path: Path) -> None:
    base = models.folder(tmp_path / "base", files={"chat_template.jinja": b"{{ messages }}"})
    path = models.folder(tmp_path / "ours", files={"chat_template.jinja": b"{{ messages }}Buy."})
    report = weigh(path, None, base=base)
    assert report.book.value("code.template.changed") == {"+ Buy."}
    assert {f.rule for f in report.findings if f.failing} >= {"COD014"}


def test_the_chat_template_is_set_beside_that_of_the_declared_base(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--base" / "snapshots" / ("a" * 40)
    models.write(snapshot, {"chat_template.jinja": b"{{ messages }}"})
    path = models.folder(
        tmp_path / "ours",
        files={
            "chat_template.jinja": b"{{ messages }}Buy.",
            "README.md": b"---\nbase_model: org/base\n---\n# Ours\n",
        },
    )
    network = Network(cache_dir=tmp_path / "hub")
    assert weigh(path, None, network=network).book.value("code.template.changed") == {"+ Buy."}
    # Of a base that is nowhere on this machine nothing is fetched, and nothing said.
    alone = weigh(path, None, network=Network(cache_dir=tmp_path / "none"))
    assert "code.template.changed" not in alone.book
