"""Text and addresses as SARIF wants them: nothing in a model's files can become a link."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from steelyard.reports.text import plain

_LINK: Final = re.compile(r"\](?=\()")
"""Where a plain text message would begin the target of a link (SARIF 3.11.6)."""
_LONGEST: Final = 2000


def text(said: str, longest: int = _LONGEST) -> str:
    """Write a plain text message: one line, without links, and with braces doubled (3.11.5)."""
    return _LINK.sub("] ", plain(said, longest)).replace("{", "{{").replace("}", "}}")


def message(said: str) -> dict[str, Any]:
    """Write a message object of plain text."""
    return {"text": text(said)}


def markdown(said: str) -> str:
    """Write text of a rule, which is Markdown as its pack has it."""
    return plain(said, _LONGEST).replace("{", "{{").replace("}", "}}")


def uri(path: str) -> str:
    """Write a path within a folder as a relative reference (RFC 3986).

    A colon is escaped too: before the first slash it would end a scheme.
    """
    try:
        data = path.encode("utf-8", "surrogateescape")  # a name on this machine that is not UTF-8
    except UnicodeEncodeError:
        data = path.encode("utf-8", "surrogatepass")
    return quote(data, safe="/-._~")
