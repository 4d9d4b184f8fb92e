"""A stand-in for a model hub and its storage, on the loopback address.

`HubServer` speaks as much of the Hugging Face hub's API as the real `huggingface_hub` client and
Steelyard use: model information, tree pages, and resolving a file, with the hub's own headers and
error codes. Large files are redirected to a `FileServer` on another port, as the hub does with its
storage.

    with HubServer({"org/name": folder}) as hub:
        source = open_source("hf://org/name", network=Network(endpoint=hub.endpoint))
        assert all(each.sent < 100_000 for each in hub.requests)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.sources.file_server import FileServer
from tests.sources.serving import Answer, Request, Server, Stored

LFS_SUFFIXES = (".bin", ".gguf", ".onnx", ".npz", ".pt", ".pth", ".safetensors")
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_INFO = re.compile(rf"/api/models/{_REPO}(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(rf"/api/models/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<below>.+))?")
_RESOLVE = re.compile(rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass(frozen=True, slots=True)
class _Commit:
    sha: str
    files: Mapping[str, Stored]


class HubServer(Server):
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

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        self.files.__exit__(*raised)

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
