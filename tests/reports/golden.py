"""Golden files: what a renderer wrote when somebody last looked at it and found it good."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("golden")


def check(name: str, text: str) -> None:
    """Compare `text` with the golden file; STEELYARD_GOLDEN=1 writes it instead."""
    path = FOLDER / name
    if os.environ.get("STEELYARD_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
