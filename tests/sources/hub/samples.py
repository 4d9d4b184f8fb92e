"""The repository that the stand-in hub holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from steelyard.sources.network import Network
from tests.sources.hub_server import HubServer

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
OpenHub = Callable[..., HubServer]


def at(hub: HubServer, network: Network, **changes: Any) -> Network:
    return replace(network, endpoint=hub.endpoint, **changes)
