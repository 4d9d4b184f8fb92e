"""What the tests of sources share: a network that waits for nothing, a server, a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.sources.network import Network
from tests.sources.file_server import FileServer
from tests.sources.remote import BIG, SMALL


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def network(pauses: list[float]) -> Network:
    """A network whose pauses are recorded, not made."""
    return Network(timeout=5.0, sleep=pauses.append)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"/big.gguf": BIG, "/dir/small.txt": SMALL, "/empty": b""}) as server:
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 64)
    (folder / "sub" / "a.txt").write_bytes(b"a")
    (folder / "sub" / "deeper" / "empty").write_bytes(b"")
    return folder
