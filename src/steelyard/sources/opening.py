"""From what a user writes to a source: a folder, a file, an address, or a hub repository.

```python
source = open_source("hf://org/name@main", network=Network(token=token))
source = open_source("./my-model", network=Network(offline=True))
```

Nothing leaves the machine unless the spec itself is remote. What cannot be opened is answered
with what the user most likely meant.
"""

from __future__ import annotations

import re
from pathlib import Path

from steelyard.errors import SourceError, SourceNotFound, SourceOffline
from steelyard.sources.base import Source
from steelyard.sources.hf_cache import find_snapshot, repository_folder
from steelyard.sources.hub.spec import PREFIX, HubSpec
from steelyard.sources.local import LocalSource, open_local, open_snapshot
from steelyard.sources.network import DEFAULT_ENDPOINT, Network
from steelyard.sources.paths import printable

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@[^/]+)?", re.ASCII)
_HUB_PAGE = re.compile(r"/([\w.-]+/[\w.-]+)(?:/(?:tree|blob)/([^/?#]+)(?:/([^?#]+))?)?/?", re.ASCII)


def open_source(spec: str, *, network: Network) -> Source:
    """Open whatever `spec` names.

    Args:
        spec: `hf://org/name[@revision][/file]`, `https://…` (`http://` to this machine only),
            or the path of a folder or file.
        network: How remote sources are reached, if at all.

    Raises:
        SourceNotFound: If there is nothing of that name.
        SourceOffline: If it is remote, and offline mode forbids to ask.
        AccessDenied: If it may not be read.
        SourceError: If it cannot be opened for another reason.
    """
    if not spec.strip() or "\0" in spec:
        raise SourceNotFound(
            "names no source", why="it is empty, or holds a NUL", fix=_FORMS, file=printable(spec)
        )
    if spec.startswith(PREFIX):
        return _open_cached(spec, network) if network.offline else _open_hub(spec, network)
    scheme = _SCHEME.match(spec)
    if scheme is None:
        return _open_path(spec)
    if scheme[1].lower() in {"http", "https"}:
        return _open_url(spec, network)
    raise SourceNotFound(
        f"{scheme[1]}:// is not a kind of source that Steelyard reads",
        fix=f"name the path without {scheme[0]}" if scheme[1].lower() == "file" else _FORMS,
        file=printable(spec),
    )


_FORMS = "name a folder, a file, an https:// address, or hf://org/name"


def _open_path(spec: str) -> LocalSource:
    try:
        return open_local(spec)
    except SourceNotFound as error:
        if _REPO.fullmatch(spec) and not Path(spec).parent.exists():
            error.fix = f"did you mean {PREFIX}{spec}?"
        raise


def _open_url(spec: str, network: Network) -> Source:
    if repository := _hub_page(spec, network.endpoint or DEFAULT_ENDPOINT):
        raise SourceNotFound(
            "is a page about a model, not a file",
            fix=f"did you mean {repository}?",
            file=printable(spec),
        )
    if network.offline:
        raise SourceOffline(
            "may not be fetched",
            why=_WHY_OFFLINE,
            fix="run without offline mode, or download the file and name the local copy",
            file=printable(spec),
        )
    # Imported late: a local source needs no HTTP library.
    from steelyard.sources.http import UrlSource

    return UrlSource(spec, network)


def _open_hub(spec: str, network: Network) -> Source:
    HubSpec.parse(spec)
    try:
        # Imported late: it needs an extra.
        from steelyard.sources.hub.source import HubSource
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "huggingface_hub":
            raise
        raise SourceError(
            "hub repositories need huggingface_hub",
            why="it is not installed",
            fix="pip install 'steelyard[hub]'",
            file=printable(spec),
        ) from error
    return HubSource(spec, network)


def _open_cached(spec: str, network: Network) -> LocalSource:
    """Open the local copy of a hub repository, where the hub may not be asked."""
    wanted = HubSpec.parse(spec)
    at = f" --revision {wanted.revision}" if wanted.revision else ""
    fix = f"run without offline mode, or once online: hf download {wanted.repo}{at}"
    if network.cache_dir is None:
        raise SourceOffline(
            "the hub may not be asked, and no local cache is known",
            why=_WHY_OFFLINE,
            fix=f"{fix}; then name its folder, or set HF_HUB_CACHE",
            file=printable(spec),
        )
    folder = repository_folder(network.cache_dir, wanted.repo)
    try:
        snapshot = find_snapshot(folder, wanted.revision)
    except SourceNotFound as error:
        raise SourceOffline(
            "the hub may not be asked, and the local cache does not hold it",
            why=f"{_WHY_OFFLINE}; {error.why} in {printable(str(folder))}",
            fix=fix,
            file=printable(spec),
        ) from error
    return open_snapshot(spec, snapshot, wanted.file)


_WHY_OFFLINE = "offline mode is on (--offline, STEELYARD_OFFLINE or HF_HUB_OFFLINE)"


def _hub_page(url: str, endpoint: str) -> str | None:
    """Return the spec of the repository that a hub's web page is about; None for other URLs."""
    for hub in (endpoint.rstrip("/"), DEFAULT_ENDPOINT):
        page = _HUB_PAGE.fullmatch(url.removeprefix(hub).partition("?")[0])
        if url.startswith(hub + "/") and page:
            revision = f"@{page[2]}" if page[2] and page[2] != "main" else ""
            return f"{PREFIX}{page[1]}{revision}" + (f"/{page[3]}" if page[3] else "")
    return None
