"""What the command line takes from the machine: environment, folders, network settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from steelyard.cli.settings import Resolved, environment, load
from steelyard.sources import Network

_TRUE = frozenset({"1", "on", "yes", "true"})


def resolve(overrides: Mapping[str, Any], examined: Path | None = None) -> Resolved:
    """Resolve the settings for this process; see `settings.load`."""
    return load(
        overrides,
        environ=environment(),
        folder=Path.cwd(),
        user_folder=Path(platformdirs.user_config_dir("steelyard")),
        default_cache=Path(platformdirs.user_cache_dir("steelyard")),
        examined=examined,
    )


def network(*, offline: bool) -> Network:
    """Return how remote sources are reached, honoring the hub client's own variables."""
    environ = environment()
    hub_offline = environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    return Network(
        offline=offline or hub_offline,
        endpoint=environ.get("HF_ENDPOINT") or None,
        token=environ.get("HF_TOKEN") or _stored_token(environ),
        cache_dir=_hub_cache(environ),
    )


def _hub_home(environ: Mapping[str, str]) -> Path:
    default = Path(environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface"
    return Path(environ.get("HF_HOME") or default)


def _hub_cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HF_HUB_CACHE") or _hub_home(environ) / "hub")


def _stored_token(environ: Mapping[str, str]) -> str | None:
    """Read the token that `hf auth login` stored, if there is one."""
    path = Path(environ.get("HF_TOKEN_PATH") or _hub_home(environ) / "token")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
