"""Names of models: whether two are one model's, whether a text mentions one, which are its own.

A name is compared without case and separators. An organization counts where both names have one,
so that a mirror is not taken for the model that it mirrors; in running text it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from steelyard.analyzers import known_models
from steelyard.analyzers.card.document import anchor
from steelyard.analyzers.licenses.claims import distribution
from steelyard.analyzers.quoting import clean
from steelyard.checkpoints.model import Model
from steelyard.facts import FactBook
from steelyard.sources.hub.spec import HubSpec

_SHORTEST: Final = 4
"""Letters and digits below which a name is too common a word to be looked for in a text."""
_PIECES: Final = re.compile(r"[^\W\d_]+|\d+")
_SUFFIXES: Final = frozenset(
    {".gguf", ".safetensors", ".onnx", ".bin", ".pt", ".pth", ".ckpt", ".npz", ".npy", ".zip"}
)
_REPOSITORIES: Final = ("hub", "hf-cache")
_CACHED: Final = re.compile(r"(?:^|[/\\])models--([^/\\]+)")
"""How the hub's cache names the folder of a repository."""
_DISTILLED: Final = re.compile(r"\bdistil(?:l|lation|led|ling|s)?\b", re.IGNORECASE)
_PACKAGE_NAME: Final = re.compile(r"^Name:[ \t]*(\S+)[ \t]*$", re.MULTILINE)


def split(name: str) -> tuple[str, str]:
    """Return the organization (or registry, `pypi`) of a name, and the name itself, folded."""
    scope, _, own = name.strip().lower().replace(":", "/", 1).rpartition("/")
    return scope, "".join(_PIECES.findall(own))


def same(a: str, b: str) -> bool:
    """Tell whether two names are one model's: equal, or both known of one published model."""
    known = known_models.find(a)
    if known is not None and known is known_models.find(b):
        return True
    ours, theirs = split(a), split(b)
    scopes = {ours[0], theirs[0]} - {""}
    return bool(ours[1]) and ours[1] == theirs[1] and len(scopes) < 2


def is_package_of(given: str, name: str) -> bool:
    """Tell whether a name is that of a model in a package of this name: `pypi:package/model`."""
    registry, found, rest = name.partition(":")
    if not found or "/" in registry:
        return False
    package = split(given)[1]
    return bool(package) and package in (split(rest)[1], split(rest.rpartition("/")[0])[1])


def mentions(text: str, name: str) -> bool:
    """Tell whether a text has a name in it, however it is set off: `gemma3_270m` for gemma-3-270m.

    A name that is too short for that must stand there with its organization.
    """
    own = name.replace(":", "/", 1).rpartition("/")[2]
    wanted = own if len(split(own)[1]) >= _SHORTEST else name
    pieces = _PIECES.findall(wanted.lower())
    if not pieces:
        return False
    pattern = r"(?<![^\W_])" + r"[\W_]{0,3}".join(pieces) + r"(?![^\W_])"
    return re.search(pattern, text.lower()) is not None


def titles(model: Model, book: FactBook) -> Iterator[str]:
    """Yield the names that a model goes by: where it was opened, and in its own documents."""
    given = given_name(model)
    if given is not None:
        yield given
    if model.source.kind not in _REPOSITORIES:
        path = PurePosixPath(model.source.spec.partition("?")[0].rstrip("/"))
        yield path.stem if path.suffix.lower() in _SUFFIXES else path.name
    title = book.value("model.name")
    if isinstance(title, str):
        yield title


def given_name(model: Model) -> str | None:
    """Return the name under which a repository or a package offers a model; None for a folder.

    What a folder is called is its owner's business.
    """
    spec = model.source.spec
    if model.source.kind == "hub":
        return HubSpec.parse(spec).repo
    cached = _CACHED.search(spec) if model.source.kind == "hf-cache" else None
    if cached is not None:
        return cached[1].replace("--", "/")
    names = (clean(name) for name, _ in _packages(model) if name is not None)
    return next(filter(None, names), None)


def offered_as(model: Model, declared: Iterable[str], *, other_than: Sequence[str]) -> str | None:
    """Return the name under which a model is offered, if it is another than those given.

    A package that mentions one of them in what it says of itself is open about what it holds, as
    is a repository whose card declares it as base. A package may hold models of other names.

    Args:
        model: The model.
        declared: Bases that its documents name.
        other_than: Names of the model that it is a copy of.
    """
    given = given_name(model)
    if given is None or any(is_package_of(given, name) for name in other_than):
        return None
    said = [text for _, texts in _packages(model) for text in texts]
    texts = [given, *(declared if model.source.kind in _REPOSITORIES else said)]
    return None if any(mentions(text, name) for text in texts for name in other_than) else given


def _packages(model: Model) -> Iterator[tuple[str | None, Sequence[str]]]:
    """Yield of each package that the weights belong to (Python, npm) its name and its texts."""
    folder = distribution(model)
    if folder is not None:
        text = model.texts[f"{folder}/METADATA"]
        found = _PACKAGE_NAME.search(text)
        yield (found[1] if found else None), (text,)
    path = model.beside(str(anchor(model)), "package.json")
    said = model.json.get(path) if path is not None else None
    if isinstance(said, dict):
        texts = {key: text for key, text in said.items() if isinstance(text, str)}
        yield texts.get("name"), tuple(texts.values())


def documented(name: str, model: Model, book: FactBook) -> bool:
    """Tell whether documents, headers, settings or addresses of a model mention a name."""
    return any(mentions(text, name) for text in _texts(model, book))


def distilled(model: Model) -> bool:
    """Tell whether documents say that a model was distilled."""
    return any(_DISTILLED.search(text) for text in model.texts.values())


def _texts(model: Model, book: FactBook) -> Iterator[str]:
    yield model.source.spec
    yield from titles(model, book)
    for fact in ("lineage.declared_base", "lineage.base_hint"):
        value = book.value(fact)
        yield from value if isinstance(value, frozenset) else ()
    yield from (file.path for file in model.source.files)
    for weights in model.weights[:1]:
        yield from (text for text in weights.metadata.values() if isinstance(text, str))
    for said in model.json.values():
        if isinstance(said, dict):
            yield from (text for text in said.values() if isinstance(text, str))
    yield from model.texts.values()
