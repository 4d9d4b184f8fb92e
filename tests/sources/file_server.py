"""A web server with files, on the loopback address."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.sources.serving import Answer, Server, Stored


class FileServer(Server):
    """Files by path, with ranges and entity tags. `files` may be changed while it runs."""

    name = "files"

    def __init__(self, files: Mapping[str, Path | bytes] | None = None) -> None:
        super().__init__()
        self.files = {path: Stored.of(content) for path, content in (files or {}).items()}

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return self.endpoint + quote(path)

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        stored = self.files.get(unquote(urlsplit(path).path))
        if stored is None:
            return Answer(404, {}, b"no such file")
        return Answer(200, {"Last-Modified": formatdate(0, usegmt=True)}, stored=stored)
