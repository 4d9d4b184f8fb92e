"""The library from end to end: a source goes in, a report comes out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from steelyard.auditing import audit
from steelyard.checkpoints.digest_cache import DigestCache
from steelyard.errors import CheckpointError, FactError, SourceNotFound
from steelyard.facts import Basis
from steelyard.reports import json as json_report
from steelyard.reports import markdown, terminal
from steelyard.reports.report import Report, deciding
from steelyard.rules import Finding, Severity
from steelyard.rules.ignores import Ignore
from steelyard.sources import open_source
from tests.auditing import AS_OF, OFFLINE, weigh
from tests.checkpoints.torch_files import OS_SYSTEM, Raw, legacy_file, torch_zip, weight
from tests.containers import (
    CARD,
    CONFIG,
    CONTAINERS,
    LAYERS,
    PARAMETERS,
    TENSORS,
    VOCABULARY,
    WIDTH,
    as_gguf,
    as_safetensors,
    as_shards,
    flipped,
    model_folder,
)


def failing(report: Report) -> dict[str, Finding]:
    return {finding.rule: finding for finding in report.failing}


class TestFacts:
    def test_the_state_that_a_trainer_left(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tuned")
        state = {"total_flos": 1.5e15, "log_history": []}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        own = weigh(folder).book.resolve("training.compute.own")
        assert own is not None
        assert own.evidence[0].file == "trainer_state.json"

    def test_a_small_model(self, tmp_path: Path) -> None:
        report = weigh(model_folder(tmp_path / "tiny"))
        weights = as_safetensors()["model.safetensors"]
        expected = {
            "model.architecture": ("llama", Basis.DECLARED),
            "model.design": ("decoder", None),
            "model.parameters.total": (PARAMETERS, Basis.MEASURED),
            "model.parameters.active": (PARAMETERS, None),
            "model.layers": (LAYERS, Basis.MEASURED),
            "model.hidden_size": (WIDTH, Basis.MEASURED),
            "model.vocabulary_size": (VOCABULARY, Basis.MEASURED),
            "model.heads": (CONFIG["num_attention_heads"], None),
            "model.context_length": (128, Basis.DECLARED),
            "model.formats": (frozenset({"safetensors"}), Basis.MEASURED),
            "weights.format": ("safetensors", Basis.MEASURED),
            "weights.encoding": ("F32", Basis.MEASURED),
            "weights.bytes": (4 * PARAMETERS, Basis.MEASURED),
            "files.count": (4, Basis.MEASURED),
            "license.declared": ("MIT", Basis.DECLARED),
            "license.detected": (frozenset({"MIT"}), Basis.MEASURED),
            "license.effective": ("MIT", Basis.MEASURED),
            "card.present": (True, Basis.MEASURED),
            "code.unsafe": (False, Basis.MEASURED),
            "code.pickle": (False, Basis.MEASURED),
        }
        for name, (value, basis) in expected.items():
            fact = report.book.resolve(name)
            assert fact is not None, name
            assert fact.value == value, name
            assert basis is None or fact.basis is basis, name
        assert not report.contradictions
        assert not report.fails(Severity.WARNING)
        sizes = {file.path: (file.size, file.role) for file in report.files}
        assert sizes["model.safetensors"] == (len(weights), "weights")
        assert sizes["README.md"][1] == sizes["config.json"][1] == "document"

    def test_the_sha256_of_the_weights_is_measured(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny", weights=as_shards())
        for file in weigh(folder).files:
            if file.role == "weights":
                content = (folder / file.path).read_bytes()
                assert file.sha256 == hashlib.sha256(content).hexdigest()
                assert file.sha256_basis == "measured"

    def test_without_digests_only_headers_are_read(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny")
        report = weigh(folder, digest=False, lineage=False)
        assert report.book.value("model.identity") is None
        assert all(file.sha256 is None for file in report.files)
        assert report.source.bytes_read < 30_000 < 4 * PARAMETERS

    def test_a_single_file(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny")
        alone, whole = weigh(folder / "model.safetensors"), weigh(folder)
        assert alone.source.kind == "file"
        assert alone.book.value("model.identity") == whole.book.value("model.identity")

    def test_a_source_that_is_open_stays_open(self, tmp_path: Path) -> None:
        model_folder(tmp_path / "tiny")
        source = open_source(str(tmp_path / "tiny"), network=OFFLINE)
        first = audit(source, as_of=AS_OF)
        assert audit(source, as_of=AS_OF).book.value("model.identity") == first.book.value(
            "model.identity"
        )
        source.close()

    def test_what_the_user_states(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny")
        report = weigh(folder, facts={"training.tokens": 1_000})
        assert report.book.value("training.tokens") == 1_000
        with pytest.raises(FactError):
            weigh(folder, facts={"training.tokns": 1_000})

    def test_a_stated_fact_never_outranks_a_measured_one(self, tmp_path: Path) -> None:
        report = weigh(model_folder(tmp_path / "tiny"), facts={"model.parameters.total": 7})
        assert report.book.value("model.parameters.total") == PARAMETERS
        assert "CON001" in failing(report)


class TestSameInputSameOutput:
    def test_two_audits(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny", weights=as_shards(), extra=as_gguf())
        for render in (json_report.render, markdown.render, terminal.render):
            assert render(weigh(folder)) == render(weigh(folder))

    def test_a_warm_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("steelyard.checkpoints.digest_cache.SETTLE_NS", 0)
        folder = model_folder(tmp_path / "tiny", weights=as_shards())
        cold = json_report.render(weigh(folder))
        with DigestCache(tmp_path / "digests.sqlite") as cache:
            filling = json_report.render(weigh(folder, cache=cache))
            assert cache.info().entries > 0
            warm = json_report.render(weigh(folder, cache=cache))
        assert cold == filling == warm

    def test_a_cache_does_not_outlive_a_change(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("steelyard.checkpoints.digest_cache.SETTLE_NS", 0)
        folder = model_folder(tmp_path / "tiny")
        with DigestCache(tmp_path / "digests.sqlite") as cache:
            before = weigh(folder, cache=cache).book.value("model.identity")
            model_folder(folder, weights=as_safetensors(flipped()))
            assert weigh(folder, cache=cache).book.value("model.identity") != before

    def test_the_order_of_files_on_disk(self, tmp_path: Path) -> None:
        one = model_folder(tmp_path / "a" / "tiny", weights=as_shards())
        two = tmp_path / "b" / "tiny"
        two.mkdir(parents=True)
        for path in sorted(one.iterdir(), reverse=True):
            shutil.copy(path, two)
        reports = [json.loads(json_report.render(weigh(folder))) for folder in (one, two)]
        for report in reports:
            del report["source"]
        assert reports[0] == reports[1]


class TestIdentity:
    def test_is_one_in_every_container(self, tmp_path: Path) -> None:
        found = {}
        for name, write in CONTAINERS.items():
            report = weigh(model_folder(tmp_path / name, weights=write(TENSORS)))
            found[name] = report.book.value("model.identity")
            assert report.book.value("model.parameters.total") == PARAMETERS, name
        assert None not in found.values()
        assert len(set(found.values())) == 1, found

    def test_is_another_for_one_flipped_bit(self, tmp_path: Path) -> None:
        found = set()
        for name, write in CONTAINERS.items():
            report = weigh(model_folder(tmp_path / name, weights=write(flipped())))
            found.add(report.book.value("model.identity"))
        assert len(found) == 1
        assert weigh(model_folder(tmp_path / "before")).book.value("model.identity") not in found

    def test_does_not_depend_on_documents(self, tmp_path: Path) -> None:
        bare = model_folder(tmp_path / "bare", card=None, license_text=None)
        full = model_folder(tmp_path / "full")
        assert weigh(bare).book.value("model.identity") == weigh(full).book.value("model.identity")


class TestDamage:
    def test_one_damaged_file_is_a_finding(self, tmp_path: Path) -> None:
        damaged = as_gguf()["model.gguf"][:1000]
        report = weigh(model_folder(tmp_path / "tiny", extra={"bad.gguf": damaged}))
        assert report.fails(Severity.ERROR)
        finding = failing(report)["INT009"]
        assert finding.location is not None
        assert finding.location.file == "bad.gguf"
        assert report.book.value("model.parameters.total") == PARAMETERS

    @pytest.mark.parametrize("name", CONTAINERS)
    def test_only_damaged_weights_is_an_error(self, tmp_path: Path, name: str) -> None:
        files = {
            file: content[: len(content) // 2] if "json" not in file else content
            for file, content in CONTAINERS[name](TENSORS).items()
        }
        with pytest.raises(CheckpointError) as refused:
            weigh(model_folder(tmp_path / "tiny", weights=files))
        assert refused.value.file in files

    def test_a_missing_shard(self, tmp_path: Path) -> None:
        shards = as_shards()
        del shards["model-00002-of-00003.safetensors"]
        report = weigh(model_folder(tmp_path / "tiny", weights=shards))
        assert "INT006" in failing(report)
        assert report.book.value("model.identity") is None

    def test_damaged_documents_are_findings(self, tmp_path: Path) -> None:
        card = "---\nlicense: [\n---\n"
        folder = model_folder(tmp_path / "tiny", card=card, config=None)
        (folder / "config.json").write_text("{")
        assert {"DOC002", "INT020"} <= set(failing(weigh(folder)))

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceNotFound):
            weigh(tmp_path)

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        report = weigh(model_folder(tmp_path / "tiny", weights={}))
        assert report.book.value("weights.present") is False
        assert report.book.value("license.effective") == "MIT"


class TestMaliciousPickles:
    @pytest.fixture(autouse=True)
    def canary(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """Collect what is run: nothing may be."""
        sung: list[str] = []

        def system(command: str) -> int:
            sung.append(command)
            return 0

        monkeypatch.setattr(os, "system", system)
        yield sung
        assert sung == []

    @pytest.mark.parametrize(
        "content",
        [
            OS_SYSTEM + b".",
            b"\x80\x02" + OS_SYSTEM + b".",
            torch_zip({"w": weight("0", 2, 2), "x": Raw(OS_SYSTEM)}),
            legacy_file({"w": weight("0", 2, 2), "x": Raw(OS_SYSTEM)}),
        ],
        ids=["protocol 0", "protocol 2", "torch zip", "legacy torch"],
    )
    @pytest.mark.parametrize("beside", [True, False])
    def test_are_reported_and_not_run(self, tmp_path: Path, content: bytes, beside: bool) -> None:
        weights = {"pytorch_model.bin": content} | (as_safetensors() if beside else {})
        report = weigh(model_folder(tmp_path / "tiny", weights=weights), scan_values=True)
        assert report.fails(Severity.ERROR)
        finding = failing(report)["INT001"]
        assert "os.system" in finding.message
        assert finding.location is not None
        assert finding.location.file == "pytorch_model.bin"
        assert report.book.value("code.unsafe") is True

    def test_a_command_leaves_no_trace(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        content = b"cposix\nsystem\n(S'touch trace'\ntR."
        report = weigh(model_folder(tmp_path / "tiny", weights={"pytorch_model.bin": content}))
        assert "INT001" in failing(report)
        assert not (tmp_path / "trace").exists()


class TestContradictions:
    def assert_first(self, report: Report, rule: str, name: str) -> None:
        """Check that a contradiction is found, and that people read of it before all else."""
        assert report.failing[0].rule == rule
        assert name in {found.name for found in report.contradictions}
        shown = terminal.render(report)
        assert shown.index("CONTRADICTION") < shown.index(rule)
        assert all(shown.index(rule) < shown.index(each) for each in [*failing(report)][1:])

    def test_the_license_text_is_another(self, tmp_path: Path) -> None:
        card = CARD.replace("license: mit", "license: apache-2.0")
        report = weigh(model_folder(tmp_path / "tiny", card=card))
        self.assert_first(report, "LIC002", "license.effective")
        assert report.fails(Severity.ERROR)

    def test_the_configuration_has_more_layers(self, tmp_path: Path) -> None:
        config = {**CONFIG, "num_hidden_layers": 3}
        report = weigh(model_folder(tmp_path / "tiny", config=config))
        name = "model.layers"
        assert name in {found.name for found in report.contradictions}
        values = {claim.value for claim in report.book.claims(name)}
        assert values == {2, 3}
        assert report.failing[0].severity is Severity.ERROR
        assert name in deciding(report.failing[0])

    def test_the_stated_size_is_not_the_counted_one(self, tmp_path: Path) -> None:
        card = CARD.replace("A model for tests", "A 7B parameters model for tests")
        report = weigh(model_folder(tmp_path / "tiny", card=card))
        self.assert_first(report, "CON001", "model.parameters.total")

    def test_one_agreed_statement_is_none(self, tmp_path: Path) -> None:
        assert weigh(model_folder(tmp_path / "tiny")).contradictions == ()


class TestOwnFile:
    def test_states_facts(self, tmp_path: Path) -> None:
        text = "[facts]\ntraining.tokens = 1e9\n"
        report = weigh(model_folder(tmp_path / "tiny", extra={"steelyard.toml": text}))
        fact = report.book.resolve("training.tokens")
        assert fact is not None
        assert (fact.value, fact.basis) == (1e9, Basis.DECLARED)
        assert fact.evidence[0].file == "steelyard.toml"

    def test_cannot_ignore(self, tmp_path: Path) -> None:
        text = (
            'fail-on = "never"\n[[ignore]]\nrule = "DOC001"\nreason = "no card needed"\n'
            "expires = 2027-01-01\n"
        )
        report = weigh(model_folder(tmp_path / "tiny", card=None, extra={"steelyard.toml": text}))
        assert "DOC001" in failing(report)
        assert report.ignored == ()

    def test_cannot_overrule_a_measurement(self, tmp_path: Path) -> None:
        text = '[facts]\n"code.unsafe" = false\n'
        weights = {"pytorch_model.bin": OS_SYSTEM + b"."}
        folder = model_folder(tmp_path / "tiny", weights=weights, extra={"steelyard.toml": text})
        assert "INT001" in failing(weigh(folder))

    def test_that_does_not_fit_is_named(self, tmp_path: Path) -> None:
        text = "[facts]\ntraining.tokns = 1e9\n"
        report = weigh(model_folder(tmp_path / "tiny", extra={"steelyard.toml": text}))
        assert "INT020" in failing(report)


class TestIgnores:
    def test_are_listed_and_do_not_count(self, tmp_path: Path) -> None:
        ignore = Ignore("DOC001", "the card is being written", date(2027, 1, 1))
        folder = model_folder(tmp_path / "tiny", card=None)
        report = weigh(folder, ignores=[ignore])
        assert "DOC001" not in failing(report)
        assert [item.finding.rule for item in report.ignored] == ["DOC001"]
        assert "DOC001 until 2027-01-01" in terminal.render(report)


class TestLinks:
    def test_that_lead_out_are_findings(self, tmp_path: Path) -> None:
        outside = tmp_path / "secret.safetensors"
        outside.write_bytes(as_safetensors(flipped())["model.safetensors"])
        folder = model_folder(tmp_path / "tiny")
        (folder / "other.safetensors").symlink_to(outside)
        (folder / "up").symlink_to("..")
        report = weigh(folder)
        assert report.book.value("files.escaping") == frozenset({"other.safetensors", "up"})
        assert "INT005" in failing(report)
        assert report.fails(Severity.ERROR)
        assert report.book.value("weights.other") is None

    def test_that_lead_nowhere_or_in_circles(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny")
        (folder / "gone").symlink_to("missing")
        (folder / "round").symlink_to("round")
        os.mkfifo(folder / "pipe.bin")
        report = weigh(folder)
        assert report.book.value("files.skipped") == frozenset({"gone", "round", "pipe.bin"})
        assert "INT017" in failing(report)

    def test_within_are_followed(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny")
        (folder / "model.safetensors").rename(folder / "blob")
        (folder / "model.safetensors").symlink_to("blob")
        report = weigh(folder)
        assert report.book.value("model.parameters.total") == PARAMETERS
        assert "INT005" not in failing(report)


class TestManners:
    def test_never_prints(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        weights = {**as_safetensors(), "pytorch_model.bin": OS_SYSTEM + b".", "bad.gguf": b"GGUF"}
        weigh(model_folder(tmp_path / "tiny", weights=weights), scan_values=True)
        with pytest.raises(SourceNotFound):
            weigh(tmp_path / "missing")
        assert capfd.readouterr() == ("", "")

    def test_writes_nothing_into_the_model(self, tmp_path: Path) -> None:
        folder = model_folder(tmp_path / "tiny", weights=as_shards())
        before = {path: path.stat() for path in [folder, *folder.iterdir()]}
        weigh(folder, scan_values=True)
        after = {path: path.stat() for path in [folder, *folder.iterdir()]}
        assert {p: (s.st_mtime_ns, s.st_size) for p, s in before.items()} == {
            p: (s.st_mtime_ns, s.st_size) for p, s in after.items()
        }

    def test_does_not_read_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = model_folder(tmp_path / "tiny")
        before = json_report.render(weigh(folder))
        for name in ("FAIL_ON", "DIGEST", "OFFLINE", "CACHE_DIR", "FACTS"):
            monkeypatch.setenv(f"STEELYARD_{name}", "1")
        monkeypatch.setenv("HF_TOKEN", "secret")
        assert json_report.render(weigh(folder)) == before
        assert not Path(os.environ["XDG_CACHE_HOME"]).exists()
