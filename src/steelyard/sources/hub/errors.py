"""What went wrong at the hub, in words that say what to do.

`huggingface_hub` raises its own errors, those of its HTTP library (which one depends on its
version), and plain Python errors where an answer is not what it expects. `translate` turns any
of them into a `SourceError` whose fix names the page to visit or the command to run.
Error codes: https://huggingface.co/docs/huggingface_hub/package_reference/utilities
"""

from __future__ import annotations

from huggingface_hub import errors

from steelyard.errors import AccessDenied, SourceError, SourceNotFound, SourceOffline
from steelyard.sources.hub.spec import HubSpec
from steelyard.sources.paths import printable

_MAX_MESSAGE = 300
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})


def may_pass(error: Exception) -> bool:
    """Tell whether the same request may succeed a moment later."""
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in _PASSING_STATUS
    return "TransportError" in _kinds(error)


def translate(error: Exception, spec: HubSpec, endpoint: str, *, has_token: bool) -> SourceError:
    """Return the `SourceError` that says what `error` means for reading `spec`."""
    page = f"{endpoint}/{spec.repo}"
    where = str(spec)
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(error, spec, page, has_token=has_token)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return SourceOffline(
            "the hub client is in offline mode",
            why="HF_HUB_OFFLINE is set",
            fix="unset HF_HUB_OFFLINE, or run with --offline to read the local cache",
            file=where,
        )
    if isinstance(error, errors.HFValidationError):
        fix = "write hf://org/name, hf://org/name@revision or hf://org/name/file"
        return SourceNotFound("is not a hub repository", why=_message(error), fix=fix, file=where)
    if "TransportError" in _kinds(error):
        return SourceOffline(
            "cannot reach the hub",
            why=_message(error) or f"{endpoint} does not answer",
            fix="check the network, the proxy settings and HF_ENDPOINT, or run with --offline to"
            " read the local cache",
            file=where,
        )
    return SourceError(
        "the hub's answer is not understood",
        why=f"{type(error).__name__}: {_message(error)}",
        fix=f"check that HF_ENDPOINT ({endpoint}) is a hub",
        file=where,
    )


def _refused(
    error: errors.HfHubHTTPError, spec: HubSpec, page: str, *, has_token: bool
) -> SourceError:
    """Return the error for an answer with an error status."""
    status, where = error.response.status_code, str(spec)
    why = _message_of_server(error) or f"the hub answers {status}"
    login = (
        "check that the token in HF_TOKEN has the right to read it"
        if has_token
        else "set HF_TOKEN to a token that may read it (hf auth login)"
    )
    if isinstance(error, errors.GatedRepoError):
        fix = f"ask for access at {page}, then {login}"
        return AccessDenied("the repository is gated", why=why, fix=fix, file=where)
    if isinstance(error, errors.RevisionNotFoundError):
        what = f"the repository has no revision {printable(spec.revision or 'main')}"
        fix = f"see its branches, tags and commits at {page}/tree/main"
        return SourceNotFound(what, why=why, fix=fix, file=where)
    if isinstance(error, errors.EntryNotFoundError):
        fix = f"see its files at {page}/tree/{spec.revision or 'main'}"
        return SourceNotFound("the repository has no such file", why=why, fix=fix, file=where)
    if isinstance(error, errors.RepositoryNotFoundError) or status in {401, 404}:
        fix = f"check the spelling at {page}; if it is private, {login}"
        kind = AccessDenied if status == 401 else SourceNotFound
        return kind("there is no such repository, or it is private", why=why, fix=fix, file=where)
    if isinstance(error, errors.DisabledRepoError):
        fix = f"see {page}"
        return AccessDenied("the repository is disabled", why=why, fix=fix, file=where)
    if status == 403:
        return AccessDenied("the hub refuses", why=why, fix=f"see {page}; {login}", file=where)
    if status == 429:
        fix = "wait some minutes and run again"
        fix += "" if has_token else "; a token (HF_TOKEN) raises the limit"
        return SourceError("the hub's rate limit is reached", why=why, fix=fix, file=where)
    fix = "try again later, or run with --offline to read the local cache"
    return SourceError("the hub does not answer as it should", why=why, fix=fix, file=where)


def _kinds(error: Exception) -> set[str]:
    return {each.__name__ for each in type(error).__mro__}


def _message_of_server(error: errors.HfHubHTTPError) -> str:
    return printable(" ".join((error.server_message or "").split()))[:_MAX_MESSAGE]


def _message(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:_MAX_MESSAGE]
