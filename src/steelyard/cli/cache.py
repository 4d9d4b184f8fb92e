"""`steelyard cache`: what digests are remembered."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="cache")
def command() -> None:
    """Show or clear the cache of digests.

    Digests of local files are remembered by path, size, time of change and inode, so that a
    second audit need not read the weights again.
    """


@command.command()
def info() -> None:
    """Say where the cache is and how much it holds."""
    from steelyard.checkpoints.digest_cache import DigestCache

    path = _path()
    with DigestCache(path) as cache:
        click.echo(f"{path}: {cache.info()}")


@command.command()
def clear() -> None:
    """Forget every digest."""
    from steelyard.checkpoints.digest_cache import DigestCache

    path = _path()
    with DigestCache(path) as cache:
        cache.clear()
    click.echo(f"cleared {path}")


def _path() -> Path:
    from steelyard.cli.context import resolve
    from steelyard.errors import ConfigError

    folder = resolve({}).settings.cache_dir
    if not folder:
        raise ConfigError("there is no cache", why="the setting cache-dir is empty")
    return Path(folder) / "digests.sqlite"
