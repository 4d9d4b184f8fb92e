"""Stand-in hubs that hold one small model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.sources.hub.samples import WEIGHTS, OpenHub
from tests.sources.hub_server import HubServer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "onnx").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    return folder


@pytest.fixture
def open_hub(model: Path) -> Iterator[OpenHub]:
    """Start hubs that hold the model as `org/name`; they stop with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> HubServer:
            return stack.enter_context(HubServer({"org/name": model}, **options))

        yield start


@pytest.fixture
def hub(open_hub: OpenHub) -> HubServer:
    return open_hub()
