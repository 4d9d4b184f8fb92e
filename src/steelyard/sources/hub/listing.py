"""Which files a hub repository has, believing nothing about their names.

The hub's model information lists the files of one commit with lengths and, for large files, the
SHA-256 that Git LFS keeps. Hubs that leave the lengths out, and repositories too large for that
answer, are listed from the tree instead, page by page, each page and their number bounded.
API: https://huggingface.co/docs/hub/api
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from urllib.parse import quote

import httpx
from huggingface_hub.hf_api import ModelInfo

from steelyard.errors import SourceError
from steelyard.sources.base import SkippedFile, SkipReason, SourceFile
from steelyard.sources.hub.spec import HubSpec
from steelyard.sources.paths import path_trouble, printable
from steelyard.sources.walking import MAX_FILES, NOISE
from steelyard.sources.web import Web, checked_url, next_hop, origin, refusal

MAX_PAGES = 1000
"""Most pages of a tree listing that are asked for."""
PAGE_BYTES = 16_000_000
"""Longest page of a tree listing."""
SIBLINGS_CUT = 50_000
"""From this many files on, the model information may leave some out."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

RawFile = tuple[object, object, object]
"""Path, length and SHA-256 as the hub states them, unchecked."""


def list_files(
    raw: Iterable[RawFile], max_files: int = MAX_FILES
) -> tuple[dict[str, SourceFile], list[SkippedFile]]:
    """Check what a hub says of its files.

    Returns:
        The files by path, and what is not usable. The names in `walking.NOISE` are passed over
        as they are in a folder, so that a repository and its download list the same.
    """
    files: dict[str, SourceFile] = {}
    skipped: list[SkippedFile] = []
    stated = iter(raw)
    for path, size, sha256 in islice(stated, max_files):
        if not isinstance(path, str) or not isinstance(size, int) or not 0 <= size < 2**63:
            name = printable(str(path))
            skipped.append(SkippedFile(name, SkipReason.UNREADABLE, "no usable name or length"))
        elif trouble := path_trouble(path):
            skipped.append(SkippedFile(printable(path), SkipReason.ESCAPES, trouble))
        elif path in files:
            skipped.append(SkippedFile(path, SkipReason.UNREADABLE, "listed twice"))
        elif NOISE.isdisjoint(path.split("/")):
            known = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
            files[path] = SourceFile(path, size, str(sha256) if known else None)
    if next(stated, None) is not None:
        skipped.append(SkippedFile(".", SkipReason.TOO_MANY, f"more than {max_files} files"))
    return files, skipped


def from_info(info: ModelInfo) -> list[RawFile] | None:
    """Return the files that the model information lists; None if it is not complete."""
    siblings = info.siblings
    if siblings is None or len(siblings) >= SIBLINGS_CUT:
        return None
    if any(each.size is None for each in siblings):
        return None
    return [(each.rfilename, each.size, each.lfs and each.lfs.sha256) for each in siblings]


def from_tree(web: Web, endpoint: httpx.URL, spec: HubSpec, commit: str) -> Iterator[RawFile]:
    """Ask for the tree of a commit, page by page, and yield its files.

    Raises:
        SourceError: If the hub refuses, or its answer is not a tree.
    """
    base = str(endpoint).rstrip("/")
    url = checked_url(f"{base}/api/models/{quote(spec.repo)}/tree/{commit}?recursive=true")
    for _ in range(MAX_PAGES):
        response, body = web.ask("GET", url, {}, _page_room)
        if response.status_code != 200:
            raise refusal(response)
        yield from _files_of_page(body, spec)
        following = response.links.get("next", {}).get("url")
        if following is None:
            return
        url = next_hop(url, following)
        if origin(url) != origin(endpoint):
            raise _not_a_tree(spec, "its next page is on another host")
    raise _not_a_tree(spec, f"it has more than {MAX_PAGES} pages")


def _page_room(response: httpx.Response) -> int:
    return PAGE_BYTES + 1 if response.status_code == 200 else 0


def _files_of_page(body: bytes, spec: HubSpec) -> Iterator[RawFile]:
    if len(body) > PAGE_BYTES:
        raise _not_a_tree(spec, f"a page is longer than {PAGE_BYTES} bytes")
    try:
        page = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _not_a_tree(spec, str(error)) from error
    if not isinstance(page, list):
        raise _not_a_tree(spec, "a page is not a list")
    for entry in page:
        if not isinstance(entry, Mapping):
            raise _not_a_tree(spec, "an entry is not an object")
        if entry.get("type") == "file":
            lfs = entry.get("lfs")
            sha256 = lfs.get("oid") if isinstance(lfs, Mapping) else None
            yield entry.get("path"), entry.get("size"), sha256


def _not_a_tree(spec: HubSpec, why: str) -> SourceError:
    return SourceError(
        "the hub's list of files is not understood",
        why=why,
        fix="check that HF_ENDPOINT is a hub, or download the repository and name the folder",
        file=str(spec),
    )
