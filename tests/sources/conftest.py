"""What the tests of sources share: a network that waits for nothing, and no proxies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import huggingface_hub
import pytest

from steelyard.sources.network import Network


@pytest.fixture(autouse=True, scope="module")
def _direct() -> Iterator[None]:
    """Talk to the loopback address directly, whatever proxies this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield
    huggingface_hub.close_session()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def network(pauses: list[float]) -> Network:
    """A network whose pauses are recorded, not made."""
    return Network(timeout=5.0, sleep=pauses.append)
