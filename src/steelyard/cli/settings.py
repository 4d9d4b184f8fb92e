"""Settings: what they are called, where they come from, which one wins.

Precedence: command line, then `STEELYARD_...`, then `steelyard.toml` or `[tool.steelyard]` in
`pyproject.toml` (the nearest, from the working directory upward), then the user's own
`steelyard.toml`, then the defaults. The environment is read here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from steelyard.errors import ConfigError

if TYPE_CHECKING:
    # Imported when a file or the environment says something: it takes a tenth of a second.
    from pydantic import TypeAdapter, ValidationError

    from steelyard.rules.ignores import Ignore

_LONGEST_IGNORE_DAYS = 366
_TYPED: Final = frozenset({"default", "command line"})
"""Origins of values that have their type already."""


@dataclass(frozen=True, slots=True)
class IgnoreTable:
    """One `[[ignore]]` table."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    rule: str = field(metadata={"min_length": 1})
    reason: str = field(metadata={"min_length": 3})
    expires: date
    source: str = "*"
    approved_by: str = field(default="", metadata={"alias": "approved-by"})


def _means(text: str) -> dict[str, str]:
    return {"description": text}


def _in_files(name: str) -> str:
    return name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, under its name in the files (there with hyphens)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "validate_by_name": True,
        "alias_generator": _in_files,
    }

    fail_on: Literal["error", "warning", "note", "never"] = field(
        default="error", metadata=_means("Least severity that makes the exit code 1.")
    )
    strict: bool = field(default=False, metadata=_means("Let what is undetermined fail too."))
    format: list[str] = field(
        default_factory=list, metadata=_means("Formats to write, each NAME or NAME=FILE.")
    )
    only: list[str] = field(
        default_factory=list, metadata=_means("Topics to ask about alone: code, card, license.")
    )
    digest: bool = field(default=True, metadata=_means("Compute identity and file digests."))
    scan_values: bool = field(default=False, metadata=_means("Look for NaN and infinity."))
    offline: bool = field(default=False, metadata=_means("Never use the network."))
    allow_empty: bool = field(default=False, metadata=_means("Accept a source without a model."))
    market: list[str] = field(
        default_factory=list,
        metadata=_means("Where the model is offered or used: eu, us-ca, all."),
    )
    role: list[str] = field(
        default_factory=list,
        metadata=_means("What you do with the model: provider, adopter, modifier."),
    )
    packs: list[str] = field(
        default_factory=list, metadata=_means("Rule packs to apply besides our own.")
    )
    lineage: bool = field(default=True, metadata=_means("Look for the origin of the weights."))
    registries: list[str] = field(
        default_factory=list,
        metadata=_means("Registries of known bases to search besides our own."),
    )
    lineage_budget: str = field(
        default="",
        metadata=_means("Most bytes to read for lineage, as 64MB; empty: what is quick."),
    )
    cache_dir: str = field(default="", metadata=_means("Folder of the digest cache; empty: none."))
    facts: dict[str, Any] = field(
        default_factory=dict, metadata=_means("Facts that no file can show.")
    )
    ignore: list[IgnoreTable] = field(default_factory=list, metadata=_means("Findings to ignore."))


MEANINGS: Final[Mapping[str, str]] = {
    item.name: item.metadata["description"] for item in fields(Settings)
}
"""What each setting does, by field name."""


def data_form() -> TypeAdapter[Settings]:
    """Return what reads and writes settings as data."""
    from pydantic import TypeAdapter

    return TypeAdapter(Settings)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings in force, and where each came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Setting name to `default`, a file, `STEELYARD_...` or `command line`."""


def load(
    overrides: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    folder: Path,
    user_folder: Path,
    default_cache: Path,
    examined: Path | None = None,
) -> Resolved:
    """Resolve every setting.

    Args:
        overrides: What the command line states, by field name; None means not stated.
        environ: The environment.
        folder: Where the search for project settings starts.
        user_folder: Where the user's own `steelyard.toml` lies.
        default_cache: The digest cache when no setting names one.
        examined: The model's folder: a file in it is the model's and sets nothing.

    Raises:
        ConfigError: If a file does not parse, or a setting is unknown or malformed.
    """
    values: dict[str, Any] = {"cache_dir": str(default_cache)}
    origins = dict.fromkeys(MEANINGS, "default")
    layers = [
        *_file_layers(user_folder / "steelyard.toml", project_file(folder, examined)),
        *_environment_layers(environ),
        ("command line", {name: v for name, v in overrides.items() if v not in (None, [], {})}),
    ]
    for origin, layer in layers:
        for name, value in layer.items():
            _known(name, origin)
            joined = name == "facts" and isinstance(value, dict)
            values[name] = {**values.get(name, {}), **value} if joined else value
            origins[name] = origin
    return Resolved(_checked(values, origins), origins)


def _checked(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Check the values that files and the environment state."""
    if _TYPED.issuperset(origins.values()):
        return Settings(**values)
    from pydantic import ValidationError

    try:
        return data_form().validate_python(values)
    except ValidationError as error:
        raise _invalid(error, origins) from error


def check_ignores(ignores: Iterable[Ignore], *, today: date) -> None:
    """Refuse an ignore that holds for more than a year.

    Raises:
        ConfigError: If there is one.
    """
    for item in ignores:
        if (item.expires - today).days > _LONGEST_IGNORE_DAYS:
            raise ConfigError(
                f"the ignore of {item.rule} expires on {item.expires}",
                why="an ignore holds for a year at most, so that somebody looks again",
                fix="choose an earlier date",
            )


def project_file(folder: Path, examined: Path | None = None) -> Path | None:
    """Find the nearest settings file, from `folder` upward, that does not lie in `examined`."""
    for parent in (folder, *folder.parents):
        if examined is not None and parent.is_relative_to(examined):
            continue
        own, project = parent / "steelyard.toml", parent / "pyproject.toml"
        if own.is_file():
            return own
        if project.is_file() and _tool_table(project) is not None:
            return project
    return None


def _file_layers(*paths: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        if path is not None and path.is_file():
            table = _tool_table(path) if path.name == "pyproject.toml" else _toml(path)
            if not isinstance(table, dict):
                raise ConfigError("[tool.steelyard] is not a table", file=str(path))
            layer = {name.replace("-", "_"): value for name, value in table.items()}
            if isinstance(layer.get("facts"), dict):
                layer["facts"] = dict(_flatten(layer["facts"]))
            yield str(path), _anchored(layer, path.parent)


def _tool_table(path: Path) -> Any:
    tool = _toml(path).get("tool")
    return tool.get("steelyard") if isinstance(tool, dict) else None


def _anchored(layer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Read the paths in a file as relative to its own folder."""
    cache = layer.get("cache_dir")
    for name in ("packs", "registries"):
        paths = layer.get(name)
        if isinstance(paths, list):
            layer[name] = [str(folder / p) if isinstance(p, str) else p for p in paths]
    if isinstance(cache, str) and cache:
        layer["cache_dir"] = str(folder / cache)
    return layer


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _environment_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in fields(Settings):
        name, variable = item.name, f"STEELYARD_{item.name.upper()}"
        if name in ("facts", "ignore") or variable not in environ:
            continue
        text = environ[variable]
        listed = item.default_factory is list
        yield variable, {name: [part for part in text.split(",") if part] if listed else text}


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("settings do not parse", why=str(error), file=str(path)) from error
    except OSError as error:
        raise ConfigError(
            "settings cannot be read", why=error.strerror or str(error), file=str(path)
        ) from error


def _known(name: str, origin: str) -> None:
    if name in MEANINGS:
        return
    import difflib

    near = difflib.get_close_matches(name, MEANINGS, n=1)
    shown = _in_files(name)
    raise ConfigError(
        f"there is no setting named {shown!r}",
        fix=f"did you mean {_in_files(near[0])!r}?" if near else "see: steelyard config show",
        file=origin,
    )


def _invalid(error: ValidationError, origins: Mapping[str, str]) -> ConfigError:
    first = error.errors()[0]
    name = str(first["loc"][0]).replace("-", "_")
    place = ".".join(str(part) for part in first["loc"])
    what = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    if first["type"] == "unexpected_keyword_argument":
        what = "there is no such key"
    return ConfigError(
        f"{place}: {what}",
        fix="see: steelyard config show",
        file=origins.get(name),
    )


def environment() -> Mapping[str, str]:
    """Return the environment of the process."""
    return os.environ
