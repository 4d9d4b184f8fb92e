"""Servers on the loopback address that record every request, and misbehave on demand (`faults`).

What a server answers is its own: see `FileServer` and `HubServer`.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in, and what was sent."""

    server: str
    """`hub` or `files`."""
    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    status: int
    sent: int
    """Bytes of the body sent."""


@dataclass(slots=True)
class Fault:
    """How requests whose path contains `match` are answered wrongly."""

    match: str = ""
    times: int | None = None
    """How often; None is for ever."""
    method: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers to add, or, with an empty value, to leave out."""
    delay: float = 0.0
    """Seconds before the answer."""
    ignore_range: bool = False
    claim_size: int | None = None
    """Length to state in place of the real one."""
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    content: bytes | None = None
    """Other content, with another entity tag."""
    location: str | None = None
    """Redirect there."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One file as a server keeps it; digests are those of its real content."""

    path: Path | None
    data: bytes
    size: int
    sha256: str

    @classmethod
    def of(cls, content: Path | bytes) -> Stored:
        if isinstance(content, bytes):
            return cls(None, content, len(content), hashlib.sha256(content).hexdigest())
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(content, b"", content.stat().st_size, digest)

    def read(self, first: int, length: int) -> bytes:
        if self.path is None:
            return self.data[first : first + length]
        with self.path.open("rb") as file:
            file.seek(first)
            return file.read(length)


@dataclass(slots=True)
class Answer:
    """What a server is about to send."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stored: Stored | None = None
    """Send this file, or the range of it that is asked for, in place of `body`."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Threads

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def _handle(self) -> None:
        owner = self.server.owner
        with owner.busy():
            self._reply(owner)

    def _reply(self, owner: Server) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = owner.next_fault(self.command, self.path) or Fault()
        time.sleep(fault.delay)
        if fault.location is not None:
            answer = Answer(302, {"Location": fault.location})
        elif fault.status is not None:
            answer = Answer(fault.status, {}, b"a fault")
        else:
            answer = owner.answer(self.command, self.path, headers)
        try:
            sent = self._send(answer, fault, headers)
        except OSError:
            sent = -1
            self.close_connection = True
        owner.record(Request(owner.name, self.command, self.path, headers, answer.status, sent))

    def _send(self, answer: Answer, fault: Fault, headers: Mapping[str, str]) -> int:
        stored = answer.stored
        first, length, status = 0, len(answer.body), answer.status
        if stored is not None:
            if fault.content is not None:
                stored = Stored.of(fault.content)
            first, length, status = self._range(stored, answer, fault, headers)
        answer.status = status
        answer.headers.setdefault("Content-Length", str(length))
        answer.headers.update(fault.headers)
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in answer.headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or status in {204, 304}:
            return 0
        if stored is None or status == 416:
            return self._write(answer.body, fault)
        return sum(
            self._write(stored.read(at, min(_CHUNK, first + length - at)), fault)
            for at in range(first, first + length, _CHUNK)
        )

    def _range(
        self, stored: Stored, answer: Answer, fault: Fault, headers: Mapping[str, str]
    ) -> tuple[int, int, int]:
        """Return first byte, length and status, as RFC 9110 section 14 asks for."""
        size = stored.size if fault.claim_size is None else fault.claim_size
        etag = answer.headers.setdefault("ETag", f'"{stored.sha256}"')
        if fault.content is not None:
            etag = answer.headers["ETag"] = f'"{stored.sha256}"'
        answer.headers.setdefault("Accept-Ranges", "bytes")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        stale = headers.get("if-range") not in {None, etag}
        if asked is None or stale or fault.ignore_range or self.command == "HEAD":
            answer.headers["Content-Length"] = str(size)
            return 0, stored.size, 200
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        if first >= size:
            answer.headers["Content-Range"] = f"bytes */{size}"
            return 0, 0, 416
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return first, last - first + 1, 206

    def _write(self, body: bytes, fault: Fault) -> int:
        if fault.cut is not None:
            body = body[: fault.cut]
            self.close_connection = True
        self.wfile.write(body)
        self.wfile.flush()
        return len(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's signature
        """Say nothing; requests are recorded."""


class _Threads(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are part of the tests."""


class Server(ABC):
    """What servers share: a thread, a record, faults."""

    name: str
    """As `Request.server` gives it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._record: list[Request] = []
        self._lock = threading.Condition()
        self._busy = 0
        self._http: _Threads | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request to which no fault applies."""

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                fits = fault.match in path and fault.method in {None, method}
                if fits and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return replace(fault)
        return None

    def record(self, request: Request) -> None:
        with self._lock:
            self._record.append(request)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark a request as not yet recorded."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._lock.notify_all()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order; waits until those under way are answered."""
        with self._lock:
            self._lock.wait_for(lambda: not self._busy, timeout=5)
            return list(self._record)

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:port`."""
        if self._http is None:
            raise RuntimeError("enter the server first")
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._http = _Threads(self)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
