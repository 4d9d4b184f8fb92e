"""A stand-in for a model hub and its storage, on the loopback address.

`HubServer` speaks as much of the Hugging Face hub's API as the real `huggingface_hub` client and
Steelyard use: model information, tree pages, and resolving a file, with the hub's own headers and
error codes. Large files are redirected to a second server on another port, as the hub does with
its storage. `FileServer` is that second server; alone, it is any web server with files.

    with HubServer({"org/name": folder}) as hub:
        source = open_source("hf://org/name", network=Network(endpoint=hub.endpoint))
        assert all(each.sent < 100_000 for each in hub.requests)

Both record every request, and misbehave on demand (`faults`).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

LFS_SUFFIXES = (".bin", ".gguf", ".onnx", ".npz", ".pt", ".pth", ".safetensors")
_CHUNK = 64 * 1024
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_INFO = re.compile(rf"/api/models/{_REPO}(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<below>.+))?")
_RESOLVE = re.compile(rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


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

    def _reply(self, owner: _Server) -> None:
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

    def __init__(self, owner: _Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are part of the tests."""


class _Server:
    """What both servers share: a thread, a record, faults."""

    name = ""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._record: list[Request] = []
        self._lock = threading.Condition()
        self._busy = 0
        self._http: _Threads | None = None
        self._thread: threading.Thread | None = None

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        raise NotImplementedError  # abstract: each of the two servers answers in its own way

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()


class FileServer(_Server):
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


@dataclass(frozen=True, slots=True)
class _Commit:
    sha: str
    files: Mapping[str, Stored]


class HubServer(_Server):
    """A hub with the repositories that it is given.

    Args:
        repos: Repository to the folder of its files; `org/name@v1` is a further revision.
        private: Repositories that are hidden without the token.
        gated: Repositories whose files are refused without the token.
        token: The one token that opens private and gated repositories.
        page_size: Entries in one page of a tree.
        state_sizes: False leaves lengths out of the model information, as some mirrors do.
        edit: Changes API answers (path, document) before they are sent, to play a hostile hub.
    """

    name = "hub"

    def __init__(
        self,
        repos: Mapping[str, Path],
        *,
        private: Iterable[str] = (),
        gated: Iterable[str] = (),
        token: str = "hf_test",  # noqa: S107  not a secret
        page_size: int = 1000,
        state_sizes: bool = True,
        edit: Callable[[str, Any], Any] = lambda path, document: document,
    ) -> None:
        super().__init__()
        self._private = frozenset(private)
        self._gated = frozenset(gated)
        self._token = token
        self._page_size = page_size
        self._state_sizes = state_sizes
        self._edit = edit
        self.files = FileServer()
        self.commits: dict[str, dict[str, _Commit]] = {}
        for name, folder in repos.items():
            repo, _, revision = name.partition("@")
            commit = _commit(repo, folder)
            self.commits.setdefault(repo, {})[revision or "main"] = commit
            for stored in commit.files.values():
                self.files.files[f"/storage/{stored.sha256}"] = stored

    def sha(self, repo: str, revision: str = "main") -> str:
        """Return the commit of a revision."""
        return self.commits[repo][revision].sha

    @property
    def requests(self) -> list[Request]:
        """The requests to the hub and to its storage, each in order."""
        return super().requests + self.files.requests

    def __enter__(self) -> Self:
        self.files.__enter__()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.files.__exit__(kind, error, trace)

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        routes: tuple[tuple[re.Pattern[str], Callable[..., Answer]], ...] = (
            (_TREE, self._tree),
            (_INFO, self._info),
            (_RESOLVE, self._resolve),
        )
        for pattern, handle in routes:
            if match := pattern.fullmatch(where):
                parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
                return self._guarded(handle, parts, query, headers)
        return _refused(404, "", "no such page")

    def _guarded(
        self,
        handle: Callable[..., Answer],
        parts: Mapping[str, str],
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
    ) -> Answer:
        """Answer as the hub does where the repository, the right or the revision is missing."""
        repo = parts["repo"]
        given = headers.get("authorization")
        allowed = given == f"Bearer {self._token}"
        if given is not None and not allowed:
            return _refused(401, "", "Invalid credentials in Authorization header")
        if repo not in self.commits or (repo in self._private and not allowed):
            status = 404 if allowed else 401
            return _refused(status, "RepoNotFound", "Repository not found")
        if handle == self._resolve and repo in self._gated and not allowed:
            message = f"Access to model {repo} is restricted."
            return _refused(403 if given else 401, "GatedRepo", message)
        named = parts.get("revision", "main")
        by_sha = {commit.sha: commit for commit in self.commits[repo].values()}
        commit = self.commits[repo].get(named) or by_sha.get(named)
        if commit is None:
            return _refused(404, "RevisionNotFound", f"Invalid rev id: {named}")
        return handle(repo, commit, parts, query)

    def _info(
        self, repo: str, commit: _Commit, parts: object, query: Mapping[str, list[str]]
    ) -> Answer:
        siblings: list[dict[str, Any]] = []
        for path, stored in commit.files.items():
            sibling: dict[str, Any] = {"rfilename": path}
            if "blobs" in query and self._state_sizes:
                sibling |= {"size": stored.size, "blobId": _git_blob(path, stored)}
                if path.endswith(LFS_SUFFIXES):
                    lfs = {"sha256": stored.sha256, "size": stored.size, "pointerSize": 130}
                    sibling["lfs"] = lfs
            siblings.append(sibling)
        document = {
            "_id": "0",
            "id": repo,
            "modelId": repo,
            "sha": commit.sha,
            "private": repo in self._private,
            "gated": "auto" if repo in self._gated else False,
            "tags": [],
            "siblings": siblings,
        }
        return _json(self._edit("info", document))

    def _tree(
        self,
        repo: str,
        commit: _Commit,
        parts: Mapping[str, str],
        query: Mapping[str, list[str]],
    ) -> Answer:
        below = parts["below"] + "/" if "below" in parts else ""
        recursive = query.get("recursive", ["false"])[0].lower() in {"true", "1"}
        entries: dict[str, dict[str, Any]] = {}
        for path, stored in commit.files.items():
            if not path.startswith(below):
                continue
            inner = path[len(below) :].split("/")
            for depth in range(1, len(inner) if recursive else min(len(inner), 2)):
                folder = below + "/".join(inner[:depth])
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
            if recursive or len(inner) == 1:
                entries[path] = _tree_entry(path, stored)
        if below and not entries:
            return _refused(404, "EntryNotFound", "no such folder")
        start = int(query.get("cursor", ["0"])[0])
        page = list(entries.values())[start : start + self._page_size]
        answer = _json(self._edit("tree", page))
        if start + self._page_size < len(entries):
            base = f"{self.endpoint}/api/models/{repo}/tree/{commit.sha}"
            tail = f"/{quote(parts['below'])}" if below else ""
            cursor = f"recursive={str(recursive).lower()}&cursor={start + self._page_size}"
            answer.headers["Link"] = f'<{base}{tail}?{cursor}>; rel="next"'
        return answer

    def _resolve(
        self, repo: str, commit: _Commit, parts: Mapping[str, str], query: object
    ) -> Answer:
        stored = commit.files.get(parts["file"])
        if stored is None:
            return _refused(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit.sha}
        if not parts["file"].endswith(LFS_SUFFIXES):
            headers["ETag"] = f'"{_git_blob(parts["file"], stored)}"'
            return Answer(200, headers, stored=stored)
        headers |= {
            "Location": f"{self.files.endpoint}/storage/{stored.sha256}?signature=secret",
            "X-Linked-Size": str(stored.size),
            "X-Linked-Etag": f'"{stored.sha256}"',
        }
        return Answer(302, headers, b"Found. Redirecting to storage")


def _commit(repo: str, folder: Path) -> _Commit:
    files = {
        path.relative_to(folder).as_posix(): Stored.of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    listing = json.dumps([repo, {path: stored.sha256 for path, stored in files.items()}])
    return _Commit(hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest(), files)


def _git_blob(path: str, stored: Stored) -> str:
    """Return an object id as git would give it (of the path too, which is enough here)."""
    return hashlib.sha1(f"{path}{stored.sha256}".encode(), usedforsecurity=False).hexdigest()


def _tree_entry(path: str, stored: Stored) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": path,
        "size": stored.size,
        "oid": _git_blob(path, stored),
    }
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": stored.sha256, "size": stored.size, "pointerSize": 130}
    return entry


def _json(document: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _refused(status: int, code: str, message: str) -> Answer:
    headers = {"Content-Type": "application/json", "X-Error-Message": message}
    if code:
        headers["X-Error-Code"] = code
    return Answer(status, headers, json.dumps({"error": message}).encode())
