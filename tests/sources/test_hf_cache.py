"""Snapshots in the cache of the hub's own client."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from steelyard.errors import SourceNotFound
from steelyard.sources.base import SkipReason
from steelyard.sources.hf_cache import enclosing_snapshot, find_snapshot
from steelyard.sources.local import open_local
from tests.sources.listed import paths, reasons

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A hub cache with one repository of two snapshots, `main` at the first."""
    repository = tmp_path / "hub" / "models--org--name"
    for name in ("blobs", "refs", f"snapshots/{COMMIT}", f"snapshots/{OTHER_COMMIT}"):
        (repository / name).mkdir(parents=True)
    weights = b"weights"
    digest = hashlib.sha256(weights).hexdigest()
    (repository / "blobs" / digest).write_bytes(weights)
    (repository / "blobs" / ("c" * 40)).write_bytes(b"{}")
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{digest}")
    (snapshot / "config.json").symlink_to(f"../../blobs/{'c' * 40}")
    return repository


class TestHubCache:
    def test_a_snapshot(self, cache: Path) -> None:
        source = open_local(str(cache / "snapshots" / COMMIT))
        assert (source.kind, source.revision) == ("hf-cache", COMMIT)
        assert [(file.path, file.sha256) for file in source.files] == [
            ("config.json", None),
            ("model.safetensors", hashlib.sha256(b"weights").hexdigest()),
        ]
        with source.open("model.safetensors") as reader:
            assert reader.read(0, 7) == b"weights"

    def test_links_lead_into_its_own_blobs_only(self, cache: Path) -> None:
        neighbor = cache.parent / "models--org--other" / "blobs"
        neighbor.mkdir(parents=True)
        (neighbor / ("d" * 64)).write_bytes(b"other")
        snapshot = cache / "snapshots" / COMMIT
        (snapshot / "foreign").symlink_to(f"../../../models--org--other/blobs/{'d' * 64}")
        (snapshot / "ref").symlink_to("../../refs/main")
        (snapshot / "passwd").symlink_to("/etc/passwd")
        source = open_local(str(snapshot))
        assert len(source.files) == 2
        assert reasons(source) == dict.fromkeys(["foreign", "passwd", "ref"], SkipReason.ESCAPES)

    def test_a_folder_within_a_snapshot(self, cache: Path) -> None:
        inner = cache / "snapshots" / COMMIT / "onnx"
        inner.mkdir()
        (inner / "config.json").symlink_to(f"../../../blobs/{'c' * 40}")
        source = open_local(str(inner))
        assert (source.kind, source.revision) == ("hf-cache", COMMIT)
        assert paths(source) == ["config.json"]

    def test_a_repository_folder_means_main(self, cache: Path) -> None:
        source = open_local(str(cache))
        assert (source.revision, len(source.files)) == (COMMIT, 2)

    def test_a_repository_folder_without_main_means_the_only_snapshot(self, cache: Path) -> None:
        (cache / "refs" / "main").unlink()
        with pytest.raises(SourceNotFound, match=f"holds: {COMMIT}, {OTHER_COMMIT}"):
            open_local(str(cache))
        (cache / "snapshots" / OTHER_COMMIT).rmdir()
        assert open_local(str(cache)).revision == COMMIT

    def test_revisions(self, cache: Path) -> None:
        (cache / "refs" / "refs" / "pr").mkdir(parents=True)
        (cache / "refs" / "refs" / "pr" / "1").write_text(OTHER_COMMIT + "\n")
        assert find_snapshot(cache, "refs/pr/1").revision == OTHER_COMMIT
        assert find_snapshot(cache, OTHER_COMMIT).revision == OTHER_COMMIT
        for revision in ("v1", "../refs/main", "f" * 40, "/etc/passwd"):
            with pytest.raises(SourceNotFound):
                find_snapshot(cache, revision)

    @pytest.mark.parametrize("content", [b"../../..", b"", b"\xff" * 10, b"x" * 10_000_000])
    def test_hostile_refs_lead_nowhere(self, cache: Path, content: bytes) -> None:
        (cache / "refs" / "main").write_bytes(content)
        with pytest.raises(SourceNotFound):
            open_local(str(cache))

    def test_other_folders_are_no_snapshots(self, model: Path) -> None:
        assert enclosing_snapshot(model) is None
