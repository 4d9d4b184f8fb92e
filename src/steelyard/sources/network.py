"""What a source may know of the network, and the one count that every source keeps.

The library never reads the environment: the command line reads `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HUB_OFFLINE`, `HF_HUB_CACHE` and its own options, and hands them over as one `Network`.
Time is handed over too, so that tests wait for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

DEFAULT_ENDPOINT = "https://huggingface.co"
"""The hub that `hf://` means when nothing else is said."""


def _certificates() -> Callable[[], SSLContext]:
    """Return what loads the certificates that are trusted, when first asked and then never again.

    It takes longer than to ask a server for the headers of a model.
    """

    @cache
    def load() -> SSLContext:
        from httpx import create_ssl_context

        return create_ssl_context()

    return load


@dataclass(frozen=True, slots=True)
class Network:
    """How remote sources are reached, if at all."""

    offline: bool = False
    """True forbids every request; `hf://` is then read from the local cache alone."""
    endpoint: str | None = None
    """Address of the hub (`HF_ENDPOINT`); None is `DEFAULT_ENDPOINT`."""
    token: str | None = field(default=None, repr=False)
    """Hub token (`HF_TOKEN`), sent to the endpoint's own host only."""
    cache_dir: Path | None = None
    """The local hub cache, the folder that holds `models--org--name` (`HF_HUB_CACHE`)."""
    timeout: float = 30.0
    """Seconds to wait for a server to connect or to send something."""
    retries: int = 3
    """How often a request that failed in passing is tried again."""
    sleep: Callable[[float], None] = time.sleep
    """Wait so many seconds."""
    clock: Callable[[], float] = time.monotonic
    """Seconds on a clock that never goes back."""
    certificates: Callable[[], SSLContext] = field(
        default_factory=_certificates, repr=False, compare=False
    )
    """Who is trusted to say which server is which; all sources of one network share it."""


class Tally:
    """Count bytes and requests; shared by the readers of one source, so thread-safe."""

    def __init__(self) -> None:
        self.bytes = 0
        self.requests = 0
        self._lock = Lock()

    def add_bytes(self, count: int) -> None:
        """Count bytes read or fetched."""
        with self._lock:
            self.bytes += count

    def add_request(self) -> None:
        """Count one request, failed or not."""
        with self._lock:
            self.requests += 1
