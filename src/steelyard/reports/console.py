"""Drawing for a terminal: the same bytes for the same width, with or without color."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, RenderableType

_NARROWEST = 40


def drawn(parts: Iterable[RenderableType], *, width: int, color: bool) -> str:
    """Draw `parts`, one below the other, without trailing blanks."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(width, _NARROWEST),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        console.print(part)
    lines = [line.rstrip() for line in stream.getvalue().split("\n")]
    return "\n".join(lines).rstrip("\n") + "\n"
